"""Records: the state of eSIMs, packages and accounts, as immutable values.

A record is replaced, never changed. So a batch of events is merged into copies, which are dropped
without a trace when their commit fails. A *register* is a pair of fields: a value, and the time
of the event that it comes from.
"""

from __future__ import annotations

from typing import NamedTuple

from exporter.model.consumption import Consumption  # noqa: TC001  # rows are read by these types
from exporter.model.events import TERMINAL, Snapshot, Status

EsimKey = tuple[str, str]
"""(vendor, esim_id)"""

PackageKey = tuple[str, str]
"""(vendor, package_id)"""

Locations = tuple[tuple[str, int], ...]
"""(location, bytes), sorted by location."""

STATUSES: tuple[Status, ...] = tuple(sorted(Status))
"""Every status, in the order of their names."""

RESOURCES = ("data", "sms", "voice")


class Part(NamedTuple):
    """What is known of one part of an allowance, and of one assignment of it: see ``model.parts``.

    Amounts are in base units. All fields behind ``time`` are as in ``Snapshot``.
    """

    name: str
    """``data``, ``sms``, ``voice``, ``period`` or ``used_up``."""
    start: int
    """When the assignment started, unix seconds; 0 if that is not known or there are none."""
    assignment: str
    """The vendor's name of the assignment; empty if it has none."""
    time: int
    """Event time, or the time of receipt if the event has none of its own."""
    unlimited: bool = False
    first: int | None = None
    """The allowed amount, or the start of the period."""
    second: int | None = None
    """The remaining amount, or the end of the period."""
    locations: Locations | None = None
    used: int | None = None
    """The most that was ever used in the assignment; ``None`` if that is not known."""
    carried: int = 0
    """How much of ``used`` was counted before the allowance expired."""

    @property
    def consumed(self) -> int:
        """Return what the assignment adds to the counter."""
        return max(0, (self.used or 0) - self.carried)


class Allowance(NamedTuple):
    """One eSIM's use of one package."""

    package_id: str
    time: int
    """Event time of the snapshot: the newest usage event."""
    snapshot: Snapshot
    received: int
    """When an event that changed this allowance was last received, unix seconds."""
    data: Consumption | None = None
    """Bytes; ``None`` until there is a sample."""
    sms: Consumption | None = None
    """Messages; ``None`` until there is a sample."""
    voice: Consumption | None = None
    """Seconds; ``None`` until there is a sample."""
    peaks: Locations = ()
    """The most ever reported for each location, bytes."""
    parts: tuple[Part, ...] = ()
    """What the snapshot is put together from; empty if each event tells everything. Sorted."""


class Esim(NamedTuple):
    """An eSIM with all its allowances."""

    vendor: str
    esim_id: str
    received: int
    """When an event that changed this eSIM was last received, unix seconds."""
    admitted: int
    """Its number in the order in which eSIMs were first seen."""
    tracked: bool = True
    """Whether it has series of its own; ``False`` over the cardinality cap."""
    status_time: int = 0
    status: Status = Status.UNKNOWN
    reference_time: int = 0
    reference_id: str = ""
    iccid_time: int = 0
    iccid: str = ""
    allowances: tuple[Allowance, ...] = ()
    """Sorted by package."""
    version: int = 0
    """Version of the stored row; 0 before the first commit."""

    @property
    def key(self) -> EsimKey:
        """Return what identifies the eSIM."""
        return (self.vendor, self.esim_id)

    @property
    def terminal(self) -> bool:
        """Return whether the eSIM is deleted, revoked or expired."""
        return self.status in TERMINAL

    def allowance(self, package_id: str) -> Allowance | None:
        """Return the allowance of a package, or ``None``."""
        for allowance in self.allowances:
            if allowance.package_id == package_id:
                return allowance
        return None


class Remains(NamedTuple):
    """What a tombstone keeps of one resource, in base units."""

    total: int
    """The counter, which continues from here."""
    last_used: int
    """The amount used in the newest sample: only what exceeds it will count as a rise."""


class Tombstone(NamedTuple):
    """What is left of an expired allowance, or of an expired eSIM if ``package_id`` is empty.

    An event that is not newer than ``time`` is stale. A newer event starts a new life, in which
    the counters continue.
    """

    vendor: str
    esim_id: str
    package_id: str
    time: int
    """The newer of two event times: of the allowance, and of the eSIM's status."""
    expired: int
    """When it expired, unix seconds by the exporter's clock."""
    status: Status = Status.UNKNOWN
    data: Remains | None = None
    sms: Remains | None = None
    voice: Remains | None = None
    peaks: Locations = ()
    version: int = 0

    @property
    def key(self) -> tuple[str, str, str]:
        """Return what identifies the tombstone."""
        return (self.vendor, self.esim_id, self.package_id)


class Package(NamedTuple):
    """The name register of a package."""

    vendor: str
    package_id: str
    name_time: int = 0
    name: str = ""
    version: int = 0

    @property
    def key(self) -> PackageKey:
        """Return what identifies the package."""
        return (self.vendor, self.package_id)


class AccountBalance(NamedTuple):
    """The balance and threshold registers of an account at a vendor, in one currency."""

    vendor: str
    currency: str
    time: int
    balance: float
    threshold_time: int = 0
    threshold: float | None = None
    version: int = 0

    @property
    def key(self) -> tuple[str, str]:
        """Return what identifies the account."""
        return (self.vendor, self.currency)


class PartnerNotice(NamedTuple):
    """The newest event time of one type of partner event."""

    vendor: str
    event_type: str
    time: int
    version: int = 0

    @property
    def key(self) -> tuple[str, str, str]:
        """Return what identifies the notice."""
        return (self.vendor, "event", self.event_type)


class Feed(NamedTuple):
    """When a verified event of a vendor last arrived, unix seconds by the exporter's clock."""

    vendor: str
    received: int
    version: int = 0

    @property
    def key(self) -> tuple[str]:
        """Return what identifies the feed."""
        return (self.vendor,)


Record = Esim | Tombstone | Package | AccountBalance | PartnerNotice | Feed
