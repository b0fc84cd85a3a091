"""The content of the overview: its figures, and the facts that its banners are made from."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from markupsafe import Markup

from exporter.endpoints.status.banners import Condition, VendorFeed
from exporter.endpoints.status.formatting import age, count, minutes_chart, size, span
from exporter.model.events import Status
from exporter.model.records import STATUSES, AccountBalance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from prometheus_client import Counter, Gauge

    from exporter.endpoints.health import Health
    from exporter.fleet.fleet import Fleet
    from exporter.ingest.commit import CommittedState
    from exporter.ingest.intake import Intake
    from exporter.ingest.recent_deliveries import RecentDeliveries
    from exporter.query.fleet_queries import FleetQueries
    from exporter.selfmetrics import SelfMetrics
    from exporter.storage.contract import Storage
    from exporter.vendors.vendor import Vendor

_NEARLY_FULL = 0.9
"""From this share of ``--limits.max-esims`` on, the figure is a warning."""


@dataclass(frozen=True, slots=True)
class StatusSources:
    """The parts of the exporter that the pages read from."""

    intake: Intake
    health: Health
    storage: Storage
    metrics: SelfMetrics
    queries: FleetQueries
    deliveries: RecentDeliveries
    vendors: Sequence[Vendor]
    """Those that are on."""
    allow_unsigned: bool
    """Whether deliveries without a signature are accepted."""
    settings: Callable[[], Sequence[tuple[str, str]]]
    """Returns the flags with their values in force; secrets are not shown."""
    certificates: Callable[[], Sequence[tuple[str, float]]]
    """Returns listeners, with the times (unix seconds) at which their certificates expire."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure at the top of the overview. Its texts are escaped, unless they are ``Markup``."""

    name: str
    value: str
    band: str = "neutral"
    """Name of its colour."""
    more: str = ""
    """Small text below the value."""
    drawing: str = ""
    """SVG below that."""


def total(counter: Counter | Gauge) -> float:
    """Return the sum of a counter over all its labels, or the value of a gauge."""
    return sum(
        s.value for f in counter.collect() for s in f.samples if s.name != f"{f.name}_created"
    )


def statuses(fleet: Fleet) -> list[tuple[Status, int]]:
    """Return the number of eSIMs by status, without statuses that no eSIM has."""
    numbers = {s: sum(v.statuses[s] for v in fleet.totals.vendors.values()) for s in STATUSES}
    return [(status, number) for status, number in numbers.items() if number]


def condition(sources: StatusSources, now: float) -> Condition:
    """Return the facts for the banners at ``now`` (unix seconds)."""
    state = sources.intake.state
    process = Condition(
        now=now,
        loaded=state is not None,
        stopping=sources.health.stopping,
        storage_failed=sources.intake.failed,
        reload_failed=not total(sources.metrics.reload_successful),
        unsigned=sources.allow_unsigned,
        certificates=sources.certificates(),
    )
    if state is None:
        return process
    return replace(
        process,
        damage=state.damage,
        feeds=_feeds(sources.vendors, state, now),
        stale_after=state.exposition.stale_after,
        expiry_hold=state.fleet.policy.grace if state.fleet.held else 0.0,
        over_limit=len(state.fleet.over_cap),
        rejected=len(state.rejected),
        balances=[r for r in state.fleet.partners.values() if isinstance(r, AccountBalance)],
    )


def _feeds(vendors: Sequence[Vendor], state: CommittedState, now: float) -> list[VendorFeed]:
    views = dict(state.exposition.vendor_views(now))
    feeds = state.fleet.feeds
    return [
        VendorFeed(
            vendor=vendor.name,
            title=vendor.title,
            received=feeds[vendor.name].received if vendor.name in feeds else None,
            report_interval=vendor.report_interval,
            activated=views[vendor.name].totals.statuses[Status.ACTIVATED],
            stale=views[vendor.name].stale or 0,
        )
        for vendor in vendors
    ]


def awaited(vendors: Sequence[Vendor]) -> str:
    """Return when vendors send usage events, for the time before the first one."""
    return " ".join(
        f"{vendor.title} sends one every {span(vendor.report_interval)} for each activated eSIM."
        if vendor.report_interval
        else f"{vendor.title} sends one when an eSIM has used a certain share of its data."
        for vendor in vendors
    )


def figures(sources: StatusSources, c: Condition, events: EventRate, up: float) -> Iterator[Figure]:
    """Yield the figures. ``up`` is the seconds since the exporter started."""
    yield _last_delivery(c)
    yield _event_rate(events, total(sources.metrics.events), up)
    yield _refused(total(sources.metrics.rejected), c)
    if state := sources.intake.state:
        yield _esims(state.fleet)
    sizes, replica = sources.storage.sizes(), sources.intake.replica
    yield Figure(
        "Storage",
        "failing" if c.storage_failed else size(sizes.storage),
        "critical" if c.storage_failed or c.damage else "good",
        f"changes of other replicas were read {span(replica.lag)} ago"
        if replica
        else f"plus a write-ahead log of {size(sizes.wal)}",
    )
    ready = c.loaded and not c.stopping
    name = "ready" if ready else "stopping" if c.stopping else "loading"
    yield Figure("State", name, "good" if ready else "critical", f"started {span(up)} ago")


def _last_delivery(c: Condition) -> Figure:
    if c.received is None:
        return Figure("Last delivery", "none yet")
    last = (
        Markup("{}: {}").format(
            feed.title, "none yet" if feed.received is None else age(feed.received, c.now)
        )
        for feed in c.feeds
    )
    return Figure(
        "Last delivery",
        age(c.received, c.now),
        "critical" if c.silent else "good",
        Markup(", ").join(last) if c.has_several_vendors else "verified",
    )


def _event_rate(events: EventRate, since_start: float, up: float) -> Figure:
    rate = events.per_minute(up, since_start)
    start = "The rate follows after a minute. " if rate is None else ""
    return Figure(
        "Events per minute",
        "not yet" if rate is None else _rate(rate),
        more=f"{start}{count(int(since_start))} since the start. In the last hour:",
        drawing=minutes_chart(events.minutes(up, since_start)),
    )


def _refused(refused: float, c: Condition) -> Figure:
    return Figure(
        "Refused deliveries",
        count(int(refused)),
        "notice" if refused else "good",
        f"since the start. {count(c.rejected)} kept for review",
    )


def _esims(fleet: Fleet) -> Figure:
    limit = fleet.policy.max_esims
    tracked, over = len(fleet.esims), len(fleet.over_cap)
    series = f"at most {count(limit)} get their own series" if limit else "all get their own series"
    full = limit and tracked >= _NEARLY_FULL * limit
    shard = fleet.shard
    name = "eSIMs" if shard is None or shard.is_only else f"eSIMs of {shard}"
    return Figure(name, count(tracked + over), "warning" if over or full else "good", series)


def _rate(number: float) -> str:
    """Write a rate: whole from 10 on, below that with one decimal."""
    return count(round(number)) if number >= 10 or number == int(number) else f"{number:.1f}"  # noqa: PLR2004  # see above


STEP = 10
"""Seconds between two samples."""

MINUTES = 60
"""How many minutes back the samples reach."""

_MINUTE = 60
_WINDOW = 5 * _MINUTE


class EventRate:
    """The rate of one counter, from samples. Times are seconds of any clock that never jumps."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float]] = deque(maxlen=MINUTES * _MINUTE // STEP + 1)

    def add_sample(self, at: float, total: float) -> None:
        """Keep the counter's value at time ``at``. Call this every :data:`STEP` seconds."""
        self._samples.append((at, total))

    def per_minute(self, at: float, total: float) -> float | None:
        """Return the increase per minute over the last five minutes, or since the first sample.

        It is ``None`` until the first sample is a minute old.
        """
        if not self._samples or at - self._samples[0][0] < _MINUTE:
            return None
        begun, before = self._before(at - _WINDOW)
        return (total - before) * _MINUTE / (at - begun)

    def minutes(self, at: float, total: float) -> tuple[int | None, ...]:
        """Return the increase in each minute, oldest first; ``None`` before the first sample."""
        if not self._samples:
            return (None,) * MINUTES
        begun = self._samples[0][0]
        marks = [at - _MINUTE * back for back in range(MINUTES, 0, -1)]
        values = [self._before(mark)[1] for mark in marks]
        return tuple(
            round(after - before) if end > begun else None
            for before, after, end in zip(
                values, [*values[1:], total], [*marks[1:], at], strict=True
            )
        )

    def _before(self, at: float) -> tuple[float, float]:
        """Return the last sample that is not after ``at``, or the first if there is none."""
        chosen = self._samples[0]
        for sample in self._samples:
            if sample[0] > at:
                break
            chosen = sample
        return chosen
