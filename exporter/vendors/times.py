"""Times in a vendor's JSON: reading them, and which ones the time of an event may be.

Times become whole unix seconds. Fractions are cut off.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

from exporter.errors import FieldError, FutureEvent
from exporter.model.events import MAX_AHEAD, MAX_TIME

if TYPE_CHECKING:
    from exporter.vendors.wire_format import Loc

EARLIEST = 1_420_070_400
"""2015-01-01T00:00:00Z. Nobody sold travel eSIMs before."""

_WRITTEN = "must be a time such as 2026-04-24T07:31:05Z"

# As RFC 3339 has it, and also with a comma, a zone without colon, and " UTC".
_ISO_TIME = re.compile(
    r"(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})[T ](?P<time>[0-9]{2}:[0-9]{2}:[0-9]{2})(?:[.,][0-9]+)?"
    r" ?(?:Z|UTC|(?P<offset>[+-][0-9]{2}:?[0-9]{2}))",
    re.IGNORECASE | re.ASCII,
)


def read_iso_time(value: Any) -> int | None:
    """Return the unix seconds of a time in ISO 8601 with a time zone, ``None`` if there is none.

    An empty string is the same as ``null``. Raises ``ValueError``, with a message for the sender,
    for anything else.
    """
    if value is None or value == "":
        return None
    match = _ISO_TIME.fullmatch(value) if isinstance(value, str) else None
    if not match:
        raise ValueError(_WRITTEN)
    try:
        time = datetime.fromisoformat(
            f"{match['date']}T{match['time']}{match['offset'] or '+0000'}"
        )
    except ValueError:
        raise ValueError(_WRITTEN) from None
    return int(time.timestamp())


def read_event_time(value: Any) -> int | None:
    """Return the same for the time of an event, which is within the years 2015 to 2105."""
    time = read_iso_time(value)
    return None if time is None else within_event_times(time, "must be a time")


def within_event_times(time: int, wanted: str) -> int:
    """Return a time if it can be that of an event: it is after 2014, and samples can hold it.

    Raises ``ValueError`` with what is ``wanted``, as in "must be unix seconds after 2014".
    """
    if time < EARLIEST:
        raise ValueError(f"{wanted} after 2014")
    if time > MAX_TIME:
        raise ValueError(f"is too far in the future: {wanted}")
    return time


def refuse_future(time: int, now: float, loc: Loc) -> None:
    """Raise ``FutureEvent`` if a time is more than 24 hours after ``now``.

    Call it after all other checks, because it raises the error of an event without another fault.
    """
    if time > now + MAX_AHEAD:
        msg = "must not be more than 24 hours in the future"
        raise FutureEvent(time, FieldError(loc, msg))
