"""What people are shown of eSIMs and packages: values made from records when somebody asks.

Amounts are integers in base units (bytes, messages, seconds), times whole unix seconds in
UTC. No value holds an ICCID but ``EsimDetail.names``, where ``--metrics.esim-labels`` put it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from exporter.exposition.info_labels import InfoLabels
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
    """Empty where none was ever said."""
    status: Status
    tracked: bool
    """Whether it has series of its own; ``False`` over ``--limits.max-esims``."""
    packages: tuple[str, ...]
    """Its package ids, sorted."""
    data_used_share: float | None
    """Of the allowance of which the greatest share of data is used; ``None`` without limit."""
    last_event: int
    """Event time of the newest event."""
    received: int
    """When an event that changed it was last received."""


class Sample(NamedTuple):
    """What one event said was used."""

    time: int
    used: int


class Resource(NamedTuple):
    """One resource of an allowance."""

    allowed: int | None
    """``None`` where it is unlimited or not said, as for the next."""
    remaining: int | None
    consumed: int
    """Since the first event, as the counter has it."""
    history: tuple[Sample, ...]
    """The newest events that are kept, oldest first."""

    @property
    def used_share(self) -> float | None:
        """Return the share that is used, 0 to 1; ``None`` without a limit."""
        return used_share(self.allowed, self.remaining)


class AllowanceDetail(NamedTuple):
    """An eSIM's use of one package, in full."""

    package_id: str
    package_name: str
    data_unlimited: bool
    data: Resource | None
    """Bytes; ``None`` where the event had no amount, as for the next two."""
    sms: Resource | None
    voice: Resource | None
    """Seconds."""
    start: int | None
    """As the vendor gives it; may be the reporting window, as the next."""
    end: int | None
    locations: Locations
    """Bytes used per location, by the newest usage event."""
    last_event: int
    received: int
    expires: int
    """When it leaves the metrics if nothing more is received."""


class EsimDetail(NamedTuple):
    """An eSIM in full."""

    summary: EsimSummary
    status_time: int | None
    """Event time of the status; ``None`` where none was ever said."""
    names: Mapping[str, str]
    """The labels of ``esim_info`` with their values: an ICCID only if it is one of them."""
    expires: int
    """When something of it next leaves the metrics if nothing more is received."""
    allowances: tuple[AllowanceDetail, ...]


class PackageSummary(NamedTuple):
    """A package with the sums over its allowances, as in the metrics of the fleet."""

    vendor: str
    package_id: str
    package_name: str
    statuses: Mapping[Status, int]
    """Allowances by the status of their eSIM."""
    data_allowed: int | None
    """Over limited allowances of eSIMs not terminal, ``None`` without any, as the next."""
    data_remaining: int | None
    data_consumed: int
    """Never falls."""
    over: Mapping[tuple[str, int], int]
    """Allowances that used at least so much, by resource and percent."""

    @property
    def data_used_share(self) -> float | None:
        """Return the share of all data that is used, 0 to 1; ``None`` without a limit."""
        return used_share(self.data_allowed, self.data_remaining)


def used_share(allowed: int | None, remaining: int | None) -> float | None:
    """Return the share of an allowance that is used, 0 to 1; ``None`` of none, or of nothing."""
    if not allowed or remaining is None:
        return None
    return max(0, allowed - remaining) / allowed


def data_used_share(esim: Esim) -> float | None:
    """Return the greatest share of data that is used of an allowance, ``None`` without limit."""
    shares = [
        used_share(a.snapshot.data_allowed, a.snapshot.data_remaining) for a in esim.allowances
    ]
    return max((share for share in shares if share is not None), default=None)


def last_event(esim: Esim) -> int:
    """Return the event time of an eSIM's newest event."""
    times = [a.time for a in esim.allowances]
    return max(esim.status_time, esim.reference_time, esim.iccid_time, *times)


def summarise(esim: Esim) -> EsimSummary:
    """Return an eSIM as it is listed."""
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


def describe(esim: Esim, fleet: Fleet, identity: InfoLabels) -> EsimDetail:
    """Return an eSIM in full, its ICCID only as ``identity`` shows it in the metrics."""
    return EsimDetail(
        summary=summarise(esim),
        status_time=esim.status_time or None,
        names=identity.names(esim),
        expires=int(fleet.policy.retention.deadline(esim)),
        allowances=tuple(_allowance(a, esim, fleet) for a in esim.allowances),
    )


def package_summary(totals: PackageTotals) -> PackageSummary:
    """Return a package with its sums at this moment."""
    vendor, package_id = totals.key
    return PackageSummary(
        vendor=vendor,
        package_id=package_id,
        package_name=totals.name,
        statuses=dict(totals.statuses),
        data_allowed=totals.allowed if totals.limited else None,
        data_remaining=totals.remaining if totals.limited else None,
        data_consumed=totals.consumed,
        over=dict(totals.over),
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
