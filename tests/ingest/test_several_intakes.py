"""Several intakes on one storage: conflicts, following, failures to follow, one expiry."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from expected_samples import DAY
from generated_events import START
from running import WAIT
from shared_memory import SharedMemory
from working_intake import Room, at_work, until

from exporter.errors import FieldError, InvalidEvent, StorageDamaged, StorageUnavailable
from exporter.ingest import commit, intake
from exporter.ingest.admin_commands import AdminCommands
from exporter.model.events import Snapshot, Status, StatusEvent, UsageEvent
from exporter.model.merge import Result
from exporter.model.shards import Shard
from exporter.storage.contract import Change, Changes, Table

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

NOWHERE = Path("nowhere")


@pytest.fixture(autouse=True)
def _timing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Probe soon, and let a busy machine take its time for a commit."""
    monkeypatch.setattr(commit, "BACKOFF_SHARED", (0.001, 0.004))
    monkeypatch.setattr(intake, "MAX_WAIT", WAIT)


def usage(esim_id: str = "e", time: int = 0, used: int = 40, **values: Any) -> UsageEvent:
    package_id = values.pop("package_id", "p")
    snapshot = Snapshot(data_allowed=100, data_remaining=100 - used, **values)
    return UsageEvent("roamify", START + time, esim_id, package_id, snapshot)


@asynccontextmanager
async def several(count: int = 2, **options: Any) -> AsyncIterator[list[Room]]:
    """Run intakes on one storage; each follows all others."""
    first = SharedMemory(Shard())
    storages = [first, *(first.beside() for _ in range(count - 1))]
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(at_work(s, shared=s, **options)) for s in storages]


@asynccontextmanager
async def shards() -> AsyncIterator[tuple[Room, Room]]:
    """Run two shards. The first keeps the eSIM ``e``."""
    keeper, visitor = Shard(0, 2), Shard(1, 2)
    if not keeper.keeps("roamify", "e"):
        keeper, visitor = visitor, keeper
    storage = SharedMemory(keeper)
    other = storage.beside(visitor)
    async with (
        at_work(storage, shared=storage, shard=keeper) as keeping,
        at_work(other, shared=other, shard=visitor) as visiting,
    ):
        yield keeping, visiting


def shared(room: Room) -> SharedMemory:
    assert isinstance(room.storage, SharedMemory)
    return room.storage


async def agree(*rooms: Room) -> None:
    await until(lambda: len({room.text() for room in rooms}) == 1)


# Conflicts


async def test_what_another_was_first_to_change_is_followed_and_merged_again() -> None:
    async with several() as (one, other):
        shared(one).gate.clear()
        waiting = one.submit(usage(time=5, used=50))
        await until(shared(one).entered.is_set)
        assert await other.submit(usage(time=1, used=70)) is Result.ACCEPTED
        shared(one).gate.set()

        assert await waiting is Result.ACCEPTED
        assert one.metric("storage_conflicts_total") == 1
        assert one.metric("storage_commit_errors_total") == 0
        await agree(one, other)
        assert 'consumed_bytes_total{vendor="roamify",esim_id="e",package_id="p"} 70' in one.text()
        assert one.loads == 1


async def test_the_same_delivery_at_the_same_time_counts_once() -> None:
    async with several(3) as rooms:
        for room in rooms:
            shared(room).gate.clear()
        tasks = [room.submit(usage()) for room in rooms]
        for room in rooms:
            await until(shared(room).entered.is_set)
        for room in rooms:
            shared(room).gate.set()
        answers = sorted(await rooms[0].outcomes(*tasks))  # type: ignore[type-var]  # all are strings
        assert answers == [Result.ACCEPTED, Result.DUPLICATE, Result.DUPLICATE]
        await agree(*rooms)


async def test_a_batch_that_others_are_always_before_is_refused_in_the_end() -> None:
    async with several() as (one, other):
        versions = iter(range(1000))

        def first() -> None:
            change = Change(Table.FEED, ("roamify",), next(versions), b"[1,7]")
            assert shared(other).apply(Changes((change,))) == ()

        shared(one).before_commit = first
        with pytest.raises(StorageUnavailable, match="others change the same rows all the time"):
            await one.submit(usage())
        assert not one.intake.failed
        assert one.metric("storage_conflicts_total") == 100
        assert 'esim_id="e"' not in one.text()
        shared(one).before_commit = lambda: None
        assert await one.submit(usage()) is Result.ACCEPTED


async def test_rows_that_are_gone_without_a_trace_are_noticed_and_made_again() -> None:
    async with several() as (one, other):
        assert await one.submit(usage()) is Result.ACCEPTED
        assert await other.submit(usage("f")) is Result.ACCEPTED
        await agree(one, other)  # so that one of them has nothing to follow
        shared(one).rows.clear()
        with pytest.raises(StorageUnavailable, match="not the one in memory"):
            await one.submit(usage(time=1, used=20))
        await until(lambda: not one.intake.failed)
        assert 'esim_id="e"' not in one.text()
        assert await one.submit(usage(time=2, used=30)) is Result.ACCEPTED


async def test_where_the_others_cannot_be_followed_the_batch_is_refused() -> None:
    async with several() as (one, other):
        shared(one).gate.clear()
        waiting = one.submit(usage("a"))
        await until(shared(one).entered.is_set)
        await other.submit(usage("b"))
        shared(one).unreachable = shared(one).broken = True
        shared(one).gate.set()
        assert await one.outcomes(waiting) == [StorageUnavailable]
        assert 'esim_id="b"' not in one.text()

        shared(one).unreachable = shared(one).broken = False
        await one.recovered()
        assert await one.submit(usage("a")) is Result.ACCEPTED
        await agree(one, other)
        assert one.loads == 1


async def test_a_hint_that_cannot_be_followed_stops_deliveries_until_it_can() -> None:
    async with several() as (one, other):
        shared(one).unreachable = shared(one).broken = True
        await other.submit(usage("b"))
        await until(lambda: one.intake.failed)
        assert one.metric("storage_commit_errors_total") == 0
        shared(one).unreachable = shared(one).broken = False
        await agree(one, other)
        await one.recovered()


async def test_where_too_much_has_changed_the_state_is_loaded_and_the_batch_taken() -> None:
    async with several() as (one, other):
        shared(one).gate.clear()
        waiting = one.submit(usage("a"))
        await until(shared(one).entered.is_set)
        await other.submit(usage("b"))
        shared(one).too_much = True
        shared(one).gate.set()
        assert await waiting is Result.ACCEPTED
        assert one.loads == 2
        await agree(one, other)


async def test_rows_that_cannot_be_read_are_loaded_once_they_can() -> None:
    async with several() as (one, other):
        newer = Change(Table.ESIM, ("roamify", "newer"), 0, b"[99]")
        shared(other).apply(Changes((newer,)))
        await until(lambda: one.intake.failed)
        with pytest.raises(StorageUnavailable, match="written by another version"):
            await one.submit(usage())
        assert "esim_fleet_esims" in one.text()

        shared(other).apply(Changes((newer._replace(expected=1, data=None),)))
        await one.recovered()
        assert one.loads > 1, "the storage does not return the unreadable row a second time"
        await other.recovered()
        assert await other.submit(usage()) is Result.ACCEPTED
        await agree(one, other)


async def test_a_commit_of_unknown_outcome_is_followed_up() -> None:
    async with several() as (one, other):
        await one.submit(usage("gone", used=30))
        shared(one).broken = shared(one).commits_all_the_same = True
        administration = AdminCommands(one.intake, {}, NOWHERE, lambda: one.now)
        with pytest.raises(StorageUnavailable):
            await administration.delete_esim(("roamify", "gone"))
        shared(one).broken = False
        await one.recovered()
        await agree(one, other)
        assert 'esim_id="gone"' not in one.text()
        assert 'consumed_bytes_total{vendor="roamify",package_id="p"} 30\n' in one.text()
        assert one.loads == 1


# Rejected deliveries


async def test_rejections_are_in_the_same_order_in_all() -> None:
    async with several() as (one, other):
        wrong = InvalidEvent((FieldError(("a",), "is wrong"),))
        bodies = [str(number).encode() for number in range(20)]
        await one.outcomes(*(one.submit(wrong, body) for body in bodies))
        kept = [*one.state.rejected]
        assert kept == sorted(kept, key=lambda each: (each.last_received, each.digest))
        await until(lambda: [*other.state.rejected] == kept)


async def test_what_one_rejects_all_keep_and_any_may_drop() -> None:
    async with several() as (one, other):
        wrong = InvalidEvent((FieldError(("a",), "is wrong"),))
        assert await one.outcomes(one.submit(wrong, b"body")) == [InvalidEvent]
        await until(lambda: len(other.state.rejected) == 1)
        (kept,) = other.state.rejected
        administration = AdminCommands(other.intake, {}, NOWHERE, lambda: other.now)
        await administration.drop(kept.digest)
        await until(lambda: len(one.state.rejected) == 0)


# Expiry


async def test_what_expires_in_several_at_the_same_time_expires_once() -> None:
    async with several(3) as rooms:
        await rooms[0].submit(usage(used=30, locations=(("France", 7),)))
        await rooms[0].submit(StatusEvent("roamify", START + 1, "e", Status.DELETED))
        await agree(*rooms)
        bases = shared(rooms[0]).bases
        storages = [shared(room) for room in rooms]
    again = [storages[0].beside() for _ in range(3)]
    for storage in again:
        storage.gate.clear()
    async with AsyncExitStack() as stack:
        due = []
        for storage in again:
            room = await stack.enter_async_context(overdue(storage))
            due.append(room)
        for storage in again:
            storage.gate.set()
        await until(lambda: not any('esim_id="e"' in room.text() for room in due))
        await agree(*due)
        assert sum(room.metric("expired_total") or 0 for room in due) == 1
        assert sum(room.metric("storage_conflicts_total") or 0 for room in due) == 2
        assert sorted(bases.values()) == [7, 30]
        assert 'consumed_bytes_total{vendor="roamify",package_id="p"} 30\n' in due[0].text()
        assert due[0].loads == 1


@asynccontextmanager
async def overdue(storage: SharedMemory) -> AsyncIterator[Room]:
    """Run an intake whose first commit is an expiry, and waits."""
    room = Room(storage, shared=storage)
    room.now += DAY
    run = asyncio.create_task(room.intake.run())
    await until(storage.entered.is_set)
    try:
        yield room
    finally:
        room.intake.stop()
        await asyncio.wait_for(run, WAIT)


async def test_what_is_due_and_gone_without_a_trace_is_not_tried_for_ever() -> None:
    async with several() as (one, other):
        await one.submit(StatusEvent("roamify", START, "e", Status.DELETED))
        await agree(one, other)
        storage = shared(one).beside()
    storage.gate.clear()
    async with overdue(storage) as room:
        storage.rows.clear()
        storage.gate.set()
        await until(lambda: room.loads == 2)
        assert 'esim_id="e"' not in room.text()
        assert 0 < (room.metric("storage_conflicts_total") or 0) < 10
        assert room.metric("storage_commit_errors_total") == 1


async def test_an_event_that_comes_before_the_expiry_of_another_keeps_the_esim() -> None:
    async with several() as (one, _):
        await one.submit(usage())
        await one.submit(StatusEvent("roamify", START + 1, "e", Status.DELETED))
        base = shared(one)
    late, early = base.beside(), base.beside()
    late.gate.clear()
    async with overdue(late) as expiring, at_work(early, shared=early) as taking:
        taking.now += DAY
        revived = StatusEvent("roamify", START + 2, "e", Status.ACTIVATED)
        assert await taking.submit(revived) is Result.ACCEPTED
        late.gate.set()
        await agree(expiring, taking)
        assert 'esim_id="e",status="ACTIVATED"' in expiring.text()
        assert expiring.metric("expired_total") == 0


# Shards


async def test_a_delivery_for_another_shard_is_stored_there() -> None:
    async with shards() as (keeper, visitor):
        assert await visitor.submit(usage(time=1)) is Result.ACCEPTED
        assert await visitor.submit(usage(time=1)) is Result.DUPLICATE
        assert await visitor.submit(usage()._replace(snapshot=Snapshot())) is Result.STALE
        await until(lambda: 'esim_id="e"' in keeper.text())
        assert 'esim_id="e"' not in visitor.text()
        assert await keeper.submit(usage(time=1)) is Result.DUPLICATE


async def test_a_row_that_its_shard_changes_meanwhile_is_fetched_again() -> None:
    async with shards() as (keeper, visitor):
        await keeper.submit(usage())
        shared(visitor).gate.clear()
        waiting = visitor.submit(usage(time=5, used=50))
        await until(shared(visitor).entered.is_set)
        await keeper.submit(usage(time=4, used=90))
        shared(visitor).gate.set()
        assert await waiting is Result.ACCEPTED
        await until(lambda: 'p"} 90\n' in keeper.text())
        assert len(shared(visitor).fetched) == 2


async def test_an_esim_of_another_shard_with_many_packages_can_be_deleted() -> None:
    async with shards() as (keeper, visitor):
        for number in range(30):
            await keeper.submit(usage(package_id=f"p{number}"))
        await until(lambda: 'package_id="p29"' in visitor.text())
        administration = AdminCommands(visitor.intake, {}, NOWHERE, lambda: visitor.now)
        esim = await administration.delete_esim(("roamify", "e"))
        assert len(esim.allowances) == 30
        await until(lambda: 'esim_id="e"' not in keeper.text())
        assert sum(shared(keeper).bases.values()) == 30 * 40


async def test_a_row_that_cannot_be_fetched_refuses_its_batch() -> None:
    async with shards() as (keeper, visitor):
        shared(visitor).unreachable = shared(visitor).broken = True
        assert await visitor.outcomes(visitor.submit(usage())) == [StorageUnavailable]
        assert visitor.metric("storage_commit_errors_total") == 0
        shared(visitor).unreachable = shared(visitor).broken = False
        await visitor.recovered()
        assert await visitor.submit(usage()) is Result.ACCEPTED
        await until(lambda: 'esim_id="e"' in keeper.text())


# The start


async def test_a_database_that_is_away_at_the_start_is_awaited() -> None:
    storage = SharedMemory(Shard())
    storage.load_faults = [StorageUnavailable("away"), StorageUnavailable("away again")]
    async with at_work(storage, shared=storage) as room:
        assert room.loads == 3
        await room.recovered()
        assert await room.submit(usage()) is Result.ACCEPTED


async def test_damage_found_once_the_database_is_back_ends_the_start() -> None:
    storage = SharedMemory(Shard())
    storage.load_faults = [StorageUnavailable("away"), StorageDamaged("no table")]
    room = Room(storage, shared=storage)
    with pytest.raises(StorageDamaged, match="no table"):
        await asyncio.wait_for(room.intake.run(), WAIT)


async def test_the_stop_may_come_while_the_database_is_awaited() -> None:
    storage = SharedMemory(Shard())
    storage.unreachable = storage.broken = True
    storage.load_faults = [StorageUnavailable("away")]
    room = Room(storage, shared=storage)
    run = asyncio.create_task(room.intake.run())
    await until(lambda: room.intake.failed)
    room.intake.stop()
    await asyncio.wait_for(run, WAIT)
    assert room.loads == 1
    assert room.intake.state is None
