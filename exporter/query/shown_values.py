"""What people see of eSIMs and packages: values made from records when somebody asks.

The status pages show these types, and the API sends them as JSON. With their docstrings they also
give the JSON Schema in the OpenAPI document. Amounts are integers in base units (bytes, messages,
seconds). Times are whole unix seconds in UTC. Only ``EsimData.info`` may hold an ICCID, if
``--metrics.esim-labels`` asks for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar

from exporter.model.attention import about_to_run_out, out_of_data
from exporter.model.events import Status  # noqa: TC001  # pydantic reads the types

if TYPE_CHECKING:
    from collections.abc import Iterable

    from exporter.exposition.families import InfoLabels
    from exporter.fleet.aggregates import PackageTotals
    from exporter.fleet.fleet import Fleet
    from exporter.model.consumption import Consumption
    from exporter.model.records import Allowance, Esim


class Documented:
    """A type of the API's answers: its docstrings become descriptions in the JSON Schema."""

    __slots__ = ()
    __pydantic_config__: ClassVar[dict[str, Any]] = {
        "use_attribute_docstrings": True,
        "extra": "forbid",
    }


@dataclass(frozen=True, slots=True)
class EsimItem(Documented):
    """An eSIM in a list."""

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
    out_of_data: bool
    """Whether no data is left in any package; false where an eSIM is DELETED, REVOKED or EXPIRED,
    has unlimited data, or no data was ever included."""
    out_of_data_since: int | None
    """Event time since when; null where it is not out of data."""
    out_of_data_package: str | None
    """Id of the package that ran out last; null where it is not out of data."""
    about_to_run_out: bool
    """Whether it is not out of data, but at least 90 % is used in every package with data."""
    last_event: int
    """Event time of the newest event."""
    received: int
    """When an event that changed it was last received."""

    @classmethod
    def of(cls, esim: Esim) -> EsimItem:
        """Return the short form of an eSIM."""
        out = out_of_data(esim)
        return cls(
            vendor=esim.vendor,
            esim_id=esim.esim_id,
            reference_id=esim.reference_id or None,
            status=esim.status,
            over_limit=not esim.tracked,
            packages=[allowance.package_id for allowance in esim.allowances],
            data_used_share=data_used_share(esim),
            out_of_data=out is not None,
            out_of_data_since=out.since if out else None,
            out_of_data_package=out.package_id if out else None,
            about_to_run_out=about_to_run_out(esim) is not None,
            last_event=last_event(esim),
            received=esim.received,
        )


@dataclass(frozen=True, slots=True)
class EsimList(Documented):
    """A page of eSIMs."""

    esims: list[EsimItem]
    next: str | None
    """The parameter `after` of the next page; null on the last."""


@dataclass(frozen=True, slots=True)
class UsedAt(Documented):
    """What one event said was used."""

    time: int
    used: int


@dataclass(frozen=True, slots=True)
class ResourceData(Documented):
    """One resource of an allowance: data in bytes, SMS, or voice in seconds."""

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
    def of(
        cls, allowed: int | None, remaining: int | None, counter: Consumption | None
    ) -> ResourceData | None:
        """Return a resource; ``None`` if no event gave an amount."""
        if allowed is None and remaining is None and counter is None:
            return None
        return cls(
            allowed=allowed,
            remaining=remaining,
            consumed=counter.total if counter else 0,
            used_share=used_share(allowed, remaining),
            history=[UsedAt(*sample) for sample in counter.history] if counter else [],
        )


@dataclass(frozen=True, slots=True)
class AllowanceData(Documented):
    """An eSIM's use of one package."""

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
    def of(cls, allowance: Allowance, esim: Esim, fleet: Fleet) -> AllowanceData:
        """Return an allowance in full."""
        s = allowance.snapshot
        return cls(
            package_id=allowance.package_id,
            package_name=fleet.package_name(esim.vendor, allowance.package_id) or None,
            data_unlimited=s.data_unlimited,
            data=ResourceData.of(s.data_allowed, s.data_remaining, allowance.data),
            sms=ResourceData.of(s.sms_allowed, s.sms_remaining, allowance.sms),
            voice=ResourceData.of(s.voice_allowed, s.voice_remaining, allowance.voice),
            start=s.start,
            end=s.end,
            locations=dict(s.locations or ()),
            last_event=allowance.time,
            received=allowance.received,
            expires=int(fleet.policy.retention.allowance_deadline(allowance, esim)),
        )


class DataService(StrEnum):
    """Whether an eSIM has data, over all its packages."""

    DATA_LEFT = "data_left"
    UNLIMITED = "unlimited"
    """At least one package is unlimited."""
    OUT_OF_DATA = "out_of_data"
    TERMINAL = "terminal"
    """The eSIM is deleted, revoked or expired."""
    UNKNOWN = "unknown"
    """No event said how much data is left."""

    @classmethod
    def of(cls, esim: Esim) -> DataService:
        """Return the state of an eSIM."""
        snapshots = [allowance.snapshot for allowance in esim.allowances]
        if esim.terminal:
            return cls.TERMINAL
        if out_of_data(esim):
            return cls.OUT_OF_DATA
        if any(snapshot.data_unlimited for snapshot in snapshots):
            return cls.UNLIMITED
        left = any(snapshot.data_remaining for snapshot in snapshots)
        return cls.DATA_LEFT if left else cls.UNKNOWN


@dataclass(frozen=True, slots=True)
class EsimData(Documented):
    """An eSIM in full."""

    esim: EsimItem
    data_service: DataService
    """Whether it has data: data_left, unlimited (in at least one package), out_of_data, terminal
    (DELETED, REVOKED or EXPIRED), or unknown where no event said how much is left."""
    data_remaining: int
    """Bytes, over all packages with a limit; 0 where nothing is left or known."""
    status_time: int | None
    """Event time of the status; null where none was ever said."""
    info: dict[str, str]
    """The labels of esim_info: an ICCID, or its hash, only where --metrics.esim-labels says so."""
    expires: int
    """When something of it next leaves the metrics if nothing more is received."""
    allowances: list[AllowanceData]

    @classmethod
    def of(cls, esim: Esim, fleet: Fleet, info_labels: InfoLabels) -> EsimData:
        """Return an eSIM in full. ``info_labels`` decides whether and how its ICCID is shown."""
        return cls(
            esim=EsimItem.of(esim),
            data_service=DataService.of(esim),
            data_remaining=sum(a.snapshot.data_remaining or 0 for a in esim.allowances),
            status_time=esim.status_time or None,
            info=info_labels.names(esim),
            expires=int(fleet.policy.retention.deadline(esim)),
            allowances=[AllowanceData.of(a, esim, fleet) for a in esim.allowances],
        )


@dataclass(frozen=True, slots=True)
class PackageItem(Documented):
    """A package with sums over its allowances, as in the metrics of the group fleet."""

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
    out_of_data: int
    """eSIMs without data left in any package, of which this package ran out last."""
    over_percent: dict[str, dict[int, int]]
    """Allowances that used at least so many percent, by resource and percent."""

    @classmethod
    def of(cls, totals: PackageTotals) -> PackageItem:
        """Return a package with its present sums."""
        vendor, package_id = totals.key
        over: dict[str, dict[int, int]] = {}
        for (resource, percent), count in totals.over_threshold.items():
            over.setdefault(resource, {})[percent] = count
        return cls(
            vendor=vendor,
            package_id=package_id,
            package_name=totals.name or None,
            esims=dict(totals.statuses),
            data_allowed=totals.allowed if totals.limited else None,
            data_remaining=totals.remaining if totals.limited else None,
            data_consumed=totals.consumed,
            out_of_data=totals.out_of_data,
            over_percent=over,
        )

    @property
    def data_used_share(self) -> float | None:
        """Return the used share of all data, 0 to 1; ``None`` without a limit."""
        return used_share(self.data_allowed, self.data_remaining)


def used_share(allowed: int | None, remaining: int | None) -> float | None:
    """Return the used share of an allowance, 0 to 1; ``None`` if an amount is missing or 0."""
    if not allowed or remaining is None:
        return None
    return max(0, allowed - remaining) / allowed


def data_used_share(esim: Esim) -> float | None:
    """Return the greatest used share of data among the allowances; ``None`` without a limit."""
    return greatest_used_share(esim.allowances, "data")


def greatest_used_share(allowances: Iterable[Allowance], resource: str) -> float | None:
    """Return the greatest used share of a resource; ``None`` without a limit."""
    shares = [used_share(*_amounts(allowance, resource)) for allowance in allowances]
    return max((share for share in shares if share is not None), default=None)


def _amounts(allowance: Allowance, resource: str) -> tuple[int | None, int | None]:
    """Return what is allowed and what remains."""
    s = allowance.snapshot
    if resource == "data":
        return s.data_allowed, s.data_remaining
    if resource == "sms":
        return s.sms_allowed, s.sms_remaining
    return s.voice_allowed, s.voice_remaining


def last_event(esim: Esim) -> int:
    """Return the event time of an eSIM's newest event."""
    times = [a.time for a in esim.allowances]
    return max(esim.status_time, esim.reference_time, esim.iccid_time, *times)
