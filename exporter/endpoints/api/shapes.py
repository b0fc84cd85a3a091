"""What the API's answers hold: their types give the JSON and, with these texts, its schema.

Amounts are integers in base units (bytes, messages, seconds), times unix seconds in UTC.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import ConfigDict

from exporter.model.events import Status  # noqa: TC001  # the types are read for the schemas

if TYPE_CHECKING:
    from exporter.ingest.recent_deliveries import AnsweredDelivery
    from exporter.ingest.rejected_deliveries import RejectedDelivery
    from exporter.query.summaries import (
        AllowanceDetail,
        EsimDetail,
        EsimSummary,
        PackageSummary,
        Resource,
    )

_DOCUMENTED = ConfigDict(use_attribute_docstrings=True, extra="forbid")


@dataclass(frozen=True, slots=True)
class StorageStatus:
    """The durable storage."""

    __pydantic_config__ = _DOCUMENTED

    working: bool
    """Whether events can be committed at this moment."""
    size_bytes: int
    wal_size_bytes: int
    damaged_rows: int
    """Damage found when it was last loaded."""
    lag_seconds: float | None
    """Since all that other replicas had committed was known; null where there can be none."""


@dataclass(frozen=True, slots=True)
class Balance:
    """The account at a vendor, in one currency."""

    __pydantic_config__ = _DOCUMENTED

    currency: str
    balance: float
    threshold: float | None
    """Below which the vendor warns."""
    time: int
    """Event time of the balance."""


@dataclass(frozen=True, slots=True)
class VendorStatus:
    """One vendor's part of the fleet."""

    __pydantic_config__ = _DOCUMENTED

    vendor: str
    last_received: int | None
    """When a verified delivery last arrived; null if none ever did."""
    esims: dict[Status, int]
    """eSIMs by status."""
    stale: int
    """ACTIVATED eSIMs of which nothing was received for longer than --fleet.stale-after."""
    balances: list[Balance]


@dataclass(frozen=True, slots=True)
class ExporterStatus:
    """The exporter as a whole."""

    __pydantic_config__ = _DOCUMENTED

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


@dataclass(frozen=True, slots=True)
class EsimItem:
    """An eSIM in a list."""

    __pydantic_config__ = _DOCUMENTED

    vendor: str
    esim_id: str
    reference_id: str | None
    status: Status
    over_limit: bool
    """Whether it has no series of its own, for --limits.max-esims."""
    packages: list[str]
    """Package ids."""
    data_used_share: float | None
    """Of the allowance of which the greatest share of data is used; null without a limit."""
    last_event: int
    """Event time of the newest event."""
    received: int
    """When an event that changed it was last received."""

    @classmethod
    def of(cls, esim: EsimSummary) -> EsimItem:
        """Return an eSIM as it is listed."""
        return cls(
            vendor=esim.vendor,
            esim_id=esim.esim_id,
            reference_id=esim.reference_id or None,
            status=esim.status,
            over_limit=not esim.tracked,
            packages=list(esim.packages),
            data_used_share=esim.data_used_share,
            last_event=esim.last_event,
            received=esim.received,
        )


@dataclass(frozen=True, slots=True)
class EsimList:
    """A page of eSIMs."""

    __pydantic_config__ = _DOCUMENTED

    esims: list[EsimItem]
    next: str | None
    """The parameter `after` of the next page; null on the last."""


@dataclass(frozen=True, slots=True)
class UsedAt:
    """What one event said was used."""

    __pydantic_config__ = _DOCUMENTED

    time: int
    used: int


@dataclass(frozen=True, slots=True)
class ResourceData:
    """One resource of an allowance: data in bytes, SMS, or voice in seconds."""

    __pydantic_config__ = _DOCUMENTED

    allowed: int | None
    """null where it is unlimited or not said."""
    remaining: int | None
    """null where it is unlimited or not said."""
    consumed: int
    """Since the first event; never falls."""
    used_share: float | None
    """0 to 1; null without a limit."""
    history: list[UsedAt]
    """The newest events that are kept, at most 17, oldest first."""

    @classmethod
    def of(cls, resource: Resource | None) -> ResourceData | None:
        """Return a resource, or ``None`` without one."""
        return resource and cls(
            allowed=resource.allowed,
            remaining=resource.remaining,
            consumed=resource.consumed,
            used_share=resource.used_share,
            history=[UsedAt(*sample) for sample in resource.history],
        )


@dataclass(frozen=True, slots=True)
class AllowanceData:
    """An eSIM's use of one package."""

    __pydantic_config__ = _DOCUMENTED

    package_id: str
    package_name: str | None
    data_unlimited: bool
    data: ResourceData | None
    """null where events had no amount."""
    sms: ResourceData | None
    """null where SMS are not included."""
    voice: ResourceData | None
    """null where voice is not included."""
    start: int | None
    """As the vendor gives it; may be the reporting window."""
    end: int | None
    """As the vendor gives it; may be the reporting window."""
    locations: dict[str, int]
    """Bytes used per location, by the newest usage event."""
    last_event: int
    """Event time of the newest usage event."""
    received: int
    """When an event that changed it was last received."""
    expires: int
    """When it leaves the metrics if nothing more is received."""

    @classmethod
    def of(cls, allowance: AllowanceDetail) -> AllowanceData:
        """Return an allowance in full."""
        return cls(
            package_id=allowance.package_id,
            package_name=allowance.package_name or None,
            data_unlimited=allowance.data_unlimited,
            data=ResourceData.of(allowance.data),
            sms=ResourceData.of(allowance.sms),
            voice=ResourceData.of(allowance.voice),
            start=allowance.start,
            end=allowance.end,
            locations=dict(allowance.locations),
            last_event=allowance.last_event,
            received=allowance.received,
            expires=allowance.expires,
        )


@dataclass(frozen=True, slots=True)
class EsimData:
    """An eSIM in full."""

    __pydantic_config__ = _DOCUMENTED

    esim: EsimItem
    status_time: int | None
    """Event time of the status; null where none was ever said."""
    info: dict[str, str]
    """The labels of esim_info: an ICCID, or its hash, only where --metrics.esim-labels says so."""
    expires: int
    """When something of it next leaves the metrics if nothing more is received."""
    allowances: list[AllowanceData]

    @classmethod
    def of(cls, esim: EsimDetail) -> EsimData:
        """Return an eSIM in full."""
        return cls(
            esim=EsimItem.of(esim.summary),
            status_time=esim.status_time,
            info=dict(esim.names),
            expires=esim.expires,
            allowances=[AllowanceData.of(allowance) for allowance in esim.allowances],
        )


@dataclass(frozen=True, slots=True)
class PackageItem:
    """A package with sums over its allowances, as in the metrics of the group fleet."""

    __pydantic_config__ = _DOCUMENTED

    vendor: str
    package_id: str
    package_name: str | None
    esims: dict[Status, int]
    """eSIMs that have it, by status."""
    data_allowed: int | None
    """Bytes, over limited allowances of eSIMs that are not terminal; null without any."""
    data_remaining: int | None
    """Bytes, over limited allowances of eSIMs that are not terminal; null without any."""
    data_consumed: int
    """Bytes; never falls."""
    over_percent: dict[str, dict[int, int]]
    """Allowances that used at least so many percent, by resource and percent."""

    @classmethod
    def of(cls, package: PackageSummary) -> PackageItem:
        """Return a package."""
        over: dict[str, dict[int, int]] = {}
        for (resource, percent), count in package.over.items():
            over.setdefault(resource, {})[percent] = count
        return cls(
            vendor=package.vendor,
            package_id=package.package_id,
            package_name=package.package_name or None,
            esims=dict(package.statuses),
            data_allowed=package.data_allowed,
            data_remaining=package.data_remaining,
            data_consumed=package.data_consumed,
            over_percent=over,
        )


@dataclass(frozen=True, slots=True)
class PackageList:
    """All packages."""

    __pydantic_config__ = _DOCUMENTED

    packages: list[PackageItem]


@dataclass(frozen=True, slots=True)
class EventItem:
    """A delivery and what it was answered."""

    __pydantic_config__ = _DOCUMENTED

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
        """Return a delivery."""
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
class EventList:
    """Deliveries, the one last answered first."""

    __pydantic_config__ = _DOCUMENTED

    events: list[EventItem]


@dataclass(frozen=True, slots=True)
class Problem:
    """One reason why a document does not fit."""

    __pydantic_config__ = _DOCUMENTED

    loc: list[str | int]
    """Path into the document."""
    msg: str


@dataclass(frozen=True, slots=True)
class RejectedItem:
    """A rejected delivery that is kept; equal bodies are kept once."""

    __pydantic_config__ = _DOCUMENTED

    id: str
    """SHA-256 of the body, in hex."""
    vendor: str
    reason: str
    """malformed (answered with 400) or invalid (422)."""
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
class RejectedList:
    """Rejected deliveries, the one last received first."""

    __pydantic_config__ = _DOCUMENTED

    rejected: list[RejectedItem]
    total: int
    """How many are kept."""


@dataclass(frozen=True, slots=True)
class RejectedData:
    """A rejected delivery with its body."""

    __pydantic_config__ = _DOCUMENTED

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
class Deleted:
    """An eSIM that was deleted."""

    __pydantic_config__ = _DOCUMENTED

    vendor: str
    esim_id: str
    allowances: int
    """How many it had."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """A rejected delivery that was taken after all."""

    __pydantic_config__ = _DOCUMENTED

    id: str
    result: str
    """As in esim_exporter_webhook_events_total."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """A rejected delivery that is kept no longer."""

    __pydantic_config__ = _DOCUMENTED

    id: str


@dataclass(frozen=True, slots=True)
class BackupData:
    """A backup that was written."""

    __pydantic_config__ = _DOCUMENTED

    path: str
    size_bytes: int
