"""S10: resident memory per eSIM, against gauges of prometheus-client and a pushgateway."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from benchmarks import payloads, peers
from benchmarks.bench import ESIMS_PATH
from benchmarks.client import GZIP, IDENTITY, fetch, fetch_whole
from benchmarks.load import Load
from benchmarks.process import Unavailable
from benchmarks.report import Comparison, Goal, Measure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.bench import Bench
    from benchmarks.process import Server

_AFTER_ONE: Final = Goal(Measure.VALUE, 1600)
_AFTER_MORE: Final = Goal(Measure.VALUE, 2200)


def measure(bench: Bench) -> Iterator[Comparison]:
    """Fill an empty exporter through the webhook, and measure how its process grows."""
    esims, events = bench.profile.memory_esims, bench.profile.memory_events
    with bench.exporter(bench.folder / "memory.db") as (server, public):
        empty = _settled(bench, server)
        _one_event_each(bench, public)
        after_one = (_settled(bench, server) - empty) / esims
        for _ in range(events - 1):
            _one_event_each(bench, public)
        after_more = (_settled(bench, server) - empty) / esims
    what = f"resident memory per eSIM, {payloads.SERIES} series, {esims:,} eSIMs, after"
    note = "growth of an empty process, which includes working memory for events"
    yield Comparison("S10", f"{what} one event", "B", (after_one,), goal=_AFTER_ONE, note=note)
    yield Comparison("S10", f"{what} {events} events", "B", (after_more,), goal=_AFTER_MORE)
    yield from _against_peers(bench, after_one)


def _against_peers(bench: Bench, ours: float) -> Iterator[Comparison]:
    what = "resident memory per eSIM after one event"
    esims, groups = bench.profile.memory_esims, bench.profile.groups
    with peers.client_gauges(bench, esims) as gauges:
        theirs = gauges.memory / esims
    goal = Goal(Measure.GAIN, 5, at_most=False)
    yield Comparison("S10", what, "B", (ours,), peers.CLIENT, (theirs,), goal)
    goal = Goal(Measure.GAIN, 12, at_most=False)
    try:
        with peers.pushgateway(bench) as gateway:
            empty = gateway.rss
            peers.push_all(bench, gateway, groups)
            for encoding in (GZIP, IDENTITY):
                fetch(gateway.port, "/metrics", encoding)
            theirs = (gateway.rss - empty) / groups
    except Unavailable as error:
        yield Comparison("S10", what, peer=peers.PUSHGATEWAY, skipped=str(error))
        return
    yield Comparison("S10", what, "B", (ours,), peers.PUSHGATEWAY, (theirs,), goal)


def _one_event_each(bench: Bench, public: int) -> None:
    esims = bench.profile.memory_esims
    options = Load(public, count=esims, esims=esims, each=True, connections=64, seconds=900)
    outcome = bench.send(options)
    if outcome.errors or outcome.answered < esims:
        raise Unavailable(f"{esims} events were answered with {outcome.codes}")


def _settled(bench: Bench, server: Server) -> int:
    """Return the resident memory after a scrape in both encodings, when the server is quiet."""
    for encoding in (GZIP, IDENTITY):
        fetch_whole(server.port, ESIMS_PATH, encoding)
    server.wait_until_quiet(bench.profile.quiet)
    return server.rss
