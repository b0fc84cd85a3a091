"""R1 and R2: several replicas on PostgreSQL, beside one process on SQLite.

Nothing is pinned to a core here: replicas, database and load share all cores.
"""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.bench import ESIMS_PATH
from benchmarks.client import GZIP, IDENTITY, fetch_whole
from benchmarks.load import Load
from benchmarks.process import Unavailable, unpinned
from benchmarks.report import Comparison

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.bench import Bench
    from benchmarks.load import Outcome
    from benchmarks.process import Server

_CONNECTIONS: Final = 64
_FASTEST: Final = 12_000
"""Requests that are prepared for each second of a run."""

_FOLLOWING: Final = 0.05
"""A replica that uses less than this share of a core counts as quiet. It still follows others."""

SQLITE: Final = "one process on SQLite"
SHARDS: Final = 4
_COPY: Final = 3600.0
"""Seconds for copying a fleet to PostgreSQL, at most."""


def throughput(bench: Bench) -> Iterator[Comparison]:
    """Send at full speed: to one process on SQLite, then to one and to two on PostgreSQL."""
    esims = bench.profile.esims
    with unpinned(), postgres() as database:
        alone, _ = _rates(bench, bench.storage(esims), 1)
        url = copied(bench, database, bench.storage(esims))
        for count in (1, 2):
            shared, note = _rates(bench, url, count)
            what = f"durable events per second on PostgreSQL, {count} replica{'s' * (count > 1)}"
            yield Comparison("R1", what, "events/s", shared, SQLITE, alone, note=note)


def large(bench: Bench) -> Iterator[Comparison]:
    """Start a replica on a large fleet: with the whole fleet, and with one shard of four."""
    esims = max(bench.profile.start_sizes)
    with unpinned(), postgres() as database:
        url = copied(bench, database, bench.storage(esims))
        size = float(size_of(database, url))
        yield Comparison("R2", f"size of the database with {esims:,} eSIMs", "B", (size,))
        for flags, name in (
            ((), "all of it"),
            ((f"--total-shards={SHARDS}",), f"one shard of {SHARDS}"),
        ):
            starts, memory = [], 0.0
            for _ in range(bench.profile.starts):
                with bench.exporter(url, flags=flags) as (server, _):
                    starts.append(server.start_seconds)
                    for encoding in (GZIP, IDENTITY):
                        fetch_whole(server.port, ESIMS_PATH, encoding)
                    memory = float(server.rss)
            what = f"of a replica with {esims:,} eSIMs in PostgreSQL, {name}"
            yield Comparison("R2", f"start to ready {what}", "s", tuple(starts))
            yield Comparison("R2", f"memory after scrapes {what}", "B", (memory,))


def _rates(bench: Bench, storage: Path | str, count: int) -> tuple[tuple[float, ...], str]:
    """Return the events per second of ``count`` processes in each round, and a note."""
    profile = bench.profile
    with ExitStack() as stack:
        used = [stack.enter_context(bench.exporter(storage)) for _ in range(count)]
        for server, _ in used:
            fetch_whole(server.port, ESIMS_PATH, GZIP)
            server.wait_until_quiet(profile.quiet, share=_FOLLOWING)
        found = [_rate(bench, used) for _ in range(profile.push_rounds + 1)]
    return tuple([rate for rate, _ in found[1:]]), found[-1][1]  # the first is the warm-up


def _rate(bench: Bench, used: list[tuple[Server, int]]) -> tuple[float, str]:
    with ThreadPoolExecutor() as threads:
        before = sum(server.cpu for server, _ in used)
        loads = [_load(bench, public, len(used)) for _, public in used]
        outcomes: list[Outcome] = list(threads.map(bench.send, loads))
        spent = sum(server.cpu for server, _ in used) - before
    if any(outcome.errors or not outcome.answered for outcome in outcomes):
        raise Unavailable(f"events were answered with {[outcome.codes for outcome in outcomes]}")
    events = sum(outcome.answered for outcome in outcomes)
    generators = sum(outcome.busy for outcome in outcomes)
    return sum(outcome.rate for outcome in outcomes), (
        f"{1e6 * spent / events:.0f} µs of processor time an event in the exporter; the load "
        f"generators used {generators:.0%} of a core"
    )


def _load(bench: Bench, public: int, replicas: int) -> Load:
    seconds = bench.profile.push_seconds
    return Load(
        public,
        count=int(_FASTEST * seconds) // replicas,
        esims=bench.profile.esims,
        connections=_CONNECTIONS // replicas,
        seconds=seconds,
    )


def size_of(database: Any, url: str) -> int:
    """Return the bytes on disk of a database."""
    return int(database.execute("SELECT pg_database_size(current_database())", url))


def copied(bench: Bench, database: Any, storage: Path) -> str:
    """Return the URL of a database with the same fleet as a storage."""
    url: str = database.new_database()
    command = ("storage", "copy", f"sqlite:///{storage}", url)
    done = subprocess.run(  # noqa: S603  # our own command
        [sys.executable, "-m", "exporter", *command],
        capture_output=True,
        cwd=bench.folder,
        env=bench.environment.environ,
        check=False,
        timeout=_COPY,
    )
    if done.returncode:
        raise Unavailable(f"could not copy to PostgreSQL: {done.stderr.decode()[-300:]}")
    return url


@contextmanager
def postgres() -> Iterator[Any]:
    """Run PostgreSQL with its settings as they are."""
    # The tests have modules that find the program and run it.
    sys.path.append(str(Path(__file__).resolve().parent.parent / "tests" / "support"))
    import postgres as server_of_tests  # noqa: PLC0415  # found only now
    import programs  # noqa: PLC0415  # found only now

    if programs.find("postgres") is None:
        raise Unavailable("PostgreSQL is not installed")
    with server_of_tests.running("shared_buffers=128MB") as server:
        yield server
