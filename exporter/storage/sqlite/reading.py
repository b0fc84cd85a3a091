"""Reading everything back, each row against its checksum and each table against its seal."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from exporter.storage.contract import Chunk, Row, Table
from exporter.storage.sqlite.connection import commit
from exporter.storage.sqlite.schema import (
    BASES,
    TABLES,
    base_key,
    checksum,
    describe_damaged,
    key_of,
    verified,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from exporter.storage.sqlite.connection import StampedConnection
    from exporter.storage.sqlite.schema import SqliteTable, VerifiedRow

CHUNK_ROWS = 512

_MISPLACED = (b"2nd reference to page", b"is never used")
"""What SQLite's check says about a page of two tables, and about a page of none."""


class MisplacedPages(sqlite3.DatabaseError):
    """A page of the file belongs to two tables, or to none."""

    sqlite_errorcode = sqlite3.SQLITE_CORRUPT


def read(connection: StampedConnection, *, set_aside: bool = True) -> Iterator[Chunk]:
    """Yield all rows in the order of :class:`Table` and key. The bases come last.

    Damaged rows are reported once. Then they are moved to the table ``damaged``, so that a new
    row can be written under the same key, and the seal is updated. Without ``set_aside``
    nothing in the file is changed. Raises ``sqlite3.Error``.
    """
    for name, table in TABLES.items():
        to_chunk = _esims if name is Table.ESIM else partial(_rows, name)
        yield from _read(connection, table, to_chunk, set_aside=set_aside)
    yield from _read(connection, BASES, _bases, set_aside=set_aside)


@dataclass(slots=True)
class TableVerifier:
    """Verifies the rows of one table, counts them, and keeps the damaged ones."""

    rows: int = 0
    """All rows, including damaged ones."""
    versions: int = 0
    """Sum of the versions of the good rows."""
    damaged: list[Sequence[Any]] = field(default_factory=list)

    def verify(self, table: SqliteTable, raws: Sequence[Sequence[Any]]) -> list[VerifiedRow]:
        """Return the rows that match their checksums."""
        good = []
        for raw in raws:
            row = verified(table, raw)
            if row is None:
                self.damaged.append(raw)
            else:
                good.append(row)
                self.versions += row.version
        self.rows += len(raws)
        return good

    def verify_esims(self, raws: Sequence[Sequence[Any]]) -> list[Row]:
        """Return the eSIMs that match their checksums, in half the time: most rows are eSIMs."""
        good: list[Row] = []
        table = TABLES[Table.ESIM]
        for raw in raws:
            vendor, esim_id, version, crc, data, all_text = raw
            if all_text and type(version) is int and type(data) is bytes:
                try:
                    key = (vendor.decode(), esim_id.decode())
                except UnicodeDecodeError:
                    self.damaged.append(raw)
                    continue
                if checksum(table, key, version, data) == crc:
                    # Row._make() would count the fields again, which takes time.
                    good.append(tuple.__new__(Row, (Table.ESIM, key, version, data)))
                    self.versions += version
                    continue
            self.damaged.append(raw)
        self.rows += len(raws)
        return good


_ToChunk = Callable[[TableVerifier, Sequence[Sequence[Any]]], Chunk]
"""Makes a chunk of the rows that match their checksums."""


def _esims(verifier: TableVerifier, raws: Sequence[Sequence[Any]]) -> Chunk:
    return Chunk(rows=tuple(verifier.verify_esims(raws)))


def _rows(table: Table, verifier: TableVerifier, raws: Sequence[Sequence[Any]]) -> Chunk:
    good = verifier.verify(TABLES[table], raws)
    return Chunk(rows=tuple([Row(table, key_of(table, row.columns), *row[1:]) for row in good]))


def _bases(verifier: TableVerifier, raws: Sequence[Sequence[Any]]) -> Chunk:
    good = verifier.verify(BASES, raws)
    return Chunk(bases={base_key(row.columns): int(row.data) for row in good})


def _read(
    connection: StampedConnection, table: SqliteTable, to_chunk: _ToChunk, *, set_aside: bool
) -> Iterator[Chunk]:
    verifier = TableVerifier()
    # A statement that is left open would keep the file locked after the connection is closed.
    with contextlib.closing(connection.execute(table.scan)) as cursor:
        while raws := cursor.fetchmany(CHUNK_ROWS):
            yield to_chunk(verifier, raws)
    damage = [describe_damaged(table, raw) + " and was left out" for raw in verifier.damaged]
    damage += _compare_with_seal(connection, table, verifier)
    if damage and set_aside:
        _require_pages_in_place(connection)
    if damage:
        yield Chunk(damaged=tuple(damage))
    if damage and set_aside:
        _set_aside(connection, table, verifier.damaged)


def _require_pages_in_place(connection: sqlite3.Connection) -> None:
    """Raise ``MisplacedPages`` before a change to one table ruins another, or loses its pages.

    A flipped bit in the schema can make a table begin at a page of another one.
    """
    with contextlib.closing(connection.execute("PRAGMA quick_check(1000)")) as cursor:
        for (line,) in cursor:
            if any(words in line for words in _MISPLACED):
                reason = "pages of a table belong to another one or to none"
                raise MisplacedPages(reason)


def _compare_with_seal(
    connection: sqlite3.Connection, table: SqliteTable, verifier: TableVerifier
) -> Iterator[str]:
    query = "SELECT rows, versions FROM seal WHERE name = ?"
    rows, versions = connection.execute(query, (table.name,)).fetchone() or (None, None)
    if rows != verifier.rows:
        yield f"table {table.name} should hold {rows} rows and holds {verifier.rows}"
    # The version of a damaged row may itself be damaged, so the sums are not comparable then.
    elif versions != verifier.versions and not verifier.damaged:
        yield f"table {table.name} holds rows that are not the ones last committed"


def _set_aside(
    connection: StampedConnection, table: SqliteTable, damaged: Sequence[Sequence[Any]]
) -> None:
    """Move damaged rows to the table ``damaged``, and update the seal."""
    name = table.name
    with commit(connection):
        connection.executemany(
            "INSERT INTO damaged (name, content) VALUES (?, ?)",
            [(name, repr(tuple(raw[:-1]))) for raw in damaged],
        )
        keys_and_checksums = [(*columns, crc) for *columns, _, crc, _, _ in damaged]
        deleted = connection.executemany(table.delete_damaged, keys_and_checksums).rowcount
        if deleted != len(damaged):
            _rebuild(connection, table)
        connection.execute(
            "INSERT OR REPLACE INTO seal (name, rows, versions) "  # noqa: S608  # the name comes from the schema
            f"SELECT ?, count(*), coalesce(sum(version), 0) FROM {name}",
            (name,),
        )


def _rebuild(connection: sqlite3.Connection, table: SqliteTable) -> None:
    """Copy the good rows to a new table and drop the old one.

    Some damaged rows cannot be deleted by their key. It may no longer be text, it may equal the
    key of another row, or it may be out of order, so that SQLite does not find it.
    """
    old = f"{table.name}_damaged"
    connection.execute(f"ALTER TABLE {table.name} RENAME TO {old}")
    connection.execute(table.create)
    scan = table.scan.replace(f"FROM {table.name} ", f"FROM {old} ")
    with contextlib.closing(connection.execute(scan)) as cursor:
        while raws := cursor.fetchmany(CHUNK_ROWS):
            good = [raw for raw in raws if verified(table, raw)]
            connection.executemany(table.insert, map(_insert_parameters, good))
    connection.execute(f"DROP TABLE {old}")


def _insert_parameters(raw: Sequence[Any]) -> tuple[Any, ...]:
    """Return the parameters that insert a good row again: its key was read as bytes."""
    *columns, version, crc, data, _ = raw
    return (*(column.decode() for column in columns), version, crc, data)
