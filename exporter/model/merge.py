"""Merging: how one event changes one record. Pure functions, values in and values out.

No rule depends on the order of arrival. Registers and snapshots keep the value with the greatest
event time; on a tie the greater value wins. Samples are a set, and peaks are a maximum.
"""

from __future__ import annotations

from enum import StrEnum
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from exporter.model.consumption import Arrival, Consumption, insert, revived
from exporter.model.events import (
    EVERYTHING,
    TERMINAL,
    PartnerEvent,
    Snapshot,
    Status,
    StatusEvent,
    UsageEvent,
    reported,
)
from exporter.model.parts import (
    assemble,
    known_parts,
    merge_assigned,
    merge_timed,
    settled,
    tells_nothing_new,
)
from exporter.model.records import (
    AccountBalance,
    Allowance,
    Esim,
    Locations,
    Package,
    Remains,
    Tombstone,
)

if TYPE_CHECKING:
    from collections.abc import Iterable


_PACKAGE_ID = attrgetter("package_id")


class Result(StrEnum):
    """How a verified event was handled."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    """Everything in it was known already."""
    STALE = "stale"
    """Something newer is known. It had no effect."""
    LATE = "late"
    """It came too late to refine the counters. It had no effect."""
    IGNORED = "ignored"
    """It has no eSIM metrics."""


def merge_usage(
    esim: Esim, tombstone: Tombstone | None, event: UsageEvent, received: int
) -> tuple[Esim, Result]:
    """Return the eSIM after a usage event. It is the same object if nothing changed.

    ``tombstone`` is the tombstone of the allowance, if there is one. The caller has checked that
    the event is newer.
    """
    known = esim.allowance(event.package_id)
    allowance, arrivals = merge_allowance(known, tombstone, event, received)
    changed = _newer_registers(esim, event)
    if allowance is not known:
        others = [a for a in esim.allowances if a is not known]
        changed["allowances"] = tuple(sorted([*others, allowance], key=_PACKAGE_ID))
    if changed:
        received = max(received, esim.received)
        return settled(esim._replace(received=received, **changed)), Result.ACCEPTED
    if Arrival.LATE in arrivals:
        return esim, Result.LATE
    if Arrival.DUPLICATE in arrivals or tells_nothing_new(allowance, event):
        return esim, Result.DUPLICATE
    return esim, Result.STALE


def merge_status(esim: Esim, event: StatusEvent, received: int) -> tuple[Esim, Result]:
    """Return the eSIM after a status event. It is the same object if nothing changed."""
    changed = _newer_registers(esim, event)
    if changed:
        received = max(received, esim.received)
        return settled(esim._replace(received=received, **changed)), Result.ACCEPTED
    same = (event.time, event.status) == (esim.status_time, esim.status)
    return esim, Result.DUPLICATE if same else Result.STALE


def merge_allowance(
    known: Allowance | None, tombstone: Tombstone | None, event: UsageEvent, received: int
) -> tuple[Allowance, list[Arrival]]:
    """Return the allowance after a usage event, and how its samples were handled."""
    before = known or _new_allowance(tombstone, event, received)
    snapshot = event.snapshot
    peaks = merge_peaks(before.peaks, snapshot.locations or ())
    if event.assignment:
        return merge_assigned(before, event, received, peaks), []
    arrivals: list[Arrival] = []
    counters: list[Consumption | None] = []
    for counter, used in zip((before.data, before.sms, before.voice), _used(snapshot), strict=True):
        if used is None:
            counters.append(counter)
            continue
        advanced, arrival = insert(counter, event.time, used)
        counters.append(advanced if arrival is Arrival.INSERTED else counter)
        arrivals.append(arrival)
    parts = before.parts
    if event.parts is EVERYTHING and not parts:
        newer = event.time > before.time or (
            event.time == before.time
            and _snapshot_order(snapshot) > _snapshot_order(before.snapshot)
        )
    else:
        complete = known_parts(before)
        parts = merge_timed(complete, event)
        newer = parts is not complete
        snapshot = assemble(parts)
    if known and not newer and peaks is known.peaks and Arrival.INSERTED not in arrivals:
        return known, arrivals
    data, sms, voice = counters
    return (
        Allowance(
            package_id=event.package_id,
            time=max(event.time, before.time),
            snapshot=snapshot if newer else before.snapshot,
            # A replayed event has an early time of receipt.
            received=max(received, before.received),
            data=data,
            sms=sms,
            voice=voice,
            peaks=peaks,
            parts=parts if newer else before.parts,
        ),
        arrivals,
    )


def merge_peaks(known: Locations, reported: Iterable[tuple[str, int]]) -> Locations:
    """Return the most ever reported for each location. It is the same object if nothing rose."""
    peaks = dict(known)
    rose = False
    for location, amount in reported:
        if amount > peaks.get(location, -1):
            peaks[location] = amount
            rose = True
    return tuple(sorted(peaks.items())) if rose else known


def merge_package(package: Package, event: UsageEvent) -> Package:
    """Return the package after a usage event. The newest name that is not empty wins."""
    name, time = event.package_name, _register_time(event)
    if name and (time, name) > (package.name_time, package.name):
        return package._replace(name_time=time, name=name)
    return package


def merge_balance(known: AccountBalance | None, event: PartnerEvent) -> AccountBalance:
    """Return the account after a partner event. It is the same object if nothing changed."""
    if known is None:
        known = AccountBalance(event.vendor, event.currency, event.time, event.balance)
        balance = known
    elif (event.time, event.balance) > (known.time, known.balance):
        balance = known._replace(time=event.time, balance=event.balance)
    else:
        balance = known
    if event.threshold is not None and (event.time, event.threshold) > (
        known.threshold_time,
        -1.0 if known.threshold is None else known.threshold,
    ):
        balance = balance._replace(threshold_time=event.time, threshold=event.threshold)
    return balance


def tombstone_of(allowance: Allowance, esim: Esim, expired: int) -> Tombstone:
    """Return the tombstone of an allowance that expires at ``expired`` (unix seconds)."""
    data, sms, voice = (
        counter and Remains(counter.total, counter.last_used)
        for counter in (allowance.data, allowance.sms, allowance.voice)
    )
    return Tombstone(
        vendor=esim.vendor,
        esim_id=esim.esim_id,
        package_id=allowance.package_id,
        time=max(allowance.time, esim.status_time),
        expired=expired,
        status=esim.status,
        data=data,
        sms=sms,
        voice=voice,
        peaks=allowance.peaks,
    )


def _new_allowance(tombstone: Tombstone | None, event: UsageEvent, received: int) -> Allowance:
    """Return the allowance before its first event, or before its first event after expiry."""
    if tombstone is None:
        return Allowance(event.package_id, -1, event.snapshot, received)
    data, sms, voice = (
        None if remains is None else revived(remains.total, tombstone.time, remains.last_used)
        for remains in (tombstone.data, tombstone.sms, tombstone.voice)
    )
    return Allowance(
        event.package_id,
        time=-1,
        snapshot=event.snapshot,
        received=received,
        data=data,
        sms=sms,
        voice=voice,
        peaks=tombstone.peaks,
    )


def _newer_registers(esim: Esim, event: UsageEvent | StatusEvent) -> dict[str, Any]:
    """Return the register fields of an eSIM for which the event has a newer value."""
    newer: dict[str, Any] = {}
    time, status = _register_time(event), event.status
    if status and _status_order(time, status) > _status_order(esim.status_time, esim.status):
        newer |= {"status_time": time, "status": status}
    reference = event.reference_id
    if reference and (time, reference) > (esim.reference_time, esim.reference_id):
        newer |= {"reference_time": time, "reference_id": reference}
    iccid = event.iccid
    if iccid and (time, iccid) > (esim.iccid_time, esim.iccid):
        newer |= {"iccid_time": time, "iccid": iccid}
    return newer


def _register_time(event: UsageEvent | StatusEvent) -> int:
    """Return the time of the values that an event has for registers.

    For an event without a time of its own it is 0, so that always the greatest value wins.
    """
    if isinstance(event, UsageEvent) and event.assignment:
        return 0
    return reported(event)


def _status_order(time: int, status: Status) -> tuple[int, bool, str]:
    return (time, status in TERMINAL, status)


def _used(s: Snapshot) -> tuple[int | None, int | None, int | None]:
    """Return used data (bytes), SMS and voice (seconds) of a snapshot; ``None`` if not known."""
    if s.data_unlimited:
        data = None if s.locations is None else sum(amount for _, amount in s.locations)
    else:
        data = _spent(s.data_allowed, s.data_remaining)
    return (
        data,
        _spent(s.sms_allowed, s.sms_remaining),
        _spent(s.voice_allowed, s.voice_remaining),
    )


def _spent(allowed: int | None, remaining: int | None) -> int | None:
    return None if allowed is None or remaining is None else max(0, allowed - remaining)


def _snapshot_order(s: Snapshot) -> tuple[Any, ...]:
    """Return a sort key for snapshots with the same event time. Absent amounts come first."""
    amounts = (
        *(s.data_allowed, s.data_remaining, s.sms_allowed, s.sms_remaining),
        *(s.voice_allowed, s.voice_remaining, s.start, s.end, s.locations),
    )
    return (s.data_unlimited, *((v is not None, v if v is not None else 0) for v in amounts))
