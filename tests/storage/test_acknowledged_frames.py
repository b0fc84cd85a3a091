"""The note of acknowledged frames: acknowledged commits that the log lost are reported."""

from __future__ import annotations

import os
import shutil
import struct
from typing import TYPE_CHECKING

import pytest
from file_size_limit import file_size_limit

from exporter.errors import StorageUnavailable
from exporter.storage.contract import Change, Changes, Table
from exporter.storage.sqlite import acknowledged_frames, wal
from exporter.storage.sqlite.storage import SqliteStorage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
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


def frames(log: Path) -> int:
    return (log.stat().st_size - wal.HEADER.size) // FRAME


async def test_a_whole_log_has_no_missing_frames(path: Path) -> None:
    assert await found(path) == (COMMITS, [], [])


@pytest.mark.parametrize("odd", [0, 100])
async def test_a_log_that_was_cut_off_is_reported_and_kept(path: Path, odd: int) -> None:
    log = wal.log_path(path)
    whole = frames(log)
    cut(log, log.stat().st_size - 4 * FRAME + odd)
    left = log.read_bytes()

    rows, damaged, notes = await found(path)

    assert 0 < rows < COMMITS
    (line,) = damaged
    assert line.startswith(f"{log} holds {whole - 4} of {whole} acknowledged frames: the rest is ")
    assert line.endswith("lost, what is left of the log is kept as a.db-wal-damaged-1")
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
    log.write_bytes(b"") if there else log.unlink()

    rows, damaged, _ = await found(path)

    assert rows == 0
    assert len(damaged) == 1
    assert "holds 0 of" in damaged[0]
    assert damaged[0].endswith(": the rest is lost")
    assert not log.with_name("a.db-wal-damaged-1").exists()
    assert (await found(path))[1] == []


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


@pytest.mark.parametrize("note", [None, b"", b"\0" * 16, b"\xff" * 16])
async def test_a_missing_or_invalid_note_promises_nothing(path: Path, note: bytes | None) -> None:
    end, log = acknowledged_frames.note_path(path), wal.log_path(path)
    end.unlink() if note is None else end.write_bytes(note)
    cut(log, log.stat().st_size - 4 * FRAME)

    rows, damaged, _ = await found(path)

    assert (rows < COMMITS, damaged) == (True, [])


async def test_a_note_about_an_earlier_log_promises_nothing(path: Path) -> None:
    salts = wal.log_path(path).read_bytes()[16:24]
    note = acknowledged_frames.FrameNote(path)
    note.clear()
    other = bytes(byte ^ 0xFF for byte in salts)
    with acknowledged_frames.note_path(path).open("r+b", buffering=0) as file:
        acknowledged_frames.write_note(file, other, 1000)

    assert await found(path) == (COMMITS, [], [])


async def test_a_clean_close_leaves_no_note(path: Path) -> None:
    await found(path)
    assert [file.name for file in sorted(path.parent.iterdir())] == ["a.db"]


async def test_the_note_follows_a_log_that_starts_from_its_beginning_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exporter.storage.sqlite.storage.LOG_LIMIT", 10 * FRAME)
    path = tmp_path / "a.db"
    storage = await SqliteStorage.open(path)
    salts = set()
    for number in range(40):
        await storage.commit(esim(number))
        salts_in_note, count = acknowledged_frames.read_note(path)
        salts.add(salts_in_note)
        header = struct.unpack(">8I", wal.log_path(path).read_bytes()[:32])
        assert salts_in_note == struct.pack(">2I", *header[4:6])
        assert wal.check(wal.log_path(path)).frames == count
    assert len(salts) > 1
    await storage.close()


async def test_commits_where_the_note_cannot_be_written(path: Path) -> None:
    storage = await SqliteStorage.open(path)
    assert storage._frame_note._note
    read_only = os.open(os.devnull, os.O_RDONLY)
    os.dup2(read_only, storage._frame_note._note.fileno())
    os.close(read_only)

    assert await storage.commit(esim(0, 1)) == ()

    assert acknowledged_frames.read_note(path) == (bytes(8), 0)
    await storage.close()


async def test_does_not_start_where_the_note_cannot_be_read(path: Path) -> None:
    acknowledged_frames.note_path(path).unlink()
    acknowledged_frames.note_path(path).mkdir()
    with pytest.raises(StorageUnavailable, match="Is a directory"):
        await SqliteStorage.open(path)
    acknowledged_frames.note_path(path).rmdir()
    assert await found(path) == (COMMITS, [], [])


async def test_commits_nothing_where_the_note_cannot_be_cleared(path: Path) -> None:
    await found(path)
    with file_size_limit(0):
        storage = await SqliteStorage.open(path)
        with pytest.raises(StorageUnavailable, match="File too large"):
            await storage.commit(esim(0, 1))
    assert await storage.probe() is True
    assert await storage.commit(esim(0, 1)) == ()
    await storage.close()


def test_records_no_frames_of_a_log_without_frames(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    note = acknowledged_frames.FrameNote(path)
    note.record_commit()
    note.clear()
    wal.log_path(path).write_bytes(b"")
    note.start()
    note.record_commit()
    wal.log_path(path).write_bytes(bytes(32))
    note.record_commit()
    assert acknowledged_frames.read_note(path) == (bytes(8), 0)
    note.close()
