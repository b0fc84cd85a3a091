"""S1 to S4: time of a scrape, beside a file server and two other ways to expose metrics."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from benchmarks import payloads, peers
from benchmarks.bench import ESIMS_PATH
from benchmarks.client import GZIP, IDENTITY, fetch, fetch_whole
from benchmarks.load import Load
from benchmarks.process import Unavailable
from benchmarks.report import Comparison, Goal, Measure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.bench import Bench
    from benchmarks.process import Server

_CHANGED: Final = 0.01
"""Share of the eSIMs that changes between two scrapes."""

_GOALS: Final = {
    GZIP: ("S1", Goal(Measure.RATIO, 1.5)),
    IDENTITY: ("S2", None),  # scrapers ask for gzip, so this figure has no goal
}


def against_nginx(bench: Bench) -> Iterator[Comparison]:
    """Scrape the exporter, then fetch a file with the same bytes from nginx, several times.

    Each is asked after a pause, and again right after that. The first answer after a pause is
    slower for both, because processor and caches are cold.
    """
    esims, quiet = bench.profile.esims, bench.profile.quiet
    ours: dict[str, list[tuple[float, float]]] = {GZIP: [], IDENTITY: []}
    theirs: dict[str, list[tuple[float, float]]] = {GZIP: [], IDENTITY: []}
    sizes: dict[str, int] = {}
    at_once = []
    with peers.nginx(bench) as (nginx, root), _scraped(bench) as (server, public):
        _, work = _change_and_scrape(bench, server, public)
        for _ in range(bench.profile.rounds):
            _change(bench, public)
            _let_catch_up(bench, server, work)
            for encoding in (GZIP, IDENTITY):
                server.wait_until_quiet(quiet)
                ours[encoding].append(_twice(server, ESIMS_PATH, encoding))
                sizes[encoding] = _keep(server, encoding, root / encoding)
                with server.paused():
                    fetch(nginx.port, f"/{encoding}", IDENTITY)  # into the page cache
                    time.sleep(quiet)
                    theirs[encoding].append(_twice(nginx, f"/{encoding}", IDENTITY))
            seconds, work = _change_and_scrape(bench, server, public)
            at_once.append(seconds)
    series = esims * payloads.SERIES
    waited = (
        f"{sizes[GZIP]:,} and {sizes[IDENTITY]:,} bytes; {_CHANGED:.0%} of the eSIMs changed "
        f"before each, then the exporter had time to render them; both after a pause of "
        f"{quiet:g} s or more"
    )
    for encoding, (figure, goal) in _GOALS.items():
        what = f"scrape of {esims:,} eSIMs, {series:,} series, {encoding}"
        times, again = zip(*ours[encoding], strict=True)
        peer, peer_again = zip(*theirs[encoding], strict=True)
        yield Comparison(figure, what, "s", times, peers.NGINX, peer, goal, waited)
        what = f"the same, {encoding}, again right after that"
        yield Comparison(figure, what, "s", again, peers.NGINX, peer_again)
    what = f"the same, {GZIP}, right after the changes"
    first = tuple([seconds for seconds, _ in theirs[GZIP]])
    yield Comparison("S1", what, "s", tuple(at_once), peers.NGINX, first)


def against_client(bench: Bench) -> Iterator[Comparison]:
    """Scrape the exporter and call ``generate_latest``, in turns. Only the first uses a socket."""
    ours, theirs = [], []
    with (
        _scraped(bench) as (server, _),
        peers.client_gauges(bench, bench.profile.esims) as gauges,
    ):
        for _ in range(bench.profile.client_scrapes):
            ours.append(fetch(server.port, ESIMS_PATH, IDENTITY).seconds)
            with server.paused():
                theirs.append(gauges.expose())
    what = f"scrape of {bench.profile.esims:,} eSIMs, {IDENTITY}"
    goal = Goal(Measure.GAIN, 50, at_most=False)
    yield Comparison("S3", what, "s", tuple(ours), peers.CLIENT, tuple(theirs), goal)


def against_pushgateway(bench: Bench) -> Iterator[Comparison]:
    """Scrape the exporter and a pushgateway in turns. The pushgateway has fewer eSIMs."""
    ours, theirs = [], []
    esims, groups = bench.profile.esims, bench.profile.groups
    with _scraped(bench) as (server, _), peers.pushgateway(bench) as gateway:
        with server.paused():
            peers.push_all(bench, gateway, groups)
            fetch(gateway.port, "/metrics", GZIP)  # warm-up
        for _ in range(bench.profile.rounds):
            seconds = fetch(server.port, ESIMS_PATH, GZIP).seconds
            ours.append(seconds / (esims * payloads.SERIES))
            with server.paused():
                seconds = fetch(gateway.port, "/metrics", GZIP).seconds
            theirs.append(seconds / (groups * payloads.SERIES))
    what = f"time per series scraped, {GZIP}; {esims:,} eSIMs against {groups:,} groups"
    goal = Goal(Measure.GAIN, 20, at_most=False)
    yield Comparison("S4", what, "s", tuple(ours), peers.PUSHGATEWAY, tuple(theirs), goal)


def _change_and_scrape(bench: Bench, server: Server, public: int) -> tuple[float, float]:
    """Scrape right after changes. Return its elapsed seconds and its processor seconds."""
    _change(bench, public)
    before = server.cpu
    seconds = fetch(server.port, ESIMS_PATH, GZIP).seconds
    return seconds, server.cpu - before


def _let_catch_up(bench: Bench, server: Server, work: float) -> None:
    """Wait until the exporter has rendered the changes in the background and is quiet.

    It may also be quiet before it starts to render. So it must first have used half of ``work``,
    the processor seconds of a scrape right after such changes.
    """
    before, deadline = server.cpu, time.monotonic() + bench.profile.patience
    while server.cpu - before < work / 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    server.wait_until_quiet(bench.profile.quiet)


@contextmanager
def _scraped(bench: Bench) -> Iterator[tuple[Server, int]]:
    """Serve the fleet, after one scrape in each encoding as a warm-up."""
    with bench.exporter(bench.storage(bench.profile.esims)) as (server, public):
        for encoding in (GZIP, IDENTITY):
            fetch_whole(server.port, ESIMS_PATH, encoding)
        yield server, public


def _twice(server: Server, path: str, encoding: str) -> tuple[float, float]:
    """Return the seconds of a scrape, and of a second one right after it."""
    first = fetch(server.port, path, encoding).seconds
    return first, fetch(server.port, path, encoding).seconds


def _keep(server: Server, encoding: str, file: Path) -> int:
    """Write the body of a scrape to a file. Return its bytes as sent."""
    answer = fetch(server.port, ESIMS_PATH, encoding, keep=True)
    file.write_bytes(answer.body)
    return answer.size


def _change(bench: Bench, public: int) -> None:
    """Change random eSIMs through the webhook."""
    count = max(1, int(bench.profile.esims * _CHANGED))
    outcome = bench.send(Load(public, count=count, esims=bench.profile.esims, connections=16))
    if outcome.errors:
        raise Unavailable(f"changes were answered with {outcome.codes}")
