"""One commit: all changes in one transaction, checked against the stored versions."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from exporter.errors import StorageDamaged
from exporter.storage.contract import Row
from exporter.storage.sqlite.connection import commit
from exporter.storage.sqlite.schema import (
    BASES,
    TABLES,
    SqliteTable,
    VerifiedRow,
    base_columns,
    checksum,
    describe_damaged,
    key_columns,
    verified,
)

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Mapping

    from exporter.storage.contract import Change, Changes
    from exporter.storage.sqlite.connection import StampedConnection


def write(
    connection: StampedConnection,
    changes: Changes,
    before_sync: Callable[[], None] = lambda: None,
) -> tuple[Row, ...]:
    """Commit the changes, or return the stored rows whose version is not the expected one.

    ``before_sync`` is called when SQLite has all changes, before it writes them to the disk.

    Raises ``ValueError`` before anything is written, for changes that contradict each other or a
    key that does not fit its table. Raises ``StorageDamaged`` when a stored row that is needed
    does not match its checksum, and ``sqlite3.Error``. Then nothing is committed, unless the
    error came from COMMIT itself.
    """
    if not changes:
        return ()
    statements = _row_statements(changes.rows)
    bases = {base_columns(key): amount for key, amount in changes.bases.items()}
    try:
        with commit(connection, for_caller=True):
            if bases:
                statements[BASES] = _base_statements(connection, bases)
            for table, parameters in statements.items():
                _execute(connection, table, parameters)
            before_sync()
    except _Conflict:
        return tuple(_differing_rows(connection, changes.rows))
    return ()


class _Conflict(Exception):
    """A stored row does not have the expected version."""


@dataclass(slots=True)
class _StatementParameters:
    """The parameters of the statements that change one table."""

    table: SqliteTable
    inserts: list[tuple[Any, ...]] = field(default_factory=list)
    updates: list[tuple[Any, ...]] = field(default_factory=list)
    deletes: list[tuple[Any, ...]] = field(default_factory=list)
    deleted_versions: int = 0
    """Sum of the versions of the deleted rows."""

    def add(self, columns: tuple[str, ...], expected: int, data: bytes | None) -> None:
        version = expected + 1
        if data is None:
            self.deletes.append((*columns, expected))
            self.deleted_versions += expected
            return
        crc = checksum(self.table, columns, version, data)
        if expected:
            self.updates.append((version, crc, data, *columns, expected))
        else:
            self.inserts.append((*columns, version, crc, data))


def _row_statements(rows: Iterable[Change]) -> dict[SqliteTable, _StatementParameters]:
    statements: dict[SqliteTable, _StatementParameters] = {}
    seen: defaultdict[SqliteTable, set[tuple[str, ...]]] = defaultdict(set)
    for row in rows:
        table = TABLES[row.table]
        columns = key_columns(row.table, row.key)
        if columns in seen[table]:
            raise ValueError(f"a row of table {table.name} is changed twice in one commit")
        if row.data is None and not row.expected:
            raise ValueError(f"a row of table {table.name} that does not exist cannot be deleted")
        seen[table].add(columns)
        if table not in statements:
            statements[table] = _StatementParameters(table)
        statements[table].add(columns, row.expected, row.data)
    return statements


def _base_statements(
    connection: sqlite3.Connection, deltas: Mapping[tuple[str, ...], int]
) -> _StatementParameters:
    parameters = _StatementParameters(BASES)
    for columns, delta in deltas.items():
        stored = _stored(connection, BASES, columns)
        amount = delta + (int(stored.data) if stored else 0)
        parameters.add(columns, stored.version if stored else 0, str(amount).encode())
    return parameters


def _execute(
    connection: sqlite3.Connection, table: SqliteTable, changes: _StatementParameters
) -> None:
    for statement, parameters in (
        (table.insert, changes.inserts),
        (table.update, changes.updates),
        (table.delete, changes.deletes),
    ):
        if parameters and connection.executemany(statement, parameters).rowcount != len(parameters):
            raise _Conflict
    rows = len(changes.inserts) - len(changes.deletes)
    versions = len(changes.inserts) + len(changes.updates) - changes.deleted_versions
    connection.execute(
        "UPDATE seal SET rows = rows + ?, versions = versions + ? WHERE name = ?",
        (rows, versions, table.name),
    )


def _stored(
    connection: sqlite3.Connection, table: SqliteTable, columns: tuple[str, ...]
) -> VerifiedRow | None:
    raw = connection.execute(table.find, columns).fetchone()
    if raw is None:
        return None
    row = verified(table, raw)
    if row is None:
        raise StorageDamaged(describe_damaged(table, raw))
    return row


def _differing_rows(connection: sqlite3.Connection, rows: Iterable[Change]) -> Iterable[Row]:
    for row in rows:
        stored = _stored(connection, TABLES[row.table], key_columns(row.table, row.key))
        version, data = (stored.version, stored.data) if stored else (0, b"")
        if version != row.expected:
            yield Row(row.table, row.key, version, data)
