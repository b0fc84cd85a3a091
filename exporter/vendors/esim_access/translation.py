"""Translates notifications of eSIM Access to events.

An eSIM is named by ``esimTranNo``, because the vendor uses the same ICCID for several eSIMs. No
event names a package, so all have the same one. The amounts of ``DATA_USAGE`` have a time of their
own, which is older than the event: it orders the amounts, and that of the event orders the names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from exporter.model.events import (
    OTHER,
    USED_UP,
    OtherEvent,
    Snapshot,
    Status,
    StatusEvent,
    UsageEvent,
)
from exporter.vendors.amounts import to_base_units
from exporter.vendors.esim_access.statuses import status_of
from exporter.vendors.esim_access.wire_format import (
    DataUsageNotification,
    EsimStatusNotification,
    Notification,
    SmdpNotification,
    ValidityNotification,
)
from exporter.vendors.times import refuse_future
from exporter.vendors.vendor import DEFAULT_READING, Reading
from exporter.vendors.wire_format import misfit, read_as, read_document

if TYPE_CHECKING:
    from collections.abc import Callable

    from exporter.model.events import Event
    from exporter.vendors.amounts import Number
    from exporter.vendors.esim_access.wire_format import Status as StatusFields

    Unknown = Callable[[str], None] | None

VENDOR: Final = "esim-access"

PACKAGE_ID: Final = "plan"
"""The package of all eSIMs."""

_EVENT_TIME = ("eventGenerateTime",)

_DATA: Final = frozenset({"data"})

_USED_UP: Final = "USED_UP"

_TOLD_IN_WORDS: Final = frozenset({USED_UP})

_PERIOD: Final = frozenset({"period"})

_COUNTED = {"ORDER_STATUS": "order", "CHECK_HEALTH": "check_health"}
"""Types that carry no eSIM metrics, with our names of them. The vendor sends a ``CHECK_HEALTH``
when the URL is saved, and keeps the URL only if it is answered with 200."""

EVENT_TYPES: Final = tuple(sorted({"usage", "status", OTHER, *_COUNTED.values()}))
"""Every value of the label ``event_type``."""


def parse(
    body: bytes,
    now: float,
    reading: Reading = DEFAULT_READING,  # noqa: ARG001  # there is nothing to decide
    unknown: Unknown = None,
) -> Event:
    """Return the event of a delivery.

    ``now`` is the present time in unix seconds. ``unknown`` gets the path of each field that the
    vendor does not document, and of each missing half of a pair of amounts, as in
    "content.remain (missing)". Raises ``EventError``.
    """
    document = read_document(body)
    spelling = document.get("notifyType")
    name = spelling.upper() if isinstance(spelling, str) else ""
    if translate := _TRANSLATIONS.get(name):
        return translate(document, now, unknown)
    read_as(Notification, document)
    return OtherEvent(VENDOR, _COUNTED.get(name, OTHER))


def _data_usage(document: dict[str, Any], now: float, unknown: Unknown) -> Event:
    notification = read_as(DataUsageNotification, document, unknown)
    content = notification.content
    reported = notification.event_generate_time
    taken = content.last_update_time
    time = reported if taken is None else taken
    if time is None:
        raise misfit(_EVENT_TIME, "is required")
    snapshot = _snapshot(content.total_volume, "remain", content.remain, unknown)
    refuse_future(time, now, _EVENT_TIME if taken is None else ("content", "lastUpdateTime"))
    if reported is not None:
        refuse_future(reported, now, _EVENT_TIME)
    return UsageEvent(
        VENDOR,
        time,
        content.esim_tran_no,
        PACKAGE_ID,
        snapshot,
        reference_id=content.transaction_id,
        iccid=content.iccid,
        reported=None if reported == time else reported,
        parts=_DATA,
    )


def _esim_status(document: dict[str, Any], now: float, unknown: Unknown) -> Event:
    notification = read_as(EsimStatusNotification, document, unknown)
    content, time = notification.content, notification.event_generate_time
    allowed, remaining = content.total_volume, content.remain_volume
    if remaining is None:  # the size alone would make a known remaining amount unknown
        if allowed is not None and unknown:
            unknown("content.remainVolume (missing)")
        return _status_event(content, time, now)
    status = _status(content)
    snapshot = _snapshot(allowed, "remainVolume", remaining, unknown)
    refuse_future(time, now, _EVENT_TIME)
    contradicted = snapshot.data_remaining and _is_used_up(content, status)
    return UsageEvent(
        VENDOR,
        time,
        content.esim_tran_no,
        PACKAGE_ID,
        snapshot,
        status,
        content.transaction_id,
        content.iccid,
        parts=_DATA | _TOLD_IN_WORDS if contradicted else _DATA,
    )


def _smdp_event(document: dict[str, Any], now: float, unknown: Unknown) -> Event:
    notification = read_as(SmdpNotification, document, unknown)
    return _status_event(notification.content, notification.event_generate_time, now)


def _validity_usage(document: dict[str, Any], now: float, unknown: Unknown) -> Event:
    notification = read_as(ValidityNotification, document, unknown)
    content, time = notification.content, notification.event_generate_time
    refuse_future(time, now, _EVENT_TIME)
    return UsageEvent(
        VENDOR,
        time,
        content.esim_tran_no,
        PACKAGE_ID,
        Snapshot(end=content.expired_time),
        reference_id=content.transaction_id,
        iccid=content.iccid,
        parts=_PERIOD,
    )


_TRANSLATIONS: Final = {
    "DATA_USAGE": _data_usage,
    "ESIM_STATUS": _esim_status,
    "SMDP_EVENT": _smdp_event,
    "VALIDITY_USAGE": _validity_usage,
}


def _status_event(content: StatusFields, time: int, now: float) -> StatusEvent | UsageEvent:
    """Return the event of a status without amounts. One status tells that no data is left."""
    status = _status(content)
    refuse_future(time, now, _EVENT_TIME)
    if _is_used_up(content, status):
        return UsageEvent(
            VENDOR,
            time,
            content.esim_tran_no,
            PACKAGE_ID,
            Snapshot(),
            status,
            content.transaction_id,
            content.iccid,
            parts=_TOLD_IN_WORDS,
        )
    return StatusEvent(
        VENDOR, time, content.esim_tran_no, status, content.transaction_id, content.iccid
    )


def _status(content: StatusFields) -> Status:
    if content.esim_status is None and content.smdp_status is None:
        raise misfit(("content", "esimStatus"), "is required")
    return status_of(content.esim_status, content.smdp_status)


def _is_used_up(content: StatusFields, status: Status) -> bool:
    """Return whether a status tells that no data is left, of a profile that is still there.

    Amounts beside it that say otherwise count less: a rest that nobody can use may be left.
    """
    return status is Status.OTHER and (content.esim_status or "").upper() == _USED_UP


def _snapshot(
    allowed: Number | None, remaining_key: str, remaining: Number | None, unknown: Unknown
) -> Snapshot:
    """Return the amounts of data. Half of a pair is enough, and is noticed."""
    if allowed is None and remaining is None:
        raise misfit(("content",), "holds no amount that is known")
    if allowed is not None and allowed < 0:
        raise misfit(("content", "totalVolume"), "must not be negative")
    if unknown:
        for key, amount in (("totalVolume", allowed), (remaining_key, remaining)):
            if amount is None:
                unknown(f"content.{key} (missing)")
    return Snapshot(data_allowed=_bytes(allowed), data_remaining=_bytes(remaining))


def _bytes(amount: Number | None) -> int | None:
    return None if amount is None else max(0, to_base_units(amount, 1))
