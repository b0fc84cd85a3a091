"""The answers of the API: the exporter as a whole, lists, and what administration did.

``exporter.query.shown_values`` has the types for eSIMs and packages.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import exporter
from exporter.model.events import Status  # noqa: TC001  # pydantic reads the types
from exporter.model.shards import Shard
from exporter.query.shown_values import Documented, PackageItem

if TYPE_CHECKING:
    from exporter.ingest.commit import CommittedState
    from exporter.ingest.recent_deliveries import AnsweredDelivery
    from exporter.ingest.rejected_deliveries import RejectedDelivery


@dataclass(frozen=True, slots=True)
class StorageStatus(Documented):
    """The durable storage."""

    working: bool
    """Whether events can be committed at this moment."""
    size_bytes: int
    wal_size_bytes: int
    damaged_rows: int
    """Damage found when it was last loaded."""
    lag_seconds: float | None
    """Since all that other replicas had committed was known; null where there can be none."""


@dataclass(frozen=True, slots=True)
class Balance(Documented):
    """The account at a vendor, in one currency."""

    currency: str
    balance: float
    threshold: float | None
    """Below which the vendor warns."""
    time: int
    """Event time of the balance."""


@dataclass(frozen=True, slots=True)
class VendorStatus(Documented):
    """One vendor's part of the fleet."""

    vendor: str
    last_received: int | None
    """When a verified delivery last arrived; null if none ever did."""
    esims: dict[Status, int]
    """eSIMs by status."""
    stale: int | None
    """ACTIVATED eSIMs of which nothing was received for longer than --fleet.stale-after; null if
    the vendor reports at thresholds only."""
    balances: list[Balance]


@dataclass(frozen=True, slots=True)
class ExporterStatus(Documented):
    """The exporter as a whole."""

    version: str
    started: int
    time: int
    """The exporter's clock."""
    storage: StorageStatus
    shard: int
    """Which part of the fleet all of this is about, counted from 0."""
    total_shards: int
    esims: int
    """eSIMs with series of their own."""
    esims_over_limit: int
    """eSIMs without, for --limits.max-esims."""
    esims_limit: int
    """0: no limit."""
    tombstones: int
    """Expired allowances and eSIMs that are remembered."""
    rejected: int
    """Rejected deliveries that are kept."""
    vendors: list[VendorStatus]

    @classmethod
    def of(
        cls, state: CommittedState, storage: StorageStatus, *, started: float, now: float
    ) -> ExporterStatus:
        """Return the exporter at ``now``; both times are unix seconds."""
        shard = state.fleet.shard or Shard()
        return cls(
            version=exporter.__version__,
            started=int(started),
            time=int(now),
            storage=storage,
            shard=shard.number,
            total_shards=shard.total,
            esims=len(state.fleet.esims),
            esims_over_limit=len(state.fleet.over_cap),
            esims_limit=state.fleet.policy.max_esims,
            tombstones=len(state.fleet.tombstones),
            rejected=len(state.rejected),
            vendors=_vendors(state, now),
        )


@dataclass(frozen=True, slots=True)
class PackageList(Documented):
    """All packages."""

    packages: list[PackageItem]


@dataclass(frozen=True, slots=True)
class Deleted(Documented):
    """An eSIM that was deleted."""

    vendor: str
    esim_id: str
    allowances: int
    """How many it had."""


@dataclass(frozen=True, slots=True)
class EventItem(Documented):
    """A delivery and what it was answered."""

    received: float
    vendor: str
    event_type: str | None
    """null where it could not be read."""
    esim_id: str | None
    """null where it could not be read, or the event is not about one eSIM."""
    code: int
    """HTTP status."""
    outcome: str
    """After a 200 a result of esim_exporter_webhook_events_total, else a reason of
    esim_exporter_webhook_rejected_total."""
    error: str | None
    """Why it was refused."""
    duration: float
    """Seconds until its answer."""

    @classmethod
    def of(cls, delivery: AnsweredDelivery) -> EventItem:
        """Return the list entry of an answered delivery."""
        return cls(
            received=delivery.received,
            vendor=delivery.vendor,
            event_type=delivery.event_type or None,
            esim_id=delivery.esim_id or None,
            code=delivery.code,
            outcome=delivery.outcome,
            error=delivery.error or None,
            duration=delivery.duration,
        )


@dataclass(frozen=True, slots=True)
class EventList(Documented):
    """Deliveries, the one last answered first."""

    events: list[EventItem]


@dataclass(frozen=True, slots=True)
class Problem(Documented):
    """One reason why a document does not fit."""

    loc: list[str | int]
    """Path into the document."""
    msg: str


@dataclass(frozen=True, slots=True)
class RejectedItem(Documented):
    """A rejected delivery that is kept; equal bodies are kept once."""

    id: str
    """SHA-256 of the body, in hex."""
    vendor: str
    reason: str
    """malformed (answered with 400), invalid (422), or future (422 because of its time alone)."""
    errors: list[Problem]
    first_received: int
    last_received: int
    deliveries: int
    """How often it came."""
    body_bytes: int

    @classmethod
    def of(cls, rejection: RejectedDelivery) -> RejectedItem:
        """Return a rejected delivery without its body."""
        return cls(
            id=rejection.digest,
            vendor=rejection.vendor,
            reason=rejection.reason,
            errors=[Problem(list(error.loc), error.msg) for error in rejection.errors],
            first_received=rejection.first_received,
            last_received=rejection.last_received,
            deliveries=rejection.deliveries,
            body_bytes=len(rejection.body),
        )


@dataclass(frozen=True, slots=True)
class RejectedList(Documented):
    """Rejected deliveries, the one last received first."""

    rejected: list[RejectedItem]
    total: int
    """How many are kept."""


@dataclass(frozen=True, slots=True)
class RejectedData(Documented):
    """A rejected delivery with its body."""

    rejected: RejectedItem
    body: str
    """May hold an ICCID."""
    encoding: Literal["utf-8", "base64"]
    """How the body is written; base64 where it is not UTF-8."""

    @classmethod
    def of(cls, rejection: RejectedDelivery) -> RejectedData:
        """Return a rejected delivery with its body."""
        item = RejectedItem.of(rejection)
        try:
            return cls(item, rejection.body.decode(), "utf-8")
        except UnicodeDecodeError:
            return cls(item, b64encode(rejection.body).decode(), "base64")


@dataclass(frozen=True, slots=True)
class Replayed(Documented):
    """A rejected delivery that was taken after all."""

    id: str
    result: str
    """As in esim_exporter_webhook_events_total."""


@dataclass(frozen=True, slots=True)
class Dropped(Documented):
    """A rejected delivery that is kept no longer."""

    id: str


@dataclass(frozen=True, slots=True)
class BackupData(Documented):
    """A backup that was written."""

    path: str
    size_bytes: int


def _vendors(state: CommittedState, now: float) -> list[VendorStatus]:
    feeds = state.fleet.feeds
    return [
        VendorStatus(
            vendor=vendor,
            last_received=feeds[vendor].received if vendor in feeds else None,
            esims=dict(view.totals.statuses),
            stale=view.stale,
            balances=[Balance(b.currency, b.balance, b.threshold, b.time) for b in view.balances],
        )
        for vendor, view in state.exposition.vendor_views(now)
    ]
