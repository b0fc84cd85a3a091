"""eSIMs, their allowances, and packages in the answers of the API."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from exporter.endpoints.api.schemas import DOCUMENTED
from exporter.model.events import Status  # noqa: TC001  # pydantic reads the types

if TYPE_CHECKING:
    from exporter.query.summaries import (
        AllowanceDetail,
        EsimDetail,
        EsimSummary,
        PackageSummary,
        Resource,
    )


@dataclass(frozen=True, slots=True)
class EsimItem:
    """An eSIM in a list."""

    __pydantic_config__ = DOCUMENTED

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
        """Return the list entry of an eSIM."""
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

    __pydantic_config__ = DOCUMENTED

    esims: list[EsimItem]
    next: str | None
    """The parameter `after` of the next page; null on the last."""


@dataclass(frozen=True, slots=True)
class UsedAt:
    """What one event said was used."""

    __pydantic_config__ = DOCUMENTED

    time: int
    used: int


@dataclass(frozen=True, slots=True)
class ResourceData:
    """One resource of an allowance: data in bytes, SMS, or voice in seconds."""

    __pydantic_config__ = DOCUMENTED

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
        """Return a resource, or ``None`` if there is none."""
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

    __pydantic_config__ = DOCUMENTED

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

    __pydantic_config__ = DOCUMENTED

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

    __pydantic_config__ = DOCUMENTED

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

    __pydantic_config__ = DOCUMENTED

    packages: list[PackageItem]


@dataclass(frozen=True, slots=True)
class Deleted:
    """An eSIM that was deleted."""

    __pydantic_config__ = DOCUMENTED

    vendor: str
    esim_id: str
    allowances: int
    """How many it had."""
