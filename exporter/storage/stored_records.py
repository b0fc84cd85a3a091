"""Records as stored rows and back.

A row is a JSON array, so that a person with ``sqlite3`` can read it: the number of its
layout, so that a later version can still read it, then the fields of the record but for its
key and version, which stand beside it. Integers have any size: a counter may outgrow 64
bits. Samples, of which there are many, stay packed (base64).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_type_hints

import msgspec

from exporter.errors import StorageDamaged
from exporter.model.records import Balance, Esim, Feed, Package, PartnerNotice, Record, Tombstone
from exporter.storage.contract import Row, Table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LAYOUT = 1

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class _Kind:
    """How records of one type are stored."""

    table: Table
    make: type[Record]
    named: int
    """Fields of the record that are in its key; they come first, the version last."""
    read: Callable[[bytes], tuple[Any, ...]]


def field_types(make: type[Record], named: int) -> list[Any]:
    """Return the types of a record's fields but for the first ``named`` and the version."""
    return [*get_type_hints(make).values()][named:-1]


def _kind(table: Table, make: type[Record], named: int) -> _Kind:
    row: Any = tuple[(int, *field_types(make, named))]  # type: ignore[misc]  # made here
    return _Kind(table, make, named, msgspec.json.Decoder(row).decode)


_KINDS: dict[type[Record], _Kind] = {
    Esim: _kind(Table.ESIM, Esim, 2),
    Tombstone: _kind(Table.TOMBSTONE, Tombstone, 3),
    Package: _kind(Table.PACKAGE, Package, 2),
    Balance: _kind(Table.PARTNER, Balance, 2),
    PartnerNotice: _kind(Table.PARTNER, PartnerNotice, 2),
    Feed: _kind(Table.FEED, Feed, 1),
}

_OF_TABLES = {kind.table: kind for kind in _KINDS.values() if kind.table is not Table.PARTNER}


def encode(record: Record) -> bytes:
    """Return the row of a record."""
    named = _KINDS[type(record)].named
    return _encode((LAYOUT, *record[named:-1]))


def table_of(record: Record) -> Table:
    """Return the table a record is stored in."""
    return _KINDS[type(record)].table


def decode(row: Row) -> Record:
    """Return the record of a row; the inverse of :func:`encode`.

    Raises ``StorageDamaged`` when the row is of a layout this version does not know.
    """
    key: tuple[str, ...] = row.key
    try:
        if row.table is Table.PARTNER:
            kind, key = _partner(key)
        else:
            kind = _OF_TABLES[row.table]
        fields = kind.read(row.data)
    except (KeyError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise unreadable(row) from error
    if fields[0] != LAYOUT:
        raise unreadable(row)
    # As _make() does, but for its look at the number of fields: the decoder has counted them.
    record: Record = tuple.__new__(kind.make, (*key, *fields[1:], row.version))
    return record


def esims_of(rows: Sequence[Row]) -> list[Esim]:
    """Return the eSIMs of rows that are eSIMs: as :func:`decode` does, in less time each.

    Raises as it does.
    """
    read = _KINDS[Esim].read
    esims: list[Esim] = []
    for row in rows:
        try:
            layout, *fields = read(row.data)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise unreadable(row) from error
        if layout != LAYOUT:
            raise unreadable(row)
        esims.append(tuple.__new__(Esim, (*row.key, *fields, row.version)))
    return esims


def unreadable(row: Row) -> StorageDamaged:
    """Return the error for a row of a layout this version does not know."""
    return StorageDamaged(
        f"a row of table {row.table} was written by a version this one cannot read; "
        "run the version that wrote it, or a newer one"
    )


def _partner(key: tuple[str, ...]) -> tuple[_Kind, tuple[str, ...]]:
    """Return the kind of a partner's row by its key, and what of the key is in the record."""
    if len(key) == len(("vendor", "event", "event_type")):
        vendor, _, event_type = key
        return _KINDS[PartnerNotice], (vendor, event_type)
    return _KINDS[Balance], key
