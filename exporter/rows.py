"""Records as stored rows and back.

A row is a JSON array, so that a person with ``sqlite3`` can read it, opened by the
number of its layout, so that a later version can still read it. What is in the key is
not repeated. Integers have any size: a counter may outgrow 64 bits. Samples, of which
there are many, stay packed (base64).
"""

from __future__ import annotations

import struct
from binascii import a2b_base64, b2a_base64
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json, to_json

from exporter.consumption import Consumption
from exporter.errors import StorageDamaged
from exporter.events import Snapshot, Status
from exporter.records import (
    Allowance,
    Balance,
    Esim,
    Feed,
    Locations,
    Package,
    PartnerNotice,
    Record,
    Remains,
    Tombstone,
)
from exporter.storage import Row, Table

if TYPE_CHECKING:
    from collections.abc import Callable

LAYOUT = 1


def encode(record: Record) -> bytes:
    """Return the row of a record."""
    return to_json([LAYOUT, *_fields(record)])


def table_of(record: Record) -> Table:
    """Return the table a record is stored in."""
    match record:
        case Esim():
            return Table.ESIM
        case Tombstone():
            return Table.TOMBSTONE
        case Package():
            return Table.PACKAGE
        case Feed():
            return Table.FEED
    return Table.PARTNER


def decode(row: Row) -> Record:
    """Return the record of a row; the inverse of :func:`encode`.

    Raises ``StorageDamaged`` when the row is of a layout this version does not know.
    """
    try:
        layout, *fields = from_json(row.data, allow_inf_nan=False)
        if layout == LAYOUT:
            return _DECODERS[row.table]([*row.key], fields, row.version)
    except (KeyError, ValueError, TypeError, struct.error) as error:
        raise unreadable(row) from error
    raise unreadable(row)


def decode_esim(vendor: str, esim_id: str, version: int, data: bytes) -> Esim:
    """Return the eSIM of a row that was decoded, or encoded, by this version before."""
    return _esim([vendor, esim_id], from_json(data)[1:], version)


def unreadable(row: Row) -> StorageDamaged:
    """Return the error for a row of a layout this version does not know."""
    return StorageDamaged(
        f"a row of table {row.table} was written by a version this one cannot read; "
        "run the version that wrote it, or a newer one"
    )


def _fields(record: Record) -> list[Any]:
    match record:
        case Esim(status=status, allowances=allowances) as e:
            return [
                *(e.received, e.admitted, e.tracked, e.status_time, status.value),
                *(e.reference_time, e.reference_id, e.iccid_time, e.iccid),
                [_allowance_fields(allowance) for allowance in allowances],
            ]
        case Tombstone() as t:
            remains = [r and [r.total, r.last_used] for r in (t.data, t.sms, t.voice)]
            return [t.time, t.expired, t.status.value, *remains, t.peaks]
        case Package() as p:
            return [p.name_time, p.name]
        case Balance() as b:
            return [b.time, b.balance, b.threshold_time, b.threshold]
        case PartnerNotice() as n:
            return [n.time]
        case Feed() as f:
            return [f.received]


def _allowance_fields(a: Allowance) -> list[Any]:
    s = a.snapshot
    return [
        *(a.package_id, a.time, a.received),
        *(s.data_unlimited, s.data_allowed, s.data_remaining),
        *(s.sms_allowed, s.sms_remaining, s.voice_allowed, s.voice_remaining),
        *(s.start, s.end, s.locations),
        *(_consumption_fields(a.data), _consumption_fields(a.sms), _consumption_fields(a.voice)),
        a.peaks,
    ]


def _consumption_fields(c: Consumption | None) -> list[Any] | None:
    return None if c is None else [c.base, c.total, b2a_base64(c.path, newline=False).decode()]


def _esim(key: list[Any], fields: list[Any], version: int) -> Esim:
    received, admitted, tracked, status_time, status, *registers, allowances = fields
    reference_time, reference_id, iccid_time, iccid = registers
    return Esim(
        key[0],
        key[1],
        received,
        admitted,
        tracked,
        status_time,
        Status(status),
        reference_time,
        reference_id,
        iccid_time,
        iccid,
        tuple([_allowance(a) for a in allowances]),
        version,
    )


def _allowance(fields: list[Any]) -> Allowance:
    package_id, time, received, *amounts, locations, data, sms, voice, peaks = fields
    amounts.append(None if locations is None else _locations(locations))
    return Allowance(
        package_id,
        time,
        Snapshot(*amounts),
        received,
        _consumption(data),
        _consumption(sms),
        _consumption(voice),
        _locations(peaks),
    )


def _consumption(fields: list[Any] | None) -> Consumption | None:
    if fields is None:
        return None
    base, total, path = fields
    return Consumption(base, a2b_base64(path), total)


def _locations(fields: list[list[Any]]) -> Locations:
    return tuple([(name, amount) for name, amount in fields])


def _tombstone(key: list[Any], fields: list[Any], version: int) -> Tombstone:
    vendor, esim_id, package_id = key
    time, expired, status, *remains, peaks = fields
    data, sms, voice = (r and Remains(*r) for r in remains)
    return Tombstone(
        vendor=vendor,
        esim_id=esim_id,
        package_id=package_id,
        time=time,
        expired=expired,
        status=Status(status),
        data=data,
        sms=sms,
        voice=voice,
        peaks=_locations(peaks),
        version=version,
    )


def _package(key: list[Any], fields: list[Any], version: int) -> Package:
    vendor, package_id = key
    name_time, name = fields
    return Package(vendor, package_id, name_time, name, version)


def _partner(key: list[Any], fields: list[Any], version: int) -> Balance | PartnerNotice:
    if len(key) == len(("vendor", "event", "event_type")):
        return PartnerNotice(key[0], key[2], fields[0], version)
    vendor, currency = key
    time, balance, threshold_time, threshold = fields
    return Balance(vendor, currency, time, balance, threshold_time, threshold, version)


def _feed(key: list[Any], fields: list[Any], version: int) -> Feed:
    return Feed(key[0], fields[0], version)


_DECODERS: dict[Table, Callable[[list[Any], list[Any], int], Record]] = {
    Table.ESIM: _esim,
    Table.TOMBSTONE: _tombstone,
    Table.PACKAGE: _package,
    Table.PARTNER: _partner,
    Table.FEED: _feed,
}
