"""Translates callbacks of eSIM Go to events.

An eSIM is named by its ICCID. An event has the time at which it was received, because the vendor
gives none; within one assignment of a bundle, less remaining is newer. An event speaks of one
resource.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from exporter.model.events import (
    MAX_AMOUNT,
    OTHER,
    Assignment,
    OtherEvent,
    Snapshot,
    Status,
    StatusEvent,
    UsageEvent,
)
from exporter.vendors.amounts import to_base_units
from exporter.vendors.esim_go.wire_format import BYTES, Callback, Deletion, Usage
from exporter.vendors.times import refuse_future
from exporter.vendors.vendor import DEFAULT_READING, Reading
from exporter.vendors.wire_format import misfit, read_as, read_document

if TYPE_CHECKING:
    from collections.abc import Callable

    from exporter.model.events import Event
    from exporter.vendors.amounts import Number
    from exporter.vendors.esim_go.wire_format import Bundle, Unit

    Unknown = Callable[[str], None] | None

VENDOR: Final = "esim-go"

_USAGE = frozenset({"utilisation", "usage", "firstuse"})

_COUNTED = {
    "countrychange": "country_change",
    "esim.deletion_scheduled": "deletion_scheduled",
}
"""Types that carry no eSIM metrics, with our names of them."""

EVENT_TYPES: Final = tuple(sorted({"usage", "status", OTHER, *_COUNTED.values()}))
"""Every value of the label ``event_type``."""

_PARTS: Final = {resource: frozenset({resource, "period"}) for resource in ("data", "sms", "voice")}

_LEAST_BYTES: Final = 1_000_000
"""No bundle is smaller. Samples of API v2.0 and v2.1 have smaller amounts, without a unit."""


def parse(
    body: bytes, now: float, reading: Reading = DEFAULT_READING, unknown: Unknown = None
) -> Event:
    """Return the event of a delivery.

    ``now`` is the time of receipt in unix seconds; ``reading`` says how an eSIM is named.
    ``unknown`` gets the path of each field that the vendor does not document, and
    "bundle.initialQuantity (missing)" if only the remaining quantity is there. Raises
    ``EventError``.
    """
    document = read_document(body)
    callback = read_as(Callback, document)
    name = (callback.alert_type or callback.event or "").lower()
    if not name:
        raise misfit(("alertType",), "is required")
    if callback.alert_type and name in _USAGE:
        return _usage(document, now, reading, unknown)
    if not callback.alert_type and name == "esim.deleted":
        return _deletion(document, now, reading, unknown)
    return OtherEvent(VENDOR, _COUNTED.get(name, OTHER))


def _usage(document: dict[str, Any], now: float, reading: Reading, unknown: Unknown) -> UsageEvent:
    usage = read_as(Usage, document, unknown)
    bundle = usage.bundle
    unit = _unit(bundle)
    return UsageEvent(
        VENDOR,
        int(now),
        reading.esim_id_of(usage.iccid),
        bundle.name,
        _snapshot(bundle, unit, unknown),
        iccid=usage.iccid,
        package_name=bundle.description,
        parts=_PARTS[unit.resource],
        assignment=Assignment(max(0, bundle.start_time or 0), bundle.id or bundle.reference or ""),
    )


def _deletion(
    document: dict[str, Any], now: float, reading: Reading, unknown: Unknown
) -> StatusEvent:
    deletion = read_as(Deletion, document, unknown)
    refuse_future(deletion.date, now, ("date",))
    esim_id = reading.esim_id_of(deletion.iccid)
    return StatusEvent(VENDOR, deletion.date, esim_id, Status.DELETED, iccid=deletion.iccid)


def _unit(bundle: Bundle) -> Unit:
    """Return the unit of the quantities. Without one, they are bytes, unless they may be old."""
    is_v3 = bundle.id is not None or bundle.reference is not None
    quantity = bundle.initial_quantity
    if bundle.unit is None and not is_v3 and not bundle.unlimited:
        if quantity is None:
            raise misfit(("bundle", "initialQuantity"), "is required")
        if quantity < _LEAST_BYTES:
            msg = "is too small for bytes, and no unit is named"
            raise misfit(("bundle", "initialQuantity"), msg)
    return bundle.unit or BYTES


def _snapshot(bundle: Bundle, unit: Unit, unknown: Unknown) -> Snapshot:
    """Return the amounts of the resource. If it is unlimited, the quantities are not used."""
    period = Snapshot(start=bundle.start_time, end=bundle.end_time)
    if bundle.unlimited:
        return period._replace(data_unlimited=unit.resource == "data")
    allowed = _amount("initialQuantity", bundle.initial_quantity, unit)
    remaining = _amount("remainingQuantity", bundle.remaining_quantity, unit)
    if remaining is None:  # it orders the events of an assignment
        raise misfit(("bundle", "remainingQuantity"), "is required")
    if allowed is None and unknown:
        unknown("bundle.initialQuantity (missing)")
    match unit.resource:
        case "sms":
            return period._replace(sms_allowed=allowed, sms_remaining=remaining)
        case "voice":
            return period._replace(voice_allowed=allowed, voice_remaining=remaining)
        case _:
            return period._replace(data_allowed=allowed, data_remaining=remaining)


def _amount(key: str, quantity: Number | None, unit: Unit) -> int | None:
    """Return a quantity in base units. A negative remaining quantity counts as 0."""
    if quantity is None:
        return None
    amount = to_base_units(quantity, unit.size)
    if amount > MAX_AMOUNT:
        raise misfit(("bundle", key), "is out of range")
    if amount < 0 and key == "initialQuantity":
        raise misfit(("bundle", key), "must not be negative")
    return max(0, amount)
