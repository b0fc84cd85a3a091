"""One commit: all changes in one transaction, checked against the versions stored."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from exporter.errors import StorageDamaged
from exporter.storage.contract import Row
from exporter.storage.sqlite.connection import transaction
from exporter.storage.sqlite.schema import (
    BASES,
    SHAPES,
    Shape,
    Stored,
    base_parts,
    checksum,
    describe,
    verified,
)

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Mapping

    from exporter.storage.contract import Change, Changes


def write(
    connection: sqlite3.Connection, changes: Changes, prepared: Callable[[], None] = lambda: None
) -> tuple[Row, ...]:
    """Commit the changes, or return the stored rows whose version is not the expected one.

    ``prepared`` is called when all is done but to write it to the disk.

    Raises ``ValueError`` for changes that cannot be meant, before anything is written,
    ``StorageDamaged`` when a stored row that matters does not match its checksum, and
    ``sqlite3.Error``. Nothing is committed then, unless it was COMMIT itself that failed.
    """
    if not changes:
        return ()
    plans = _planned(changes.rows)
    bases = {base_parts(key): amount for key, amount in changes.bases.items()}
    try:
        with transaction(connection):
            if bases:
                plans[BASES] = _added(connection, bases)
            for shape, plan in plans.items():
                _apply(connection, shape, plan)
            prepared()
    except _Conflict:
        return tuple(_differing(connection, changes.rows))
    return ()


class _Conflict(Exception):
    """A stored row does not have the expected version."""


@dataclass(slots=True)
class _Plan:
    """What is to be done to one table, as the parameters of its statements."""

    shape: Shape
    inserts: list[tuple[Any, ...]] = field(default_factory=list)
    updates: list[tuple[Any, ...]] = field(default_factory=list)
    deletes: list[tuple[Any, ...]] = field(default_factory=list)
    deleted_versions: int = 0

    def add(self, parts: tuple[str, ...], expected: int, data: bytes | None) -> None:
        version = expected + 1
        if data is None:
            self.deletes.append((*parts, expected))
            self.deleted_versions += expected
            return
        crc = checksum(self.shape, parts, version, data)
        if expected:
            self.updates.append((version, crc, data, *parts, expected))
        else:
            self.inserts.append((*parts, version, crc, data))


def _planned(rows: Iterable[Change]) -> dict[Shape, _Plan]:
    plans: dict[Shape, _Plan] = {}
    seen: defaultdict[Shape, set[tuple[str, ...]]] = defaultdict(set)
    for row in rows:
        shape = SHAPES[row.table]
        parts = shape.parts(row.key)
        if parts in seen[shape]:
            raise ValueError(f"a row of table {shape.name} is changed twice in one commit")
        if row.data is None and not row.expected:
            raise ValueError(f"a row of table {shape.name} that is not there cannot be deleted")
        seen[shape].add(parts)
        plans.setdefault(shape, _Plan(shape)).add(parts, row.expected, row.data)
    return plans


def _added(connection: sqlite3.Connection, deltas: Mapping[tuple[str, ...], int]) -> _Plan:
    plan = _Plan(BASES)
    for parts, delta in deltas.items():
        stored = _stored(connection, BASES, parts)
        amount = delta + (int(stored.data) if stored else 0)
        plan.add(parts, stored.version if stored else 0, str(amount).encode())
    return plan


def _apply(connection: sqlite3.Connection, shape: Shape, plan: _Plan) -> None:
    for statement, parameters in (
        (shape.insert, plan.inserts),
        (shape.update, plan.updates),
        (shape.delete, plan.deletes),
    ):
        if parameters and connection.executemany(statement, parameters).rowcount != len(parameters):
            raise _Conflict
    rows = len(plan.inserts) - len(plan.deletes)
    versions = len(plan.inserts) + len(plan.updates) - plan.deleted_versions
    connection.execute(
        "UPDATE seal SET rows = rows + ?, versions = versions + ? WHERE name = ?",
        (rows, versions, shape.name),
    )


def _stored(connection: sqlite3.Connection, shape: Shape, parts: tuple[str, ...]) -> Stored | None:
    raw = connection.execute(shape.find, parts).fetchone()
    if raw is None:
        return None
    stored = verified(shape, raw)
    if stored is None:
        raise StorageDamaged(describe(shape, raw))
    return stored


def _differing(connection: sqlite3.Connection, rows: Iterable[Change]) -> Iterable[Row]:
    for row in rows:
        shape = SHAPES[row.table]
        stored = _stored(connection, shape, shape.parts(row.key))
        version, data = (stored.version, stored.data) if stored else (0, b"")
        if version != row.expected:
            yield Row(row.table, row.key, version, data)
