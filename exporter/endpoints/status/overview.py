"""The first page's figures, and the conditions its notes are made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from exporter.endpoints.status.banners import SILENT, Condition
from exporter.endpoints.status.formatting import count, size, span
from exporter.endpoints.status.html_fragments import age, pace
from exporter.model.events import Status
from exporter.model.records import STATUSES, Balance, Feed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from prometheus_client import Counter, Gauge

    from exporter.endpoints.health import Health
    from exporter.endpoints.status.event_rate import EventRate
    from exporter.fleet.fleet import Fleet
    from exporter.ingest.intake import Intake
    from exporter.ingest.recent_deliveries import RecentDeliveries
    from exporter.query.fleet_queries import FleetQueries
    from exporter.selfmetrics import SelfMetrics
    from exporter.storage.contract import Storage


_NEARLY_FULL = 0.9
"""Share of the limit of eSIMs with series from which on it is time to do something."""


@dataclass(frozen=True, slots=True)
class StatusSources:
    """The parts of the exporter that the pages look at."""

    intake: Intake
    health: Health
    storage: Storage
    metrics: SelfMetrics
    queries: FleetQueries
    deliveries: RecentDeliveries
    allow_unsigned: bool
    """Whether deliveries without a signature are accepted."""
    settings: Callable[[], Sequence[tuple[str, str]]]
    """Returns the flags with their values in force; secrets are not shown."""
    certificates: Callable[[], Sequence[tuple[str, float]]]
    """Listeners with the time (unix seconds) their certificate expires."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure at a glance."""

    name: str
    value: str
    band: str = "neutral"
    more: str = ""
    drawing: str = ""


def total(counter: Counter | Gauge) -> float:
    """Return the sum of a counter over all its labels, or the value of a gauge."""
    return sum(
        s.value for f in counter.collect() for s in f.samples if s.name != f"{f.name}_created"
    )


def received(fleet: Fleet) -> float | None:
    """Return when a verified delivery last arrived (unix seconds), ``None`` if none ever did."""
    feeds = [r.received for r in fleet.registers.values() if isinstance(r, Feed)]
    return max(feeds, default=None)


def balances(fleet: Fleet) -> list[Balance]:
    """Return the accounts at vendors."""
    return [r for r in fleet.registers.values() if isinstance(r, Balance)]


def statuses(fleet: Fleet) -> list[tuple[Status, int]]:
    """Return how many eSIMs have each status that any has."""
    numbers = {s: sum(v.statuses[s] for v in fleet.totals.vendors.values()) for s in STATUSES}
    return [(status, number) for status, number in numbers.items() if number]


def condition(parts: StatusSources, now: float) -> Condition:
    """Return the state of things at ``now`` (unix seconds)."""
    state = parts.intake.state
    process: dict[str, Any] = {
        "now": now,
        "loaded": state is not None,
        "stopping": parts.health.stopping,
        "storage_failed": parts.intake.failed,
        "reload_failed": not total(parts.metrics.reload_successful),
        "unsigned": parts.allow_unsigned,
        "certificates": parts.certificates(),
    }
    if state is None:
        return Condition(**process)
    vendors, after = state.fleet.totals.vendors.values(), state.exposition.stale_after
    return Condition(
        **process,
        damage=state.damage,
        received=received(state.fleet),
        activated=sum(vendor.statuses[Status.ACTIVATED] for vendor in vendors),
        stale=sum(vendor.stale(now, after) for vendor in vendors),
        stale_after=after,
        expiry_held=state.fleet.held,
        over_limit=len(state.fleet.over_cap),
        rejected=len(state.rejected),
        balances=balances(state.fleet),
    )


def figures(parts: StatusSources, c: Condition, events: EventRate, up: float) -> Iterator[Figure]:
    """Yield the figures; ``up`` is how many seconds the exporter has run."""
    yield _feed(c)
    yield _pace(events, total(parts.metrics.events), up)
    yield _refused(total(parts.metrics.rejected), c)
    if state := parts.intake.state:
        yield _esims(state.fleet)
    sizes, replica = parts.storage.sizes(), parts.intake.replica
    yield Figure(
        "Storage",
        "failing" if c.storage_failed else size(sizes.storage),
        "critical" if c.storage_failed or c.damage else "good",
        f"others were followed {span(replica.lag)} ago"
        if replica
        else f"and a log of {size(sizes.wal)}",
    )
    ready = c.loaded and not c.stopping
    words = "ready" if ready else "stopping" if c.stopping else "loading"
    yield Figure("State", words, "good" if ready else "critical", f"up for {span(up)}")


def _feed(c: Condition) -> Figure:
    if c.received is None:
        return Figure("Last delivery", "none yet")
    silent = c.activated and c.now - c.received > SILENT
    return Figure(
        "Last delivery", age(c.received, c.now), "critical" if silent else "good", "verified"
    )


def _pace(events: EventRate, reached: float, up: float) -> Figure:
    return Figure(
        "Events a minute",
        _rate(events.per_minute(up, reached)),
        more=f"{count(int(reached))} since the start; the last hour:",
        drawing=pace(events.minutes(up, reached)),
    )


def _refused(refused: float, c: Condition) -> Figure:
    return Figure(
        "Refused",
        count(int(refused)),
        "notice" if refused else "good",
        f"since the start; {count(c.rejected)} kept as rejected",
    )


def _esims(fleet: Fleet) -> Figure:
    limit = fleet.policy.max_esims
    tracked, over = len(fleet.esims), len(fleet.over_cap)
    of = f"at most {count(limit)} have series" if limit else "no limit on series"
    full = limit and tracked >= _NEARLY_FULL * limit
    shard = fleet.shard
    name = "eSIMs" if shard is None or shard.whole else f"eSIMs of {shard}"
    return Figure(name, count(tracked + over), "warning" if over or full else "good", of)


def _rate(number: float) -> str:
    """Write a rate, with a decimal where it is low."""
    return count(round(number)) if number >= 10 or number == int(number) else f"{number:.1f}"  # noqa: PLR2004  # low
