"""A database file or a log that somebody changes while it is in use."""

from __future__ import annotations

import asyncio
import os
import shutil
from typing import TYPE_CHECKING

import pytest
from stored import content

from exporter.errors import StorageDamaged, StorageUnavailable
from exporter.storage.contract import Change, Changes, Table
from exporter.storage.sqlite import writing
from exporter.storage.sqlite.storage import SqliteStorage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

CHANGED = "was removed, replaced or changed while in use: put it back as it was, or restart"


def esim(name: str, expected: int = 0) -> Changes:
    return Changes((Change(Table.ESIM, ("v", name), expected, b"x" * 9000),))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.db"


@pytest.fixture
async def storage(path: Path) -> AsyncIterator[SqliteStorage]:
    """A storage with a commit that a backup beside it has, and one that only the log has."""
    storage = await SqliteStorage.open(path)
    await storage.commit(esim("old"))
    await storage.backup(path.with_name("backup"))
    await storage.commit(esim("new"))
    yield storage
    await storage.close()


def files(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.parent.glob("a.db*")}


async def names(path: Path) -> tuple[set[str], list[str]]:
    storage = await SqliteStorage.open(path)
    chunks = [chunk async for chunk in storage.load()]
    await storage.close()
    damaged = [line for chunk in chunks for line in chunk.damaged]
    return {row.key[1] for chunk in chunks for row in chunk.rows}, damaged


def put_back(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def truncate(path: Path) -> None:
    path.open("w").close()


def halve(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def lengthen(path: Path) -> None:
    with path.open("ab") as file:
        file.write(bytes(8192))


def copy_over(path: Path) -> None:
    shutil.copyfile(path.with_name("backup"), path)


def copy_over_in_the_same_size(path: Path) -> None:
    """Write a backup over the file, whose size becomes that of the file."""
    size = path.stat().st_size
    copy_over(path)
    os.truncate(path, size)


def move_over(path: Path) -> None:
    shutil.copyfile(path, path.with_name("other"))
    path.with_name("other").rename(path)


def overwrite(path: Path, start: int, count: int) -> None:
    """Write zeros into a file, which keeps its size."""
    with path.open("r+b") as file:
        file.seek(start)
        file.write(bytes(count))
    os.utime(path, (1, 1))  # the clock of file times ticks some hundred times a second only


def overwrite_the_header(path: Path) -> None:
    overwrite(path, 0, 32)


def overwrite_the_middle(path: Path) -> None:
    overwrite(path, path.stat().st_size // 2, 5000)


def overwrite_the_end(path: Path) -> None:
    overwrite(path, path.stat().st_size - 9000, 9000)


WAYS = (truncate, halve, lengthen, copy_over, move_over)


@pytest.mark.parametrize(
    ("name", "way"),
    [
        ("a.db", copy_over_in_the_same_size),
        ("a.db", overwrite_the_header),
        ("a.db-wal", overwrite_the_header),
        ("a.db-wal", overwrite_the_middle),
        ("a.db-wal", overwrite_the_end),
        *((name, way) for name in ("a.db", "a.db-wal") for way in WAYS),
    ],
)
async def test_nothing_is_committed_once_a_file_was_changed(
    storage: SqliteStorage, path: Path, name: str, way: Callable[[Path], None]
) -> None:
    way(path.with_name(name))
    left = files(path)

    for _ in range(2):
        with pytest.raises(StorageUnavailable, match=f"{name} {CHANGED}"):
            await storage.commit(esim("lost"))
        with pytest.raises(StorageUnavailable, match=f"{name} {CHANGED}"):
            await storage.probe()
    with pytest.raises(StorageUnavailable, match=f"{name} {CHANGED}"):
        await storage.backup(path.with_name("another"))
    await storage.close()

    assert files(path) == left


async def test_a_backup_copied_over_the_open_file_is_not_mixed_with_its_log(
    storage: SqliteStorage, path: Path
) -> None:
    copy_over(path)
    await storage.close()

    with pytest.raises(StorageDamaged, match=r"do not belong together.*move a\.db-wal away"):
        await names(path)
    path.with_name("a.db-wal").unlink()
    found, damaged = await names(path)

    assert found == {"old"}
    (line,) = damaged
    assert "ends with commit 1 and lacks commit 2" in line
    assert await names(path) == ({"old"}, [])


@pytest.mark.parametrize("name", ["a.db", "a.db-wal"])
async def test_a_change_during_a_commit_is_noticed_before_it_is_acknowledged(
    storage: SqliteStorage, path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    write = writing.write

    def write_and_change(*arguments: object) -> object:
        conflicts = write(*arguments)  # type: ignore[arg-type]
        truncate(path.with_name(name))
        return conflicts

    monkeypatch.setattr("exporter.storage.sqlite.storage.write", write_and_change)
    with pytest.raises(StorageUnavailable, match=f"{name} {CHANGED}"):
        await storage.commit(esim("lost"))


async def test_a_log_is_not_written_back_to_a_file_that_was_changed(
    storage: SqliteStorage, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exporter.storage.sqlite.storage.LOG_LIMIT", 0)
    commit = asyncio.create_task(storage.commit(esim("a")))
    await asyncio.sleep(0)  # the log is written back after the next job
    await storage._run(copy_over, path)
    assert await commit == ()
    left = files(path)

    with pytest.raises(StorageUnavailable, match=CHANGED):
        await storage.commit(esim("lost"))
    assert files(path) == left


async def test_another_time_or_mode_or_name_of_a_file_is_no_change(
    storage: SqliteStorage, path: Path
) -> None:
    for name in ("a.db", "a.db-wal"):
        file = path.with_name(name)
        os.utime(file, (1, 1))
        file.chmod(0o640)
        os.link(file, path.with_name(f"{name}-link"))

    assert await storage.commit(esim("a")) == ()
    assert await storage.probe() is False
    assert len((await content(storage))[0]) == 3


async def test_a_file_that_is_put_back_is_used_again(storage: SqliteStorage, path: Path) -> None:
    whole = files(path)
    truncate(path)
    with pytest.raises(StorageUnavailable, match=CHANGED):
        await storage.commit(esim("a"))

    put_back(path, whole["a.db"])

    assert await storage.probe() is True
    assert await storage.commit(esim("a")) == ()
    await storage.close()
    assert await names(path) == ({"old", "new", "a"}, [])
