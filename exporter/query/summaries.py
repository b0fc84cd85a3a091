"""eSIMs and packages as people see them: values made from records when somebody asks.

Amounts are integers in base units (bytes, messages, seconds). Times are whole unix seconds in
UTC. Only ``EsimDetail.names`` may hold an ICCID, if ``--metrics.esim-labels`` asks for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from exporter.exposition.families import InfoLabels
    from exporter.fleet.aggregates import PackageTotals
    from exporter.fleet.fleet import Fleet
    from exporter.model.consumption import Consumption
    from exporter.model.events import Status
    from exporter.model.records import Allowance, Esim, Locations


class EsimSummary(NamedTuple):
    """An eSIM in a list."""

    vendor: str
    esim_id: str
    reference_id: str
    """Empty if no event gave one."""
    status: Status
    tracked: bool
    """Whether it has its own series; ``False`` over the cap ``--limits.max-esims``."""
    packages: tuple[str, ...]
    """Its package ids, sorted."""
    data_used_share: float | None
    """The greatest used share among its allowances, 0 to 1; ``None`` without a data limit."""
    last_event: int
    """Event time of the newest event."""
    received: int
    """When an event that changed it was last received."""


class Sample(NamedTuple):
    """The amount used according to one event."""

    time: int
    used: int


class Resource(NamedTuple):
    """Data, SMS or voice of an allowance."""

    allowed: int | None
    """``None`` if unlimited, or if no event gave an amount."""
    remaining: int | None
    """``None`` if unlimited, or if no event gave an amount."""
    consumed: int
    """Consumed since the first event: the value of the counter in the metrics."""
    history: tuple[Sample, ...]
    """The newest events, oldest first."""

    @property
    def used_share(self) -> float | None:
        """Return the used share, 0 to 1; ``None`` without a limit."""
        return used_share(self.allowed, self.remaining)


class AllowanceDetail(NamedTuple):
    """An eSIM's use of one package, in full."""

    package_id: str
    package_name: str
    data_unlimited: bool
    data: Resource | None
    """Bytes; ``None`` if no event gave an amount."""
    sms: Resource | None
    """Messages; ``None`` if no event gave an amount."""
    voice: Resource | None
    """Seconds; ``None`` if no event gave an amount."""
    start: int | None
    """As the vendor gives it: the start of the package or of the reporting window."""
    end: int | None
    """As the vendor gives it: the end of the package or of the reporting window."""
    locations: Locations
    """Bytes used per location, from the newest usage event."""
    last_event: int
    received: int
    expires: int
    """When it leaves the metrics if no further event arrives."""


class EsimDetail(NamedTuple):
    """An eSIM in full."""

    summary: EsimSummary
    status_time: int | None
    """Event time of the status; ``None`` if no event gave a status."""
    names: Mapping[str, str]
    """The labels of ``esim_info`` with their values."""
    expires: int
    """When it, or its first allowance, leaves the metrics if no further event arrives."""
    allowances: tuple[AllowanceDetail, ...]


class PackageSummary(NamedTuple):
    """A package with the sums over its allowances, equal to those in the metrics."""

    vendor: str
    package_id: str
    package_name: str
    statuses: Mapping[Status, int]
    """Number of allowances by the status of their eSIM."""
    data_allowed: int | None
    """Bytes, over limited allowances of eSIMs that are not terminal; ``None`` without any."""
    data_remaining: int | None
    """Bytes, over the same allowances; ``None`` without any."""
    data_consumed: int
    """Bytes, over all allowances, expired ones too. Never falls."""
    over: Mapping[tuple[str, int], int]
    """Number of allowances whose used share reached a threshold, by resource and percent."""

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
    shares = [
        used_share(a.snapshot.data_allowed, a.snapshot.data_remaining) for a in esim.allowances
    ]
    return max((share for share in shares if share is not None), default=None)


def last_event(esim: Esim) -> int:
    """Return the event time of an eSIM's newest event."""
    times = [a.time for a in esim.allowances]
    return max(esim.status_time, esim.reference_time, esim.iccid_time, *times)


def summarise(esim: Esim) -> EsimSummary:
    """Return the short form of an eSIM, for lists."""
    return EsimSummary(
        vendor=esim.vendor,
        esim_id=esim.esim_id,
        reference_id=esim.reference_id,
        status=esim.status,
        tracked=esim.tracked,
        packages=tuple(a.package_id for a in esim.allowances),
        data_used_share=data_used_share(esim),
        last_event=last_event(esim),
        received=esim.received,
    )


def describe(esim: Esim, fleet: Fleet, info_labels: InfoLabels) -> EsimDetail:
    """Return an eSIM in full. ``info_labels`` decides whether and how its ICCID is shown."""
    return EsimDetail(
        summary=summarise(esim),
        status_time=esim.status_time or None,
        names=info_labels.names(esim),
        expires=int(fleet.policy.retention.deadline(esim)),
        allowances=tuple(_allowance(a, esim, fleet) for a in esim.allowances),
    )


def package_summary(totals: PackageTotals) -> PackageSummary:
    """Return a package with its present sums."""
    vendor, package_id = totals.key
    return PackageSummary(
        vendor=vendor,
        package_id=package_id,
        package_name=totals.name,
        statuses=dict(totals.statuses),
        data_allowed=totals.allowed if totals.limited else None,
        data_remaining=totals.remaining if totals.limited else None,
        data_consumed=totals.consumed,
        over=dict(totals.over_threshold),
    )


def _allowance(allowance: Allowance, esim: Esim, fleet: Fleet) -> AllowanceDetail:
    s = allowance.snapshot
    return AllowanceDetail(
        package_id=allowance.package_id,
        package_name=fleet.package_name(esim.vendor, allowance.package_id),
        data_unlimited=s.data_unlimited,
        data=_resource(s.data_allowed, s.data_remaining, allowance.data),
        sms=_resource(s.sms_allowed, s.sms_remaining, allowance.sms),
        voice=_resource(s.voice_allowed, s.voice_remaining, allowance.voice),
        start=s.start,
        end=s.end,
        locations=s.locations or (),
        last_event=allowance.time,
        received=allowance.received,
        expires=int(fleet.policy.retention.allowance_deadline(allowance, esim)),
    )


def _resource(
    allowed: int | None, remaining: int | None, counter: Consumption | None
) -> Resource | None:
    if allowed is None and remaining is None and counter is None:
        return None
    history = tuple(Sample(*pair) for pair in counter.history) if counter else ()
    return Resource(allowed, remaining, counter.total if counter else 0, history)
