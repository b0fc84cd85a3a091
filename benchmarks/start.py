"""S11: from the start of the process to ready, with a fleet in storage."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Final

from benchmarks.report import Goal, Measure, Row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.bench import Bench

_GOALS: Final = {
    100_000: Goal(Measure.VALUE, 1.5),
    1_000_000: Goal(Measure.VALUE, 12),
}


def measure(bench: Bench) -> Iterator[Row]:
    """Start several times with each size of fleet; all files are in the page cache."""
    for esims in bench.profile.start_sizes:
        storage = bench.storage(esims)
        times = []
        for _ in range(bench.profile.starts):
            with bench.exporter(storage) as (server, _):
                times.append(server.start_seconds)
        bench.size(esims).start_seconds = median(times)
        what = f"start to ready with {esims:,} eSIMs in storage"
        yield Row("S11", what, "s", tuple(times), goal=_GOALS.get(esims))
