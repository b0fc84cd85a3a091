"""S11 and S14: from the start of the process to ready, and to the first whole scrape."""

from __future__ import annotations

import time
from statistics import median
from typing import TYPE_CHECKING, Final

from benchmarks.bench import ESIMS_PATH
from benchmarks.client import GZIP, fetch_whole
from benchmarks.process import CORES, PINNED, unpinned
from benchmarks.report import Comparison, Goal, Measure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.bench import Bench

_GOALS: Final = {
    100_000: Goal(Measure.VALUE, 1.5),
    1_000_000: Goal(Measure.VALUE, 12),
}

_FIRST_SCRAPE_GOALS: Final = {
    100_000: Goal(Measure.VALUE, 2.5),
    500_000: Goal(Measure.VALUE, 10),
}


def measure(bench: Bench) -> Iterator[Comparison]:
    """Start several times with each size of fleet, on all cores and on one core, in turns.

    All files are in the page cache.
    """
    for esims in bench.profile.start_sizes:
        storage = bench.storage(esims)
        on_all, on_one = [], []
        for _ in range(bench.profile.starts):
            with unpinned(), bench.exporter(storage) as (server, _):
                on_all.append(server.start_seconds)
            if PINNED:
                with bench.exporter(storage) as (server, _):
                    on_one.append(server.start_seconds)
        bench.size(esims).start_seconds = median(on_all)
        what = f"start to ready with {esims:,} eSIMs in storage"
        cores = f"on {len(CORES)} cores" if PINNED else ""
        yield Comparison("S11", what, "s", tuple(on_all), goal=_GOALS.get(esims), note=cores)
        if on_one:
            yield Comparison("S11", "the same, on one core", "s", tuple(on_one))


def first_scrape(bench: Bench) -> Iterator[Comparison]:
    """Start several times with each size of fleet, on one core, and scrape until it is whole."""
    for esims in bench.profile.first_scrape_sizes:
        storage = bench.storage(esims)
        whole = []
        for _ in range(bench.profile.starts):
            with bench.exporter(storage) as (server, _):
                began = time.monotonic()
                fetch_whole(server.port, ESIMS_PATH, GZIP)
                whole.append(server.start_seconds + time.monotonic() - began)
        bench.size(esims).first_scrape_seconds = median(whole)
        what = f"start to the end of the first whole scrape of {esims:,} eSIMs, {GZIP}"
        goal = _FIRST_SCRAPE_GOALS.get(esims)
        yield Comparison("S14", what, "s", tuple(whole), goal=goal, note="on one core")
