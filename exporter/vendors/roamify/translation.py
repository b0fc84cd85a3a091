"""Translates webhooks of Roamify to events.

A delivery is refused if a value would have to be guessed. An unknown event type becomes the type
"other" and is no error, because the vendor announced more types.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from exporter.errors import FieldError
from exporter.model.events import (
    MAX_AHEAD,
    OTHER,
    OtherEvent,
    PartnerEvent,
    StatusEvent,
    UsageEvent,
)
from exporter.vendors.roamify.snapshots import missing_halves, snapshot_of
from exporter.vendors.roamify.statuses import known_status
from exporter.vendors.roamify.usual_usage import read_usual
from exporter.vendors.roamify.wire_format import (
    Delivery,
    FlatPartner,
    FlatStatus,
    FlatUsage,
    Nested,
    Partner,
    Status,
    Usage,
)
from exporter.vendors.times import refuse_future
from exporter.vendors.vendor import DEFAULT_READING, Reading
from exporter.vendors.wire_format import WireObject, misfits, read_as, read_document

if TYPE_CHECKING:
    from collections.abc import Callable

    from exporter.model.events import Event
    from exporter.vendors.roamify.usual_usage import UsualUsage
    from exporter.vendors.wire_format import Loc

    Unknown = Callable[[str], None] | None

VENDOR: Final = "roamify"

_TYPES = {
    "usage": ("esim", "usage"),
    "esim_usage": ("esim", "usage"),
    "status": ("esim", "status"),
    "esim_status": ("esim", "status"),
    "low_balance": ("partner", "low_balance"),
    "insufficient_balance": ("partner", "insufficient_balance"),
    "top_up": ("partner", "top_up"),
    "order": ("affiliate", "order"),
    "refunded": ("refund", "refunded"),
    "rejected": ("refund", "rejected"),
}
"""For each of the vendor's spellings of an event type: its category, and our name of the type."""

EVENT_TYPES: Final = tuple(sorted({name for _, name in _TYPES.values()} | {OTHER}))
"""Every value of the label ``event_type``."""

Payload = TypeVar("Payload", bound=WireObject)

_Forms = tuple[type[Nested[Payload]], type[Payload]]
"""The models of an event whose fields are nested, and of one whose fields are not."""

_USAGE: _Forms[Usage] = (Nested[Usage], FlatUsage)
_STATUS: _Forms[Status] = (Nested[Status], FlatStatus)
_PARTNER: _Forms[Partner] = (Nested[Partner], FlatPartner)


def parse(
    body: bytes, now: float, reading: Reading = DEFAULT_READING, unknown: Unknown = None
) -> Event:
    """Return the event of a delivery.

    ``now`` is the present time in unix seconds; ``reading`` says whether the vendor's MB is 1024
    or 1000 kB. ``unknown`` gets the path of each field that the vendor does not document, and
    of each missing half of a pair of amounts, as in "usage_data.remaining_sms (missing)". Raises
    ``EventError``.
    """
    event = read_usual_event(body, now, reading.unit_base) or _read(
        read_document(body), now, reading.unit_base, unknown
    )
    if unknown and isinstance(event, UsageEvent):
        for name in missing_halves(event.snapshot):
            unknown(f"usage_data.{name} (missing)")
    return event


def read_usual_event(body: bytes, now: float, unit_base: int) -> UsageEvent | None:
    """Return the event of a delivery in the usual form, ``None`` if it must be read otherwise."""
    usage = read_usual(body)
    if usage is None or usage.timestamp > now + MAX_AHEAD:
        return None
    errors: list[FieldError] = []
    try:
        event = _usage_event(usage, unit_base, errors)
    except ValueError:  # a unit that is not known
        return None
    return None if errors else event


def _read(document: dict[str, Any], now: float, unit_base: int, unknown: Unknown) -> Event:
    """Return the event of a delivery in any form."""
    match event_type := _event_type(document):
        case "usage":
            return _usage(document, now, unit_base, unknown)
        case "status":
            return _status(document, now, unknown)
        case "low_balance" | "insufficient_balance" | "top_up":
            return _partner(document, event_type, now, unknown)
        case _:
            read_as(Delivery, document)
            return OtherEvent(VENDOR, event_type)


def _event_type(document: dict[str, Any]) -> str:
    """Return our name of the type, or "other" if type and category do not match."""
    spelling, category = document.get("event_type"), document.get("event_category")
    if not isinstance(spelling, str) or not isinstance(category, str | None):
        return OTHER
    expected, event_type = _TYPES.get(spelling.casefold(), ("", OTHER))
    return event_type if not category or category.casefold() == expected else OTHER


def _payload(
    document: dict[str, Any], forms: _Forms[Payload], unknown: Unknown
) -> tuple[Payload, Loc]:
    """Return the fields of the event, and their place in the document."""
    nested, flat = forms
    if document.get("data") is None:
        return read_as(flat, document, unknown), ()
    return read_as(nested, document, unknown).data, ("data",)


def _usage(document: dict[str, Any], now: float, unit_base: int, unknown: Unknown) -> UsageEvent:
    usage, loc = _payload(document, _USAGE, unknown)
    errors: list[FieldError] = []
    event = _usage_event(usage, unit_base, errors)
    if errors:
        raise misfits(document, [FieldError((*loc, *each.loc), each.msg) for each in errors])
    refuse_future(event.time, now, (*loc, "timestamp"))
    return event


def _usage_event(usage: Usage | UsualUsage, unit_base: int, errors: list[FieldError]) -> UsageEvent:
    return UsageEvent(
        VENDOR,
        usage.timestamp,
        usage.esim_id,
        usage.package_id,
        snapshot_of(usage, unit_base, errors),
        known_status(usage.status) if usage.status else None,
        usage.reference_id or None,
        usage.iccid or None,
        usage.package_name or None,
    )


def _status(document: dict[str, Any], now: float, unknown: Unknown) -> StatusEvent:
    change, loc = _payload(document, _STATUS, unknown)
    refuse_future(change.timestamp, now, (*loc, "timestamp"))
    return StatusEvent(
        VENDOR,
        change.timestamp,
        change.esim_id,
        known_status(change.status),
        change.reference_id,
        change.iccid,
    )


def _partner(
    document: dict[str, Any], event_type: str, now: float, unknown: Unknown
) -> PartnerEvent:
    partner, loc = _payload(document, _PARTNER, unknown)
    refuse_future(partner.timestamp, now, (*loc, "timestamp"))
    threshold = partner.threshold
    return PartnerEvent(
        VENDOR,
        event_type,
        partner.timestamp,
        partner.currency,
        balance=partner.balance + 0.0,  # turns -0.0 into 0.0
        threshold=None if threshold is None else threshold + 0.0,
    )
