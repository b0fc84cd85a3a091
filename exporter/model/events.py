"""Events: the value types that every vendor's wire format is translated to.

Amounts are integers in base units (bytes, messages, seconds), so that sums do not depend on the
order of events. Times are whole unix seconds in UTC.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple

MAX_AMOUNT = 2**63 - 1
"""The greatest amount that is accepted from a vendor, in base units."""

UNLIMITED_AMOUNT = 2**53 - 1
"""A data allowance of this many bytes or more is the vendor's way to say "unlimited"."""

MAX_TIME = 2**32 - 1
"""The latest event time, unix seconds in 2106: samples are packed with 32 bits for the time."""

MAX_AHEAD = 86_400
"""Seconds by which an event may be in the future. An event far in the future would make all later
events stale."""

MAX_IDENTIFIER = 256
"""The greatest length of an identifier, a name or a location, in characters."""

EVERYTHING: Final = frozenset({"data", "sms", "voice", "period"})
"""The parts of a snapshot. The period is its start and its end."""

USED_UP: Final = "used_up"
"""A part beside those: an event that tells in words, and without amounts, that no data is left. It
counts until the eSIM has a newer status or newer amounts of data."""

OTHER = "other"
"""The value of a label for event types and fields that have no name of their own there."""


class Status(StrEnum):  # clients see the docstring in openapi.json
    """State of an eSIM, in the vendor's eight spellings plus one for all others."""

    NEW = "NEW"
    INSTALLED = "INSTALLED"
    ACTIVATED = "ACTIVATED"
    INACTIVE = "INACTIVE"
    DELETED = "DELETED"
    REVOKED = "REVOKED"
    EXPIRED = "EXPIRED"
    UNKNOWN = "UNKNOWN"
    OTHER = "OTHER"


TERMINAL = frozenset({Status.DELETED, Status.REVOKED, Status.EXPIRED})
"""Statuses that an eSIM does not come back from. It leaves ``/metrics`` some time later."""


class Snapshot(NamedTuple):
    """What one usage event says about one allowance (an eSIM's use of one package).

    ``None`` means that there is no such allowance, never zero. Data amounts are ``None`` when
    the data is unlimited. SMS and voice amounts are ``None`` when they are not included. No
    amount is negative.
    """

    data_unlimited: bool = False
    data_allowed: int | None = None
    """Bytes."""
    data_remaining: int | None = None
    """Bytes. May exceed ``data_allowed``: vendors send that."""
    sms_allowed: int | None = None
    sms_remaining: int | None = None
    voice_allowed: int | None = None
    """Seconds."""
    voice_remaining: int | None = None
    """Seconds."""
    start: int | None = None
    """As the vendor gives it (may be the reporting window); nothing depends on it."""
    end: int | None = None
    """As the vendor gives it (may be the reporting window); nothing depends on it."""
    locations: tuple[tuple[str, int], ...] | None = None
    """Bytes used per location, sorted by location. ``None`` when the event has no list of
    locations, ``()`` when the list is empty."""


class Assignment(NamedTuple):
    """One of several purchases of the same package for the same eSIM.

    An event with an assignment has no time of its own: within the assignment, less remaining is
    newer. The greatest assignment is the present one.
    """

    start: int
    """When it started, unix seconds; 0 if it has not started or the vendor does not say."""
    name: str = ""
    """The vendor's name of it; empty if it has none."""


class UsageEvent(NamedTuple):
    """The state of one eSIM's use of one package at ``time``."""

    vendor: str
    time: int
    esim_id: str
    package_id: str
    snapshot: Snapshot
    status: Status | None = None
    reference_id: str | None = None
    iccid: str | None = None
    package_name: str | None = None
    reported: int | None = None
    """When the vendor made the event, if the amounts are older than that: the time of the status
    and of the names. ``None`` if it is ``time``."""
    parts: frozenset[str] = EVERYTHING
    """The parts of the snapshot that the event speaks of, or :data:`USED_UP`. All others stay as
    they were. If some of a vendor's events say less than :data:`EVERYTHING`, all of them name
    their parts: what two events of the same second then show does not depend on their order."""
    assignment: Assignment | None = None
    """``None`` if the event's time orders the amounts."""


class StatusEvent(NamedTuple):
    """An eSIM entered ``status`` at ``time``."""

    vendor: str
    time: int
    esim_id: str
    status: Status
    reference_id: str | None = None
    iccid: str | None = None


class PartnerEvent(NamedTuple):
    """The balance of the account at the vendor at ``time``, in ``currency``."""

    vendor: str
    event_type: str
    """One of ``low_balance``, ``insufficient_balance``, ``top_up``."""
    time: int
    currency: str
    balance: float
    threshold: float | None = None


class OtherEvent(NamedTuple):
    """An event without eSIM metrics. It is only counted under its ``event_type``."""

    vendor: str
    event_type: str
    """A known type (``order``, ``refunded``, ``rejected``) or ``other``. Never the vendor's own
    spelling of an unknown type: the values of a label must be few."""


Event = UsageEvent | StatusEvent | PartnerEvent | OtherEvent


def event_type_of(event: Event) -> str:
    """Return the type of an event, as the label of ``webhook_events_total`` has it."""
    if isinstance(event, UsageEvent):
        return "usage"
    if isinstance(event, StatusEvent):
        return "status"
    return event.event_type


def reported(event: UsageEvent | StatusEvent | PartnerEvent) -> int:
    """Return when the vendor made an event, unix seconds."""
    if isinstance(event, UsageEvent) and event.reported is not None:
        return event.reported
    return event.time
