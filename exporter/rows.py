"""Records as stored rows and back.

A row is a JSON array, so that a person with ``sqlite3`` can read it, opened by the
number of its layout, so that a later version can still read it. What is in the key is
not repeated. Integers have any size: a counter may outgrow 64 bits.
"""

from __future__ import annotations

from typing import Any

from pydantic_core import from_json, to_json

from exporter.consumption import Consumption, pairs, restored
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

LAYOUT = 1

MAX_ROW = 1 << 20
"""Bytes; an eSIM that would grow beyond cannot be stored."""


class Unstorable(Exception):
    """A record cannot be stored; the event that asked for it fails, alone."""


def encode(record: Record) -> bytes:
    """Return the row of a record. Raises ``Unstorable`` when it exceeds ``MAX_ROW``."""
    data = to_json([LAYOUT, *_fields(record)])
    if len(data) > MAX_ROW:
        raise Unstorable(f"the state of one eSIM would exceed {MAX_ROW} bytes")
    return data


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
        if layout != LAYOUT:
            raise ValueError(layout)
        return _DECODERS[row.table](row, fields)
    except (ValueError, TypeError, IndexError) as error:
        raise StorageDamaged(
            f"a row of table {row.table} was written by a version this one cannot read; "
            "run the version that wrote it, or a newer one"
        ) from error


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


def _consumption_fields(c: Consumption | None) -> list[int] | None:
    return None if c is None else [c.base, *(n for pair in pairs(c) for n in pair)]


def _esim(row: Row, fields: list[Any]) -> Esim:
    received, admitted, tracked, status_time, status, *registers, allowances = fields
    reference_time, reference_id, iccid_time, iccid = registers
    vendor, esim_id = row.key
    return Esim(
        vendor=vendor,
        esim_id=esim_id,
        received=received,
        admitted=admitted,
        tracked=tracked,
        status_time=status_time,
        status=Status(status),
        reference_time=reference_time,
        reference_id=reference_id,
        iccid_time=iccid_time,
        iccid=iccid,
        allowances=tuple([_allowance(a) for a in allowances]),
        version=row.version,
    )


def _allowance(fields: list[Any]) -> Allowance:
    package_id, time, received, *amounts, locations, data, sms, voice, peaks = fields
    return Allowance(
        package_id=package_id,
        time=time,
        snapshot=Snapshot(*amounts, None if locations is None else _locations(locations)),
        received=received,
        data=_consumption(data),
        sms=_consumption(sms),
        voice=_consumption(voice),
        peaks=_locations(peaks),
    )


def _consumption(fields: list[int] | None) -> Consumption | None:
    if fields is None:
        return None
    return restored(fields[0], zip(fields[1::2], fields[2::2], strict=True))


def _locations(fields: list[list[Any]]) -> Locations:
    return tuple([(name, amount) for name, amount in fields])


def _tombstone(row: Row, fields: list[Any]) -> Tombstone:
    time, expired, status, *remains, peaks = fields
    data, sms, voice = (r and Remains(*r) for r in remains)
    return Tombstone(
        *row.key, time, expired, Status(status), data, sms, voice, _locations(peaks), row.version
    )


def _partner(row: Row, fields: list[Any]) -> Balance | PartnerNotice:
    if len(row.key) == len(("vendor", "event", "event_type")):
        return PartnerNotice(row.key[0], row.key[2], *fields, version=row.version)
    return Balance(*row.key, *fields, version=row.version)


_DECODERS = {
    Table.ESIM: _esim,
    Table.TOMBSTONE: _tombstone,
    Table.PACKAGE: lambda row, fields: Package(*row.key, *fields, version=row.version),
    Table.PARTNER: _partner,
    Table.FEED: lambda row, fields: Feed(*row.key, *fields, version=row.version),
}
