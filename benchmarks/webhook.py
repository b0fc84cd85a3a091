"""S5 to S9: latency of webhooks beside scrapes, stalls, throughput and bursts."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from benchmarks import peers, stalls
from benchmarks.bench import ESIMS_PATH
from benchmarks.client import GZIP, fetch_whole, scraping
from benchmarks.load import Load
from benchmarks.process import Unavailable
from benchmarks.report import Comparison, Goal, Measure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.bench import Bench
    from benchmarks.load import Outcome
    from benchmarks.process import Server

_CONNECTIONS: Final = 64
"""Connections for events, as many as the vendor may use."""

_BURST_CONNECTIONS: Final = 200

_FASTEST: Final = 12_000
"""Requests that are prepared for each second. A faster server ends its round early."""

_PROBE_PAUSE: Final = 0.005
"""Seconds between an answer and the next probe of the event loop."""


@dataclass(slots=True)
class _Latencies:
    """Seconds that were measured in the rounds with scrapes, or in those without."""

    p99: list[float] = field(default_factory=list)
    inside: list[float] = field(default_factory=list)
    """Longest stall of each round, measured in the event loop itself."""
    outside: list[float] = field(default_factory=list)
    """Slowest answer to a probe in each round."""
    scrapes: list[float] = field(default_factory=list)
    """Time of each scrape."""
    lag: float = 0.0


@dataclass(frozen=True, slots=True)
class _Rival:
    """A peer that gets events at full speed."""

    name: str
    server: Server
    kind: str
    """The kind of :class:`Load` that it gets."""


def latency(bench: Bench) -> Iterator[Comparison]:
    """Send at a steady rate, in turns without scrapes and beside scrapes without a pause."""
    profile = bench.profile
    noted = bench.folder / "stalls"
    alone, beside = _Latencies(), _Latencies()
    with bench.exporter(bench.storage(profile.esims), stalls=noted) as (server, public):
        fetch_whole(server.port, ESIMS_PATH, GZIP)
        server.wait_until_quiet(profile.quiet, stalls.SHARE)
        for _ in range(profile.latency_rounds):
            _round(bench, server, public, noted, alone, scrape=False)
            _round(bench, server, public, noted, beside, scrape=True)
    what = f"webhook latency, p99, at {profile.event_rate:g} events/s"
    scrapes = f"beside back-to-back scrapes of {profile.esims:,} eSIMs, {GZIP}"
    note = (
        f"{len(beside.scrapes)} scrapes; latency counts from when a request was due; the generator "
        f"itself was late by up to {1000 * max(alone.lag, beside.lag):.1f} ms (p99)"
    )
    p99 = tuple(beside.p99)
    yield Comparison(
        "S5", f"{what}, {scrapes}", "s", p99, goal=Goal(Measure.VALUE, 0.05), note=note
    )
    peer = tuple(alone.p99)
    yield Comparison("S5", what, "s", p99, "no scrape", peer, Goal(Measure.RATIO, 3))
    yield Comparison("S5", f"scrape during S5, {GZIP}", "s", tuple(beside.scrapes))
    goal = Goal(Measure.VALUE, 0.02)
    for seen, mine, theirs in (
        ("from inside", beside.inside, alone.inside),
        ("from outside: slowest answer of /-/healthy", beside.outside, alone.outside),
    ):
        what = f"longest stall of the event loop during S5, {seen}"
        yield Comparison("S6", what, "s", tuple(mine), "no scrape", tuple(theirs), goal)


def _round(
    bench: Bench, server: Server, public: int, noted: Path, found: _Latencies, *, scrape: bool
) -> None:
    profile = bench.profile
    count = int(profile.event_rate * profile.latency_seconds)
    events = Load(
        public,
        count=count,
        esims=profile.esims,
        connections=_CONNECTIONS,
        rate=profile.event_rate,
        seconds=profile.latency_seconds + 5,
    )
    probes = Load(
        server.port,
        kind="get",
        path="/-/healthy",
        count=int(profile.latency_seconds / _PROBE_PAUSE),
        pause=_PROBE_PAUSE,
        seconds=profile.latency_seconds,
    )
    with ThreadPoolExecutor() as threads, ExitStack() as stack:
        answers = stack.enter_context(scraping(server, ESIMS_PATH, GZIP)) if scrape else []
        since = time.monotonic()
        probing = threads.submit(bench.send, probes)
        outcome, probed = bench.send(events), probing.result()
        until = time.monotonic()
    if outcome.errors or probed.errors:
        raise Unavailable(f"events: {outcome.codes}, probes: {probed.codes}")
    found.p99.append(outcome.p99)
    found.outside.append(probed.longest)
    found.inside.append(stalls.longest(noted, since, until))
    found.scrapes += [answer.seconds for answer in answers]
    found.lag = max(found.lag, outcome.lag)


def against_bare_endpoint(bench: Bench) -> Iterator[Comparison]:
    """Send at full speed, in turns to the exporter and to Quart that only parses JSON."""
    with peers.bare_endpoint(bench) as bare:
        goal = Goal(Measure.RATIO, 1.4, at_most=False)
        yield _throughput(bench, "S7", _Rival(peers.BARE, bare, "usage"), goal)


def against_pushgateway(bench: Bench) -> Iterator[Comparison]:
    """Send at full speed, in turns to the exporter and to a pushgateway without a disk."""
    with peers.pushgateway(bench) as gateway:
        yield _throughput(bench, "S8", _Rival(peers.PUSHGATEWAY, gateway, "push"), None)


def _throughput(bench: Bench, figure: str, rival: _Rival, goal: Goal | None) -> Comparison:
    """Return events per second of the exporter and of a peer. One is paused while one runs."""
    profile = bench.profile
    ours: list[Outcome] = []
    theirs: list[Outcome] = []
    processor = 0.0
    with bench.exporter(bench.storage(profile.esims)) as (exporter, public):
        fetch_whole(exporter.port, ESIMS_PATH, GZIP)
        exporter.wait_until_quiet(profile.quiet)
        for place in range(profile.push_rounds + 1):
            with rival.server.paused():
                before = exporter.cpu
                mine = _as_fast_as_possible(bench, public, "usage")
                spent = exporter.cpu - before
            with exporter.paused():
                other = _as_fast_as_possible(bench, rival.server.port, rival.kind)
            if place:  # the first round is the warm-up
                ours.append(mine)
                theirs.append(other)
                processor += spent
    events = sum(outcome.answered for outcome in ours)
    return Comparison(
        figure,
        f"durable events per second and core, {_CONNECTIONS} connections",
        "events/s",
        tuple(outcome.rate for outcome in ours),
        rival.name,
        tuple(outcome.rate for outcome in theirs),
        goal,
        f"{1e6 * processor / events:.0f} µs of processor time an event; the load generator used "
        f"up to {max(o.busy for o in [*ours, *theirs]):.0%} of its core",
    )


def _as_fast_as_possible(bench: Bench, port: int, kind: str) -> Outcome:
    seconds = bench.profile.push_seconds
    options = Load(
        port,
        kind=kind,
        count=int(_FASTEST * seconds),
        esims=bench.profile.esims,
        connections=_CONNECTIONS,
        seconds=seconds,
    )
    outcome = bench.send(options)
    if outcome.errors or not outcome.answered:
        raise Unavailable(f"events were answered with {outcome.codes}")
    return outcome


def burst(bench: Bench) -> Iterator[Comparison]:
    """Send many events at once, as fast as possible."""
    profile = bench.profile
    with bench.exporter(bench.storage(profile.esims)) as (exporter, public):
        fetch_whole(exporter.port, ESIMS_PATH, GZIP)
        exporter.wait_until_quiet(profile.quiet)
        options = Load(
            public,
            count=profile.burst,
            esims=profile.esims,
            connections=_BURST_CONNECTIONS,
            seconds=300,
        )
        outcome = bench.send(options)
    what = f"burst of {profile.burst:,} events over {_BURST_CONNECTIONS} connections"
    errors = float(outcome.errors + profile.burst - outcome.answered - outcome.codes.get("none", 0))
    note = f"{outcome.rate:.0f} events/s, answers {outcome.codes}"
    yield Comparison("S9", f"{what}: errors", "", (errors,), goal=Goal(Measure.VALUE, 0), note=note)
    slowest = (outcome.longest,)
    yield Comparison("S9", f"{what}: slowest answer", "s", slowest, goal=Goal(Measure.VALUE, 2))
    yield Comparison("S9", f"{what}: p99", "s", (outcome.p99,), goal=Goal(Measure.VALUE, 0.5))
