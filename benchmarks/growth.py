"""S12: which costs grow with the fleet, and which do not."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Final

from benchmarks import payloads
from benchmarks.bench import ESIMS_PATH
from benchmarks.client import GZIP, IDENTITY, fetch, fetch_whole
from benchmarks.load import Load
from benchmarks.process import Unavailable
from benchmarks.report import Comparison, Goal, Measure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.bench import Bench
    from benchmarks.process import Server

_SCRAPES: Final = 3

_SETTLE: Final = 0.05

_FLAT: Final = Goal(Measure.RATIO, 1.5)
"""A cost that should not depend on the fleet may differ by this factor between two sizes."""


@dataclass(slots=True)
class _Costs:
    """Costs of each round. They are processor seconds if nothing else is written."""

    scrape: dict[str, list[float]] = field(default_factory=lambda: {GZIP: [], IDENTITY: []})
    """For each byte sent, by encoding."""
    event: list[float] = field(default_factory=list)
    """For each event."""
    expiry: list[float] = field(default_factory=list)
    """Elapsed seconds for each eSIM that expires."""
    check: float = 0.0
    """Elapsed seconds of a check for expired eSIMs when there are none."""


def measure(bench: Bench) -> Iterator[Comparison]:
    """Measure each size of fleet and compare it with the smallest."""
    smallest, *larger = bench.profile.growth_sizes
    least = _costs(bench, smallest)
    for esims in larger:
        costs = _costs(bench, esims)
        peer = f"{smallest:,} eSIMs"
        fleet = f"{esims:,} eSIMs"
        for encoding in (GZIP, IDENTITY):
            what = f"processor time of a scrape per byte, {encoding}, {fleet}"
            mine, theirs = tuple(costs.scrape[encoding]), tuple(least.scrape[encoding])
            yield Comparison("S12", what, "s", mine, peer, theirs, _FLAT)
        what = f"processor time of an event, {fleet}"
        yield Comparison("S12", what, "s", tuple(costs.event), peer, tuple(least.event), _FLAT)
        what = f"expiry, time per eSIM that expires, {fleet}"
        note = f"a check when nothing is due: {1000 * costs.check:.2f} ms"
        mine, theirs = tuple(costs.expiry), tuple(least.expiry)
        yield Comparison("S12", what, "s", mine, peer, theirs, _FLAT, note)


def _costs(bench: Bench, esims: int) -> _Costs:
    costs = _Costs()
    storage = bench.storage(esims)
    expired = bench.expiry[esims]
    costs.expiry.append(expired["seconds"] / expired["expired"])
    costs.check = expired["check"]
    size = bench.size(esims)
    with bench.exporter(storage) as (server, public):
        for encoding in (GZIP, IDENTITY):
            fetch_whole(server.port, ESIMS_PATH, encoding)
        server.wait_until_quiet(bench.profile.quiet)
        _scrape(bench, server, esims, costs)
        size.memory = server.rss
        for _ in range(_SCRAPES):
            costs.event.append(_event(bench, server, public, esims))
    size.series = esims * payloads.SERIES
    size.storage = storage.stat().st_size
    return costs


def _scrape(bench: Bench, server: Server, esims: int, costs: _Costs) -> None:
    size = bench.size(esims)
    times: dict[str, list[float]] = {GZIP: [], IDENTITY: []}
    sizes: dict[str, int] = {}
    for _ in range(_SCRAPES):
        for encoding in (GZIP, IDENTITY):
            before = _settled_cpu(server)
            answer = fetch(server.port, ESIMS_PATH, encoding)
            costs.scrape[encoding].append((_settled_cpu(server) - before) / answer.size)
            times[encoding].append(answer.seconds)
            sizes[encoding] = answer.size
    size.gzip_bytes, size.identity_bytes = sizes[GZIP], sizes[IDENTITY]
    size.gzip_seconds, size.identity_seconds = median(times[GZIP]), median(times[IDENTITY])


def _event(bench: Bench, server: Server, public: int, esims: int) -> float:
    """Return the processor seconds of one event."""
    count = bench.profile.growth_events
    before = _settled_cpu(server)
    outcome = bench.send(Load(public, count=count, esims=esims, connections=64, seconds=300))
    if outcome.errors or outcome.answered < count:
        raise Unavailable(f"events were answered with {outcome.codes}")
    return (_settled_cpu(server) - before) / count


def _settled_cpu(server: Server) -> float:
    """Return the processor seconds used. The kernel adds those of a thread when it sleeps."""
    time.sleep(_SETTLE)
    return server.cpu
