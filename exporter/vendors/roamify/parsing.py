"""Roamify's wire format: the body of a delivery becomes an event.

The source is the vendor's documentation (July 2025 to 2026), which contradicts itself in places.
A delivery is refused if a value would have to be guessed. An unknown event type becomes the type
"other" and is no error, because the vendor announced more types.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exporter.errors import FieldError, FutureEvent, InvalidEvent
from exporter.model.events import (
    MAX_AHEAD,
    MAX_AMOUNT,
    MAX_IDENTIFIER,
    MAX_TIME,
    OTHER,
    Event,
    OtherEvent,
    PartnerEvent,
    Snapshot,
    StatusEvent,
    UsageEvent,
    event_type_of,
)
from exporter.vendors.amounts import SMS_UNITS, VOICE_UNITS, Number, data_units, to_base_units
from exporter.vendors.field_types import TOO_LONG
from exporter.vendors.fields import Fields
from exporter.vendors.roamify.documented_fields import missing_halves, undocumented_fields
from exporter.vendors.roamify.meanings import (
    NOTHING,
    VENDOR,
    is_included,
    known_status,
    means_unlimited,
)
from exporter.vendors.roamify.usual_usage import read_usual
from exporter.vendors.times import EARLIEST
from exporter.vendors.vendor import DEFAULT_READING, Reading
from exporter.vendors.wire_format import MAX_ERRORS, in_document_order, read_document

if TYPE_CHECKING:
    from collections.abc import Callable

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

EVENT_TYPES: tuple[str, ...] = tuple(sorted({name for _, name in _TYPES.values()} | {OTHER}))
"""Every value of the label ``event_type``."""

_IN_THE_FUTURE = "must not be more than 24 hours in the future"

_MAX_CURRENCY = 16


def parse(
    body: bytes,
    now: float,
    reading: Reading = DEFAULT_READING,
    unknown: Callable[[str], None] | None = None,
) -> Event:
    """Return the event of a delivery. A byte order mark before the JSON is skipped.

    ``now`` is the present time in unix seconds; ``reading`` says whether the vendor's MB is 1024
    or 1000 kB. ``unknown`` gets the path of each field that the vendor does not document, and
    of each missing half of a pair of amounts, as in "usage_data.remaining_sms (missing)".

    Raises ``MalformedEvent`` for a body that is not JSON, that is nested
    more than about 200 levels deep, or that has a number of more than 4300 digits. Raises
    ``InvalidEvent``, with the first 20 errors in the order of the document, for a body that does
    not fit the format.
    """
    event: Event | None = read_usual(body, now, reading.unit_base)
    if event is None:
        event = _read(body, now, reading.unit_base, unknown)
    if unknown and isinstance(event, UsageEvent):
        for name in missing_halves(event.snapshot):
            unknown(f"usage_data.{name} (missing)")
    return event


def _read(body: bytes, now: float, unit_base: int, unknown: Callable[[str], None] | None) -> Event:
    """Return the event of a delivery in any form, read field by field."""
    document = read_document(body)
    errors: list[FieldError] = []
    event = _event(Fields(document, (), errors), now, unit_base)
    if unknown:
        for path in undocumented_fields(document, event_type_of(event)):
            unknown(path)
    if [error.msg for error in errors] == [_IN_THE_FUTURE] and not isinstance(event, OtherEvent):
        raise FutureEvent(event.time, errors[0])
    if errors:
        raise InvalidEvent(tuple(in_document_order(document, errors)[:MAX_ERRORS]))
    return event


def _event(top: Fields, now: float, unit_base: int) -> Event:
    event_type = _event_type(top)
    match event_type:
        case "usage":
            return _usage(_payload(top), now, unit_base)
        case "status":
            return _status(_payload(top), now)
        case "low_balance" | "insufficient_balance" | "top_up":
            return _partner(_payload(top), event_type, now)
        case _:
            return OtherEvent(VENDOR, event_type)


def _event_type(top: Fields) -> str:
    """Return our name of the type, or "other" if type and category do not match."""
    spelling = top.values.get("event_type")
    category = top.values.get("event_category")
    if not isinstance(spelling, str):
        top.fail("event_type", "is required" if spelling is None else "must be a string")
        spelling = ""
    if not isinstance(category, str | None):
        top.fail("event_category", "must be a string")
        return OTHER
    expected, event_type = _TYPES.get(spelling.casefold(), ("", OTHER))
    return event_type if not category or category.casefold() == expected else OTHER


def _payload(top: Fields) -> Fields:
    """Return the object with the event's fields: ``data``, or the document until 20 July 2025."""
    return top if top.values.get("data") is None else top.required_object("data")


def _usage(fields: Fields, now: float, unit_base: int) -> UsageEvent:
    status = fields.text("status")
    return UsageEvent(
        vendor=VENDOR,
        time=_time(fields, now),
        esim_id=fields.required_text("esim_id"),
        package_id=fields.required_text("package_id"),
        snapshot=_snapshot(fields, unit_base),
        status=None if status is None else known_status(status),
        reference_id=fields.text("reference_id"),
        iccid=_iccid(fields),
        package_name=fields.text("package_name"),
    )


def _status(fields: Fields, now: float) -> StatusEvent:
    return StatusEvent(
        vendor=VENDOR,
        time=_time(fields, now),
        esim_id=fields.required_text("esim_id"),
        status=known_status(fields.required_text("status")),
        reference_id=fields.text("reference_id"),
        iccid=_iccid(fields),
    )


def _partner(fields: Fields, event_type: str, now: float) -> PartnerEvent:
    threshold = fields.number("threshold")
    currency = fields.required_text("currency").upper()
    if len(currency) > _MAX_CURRENCY:
        fields.fail("currency", f"must have at most {_MAX_CURRENCY} characters")
    return PartnerEvent(
        vendor=VENDOR,
        event_type=event_type,
        time=_time(fields, now),
        currency=currency,
        balance=fields.required_number("balance") + 0.0,  # turns -0.0 into 0.0
        threshold=None if threshold is None else threshold + 0.0,
    )


def _time(fields: Fields, now: float) -> int:
    noted = len(fields.errors)
    time = int(fields.required_number("timestamp"))
    if len(fields.errors) == noted:
        if time < EARLIEST:
            fields.fail("timestamp", "must be unix seconds after 2014")
        elif time > MAX_TIME:
            fields.fail("timestamp", "is too far in the future: must be unix seconds")
        elif time > now + MAX_AHEAD:
            fields.fail("timestamp", _IN_THE_FUTURE)
    return time


def _iccid(fields: Fields) -> str | None:
    """Return the ICCID, which is a string of digits or a JSON integer."""
    value = fields.values.get("iccid")
    if not isinstance(value, int) or isinstance(value, bool):
        return fields.text("iccid")
    # Check the size first: Python refuses to convert very long integers to text.
    if -(10 ** (MAX_IDENTIFIER - 1)) < value < 10**MAX_IDENTIFIER:
        return str(value)
    fields.fail("iccid", TOO_LONG)
    return None


def _snapshot(fields: Fields, unit_base: int) -> Snapshot:
    data_size = fields.unit("data_units", data_units(unit_base))
    voice_size = fields.unit("voice_units", VOICE_UNITS)
    sms_size = fields.unit("sms_units", SMS_UNITS)
    noted = len(fields.errors)
    usage = fields.required_object("usage_data")
    data = _data(usage, data_size)
    sms = _included(usage, "allowed_sms", "remaining_sms", sms_size)
    voice = _included(usage, "allowed_voice", "remaining_voice", voice_size)
    # If the vendor renamed its amounts, taking them as absent would remove a known allowance.
    if (*data, *sms, *voice) == NOTHING and len(fields.errors) == noted:
        fields.fail("usage_data", "holds no amount that is known")
    return Snapshot(
        *(*data, *sms, *voice),
        start=fields.integer("start"),
        end=fields.integer("end"),
        locations=_locations(fields, data_size),
    )


def _data(usage: Fields, size: int) -> tuple[bool, int | None, int | None]:
    """Return whether the data is unlimited, and otherwise allowed and remaining bytes.

    Unlimited data has the documented flag, or an allowed amount that means it.
    """
    unlimited = usage.flag("isUnlimited")
    allowed = usage.number("allowed_data")
    remaining = usage.number("remaining_data")
    if allowed is not None:
        unlimited |= means_unlimited(allowed, size)
    if unlimited:
        return True, None, None
    if allowed is None and remaining is not None and remaining < 0:
        return False, None, None
    return (
        False,
        _base_units(usage, "allowed_data", allowed, size),
        _base_units(usage, "remaining_data", remaining, size),
    )


def _included(
    usage: Fields, allowed_key: str, remaining_key: str, size: int
) -> tuple[int | None, int | None]:
    """Return allowed and remaining SMS or voice, ``None`` for both if not included."""
    allowed, remaining = usage.number(allowed_key), usage.number(remaining_key)
    if not is_included(allowed, remaining):
        return None, None
    return (
        _base_units(usage, allowed_key, allowed, size),
        _base_units(usage, remaining_key, remaining, size),
    )


def _base_units(fields: Fields, key: str, amount: Number | None, size: int) -> int | None:
    """Return an amount in base units. A negative remaining amount counts as 0."""
    if amount is None:
        return None
    converted = max(0, to_base_units(amount, size))
    if converted > MAX_AMOUNT:
        fields.fail(key, "is out of range")
    return converted


def _locations(fields: Fields, size: int) -> tuple[tuple[str, int], ...] | None:
    """Return bytes used per location. The dates are not used: their time zone is not known."""
    rows = fields.values.get("usage_list")
    if rows is None:
        return None
    if not isinstance(rows, list):
        fields.fail("usage_list", "must be a list")
        return None
    used: dict[str, int] = {}
    noted = len(fields.errors)
    for index, row in enumerate(rows):
        location, amount = _row(row, index, fields, size)
        used[location] = used.get(location, 0) + amount
        if len(fields.errors) - noted >= MAX_ERRORS:
            break  # further errors would not be reported
    if len(fields.errors) == noted and sum(used.values()) > MAX_AMOUNT:
        fields.fail("usage_list", "adds up to what is out of range")
    return tuple(sorted(used.items()))


def _row(row: Any, index: int, fields: Fields, size: int) -> tuple[str, int]:
    loc = (*fields.loc, "usage_list", index)
    if not isinstance(row, dict):
        fields.errors.append(FieldError(loc, "must be an object"))
        return "", 0
    values = Fields(row, loc, fields.errors)
    location = values.text("location") or "unknown"
    amount = values.required_number("data_used")
    if amount < 0:
        values.fail("data_used", "must not be negative")
    return location, _base_units(values, "data_used", amount, size) or 0
