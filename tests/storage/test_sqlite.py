"""The storage in a SQLite file, beyond what test_storage checks for every storage."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from contextlib import aclosing, closing
from typing import TYPE_CHECKING

import pytest
from stored import content

from exporter.errors import StorageUnavailable
from exporter.storage.contract import Change, Changes, Row, Sizes, Table
from exporter.storage.sqlite.connection import LOG_LIMIT
from exporter.storage.sqlite.storage import SqliteStorage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from exporter.storage.contract import Key


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.db"


@pytest.fixture
async def storage(path: Path) -> AsyncIterator[SqliteStorage]:
    storage = await SqliteStorage.open(path)
    yield storage
    await storage.close()


async def reopened(storage: SqliteStorage, path: Path) -> tuple[list[Row], dict[Key, int]]:
    await storage.close()
    again = await SqliteStorage.open(path)
    found = await content(again)
    await again.close()
    return found


def size(path: Path) -> int:
    return path.stat().st_size


def files(folder: Path, pattern: str = "*") -> dict[str, int]:
    """The names and the permissions of files."""
    return {file.name: file.stat().st_mode & 0o777 for file in folder.glob(pattern)}


def esim(name: str, expected: int, data: bytes | None = b"{}") -> Change:
    return Change(Table.ESIM, ("v", name), expected, data)


async def test_writes_nothing_for_no_changes(storage: SqliteStorage) -> None:
    before = storage.sizes()
    assert await storage.commit(Changes()) == ()
    assert storage.sizes() == before


async def test_an_unfinished_load_does_not_block_the_next_load_or_the_close(
    storage: SqliteStorage, path: Path
) -> None:
    await storage.commit(Changes(tuple(esim(str(n), 0) for n in range(6000))))
    given_up = storage.load()
    await anext(given_up)
    assert len((await content(storage))[0]) == 6000
    assert [chunk async for chunk in given_up] == []

    given_up = storage.load()
    await anext(given_up)
    assert len((await reopened(storage, path))[0]) == 6000
    await given_up.aclose()  # type: ignore[attr-defined]  # an iterator to callers


class BrokenOffError(Exception):
    pass


async def test_a_load_that_is_broken_off_does_not_keep_its_reader(
    storage: SqliteStorage, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exporter.storage.sqlite.storage.LOG_LIMIT", 1 << 20)
    await storage.commit(Changes(tuple(esim(str(n), 0) for n in range(6000))))

    async def broken_off() -> None:
        async with aclosing(storage.load()) as chunks:  # type: ignore[type-var]  # a generator
            async for _ in chunks:
                raise BrokenOffError

    with pytest.raises(BrokenOffError):
        await broken_off()

    # A reader would keep the log from being written back, so that it grows with each commit.
    for version in range(1, 101):
        assert await storage.commit(Changes((esim("0", version, b"x" * 50_000),))) == ()
    assert storage.sizes().wal < 3 << 20
    assert len((await content(storage))[0]) == 6000
    assert len((await reopened(storage, path))[0]) == 6000


async def test_a_cancelled_caller_does_not_stop_a_commit(
    storage: SqliteStorage, path: Path
) -> None:
    commit = asyncio.create_task(
        storage.commit(Changes(tuple(esim(str(n), 0, b"x" * 3000) for n in range(500))))
    )
    await asyncio.sleep(0)
    commit.cancel()
    with pytest.raises(asyncio.CancelledError):
        await commit

    assert len((await reopened(storage, path))[0]) == 500


async def test_a_cancelled_open_unlocks_the_file(path: Path) -> None:
    opening = asyncio.create_task(SqliteStorage.open(path))
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening

    with closing(sqlite3.connect(path, timeout=0)) as other:
        assert other.execute("SELECT count(*) FROM esim").fetchone() == (0,)


async def test_the_log_is_written_back_and_stays_small(storage: SqliteStorage, path: Path) -> None:
    data = b"x" * 4000
    for version in range(24):
        rows = tuple(esim(str(n), version, data) for n in range(400))
        assert await storage.commit(Changes(rows)) == ()
        assert storage.sizes().wal < 2 * LOG_LIMIT
    assert size(path) > 400 * len(data)

    await storage.close()
    assert files(path.parent) == {"a.db": 0o600, "a.db-end": 0o600}


async def test_sizes_are_those_of_the_files_or_zero(storage: SqliteStorage, path: Path) -> None:
    await storage.commit(Changes((esim("e", 0),)))
    assert storage.sizes() == Sizes(size(path), size(path.with_name("a.db-wal")))
    assert storage.sizes().wal > 0
    await storage.close()
    os.remove(path)  # noqa: PTH107  # pathlib is taken to block in async functions
    assert storage.sizes() == Sizes(0, 0)


async def test_a_probe_of_a_sound_storage_needs_no_reload(
    storage: SqliteStorage, path: Path
) -> None:
    before = storage.sizes()
    assert await storage.probe() is False
    assert await storage.probe() is False
    assert storage.sizes().wal > before.wal
    assert await reopened(storage, path) == ([], {})


@pytest.mark.parametrize("gone", ["a.db", "a.db-wal"])
async def test_a_removed_file_is_not_written_to(
    storage: SqliteStorage, path: Path, gone: str
) -> None:
    await storage.commit(Changes((esim("a", 0),)))
    there, away = path.with_name(gone), path.with_name("away")
    there.rename(away)
    for attempt in (storage.commit(Changes((esim("b", 0),))), storage.probe()):
        with pytest.raises(StorageUnavailable, match=f"{gone} was removed, replaced"):
            await attempt

    away.rename(there)
    assert await storage.probe()
    assert await storage.commit(Changes((esim("b", 0),))) == ()
    rows, _ = await reopened(storage, path)
    assert [row.key[1] for row in rows] == ["a", "b"]


def replace_with_nothing(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.touch()


async def test_a_replaced_file_is_not_written_to(storage: SqliteStorage, path: Path) -> None:
    await storage.commit(Changes((esim("a", 0),)))
    replace_with_nothing(path)
    with pytest.raises(StorageUnavailable, match="removed, replaced"):
        await storage.commit(Changes((esim("b", 0),)))
    assert size(path) == 0


async def test_a_new_storage_in_an_empty_file_is_noted(path: Path) -> None:
    replace_with_nothing(path)
    storage = await SqliteStorage.open(path)
    notes = [note async for chunk in storage.load() for note in chunk.notes]
    await storage.close()
    assert notes == [f"{path} was an empty file; a new storage was created in it"]
