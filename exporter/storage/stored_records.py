"""The stored form of records: encoding a record as the data of a row, and decoding it.

The data is a JSON array, so that a person with ``sqlite3`` can read it. Its first item is the
number of the layout, so that a later version can still read the row. The fields of the record
follow. The key and the version are left out, because they have their own columns. Integers may
have any size, because a counter may outgrow 64 bits. Samples stay packed (base64), because they
are the most numerous values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_type_hints

import msgspec

from exporter.errors import StorageDamaged
from exporter.model.records import (
    AccountBalance,
    Esim,
    Feed,
    Package,
    PartnerNotice,
    Record,
    Tombstone,
)
from exporter.storage.contract import Row, Table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LAYOUT = 1

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class _StoredForm:
    """How records of one type are stored."""

    table: Table
    record_type: type[Record]
    key_fields: int
    """Number of the record's first fields, which are in its key. Its last field is the version."""
    decode: Callable[[bytes], tuple[Any, ...]]


def field_types(record_type: type[Record], key_fields: int) -> list[Any]:
    """Return the types of the fields that are in the data: all but the key and the version."""
    return [*get_type_hints(record_type).values()][key_fields:-1]


def _stored_form(table: Table, record_type: type[Record], key_fields: int) -> _StoredForm:
    array: Any = tuple[(int, *field_types(record_type, key_fields))]  # type: ignore[misc]  # no literal
    return _StoredForm(table, record_type, key_fields, msgspec.json.Decoder(array).decode)


_FORMS: dict[type[Record], _StoredForm] = {
    Esim: _stored_form(Table.ESIM, Esim, 2),
    Tombstone: _stored_form(Table.TOMBSTONE, Tombstone, 3),
    Package: _stored_form(Table.PACKAGE, Package, 2),
    AccountBalance: _stored_form(Table.PARTNER, AccountBalance, 2),
    PartnerNotice: _stored_form(Table.PARTNER, PartnerNotice, 2),
    Feed: _stored_form(Table.FEED, Feed, 1),
}

_FORM_OF_TABLE = {form.table: form for form in _FORMS.values() if form.table is not Table.PARTNER}


def encode(record: Record) -> bytes:
    """Return the data of a record's row."""
    key_fields = _FORMS[type(record)].key_fields
    if type(record) is Esim:
        # Without parts, an allowance has the form that earlier versions read.
        allowances = [a if a.parts else a[:-1] for a in record.allowances]
        return _encode((LAYOUT, *record[key_fields:-2], allowances))
    return _encode((LAYOUT, *record[key_fields:-1]))


def table_of(record: Record) -> Table:
    """Return the table that a record is stored in."""
    return _FORMS[type(record)].table


def decode(row: Row) -> Record:
    """Return the record of a row; the inverse of :func:`encode`.

    Raises ``StorageDamaged`` when this version cannot read the row.
    """
    key: tuple[str, ...] = row.key
    try:
        if row.table is Table.PARTNER:
            form, key = _partner_form(key)
        else:
            form = _FORM_OF_TABLE[row.table]
        fields = form.decode(row.data)
    except (KeyError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise unreadable(row) from error
    if fields[0] != LAYOUT:
        raise unreadable(row)
    # _make() would count the fields again, which takes time: the decoder has counted them.
    record: Record = tuple.__new__(form.record_type, (*key, *fields[1:], row.version))
    return record


def decode_esims(rows: Sequence[Row]) -> list[Esim]:
    """Decode rows that are all eSIMs, in less time than :func:`decode` takes.

    Raises ``StorageDamaged`` when this version cannot read one of them.
    """
    read = _FORMS[Esim].decode
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
    """Return the error for a row that this version cannot read."""
    return StorageDamaged(
        f"a row of table {row.table} was written by another version and cannot be read by this "
        "one: run the version that wrote it, or a newer one"
    )


def _partner_form(key: tuple[str, ...]) -> tuple[_StoredForm, tuple[str, ...]]:
    """Return the stored form of a row of ``PARTNER``, and the key fields of its record."""
    if len(key) == len(("vendor", "event", "event_type")):
        vendor, _, event_type = key
        return _FORMS[PartnerNotice], (vendor, event_type)
    return _FORMS[AccountBalance], key
