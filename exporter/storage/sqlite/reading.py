"""Reading everything back, each row against its checksum and each table against its seal."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from exporter.storage.contract import Chunk, Row, Table
from exporter.storage.sqlite.connection import transaction
from exporter.storage.sqlite.schema import BASES, SHAPES, base_key, checksum, describe, verified

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from exporter.storage.sqlite.schema import Shape, Stored

CHUNK_ROWS = 512


def read(connection: sqlite3.Connection, *, set_aside: bool = True) -> Iterator[Chunk]:
    """Yield all rows in the order of :class:`Table` and key, the bases last.

    What is found damaged is reported, then moved aside, so that a row of the same key can be
    written, and the table is sealed as it is: damage is reported once. Without ``set_aside``
    nothing is changed. Raises ``sqlite3.Error``.
    """
    for table, shape in SHAPES.items():
        rows = _esims if table is Table.ESIM else partial(_rows, table)
        yield from _read(connection, shape, rows, set_aside=set_aside)
    yield from _read(connection, BASES, _amounts, set_aside=set_aside)


@dataclass(slots=True)
class Tally:
    """What was found in one table."""

    rows: int = 0
    versions: int = 0
    damaged: list[Sequence[Any]] = field(default_factory=list)

    def sort_out(self, shape: Shape, raws: Sequence[Sequence[Any]]) -> list[Stored]:
        """Count the rows, keep the damaged ones and return the others."""
        good = []
        for raw in raws:
            stored = verified(shape, raw)
            if stored is None:
                self.damaged.append(raw)
            else:
                good.append(stored)
                self.versions += stored.version
        self.rows += len(raws)
        return good

    def esims(self, raws: Sequence[Sequence[Any]]) -> list[Row]:
        """Do the same with eSIMs, which are nearly all there is, in half the time."""
        good: list[Row] = []
        shape = SHAPES[Table.ESIM]
        for raw in raws:
            vendor, esim_id, version, crc, data, sound = raw
            if sound and type(version) is int and type(data) is bytes:
                try:
                    key = (vendor.decode(), esim_id.decode())
                except UnicodeDecodeError:
                    self.damaged.append(raw)
                    continue
                if checksum(shape, key, version, data) == crc:
                    # As _make() does, but for its look at the number of fields.
                    good.append(tuple.__new__(Row, (Table.ESIM, key, version, data)))
                    self.versions += version
                    continue
            self.damaged.append(raw)
        self.rows += len(raws)
        return good


_Taken = Callable[[Tally, Sequence[Sequence[Any]]], Chunk]
"""Sorts rows out, and makes a chunk of those that are good."""


def _esims(tally: Tally, raws: Sequence[Sequence[Any]]) -> Chunk:
    return Chunk(rows=tuple(tally.esims(raws)))


def _rows(table: Table, tally: Tally, raws: Sequence[Sequence[Any]]) -> Chunk:
    shape = SHAPES[table]
    found = tally.sort_out(shape, raws)
    return Chunk(rows=tuple([Row(table, shape.key(row.parts), *row[1:]) for row in found]))


def _amounts(tally: Tally, raws: Sequence[Sequence[Any]]) -> Chunk:
    found = tally.sort_out(BASES, raws)
    return Chunk(bases={base_key(row.parts): int(row.data) for row in found})


def _read(
    connection: sqlite3.Connection,
    shape: Shape,
    taken: _Taken,
    *,
    set_aside: bool,
) -> Iterator[Chunk]:
    tally = Tally()
    # A statement that is not closed would keep the lock when the connection is closed.
    with contextlib.closing(connection.execute(shape.scan)) as cursor:
        while raws := cursor.fetchmany(CHUNK_ROWS):
            yield taken(tally, raws)
    damage = [describe(shape, raw) + " and was left out" for raw in tally.damaged]
    damage += _compared(connection, shape, tally)
    if damage:
        yield Chunk(damaged=tuple(damage))
    if damage and set_aside:
        _set_aside(connection, shape, tally.damaged)


def _compared(connection: sqlite3.Connection, shape: Shape, tally: Tally) -> Iterator[str]:
    query = "SELECT rows, versions FROM seal WHERE name = ?"
    rows, versions = connection.execute(query, (shape.name,)).fetchone() or (None, None)
    if rows != tally.rows:
        yield f"table {shape.name} should hold {rows} rows and holds {tally.rows}"
    # The version of a damaged row may be what is damaged.
    elif versions != tally.versions and not tally.damaged:
        yield f"table {shape.name} holds rows that are not the ones last committed"


def _set_aside(
    connection: sqlite3.Connection, shape: Shape, damaged: Sequence[Sequence[Any]]
) -> None:
    name = shape.name
    with transaction(connection):
        connection.executemany(
            "INSERT INTO damaged (name, content) VALUES (?, ?)",
            [(name, repr(tuple(raw[:-1]))) for raw in damaged],
        )
        told_by = [(*columns, crc) for *columns, _, crc, _, _ in damaged]
        if connection.executemany(shape.discard, told_by).rowcount != len(damaged):
            _make_anew(connection, shape)
        connection.execute(
            "INSERT OR REPLACE INTO seal "  # noqa: S608  # the name comes from the schema
            f"SELECT ?, count(*), coalesce(sum(version), 0) FROM {name}",
            (name,),
        )


def _make_anew(connection: sqlite3.Connection, shape: Shape) -> None:
    """Let a table hold its good rows and no others.

    A key that is damaged may be no text any more, that of another row, or out of order and not
    to be found.
    """
    old = f"{shape.name}_damaged"
    connection.execute(f"ALTER TABLE {shape.name} RENAME TO {old}")
    connection.execute(shape.create)
    scan = shape.scan.replace(f"FROM {shape.name} ", f"FROM {old} ")
    with contextlib.closing(connection.execute(scan)) as cursor:
        while raws := cursor.fetchmany(CHUNK_ROWS):
            good = [raw for raw in raws if verified(shape, raw)]
            connection.executemany(shape.insert, map(_as_text, good))
    connection.execute(f"DROP TABLE {old}")


def _as_text(raw: Sequence[Any]) -> tuple[Any, ...]:
    """Return a good row as it is inserted: its key is text again."""
    *columns, version, crc, data, _ = raw
    return (*(column.decode() for column in columns), version, crc, data)
