"""S11: from the start of the process to ready, with a fleet in storage."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Final

from benchmarks.process import CORES, PINNED, unpinned
from benchmarks.report import Comparison, Goal, Measure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.bench import Bench

_GOALS: Final = {
    100_000: Goal(Measure.VALUE, 1.5),
    1_000_000: Goal(Measure.VALUE, 12),
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
