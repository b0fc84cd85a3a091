"""Rows and changes as parameters and results of statements of PostgreSQL."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from exporter.errors import StorageDamaged
from exporter.storage.contract import Row
from exporter.storage.postgres.schema import TABLES, RowAddress, decoded, encoded, slot_of_base
from exporter.storage.sqlite.schema import SHAPES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from exporter.storage.contract import Changes, Key, Table


@dataclass(slots=True)
class CommitParameters:
    """One commit as the parameters of its statements."""

    rows: tuple[Any, ...]
    places: list[RowAddress]
    kinds: list[int]
    keys: list[bytes]
    expected: list[int]
    versions: list[int]
    data: list[bytes | None]
    bases: list[tuple[bytes, int, Decimal]] = field(default_factory=list)
    """Key, slot and amount."""

    @classmethod
    def of(cls, changes: Changes) -> CommitParameters:
        """Return the plan of a commit. Raises ``ValueError`` for changes that cannot be meant."""
        rows = changes.rows
        places = [_place(row.table, row.key) for row in rows]
        for row in rows:
            if row.data is None and not row.expected:
                raise ValueError(f"a row of table {row.table} that is not there cannot be deleted")
        if len(set(places)) < len(places):
            raise ValueError("a row is changed twice in one commit")
        bases = [
            (encoded(key), slot_of_base(key), Decimal(amount))
            for key, amount in changes.bases.items()
        ]
        return cls(
            rows,
            places,
            kinds=[place.kind for place in places],
            keys=[place.key for place in places],
            expected=[row.expected for row in rows],
            versions=[row.expected + 1 for row in rows],
            data=[row.data for row in rows],
            bases=bases,
        )

    def found(self, at: int, version: int | None, data: bytes | None) -> Row:
        """Return what is stored instead of what was expected of a row."""
        change = self.rows[at]
        if version is None or data is None:
            return Row(change.table, change.key, 0, b"")
        return Row(change.table, change.key, version, data)


def row_of(found: Iterable[Any]) -> Row:
    """Return a row as it is stored; one that is gone has version 0 and no data.

    Raises ``StorageDamaged`` for one that cannot be ours.
    """
    kind, key, version, data = found
    try:
        table, parts = TABLES[kind], decoded(key)
        SHAPES[table].parts(parts)  # raises where they do not fit
    except (IndexError, ValueError) as error:  # that of UTF-8 included
        raise StorageDamaged(
            f"esim_exporter_rows has a row of kind {kind} with a key that cannot be: restore the "
            "database, or remove the row"
        ) from error
    if data is None:
        return Row(table, parts, 0, b"")
    return Row(table, parts, version, data)


def base_of(found: Iterable[Any]) -> tuple[Key, int]:
    """Return the key and the amount of a base; raises ``StorageDamaged`` likewise."""
    key, amount = found
    try:
        parts = decoded(key)
        slot_of_base(parts)
        return parts, int(amount)
    except ValueError as error:
        raise StorageDamaged(
            "esim_exporter_bases has a row that cannot be: restore the database, or remove the row"
        ) from error


def _place(table: Table, key: Key) -> RowAddress:
    SHAPES[table].parts(key)  # raises where the key does not fit
    return RowAddress.of(table, key)
