"""S13 and S15: scrapes while the fleet changes, and how old what they show is."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from statistics import quantiles
from typing import TYPE_CHECKING, Final

from benchmarks import stalls
from benchmarks.bench import ESIMS_PATH
from benchmarks.client import GZIP, IDENTITY, fetch, fetch_whole
from benchmarks.load import Load
from benchmarks.process import Unavailable
from benchmarks.report import Comparison, Goal, Measure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future
    from pathlib import Path

    from benchmarks.bench import Bench
    from benchmarks.load import Outcome
    from benchmarks.process import Server

_CONNECTIONS: Final = 64

_PAUSE: Final = 1.0
"""Seconds between two scrapes, and between two looks at the age."""

_CHANGED: Final = 0.02
"""Share of the eSIMs that changes as fast as possible, right before one scrape."""

_OWN_PATH: Final = "/metrics?collect[]=exporter"
_AGE: Final = re.compile(rb"^esim_exporter_exposition_age_seconds (\S+)$", re.MULTILINE)

_WHOLE_GOALS: Final = {100_000: Goal(Measure.VALUE, 0.3), 500_000: Goal(Measure.VALUE, 0.5)}


@dataclass(slots=True)
class _Seen:
    """What was seen during one run. All values are seconds."""

    first_byte: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    ages: list[float] = field(default_factory=list)


def measure(bench: Bench) -> Iterator[Comparison]:
    """Send events at a steady rate beside scrapes; then change much at once, and scrape."""
    for esims, rate in bench.profile.change_runs:
        noted = bench.folder / f"stalls-{esims}"
        with bench.exporter(bench.storage(esims), stalls=noted) as (server, public):
            fetch_whole(server.port, ESIMS_PATH, GZIP)
            server.wait_until_quiet(bench.profile.quiet, stalls.SHARE)
            yield from _steady(bench, server, public, esims, rate, noted)
            server.wait_until_quiet(bench.profile.quiet, stalls.SHARE)
            yield _at_once(bench, server, public, esims)


def _steady(  # noqa: PLR0917  # what one run is about
    bench: Bench, server: Server, public: int, esims: int, rate: float, noted: Path
) -> Iterator[Comparison]:
    seconds = bench.profile.change_seconds
    load = Load(
        public,
        count=int(rate * seconds),
        esims=esims,
        connections=_CONNECTIONS,
        rate=rate,
        seconds=seconds + 5,
    )
    with ThreadPoolExecutor() as threads:
        sending = threads.submit(bench.send, load)
        before, since = server.cpu, time.monotonic()
        seen = _scrapes(server, sending)
        outcome, until = sending.result(), time.monotonic()
        used = (server.cpu - before) / (until - since)
    if outcome.errors:
        raise Unavailable(f"events were answered with {outcome.codes}")
    run = f"{esims:,} eSIMs, {rate:g} events/s"
    note = (
        f"{len(seen.whole)} scrapes, {GZIP}, one a second; the exporter used {used:.0%} of its core"
    )
    for what, values, goal in (
        ("first byte", seen.first_byte, Goal(Measure.VALUE, 0.05)),
        ("whole", seen.whole, _WHOLE_GOALS.get(esims)),
    ):
        yield Comparison("S13", f"scrape beside {run}: {what}, p50", "s", (_share(values, 50),))
        p95 = (_share(values, 95),)
        yield Comparison("S13", f"scrape beside {run}: {what}, p95", "s", p95, goal=goal, note=note)
    goal = Goal(Measure.VALUE, 0.05)
    yield Comparison("S13", f"{run}: webhook latency, p99", "s", (outcome.p99,), goal=goal)
    longest = (stalls.longest(noted, since, until),)
    goal = Goal(Measure.VALUE, 0.02)
    yield Comparison("S13", f"{run}: longest stall of the event loop", "s", longest, goal=goal)
    p99 = (_share(seen.ages, 99),)
    goal = Goal(Measure.VALUE, 5)
    yield Comparison("S15", f"{run}: age of what a scrape shows, p99", "s", p99, goal=goal)


def _scrapes(server: Server, sending: Future[Outcome]) -> _Seen:
    """Scrape and look at the age in turns, as long as events are sent."""
    seen = _Seen()
    while not sending.done():
        time.sleep(_PAUSE)
        scrape = fetch(server.port, ESIMS_PATH, GZIP)
        seen.first_byte.append(scrape.first_byte)
        seen.whole.append(scrape.seconds)
        found = _AGE.search(fetch(server.port, _OWN_PATH, IDENTITY, keep=True).body)
        seen.ages.append(float(found[1]) if found else 0.0)
    return seen


def _at_once(bench: Bench, server: Server, public: int, esims: int) -> Comparison:
    whole = []
    for _ in range(bench.profile.rounds):
        count = max(1, int(_CHANGED * esims))
        outcome = bench.send(Load(public, count=count, esims=esims, connections=_CONNECTIONS))
        if outcome.errors:
            raise Unavailable(f"events were answered with {outcome.codes}")
        whole.append(fetch(server.port, ESIMS_PATH, GZIP).seconds)
        server.wait_until_quiet(bench.profile.quiet, stalls.SHARE)
    what = f"scrape right after {_CHANGED:.0%} of {esims:,} eSIMs changed, {GZIP}"
    return Comparison("S13", what, "s", tuple(whole), goal=Goal(Measure.VALUE, 0.5))


def _share(values: list[float], percent: int) -> float:
    """Return a percentile."""
    return quantiles([*values, *values], n=100, method="inclusive")[percent - 1]
