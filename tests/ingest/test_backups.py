"""Backups take their turn between commits, and none is left hanging by the stop."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from generated_events import START
from memory_storage import MemoryStorage
from running import WAIT
from working_intake import Room, at_work, until

from exporter.errors import StorageUnavailable
from exporter.ingest import commit, intake
from exporter.model.events import Snapshot, UsageEvent
from exporter.model.merge import Result

if TYPE_CHECKING:
    from collections.abc import Awaitable

USAGE = UsageEvent("roamify", START, "e", "p", Snapshot(data_allowed=100, data_remaining=60))


@pytest.fixture
def storage() -> MemoryStorage:
    return MemoryStorage()


@pytest.fixture(autouse=True)
def _timing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Probe soon, and let a busy machine take its time for a commit."""
    monkeypatch.setattr(commit, "BACKOFF", (0.001, 0.004))
    monkeypatch.setattr(intake, "MAX_WAIT", WAIT)


async def soon(waiting: Awaitable[object]) -> None:
    """Await a backup that must not hang."""
    await asyncio.wait_for(waiting, WAIT)


async def asked_for(room: Room, *names: str) -> list[asyncio.Task[None]]:
    """Ask for backups while a commit is under way."""
    assert isinstance(room.storage, MemoryStorage)
    await until(room.storage.entered.is_set)
    tasks = [asyncio.create_task(room.intake.backup(Path(name))) for name in names]
    await asyncio.sleep(0)
    return tasks


async def test_backups_wait_for_the_commit_under_way(storage: MemoryStorage) -> None:
    async with at_work(storage) as room:
        storage.gate.clear()
        delivery = room.submit(USAGE)
        first, second = await asked_for(room, "a", "b")
        assert storage.calls == ["load", "commit"]
        storage.gate.set()
        await soon(asyncio.gather(first, second))
        assert await delivery is Result.ACCEPTED
        assert storage.calls == ["load", "commit", "backup", "backup"]


async def test_backups_that_wait_when_the_stop_comes_are_finished(storage: MemoryStorage) -> None:
    async with at_work(storage) as room:
        storage.gate.clear()
        delivery = room.submit(USAGE)
        first, second = await asked_for(room, "a", "b")
        room.intake.stop()
        storage.gate.set()
        await soon(first)
        await soon(second)
        assert await delivery is Result.ACCEPTED
    assert storage.calls.count("backup") == 2


async def test_backups_that_wait_when_the_stop_comes_fail_where_the_storage_fails(
    storage: MemoryStorage,
) -> None:
    async with at_work(storage) as room:
        storage.gate.clear()
        delivery = room.submit(USAGE)
        first, second = await asked_for(room, "a", "b")
        room.intake.stop()
        storage.broken = True
        storage.gate.set()
        for backup, name in ((first, "a"), (second, "b")):
            with pytest.raises(StorageUnavailable, match=f"cannot write {name}"):
                await soon(backup)
        assert await room.outcomes(delivery) == [StorageUnavailable]


@pytest.mark.parametrize("under_way", [False, True])
async def test_a_run_that_is_cancelled_refuses_the_backups_that_wait(
    storage: MemoryStorage, *, under_way: bool
) -> None:
    room = Room(storage)
    run = asyncio.create_task(room.intake.run())
    await until(lambda: room.intake.state is not None)
    storage.gate.clear()
    if under_way:
        first = asyncio.create_task(room.intake.backup(Path("a")))
        await until(lambda: "backup" in storage.calls)
        backups = [first, asyncio.create_task(room.intake.backup(Path("b")))]
        await asyncio.sleep(0)
    else:
        room.submit(USAGE)
        backups = await asked_for(room, "a", "b")
    run.cancel()
    with suppress(asyncio.CancelledError):
        await run
    for backup in backups:
        with pytest.raises(StorageUnavailable, match="the exporter stops"):
            await soon(backup)
