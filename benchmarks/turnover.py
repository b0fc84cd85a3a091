"""S17: what the tombstones of expired eSIMs take: memory, disk, and time at a start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from benchmarks.process import Unavailable, unpinned
from benchmarks.replicas import copied, postgres, size_of
from benchmarks.report import Comparison, Goal, Measure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.bench import Bench

MEMORY: Final = "memory per tombstone"
DISK: Final = "disk per tombstone"
START: Final = "start, time per tombstone"

_GOAL: Final = Goal(Measure.VALUE, 250)


def measure(bench: Bench) -> Iterator[Comparison]:
    """Measure a storage that holds only tombstones, and one that is empty."""
    storage = bench.folder / "tombstones.db"
    buried = bench.bury(storage, bench.profile.buried_esims)
    count = int(buried["tombstones"])
    grown = (buried["memory"],)
    yield Comparison("S17", f"{MEMORY}, {count:,} while they came", "B", grown, goal=_GOAL)
    used = _used(bench, bench.folder / "none.db", storage)
    disk = storage.stat().st_size / count
    yield from _rows("SQLite", count, used, disk)
    try:
        with unpinned(), postgres() as database:
            yield from _on_postgres(bench, storage, count, database)
    except Unavailable as error:
        yield Comparison("S17", f"{MEMORY}, PostgreSQL", skipped=str(error))


def _on_postgres(bench: Bench, storage: Path, count: int, database: Any) -> Iterator[Comparison]:
    empty = database.new_database()
    url = copied(bench, database, storage)
    used = _used(bench, empty, url)
    disk = (size_of(database, url) - size_of(database, empty)) / count
    yield from _rows("PostgreSQL", count, used, disk)


def _used(
    bench: Bench, empty: Path | str, full: Path | str
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return by how much memory (bytes) and start (seconds) exceed those without tombstones."""
    memory, seconds = [], []
    for _ in range(bench.profile.starts):
        found = []
        for storage in (empty, full):
            with bench.exporter(storage) as (server, _):
                server.wait_until_quiet(bench.profile.quiet, share=0.05)
                found.append((server.rss, server.start_seconds))
        (least, soonest), (most, latest) = found
        memory.append(float(most - least))
        seconds.append(latest - soonest)
    return tuple(memory), tuple(seconds)


def _rows(
    database: str,
    count: int,
    used: tuple[tuple[float, ...], tuple[float, ...]],
    disk: float,
) -> Iterator[Comparison]:
    memory, seconds = (tuple(value / count for value in values) for values in used)
    after = f"{count:,} in {database}, after a start"
    yield Comparison("S17", f"{MEMORY}, {after}", "B", memory, goal=_GOAL)
    yield Comparison("S17", f"{START}, {database}", "s", seconds)
    yield Comparison("S17", f"{DISK}, {database}", "B", (disk,))
