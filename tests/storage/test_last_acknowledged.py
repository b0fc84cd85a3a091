"""The note of the last acknowledged commit: commits that the files lack are reported."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

import pytest
from file_size_limit import file_size_limit

from exporter.errors import StorageDamaged, StorageUnavailable
from exporter.storage.contract import Change, Changes, Table
from exporter.storage.sqlite import wal
from exporter.storage.sqlite.last_acknowledged import last_acknowledged, note_path
from exporter.storage.sqlite.storage import SqliteStorage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

FRAME = wal.FRAME.size + 8192
COMMITS = 6


def esim(number: int, version: int = 0) -> Changes:
    return Changes((Change(Table.ESIM, ("v", f"{number}"), version, b"%d" % number * 1000),))


@pytest.fixture
async def path(tmp_path: Path) -> AsyncIterator[Path]:
    """A database as it is after some commits and ``kill -9``."""
    live = tmp_path / "live" / "a.db"
    live.parent.mkdir()
    storage = await SqliteStorage.open(live)
    for number in range(COMMITS):
        assert await storage.commit(esim(number)) == ()
    shutil.copytree(live.parent, tmp_path / "killed")
    yield tmp_path / "killed" / "a.db"
    await storage.close()


async def found(path: Path) -> tuple[int, list[str], list[str]]:
    """Open, load and close; return the number of rows, the damage, and the notes."""
    storage = await SqliteStorage.open(path)
    chunks = [chunk async for chunk in storage.load()]
    await storage.close()
    damaged = [line for chunk in chunks for line in chunk.damaged]
    notes = [line for chunk in chunks for line in chunk.notes]
    return sum(len(chunk.rows) for chunk in chunks), damaged, notes


def cut(path: Path, size: int) -> None:
    with path.open("r+b") as file:
        file.truncate(size)


def leave(path: Path, content: bytes | None) -> None:
    """Write a file over, or remove it."""
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)


def replace_bytes(path: Path, old: bytes, new: bytes) -> None:
    path.write_bytes(path.read_bytes().replace(old, new))


def lacks(path: Path, commits: int) -> str:
    return (
        f"{path} ends with commit {commits} and lacks commit {COMMITS}, the last acknowledged one, "
    )


async def test_a_whole_log_lacks_nothing(path: Path) -> None:
    assert await found(path) == (COMMITS, [], [])


@pytest.mark.parametrize("odd", [0, 100])
async def test_a_log_that_was_cut_off_is_reported_and_kept(path: Path, odd: int) -> None:
    log = wal.log_path(path)
    cut(log, log.stat().st_size - 4 * FRAME + odd)
    left = log.read_bytes()

    rows, damaged, notes = await found(path)

    assert 0 < rows < COMMITS
    (line,) = damaged
    assert line.startswith(lacks(path, rows))
    assert "put the right file or its log back; what is left of its log is kept as " in line
    assert line.endswith("a.db-wal-damaged-1")
    assert notes == []
    copy = log.with_name("a.db-wal-damaged-1")
    assert copy.read_bytes() == left
    assert copy.stat().st_mode & 0o777 == 0o600
    assert await found(path) == (rows, [], [])


async def test_a_flipped_bit_in_the_last_acknowledged_commit_is_damage(path: Path) -> None:
    log = wal.log_path(path)
    data = bytearray(log.read_bytes())
    data[-100] ^= 1
    log.write_bytes(data)

    rows, damaged, _ = await found(path)

    assert rows == COMMITS - 1
    assert len(damaged) == 1


@pytest.mark.parametrize("there", [False, True])
async def test_a_missing_or_empty_log_is_reported_and_not_copied(path: Path, there: bool) -> None:
    log = wal.log_path(path)
    leave(log, b"" if there else None)

    rows, damaged, _ = await found(path)

    assert rows == 0
    (line,) = damaged
    assert line.startswith(lacks(path, 0))
    assert line.endswith("put the right file or its log back")
    assert not log.with_name("a.db-wal-damaged-1").exists()
    assert (await found(path))[1] == []


async def test_a_log_that_another_program_wrote_back_lacks_nothing(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT count(*) FROM esim").fetchone() == (COMMITS,)
    assert not wal.log_path(path).exists()

    assert await found(path) == (COMMITS, [], [])


async def test_a_log_without_a_whole_transaction_is_no_damage_if_nothing_is_lacking(
    path: Path,
) -> None:
    log = wal.log_path(path)
    whole = log.read_bytes()
    with closing(sqlite3.connect(path)) as other:
        other.execute("SELECT * FROM esim")
    log.write_bytes(whole[:1000])  # the beginning of a next one

    assert (await found(path))[:2] == (COMMITS, [])
    assert not log.with_name("a.db-wal-damaged-1").exists()


async def test_copies_of_damaged_logs_do_not_replace_each_other(path: Path) -> None:
    log = wal.log_path(path)
    log.with_name("a.db-wal-damaged-1").write_bytes(b"earlier")
    cut(log, log.stat().st_size - FRAME)

    await found(path)

    assert log.with_name("a.db-wal-damaged-1").read_bytes() == b"earlier"
    assert log.with_name("a.db-wal-damaged-2").exists()


async def test_does_not_start_where_the_log_cannot_be_copied(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = wal.log_path(path)
    cut(log, log.stat().st_size - FRAME)
    left = log.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "copyfile", full)
        with pytest.raises(StorageUnavailable, match="No space left on device"):
            await SqliteStorage.open(path)
    assert log.read_bytes() == left

    assert len((await found(path))[1]) == 1


@pytest.mark.parametrize("note", [None, b"", b"\0" * 20, b"\xff" * 20, b"\0" * 16])
async def test_a_file_that_was_not_closed_needs_its_note(path: Path, note: bytes | None) -> None:
    end = note_path(path)
    leave(end, note)

    rows, damaged, _ = await found(path)

    assert rows == COMMITS
    (line,) = damaged
    assert line == (
        f"{path} was not closed, and a.db-end is missing or damaged: it may lack acknowledged "
        "commits"
    )
    assert await found(path) == (COMMITS, [], [])


@pytest.mark.parametrize("note", [None, b"", b"\xff" * 20])
async def test_a_closed_file_is_complete_without_its_note(path: Path, note: bytes | None) -> None:
    await found(path)
    end = note_path(path)
    leave(end, note)

    assert await found(path) == (COMMITS, [], [])


async def test_the_note_stays_after_a_close(path: Path) -> None:
    before = last_acknowledged(path)
    await found(path)
    assert sorted(file.name for file in path.parent.iterdir()) == ["a.db", "a.db-end"]
    assert last_acknowledged(path) == before


def keep(path: Path) -> Callable[[], int]:
    """Return a function that puts a file back as it is now."""
    return partial(path.write_bytes, path.read_bytes())


async def test_starts_without_commits_are_not_acknowledged(path: Path) -> None:
    await found(path)
    put_back = keep(path)
    for _ in range(3):
        await found(path)
    put_back()

    assert await found(path) == (COMMITS, [], [])


async def test_a_damaged_row_that_is_set_aside_is_no_acknowledged_commit(path: Path) -> None:
    await found(path)
    put_back = keep(path)
    replace_bytes(path, b"333", b"334")
    assert len((await found(path))[1]) == 1
    await found(path)
    put_back()

    assert await found(path) == (COMMITS, [], [])


@pytest.mark.parametrize("left", [None, b""])
async def test_a_file_that_is_gone_is_not_made_again(path: Path, left: bytes | None) -> None:
    await found(path)
    leave(path, left)

    with pytest.raises(StorageDamaged, match=r"a\.db-end says that it held 6 commits: .* backup"):
        await found(path)


async def test_the_note_follows_a_log_that_starts_from_its_beginning_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exporter.storage.sqlite.storage.LOG_LIMIT", 10 * FRAME)
    path = tmp_path / "a.db"
    storage = await SqliteStorage.open(path)
    salts = set()
    for number in range(40):
        await storage.commit(esim(number))
        salts.add(wal.log_path(path).read_bytes()[16:24])
        noted, found = last_acknowledged(path), wal.check(wal.log_path(path)).stamps
        assert found
        assert (noted, found.last.number) == (found.last.newest, number + 1)
    assert len(salts) > 1
    await storage.close()


async def test_commits_where_the_note_cannot_be_written(path: Path) -> None:
    storage = await SqliteStorage.open(path)
    before = last_acknowledged(path)
    read_only = os.open(os.devnull, os.O_RDONLY)
    os.dup2(read_only, storage._note._file)
    os.close(read_only)

    assert await storage.commit(esim(0, 1)) == ()

    assert last_acknowledged(path) == before
    await storage.close()
    assert await found(path) == (COMMITS, [], [])


async def test_does_not_start_where_the_note_cannot_be_read(path: Path) -> None:
    note = note_path(path).read_bytes()
    note_path(path).unlink()
    note_path(path).mkdir()
    with pytest.raises(StorageUnavailable, match="Is a directory"):
        await SqliteStorage.open(path)
    note_path(path).rmdir()
    note_path(path).write_bytes(note)
    assert await found(path) == (COMMITS, [], [])


async def test_commits_nothing_where_the_note_cannot_be_written_at_the_start(path: Path) -> None:
    await found(path)
    with file_size_limit(0):
        storage = await SqliteStorage.open(path)
        with pytest.raises(StorageUnavailable, match=r"a\.db cannot be written"):
            await storage.commit(esim(0, 1))
    assert await storage.probe() is True
    assert await storage.commit(esim(0, 1)) == ()
    await storage.close()


@pytest.mark.parametrize("replaced", [False, True])
async def test_a_note_that_was_removed_while_in_use_is_written_again(
    path: Path, *, replaced: bool
) -> None:
    storage = await SqliteStorage.open(path)
    await storage.commit(esim(7))
    old = note_path(path).rename(path.with_name("old"))
    if replaced:
        shutil.copyfile(old, note_path(path))
    old.unlink()
    await storage.commit(esim(8))
    shutil.copytree(path.parent, path.parent.with_name("killed again"))
    await storage.close()
    assert await found(path.parent.with_name("killed again") / path.name) == (COMMITS + 2, [], [])
