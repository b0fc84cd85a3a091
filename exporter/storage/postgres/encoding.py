"""Keys, rows and commits in the form in which PostgreSQL stores them, and back."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from exporter.errors import StorageDamaged
from exporter.model.shards import slot_of
from exporter.storage.contract import Row, Table, check_key

if TYPE_CHECKING:
    from collections.abc import Iterable

    from exporter.storage.contract import Changes, Key

_KINDS = tuple(Table)
"""The tables, in the order of their numbers in the column ``kind``."""

_OF_ESIMS = frozenset({Table.ESIM, Table.TOMBSTONE})

_FOR_ALL_SHARDS = -1
"""The slot of a row that does not belong to an eSIM. Every shard keeps such rows."""

_SLOT_PART = 3
"""Index of the slot in the key of a base. Shorter keys have no slot."""


class EncodedKey(NamedTuple):
    """The key of a row as it is stored: the number of its table, the key's bytes, and the slot."""

    kind: int
    key: bytes
    slot: int

    @classmethod
    def of(cls, table: Table, key: Key) -> EncodedKey:
        """Return the stored key of a row. Raises ``ValueError`` for a key that is not text."""
        slot = slot_of(key[0], key[1]) if table in _OF_ESIMS else _FOR_ALL_SHARDS
        return cls(_KINDS.index(table), encode_key(key), slot)


@dataclass(slots=True)
class EncodedCommit:
    """One commit as the arrays that its statements take, one item for each row."""

    rows: tuple[Any, ...]
    keys: list[EncodedKey]
    expected: list[int]
    versions: list[int]
    data: list[bytes | None]
    bases: list[tuple[bytes, int, Decimal]] = field(default_factory=list)
    """Key, slot and amount of each base."""

    @classmethod
    def of(cls, changes: Changes) -> EncodedCommit:
        """Encode a commit.

        Raises ``ValueError`` for changes that contradict each other, and for a key that does not
        fit its table.
        """
        rows = changes.rows
        for row in rows:
            check_key(row.table, row.key)
            if row.data is None and not row.expected:
                raise ValueError(
                    f"a row of table {row.table} that does not exist cannot be deleted"
                )
        keys = [EncodedKey.of(row.table, row.key) for row in rows]
        if len(set(keys)) < len(keys):
            raise ValueError("a row is changed twice in one commit")
        return cls(
            rows,
            keys,
            expected=[row.expected for row in rows],
            versions=[row.expected + 1 for row in rows],
            data=[row.data for row in rows],
            bases=[
                (encode_key(key), slot_of_base(key), Decimal(amount))
                for key, amount in changes.bases.items()
            ],
        )

    def stored_row(self, index: int, version: int | None, data: bytes | None) -> Row:
        """Return the stored row that the change at ``index`` did not expect."""
        change = self.rows[index]
        if version is None or data is None:
            return Row(change.table, change.key, 0, b"")
        return Row(change.table, change.key, version, data)


def encode_key(key: Key) -> bytes:
    """Return bytes that sort in the same order as the texts of the key, part by part."""
    if not key or not all(isinstance(part, str) for part in key):
        raise ValueError("a key must have parts, all of them texts")
    return b"\0\0".join(part.encode().replace(b"\0", b"\0\xff") for part in key)


def decode_key(key: bytes) -> Key:
    """Return the key that was encoded to these bytes."""
    return tuple(part.replace(b"\0\xff", b"\0").decode() for part in key.split(b"\0\0"))


def decode_row(record: Iterable[Any]) -> Row:
    """Return the row of a record (kind, key, version, data). A deleted one has version 0.

    Raises ``StorageDamaged`` for a record that this program cannot have written.
    """
    kind, encoded, version, data = record
    try:
        table, key = _KINDS[kind], decode_key(encoded)
        check_key(table, key)
    except (IndexError, ValueError) as error:  # UnicodeDecodeError is a ValueError
        raise StorageDamaged(
            f"esim_exporter_rows has a row of kind {kind} with an invalid key: restore the "
            "database, or remove the row"
        ) from error
    if data is None:
        return Row(table, key, 0, b"")
    return Row(table, key, version, data)


def decode_base(record: Iterable[Any]) -> tuple[Key, int]:
    """Return the key and the amount of a base.

    Raises ``StorageDamaged`` for a record that this program cannot have written.
    """
    encoded, amount = record
    try:
        key = decode_key(encoded)
        slot_of_base(key)
        return key, int(amount)
    except ValueError as error:
        raise StorageDamaged(
            "esim_exporter_bases has a row that is invalid: restore the database, or remove the row"
        ) from error


def slot_of_base(key: Key) -> int:
    """Return the slot in which a base is counted: the fourth part of its key, or slot 0."""
    return int(key[_SLOT_PART]) if len(key) > _SLOT_PART else 0
