"""Real faults: system calls that fail, a file size limit, a process that is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import programs
import pytest
from file_size_limit import file_size_limit
from running import WAIT

import exporter
from exporter.errors import StorageUnavailable
from exporter.storage.contract import Change, Changes, Table
from exporter.storage.sqlite.storage import SqliteStorage

if TYPE_CHECKING:
    from subprocess import CompletedProcess

ROOT = Path(exporter.__file__).parents[1]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
DATA = b"x" * 3000

WRITER = """
import asyncio, os, sys
from pathlib import Path
from exporter.errors import StorageUnavailable
from exporter.storage.contract import Change, Changes, Table
from exporter.storage.sqlite.storage import SqliteStorage

async def main(path, commits):
    storage = await SqliteStorage.open(path)
    held = {}

    async def reload():
        rows = [row async for chunk in storage.load() for row in chunk.rows]
        found = {row.key[1]: row.version for row in rows}
        missing = {key: version for key, version in held.items() if found.get(key, 0) < version}
        assert not missing, missing
        held.clear()
        held.update(found)

    async def recover():
        for _ in range(50):
            try:
                return await storage.probe()
            except StorageUnavailable as error:
                print("probe", error, flush=True)
        raise SystemExit("does not recover")

    await reload()
    done = 0
    while done < commits:
        keys = [f"{(done * 7 + i * 13) % 200}" for i in range(4)]
        changes = [Change(Table.ESIM, ("v", k), held.get(k, 0), b"x" * 3000) for k in keys]
        try:
            conflicts = await storage.commit(Changes(tuple(changes), {("total",): 1}))
        except StorageUnavailable as error:
            print("fault", error, flush=True)
            if await recover():
                print("reload", flush=True)
                await reload()
            continue
        assert conflicts == (), conflicts
        done += 1
        for key in keys:
            held[key] = held.get(key, 0) + 1
            print("held", key, held[key], flush=True)
    os._exit(0)

asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
"""


def acknowledged(lines: list[str]) -> dict[str, int]:
    held: dict[str, int] = {}
    for line in lines:
        match line.split():
            case ["held", key, version]:
                held[key] = max(held.get(key, 0), int(version))
    return held


async def stored(path: Path) -> dict[str, int]:
    storage = await SqliteStorage.open(path)
    rows = [row async for chunk in storage.load() for row in chunk.rows]
    await storage.close()
    return {row.key[1]: row.version for row in rows}


def lost(held: dict[str, int], found: dict[str, int]) -> set[str]:
    return {key for key, version in held.items() if found.get(key, 0) < version}


def writer(path: Path, commits: int) -> list[str]:
    return [sys.executable, "-c", WRITER, str(path), str(commits)]


def traced(fault: str, path: Path, commits: int, *options: str) -> CompletedProcess[str]:
    """Commit under a fault, in a process that ends without closing the storage."""
    strace = programs.require("strace")
    calls = ["-e", "trace=fdatasync,fsync,pwrite64", "-e", f"inject={fault}", *options]
    return subprocess.run(
        [strace, "-f", "--seccomp-bpf", "-qq", "-o", os.devnull, *calls, *writer(path, commits)],
        env=programs.environment(strace) | ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=WAIT,
        check=False,
    )


def write_with(fault: str, path: Path, commits: int = 120) -> list[str]:
    """Commit under a fault and recover from it; return the output."""
    done = traced(fault, path, commits)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    "fault",
    [
        *(f"fdatasync:error=EIO:when={n}" for n in (11, 12, 60)),
        "fdatasync:error=EIO:when=20..24",
        "fdatasync,fsync:error=EIO:when=30..33",
        "pwrite64:error=EIO:when=90",
        "pwrite64:error=EIO:when=200..230",
        "pwrite64:error=ENOSPC:when=77",
        "pwrite64:error=ENOSPC:when=100..140",
        "pwrite64:error=ENOSPC:when=301+400",
        # At these calls the log is written back to the database file.
        "pwrite64:error=EIO:when=1066",
        "pwrite64:error=EIO:when=1100..1103",
        "pwrite64:error=ENOSPC:when=1200",
        "fdatasync:error=EIO:when=52..53",
    ],
)
async def test_keeps_what_was_committed_and_recovers_when_calls_fail(
    fault: str, tmp_path: Path
) -> None:
    lines = write_with(fault, tmp_path / "a.db")

    assert any(line.startswith("fault ") for line in lines)
    assert not lost(acknowledged(lines), await stored(tmp_path / "a.db"))


async def test_reports_a_full_disk_in_sqlites_words_and_needs_no_reload(tmp_path: Path) -> None:
    lines = write_with("pwrite64:error=ENOSPC:when=77", tmp_path / "a.db")

    (fault,) = [line for line in lines if line.startswith("fault ")]
    assert fault.endswith("a.db cannot be written: database or disk is full")
    assert "reload" not in lines


async def test_reloads_after_a_failed_sync_whose_outcome_is_unknown(tmp_path: Path) -> None:
    lines = write_with("fdatasync:error=EIO:when=40", tmp_path / "a.db")

    assert "reload" in lines


def killed(path: Path, count: int) -> list[str]:
    """Kill a writer after so many lines of output; return its output."""
    with subprocess.Popen(
        writer(path, 1_000_000), env=ENVIRONMENT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(count)]
        process.send_signal(signal.SIGKILL)
        return lines + process.stdout.readlines()


@pytest.mark.parametrize("count", [1, 3, 10, 50, 200])
async def test_keeps_what_was_committed_when_killed(count: int, tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    held: dict[str, int] = {}
    for _ in range(2):
        held |= acknowledged(killed(path, count))
        assert held
        assert not lost(held, await stored(path))


def esim(number: int, expected: int = 0) -> Changes:
    return Changes((Change(Table.ESIM, ("v", str(number)), expected, DATA),))


async def fill(storage: SqliteStorage, most: int = 1000) -> int:
    """Commit until it fails and return how many were committed."""
    for number in range(most):
        try:
            assert await storage.commit(esim(number)) == ()
        except StorageUnavailable:
            return number
    raise AssertionError


async def test_refuses_commits_after_a_failed_write_until_a_probe_succeeds(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    storage = await SqliteStorage.open(path)
    with file_size_limit(storage.sizes().wal + 200_000):
        done = await fill(storage)
    with pytest.raises(StorageUnavailable, match=r"a\.db cannot be written: disk I/O error"):
        await storage.commit(esim(done))

    assert await storage.probe() is True

    assert len([row async for chunk in storage.load() for row in chunk.rows]) >= done > 0
    assert await storage.commit(esim(done + 1)) == ()
    await storage.close()
    assert set(map(str, range(done))) <= set(await stored(path))


async def test_a_probe_reopens_the_file_while_a_load_runs(tmp_path: Path) -> None:
    storage = await SqliteStorage.open(tmp_path / "a.db")
    await storage.commit(Changes(tuple(esim(n).rows[0] for n in range(1000))))
    load = storage.load()
    await anext(load)
    with file_size_limit(4096), pytest.raises(StorageUnavailable):
        await storage.commit(esim(1000))

    assert await storage.probe() is True

    assert len([row async for chunk in storage.load() for row in chunk.rows]) >= 1000
    await load.aclose()  # type: ignore[attr-defined]  # an iterator to callers
    await storage.close()


async def test_the_log_of_a_failed_storage_is_left_alone(tmp_path: Path) -> None:
    storage = await SqliteStorage.open(tmp_path / "a.db")
    with file_size_limit(storage.sizes().wal + 200_000):
        await fill(storage)
    before = storage.sizes()
    await storage._run(storage._shrink_log)
    assert storage.sizes() == before
    await storage.close()


async def test_a_probe_fails_as_long_as_nothing_can_be_written(tmp_path: Path) -> None:
    storage = await SqliteStorage.open(tmp_path / "a.db")
    with file_size_limit(storage.sizes().wal + 200_000):
        done = await fill(storage)
    with file_size_limit(4096):
        for _ in range(3):
            with pytest.raises(StorageUnavailable):
                await storage.probe()
        with pytest.raises(StorageUnavailable):
            await storage.commit(esim(done + 1))
    assert await storage.probe() is True
    assert await storage.commit(esim(done + 1)) == ()
    await storage.close()


async def test_a_database_file_that_cannot_grow_is_noticed_after_the_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exporter.storage.sqlite.storage.LOG_LIMIT", 1 << 20)
    path = tmp_path / "a.db"
    storage = await SqliteStorage.open(path)
    # The log gets so large that it is written back, but the database file may not grow enough.
    rows = tuple(Change(Table.ESIM, ("v", str(n)), 0, DATA) for n in range(4000))
    assert await storage.commit(Changes(rows[:10])) == ()
    last = 10

    async def commit_all() -> None:
        nonlocal last
        while last < len(rows):
            assert await storage.commit(Changes(rows[last : last + 100])) == ()
            last += 100

    with (
        file_size_limit(6 << 20),
        pytest.raises(StorageUnavailable, match="cannot be written"),
    ):
        await commit_all()
    assert last < len(rows)

    assert await storage.probe() is True
    assert await storage.commit(Changes(rows[-1:])) == ()
    await storage.close()
    assert {row.key[1] for row in rows[:last]} < set(await stored(path))


async def full(storage: SqliteStorage, pages: int) -> None:
    """Make SQLite report a full disk when the database file has so many pages."""

    def limit() -> None:
        assert storage._connection is not None
        storage._connection.execute(f"PRAGMA max_page_count = {pages}")

    await storage._run(limit)


async def test_a_full_disk_leaves_nothing_of_the_transaction_behind(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    storage = await SqliteStorage.open(path)
    await storage.commit(esim(1))
    await full(storage, 1)
    many = Changes(tuple(Change(Table.ESIM, ("v", str(n)), 0, DATA) for n in range(2, 50)))
    with pytest.raises(StorageUnavailable, match="database or disk is full"):
        await storage.commit(many)

    assert await storage.probe() is False

    await full(storage, 1000)
    assert await storage.commit(many) == ()
    await storage.close()
    assert set(await stored(path)) == set(map(str, range(1, 50)))


async def test_a_full_disk_that_turns_out_to_be_broken_needs_a_reload(tmp_path: Path) -> None:
    storage = await SqliteStorage.open(tmp_path / "a.db")
    await full(storage, 1)
    await fill(storage)
    with pytest.raises(StorageUnavailable, match="database or disk is full"):
        await storage.commit(esim(1000))
    with file_size_limit(4096), pytest.raises(StorageUnavailable, match="disk I/O error"):
        await storage.probe()

    assert await storage.probe() is True
    assert await storage.commit(esim(1000)) == ()
    await storage.close()


async def test_opens_for_reading_where_the_log_cannot_be_written_back(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    storage = await SqliteStorage.open(path)
    rows = tuple(Change(Table.ESIM, ("v", f"n{n}"), 0, DATA) for n in range(300))
    await storage.commit(Changes(rows))
    await storage.close()
    killed(path, 8)
    assert path.stat().st_size > path.with_name("a.db-wal").stat().st_size > 0

    with file_size_limit(path.stat().st_size):
        storage = await SqliteStorage.open(path)
        assert len([row async for chunk in storage.load() for row in chunk.rows]) > 300
        with pytest.raises(StorageUnavailable, match="disk I/O error"):
            await storage.commit(esim(1000))
    assert await storage.probe() is True
    assert await storage.commit(esim(1000)) == ()
    await storage.close()
    assert "1000" in await stored(path)


@pytest.mark.parametrize("call", range(1, 12))
async def test_a_start_that_failed_leaves_nothing_that_stops_the_next_one(
    call: int, tmp_path: Path
) -> None:
    path = tmp_path / "a.db"
    started = traced(f"fdatasync:error=EIO:when={call}", path, 1)

    found = await stored(path)
    assert not lost(acknowledged(started.stdout.splitlines()), found)
    assert len(found) in {0, 4}


def break_reads(path: Path) -> None:
    """Replace SQLite's descriptor by one that cannot be read."""
    for link in Path("/proc/self/fd").iterdir():
        if link.is_symlink() and link.readlink() == path:
            sink = os.open(path, os.O_WRONLY)
            os.dup2(sink, int(link.name))
            os.close(sink)


@pytest.mark.parametrize("call", [1, 2])
def test_does_not_start_on_a_new_file_that_may_not_be_on_the_disk(
    call: int, tmp_path: Path
) -> None:
    path = tmp_path / "a.db"
    started = traced(f"fdatasync:error=EIO:when={call}", path, 1, "-P", str(path))

    assert "StorageUnavailable" in started.stderr
    assert started.stdout == ""


async def test_a_failed_read_is_not_damage_and_a_probe_reopens_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    storage = await SqliteStorage.open(path)
    await storage.commit(Changes(tuple(esim(n).rows[0] for n in range(1000))))
    await storage.close()
    storage = await SqliteStorage.open(path)
    break_reads(path)

    with pytest.raises(StorageUnavailable, match="disk I/O error"):
        [chunk async for chunk in storage.load()]
    with pytest.raises(StorageUnavailable, match="disk I/O error"):
        await storage.commit(esim(0, 1))

    assert await storage.probe() is True
    assert len([row async for chunk in storage.load() for row in chunk.rows]) == 1000
    assert await storage.commit(esim(0, 1)) == ()
    await storage.close()
