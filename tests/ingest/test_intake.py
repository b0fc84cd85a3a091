"""Deliveries reach the state, on storage that works, fails, hangs and recovers."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
from expected_samples import DAY
from generated_events import START
from memory_storage import MemoryStorage
from running import WAIT
from running_fleet import ARRIVAL, RunningFleet
from working_intake import Room, at_work, load, text_of, until

from exporter.errors import (
    EventError,
    FieldError,
    InvalidEvent,
    MalformedEvent,
    Overloaded,
    StorageDamaged,
    StorageUnavailable,
)
from exporter.fleet import bounds
from exporter.fleet.fleet import Policy
from exporter.ingest import commit
from exporter.ingest import intake as module
from exporter.ingest.batch import VerifiedDelivery
from exporter.model.events import (
    OtherEvent,
    PartnerEvent,
    Snapshot,
    Status,
    StatusEvent,
    UsageEvent,
)
from exporter.model.merge import Result
from exporter.storage.sqlite.storage import SqliteStorage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from exporter.model.events import Event
    from exporter.storage.contract import Changes, Row


@pytest.fixture
def storage() -> MemoryStorage:
    return MemoryStorage()


@pytest.fixture(autouse=True)
def _timing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Probe soon, and let a busy machine take its time for a commit."""
    monkeypatch.setattr(commit, "BACKOFF", (0.001, 0.004))
    monkeypatch.setattr(module, "MAX_WAIT", WAIT)


def usage(esim_id: str = "e", time: int = 0, **values: Any) -> UsageEvent:
    snapshot = Snapshot(data_allowed=100, data_remaining=60, **values)
    return UsageEvent("roamify", START + time, esim_id, "p", snapshot)


def invalid(loc: str = "a") -> InvalidEvent:
    return InvalidEvent((FieldError((loc,), "is wrong"),))


async def begun(storage: MemoryStorage) -> None:
    """Wait until a commit is under way."""
    await asyncio.wait_for(storage.entered.wait(), WAIT)
    storage.entered.clear()


async def test_a_delivery_is_answered_after_it_is_durable_and_shown(storage: MemoryStorage) -> None:
    async with at_work(storage) as room:
        storage.gate.clear()
        before = room.text()
        task = room.submit(usage())
        await begun(storage)
        assert not task.done()
        assert room.text() == before
        storage.gate.set()
        assert await task is Result.ACCEPTED
        assert 'esim_id="e"' in room.text()
        assert text_of(await load(storage), room.now) == room.text()


async def test_what_arrives_during_a_commit_is_the_next_batch(storage: MemoryStorage) -> None:
    async with at_work(storage) as room:
        storage.gate.clear()
        first = room.submit(usage("a"))
        await begun(storage)
        rest = [room.submit(usage(esim_id)) for esim_id in "bcd"]
        await asyncio.sleep(0)
        storage.gate.set()
        assert await room.outcomes(first, *rest) == [Result.ACCEPTED] * 4
        assert storage.calls == ["load", "commit", "commit"]


class SlowStorage(MemoryStorage):
    """A storage whose commits take some turns of the event loop."""

    async def commit(self, changes: Changes) -> tuple[Row, ...]:
        for _ in range(5):
            await asyncio.sleep(0)
        return await super().commit(changes)


async def test_busy_senders_share_their_commits() -> None:
    """Not in two halves, of which one sends while the other one waits for its commit."""
    storage = SlowStorage()
    async with at_work(storage) as room:

        async def send(sender: str) -> list[Result]:
            events = [usage(sender, time) for time in (1, 2, 3)]
            deliveries = [VerifiedDelivery("roamify", b"x", room.now, each) for each in events]
            return [await room.intake.submit(each) for each in deliveries]

        storage.gate.clear()
        early = [asyncio.create_task(send(f"a{n}")) for n in range(20)]
        await begun(storage)
        late = [asyncio.create_task(send(f"b{n}")) for n in range(20)]
        await asyncio.sleep(0)
        storage.gate.set()
        assert await asyncio.gather(*early, *late) == [[Result.ACCEPTED] * 3] * 40
        assert storage.calls.count("commit") == 4  # the first has the early ones alone


async def test_a_batch_has_a_greatest_size(
    storage: MemoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_BATCH", 2)
    async with at_work(storage) as room:
        tasks = [room.submit(usage(esim_id)) for esim_id in "abcde"]
        assert await room.outcomes(*tasks) == [Result.ACCEPTED] * 5
        assert storage.calls.count("commit") == 3


async def test_every_delivery_of_a_batch_is_answered_for_itself(storage: MemoryStorage) -> None:
    async with at_work(storage) as room:
        tasks = [
            room.submit(usage(time=5)),
            room.submit(usage(time=5)),
            room.submit(usage(time=1)._replace(snapshot=Snapshot())),
            room.submit(OtherEvent("roamify", "order")),
        ]
        assert await room.outcomes(*tasks) == [
            *(Result.ACCEPTED, Result.DUPLICATE, Result.STALE, Result.IGNORED)
        ]


async def test_an_event_that_cannot_be_processed_is_kept_and_stops_no_other(
    storage: MemoryStorage, caplog: pytest.LogCaptureFixture
) -> None:
    async with at_work(storage) as room:
        beyond = usage(time=2**32)  # no parser returns it, because samples cannot hold its time
        answers = await room.outcomes(room.submit(beyond, b"beyond"), room.submit(usage()))
        assert answers == [InvalidEvent, Result.ACCEPTED]
        assert [each.body for each in room.state.rejected] == [b"beyond"]
    assert "event could not be merged" in caplog.text


async def test_what_changes_nothing_is_answered_without_a_commit(storage: MemoryStorage) -> None:
    async with at_work(storage) as room:
        assert await room.submit(usage()) is Result.ACCEPTED
        assert await room.submit(usage()) is Result.DUPLICATE
        assert storage.calls.count("commit") == 1
        room.now += 1  # the time of the last delivery is durable too
        assert await room.submit(usage()) is Result.DUPLICATE
        assert storage.calls.count("commit") == 2


# Rejected deliveries


async def test_a_rejected_delivery_does_not_hurt_the_others(storage: MemoryStorage) -> None:
    async with at_work(storage) as room:
        tasks = [
            room.submit(usage("a")),
            room.submit(invalid(), b"{}"),
            room.submit(MalformedEvent("not JSON"), b"{"),
            room.submit(usage("b")),
        ]
        assert await room.outcomes(*tasks) == [
            *(Result.ACCEPTED, InvalidEvent, MalformedEvent, Result.ACCEPTED)
        ]
        kept = [(r.reason, r.errors, r.body, r.first_received) for r in room.state.rejected]
        assert kept == [
            ("invalid", (FieldError(("a",), "is wrong"),), b"{}", ARRIVAL),
            ("malformed", (FieldError((), "not JSON"),), b"{", ARRIVAL),
        ]
        again = await load(storage)
        assert {r.body for r in again.rejected} == {b"{", b"{}"}


async def test_an_event_that_cannot_be_merged_is_kept_too(
    storage: MemoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "MAX_CURRENCIES", 0)
    async with at_work(storage) as room:
        too_much = PartnerEvent("roamify", "top_up", 1, "EUR", 1.0)
        tasks = [room.submit(too_much, b"body"), room.submit(usage("b"))]
        assert await room.outcomes(*tasks) == [InvalidEvent, Result.ACCEPTED]
        assert [r.body for r in room.state.rejected] == [b"body"]
        assert 'currency="EUR"' not in room.text()


async def test_rejections_that_make_room_are_counted(storage: MemoryStorage) -> None:
    async with at_work(storage) as room:
        tasks = [room.submit(invalid(), b"%d" % number) for number in range(5)]
        assert await room.outcomes(*tasks) == [InvalidEvent] * 5
        assert len(room.state.rejected) == 3
        assert room.metric("rejected_dropped_total") == 2


# Storage that fails


async def test_a_failed_commit_refuses_its_batch_and_leaves_no_trace(
    storage: MemoryStorage,
) -> None:
    async with at_work(storage) as room:
        assert await room.submit(usage("before")) is Result.ACCEPTED
        before = room.text()
        storage.broken = True
        tasks = [room.submit(usage("a")), room.submit(invalid()), room.submit(usage("before"))]
        assert await room.outcomes(*tasks) == [StorageUnavailable] * 3
        assert room.intake.failed
        assert room.text() == before
        assert len(room.state.rejected) == 0
        assert room.metric("storage_commit_errors_total") == 1
        assert text_of(await load(storage), room.now) == before


async def test_nothing_is_merged_before_a_probe_succeeds(storage: MemoryStorage) -> None:
    async with at_work(storage) as room:
        storage.broken = True
        assert await room.outcomes(room.submit(usage())) == [StorageUnavailable]
        commits = storage.calls.count("commit")
        for _ in range(3):
            storage.probed.clear()
            with pytest.raises(StorageUnavailable, match="the disk is full"):
                await room.submit(usage())
            await storage.probed.wait()
        assert storage.calls.count("commit") == commits
        storage.broken = False
        await room.recovered()
        assert await room.submit(usage()) is Result.ACCEPTED
        assert room.loads == 1


async def test_a_retry_after_a_failure_gives_what_no_failure_would_have_given() -> None:
    texts = []
    for fails in (False, True):
        storage = MemoryStorage()
        async with at_work(storage) as room:
            await room.submit(usage("a"))
            storage.broken = fails
            if fails:
                assert await room.outcomes(room.submit(usage("a", 1))) == [StorageUnavailable]
            storage.broken = False
            await room.recovered()
            assert await room.submit(usage("a", 1)) is Result.ACCEPTED
            texts.append((room.text(), storage.rows))
    assert texts[0] == texts[1]


async def test_what_arrives_during_a_commit_that_fails_is_refused_without_another(
    storage: MemoryStorage,
) -> None:
    async with at_work(storage) as room:
        storage.gate.clear()
        first = room.submit(usage("a"))
        await begun(storage)
        second = room.submit(usage("b"))
        await asyncio.sleep(0)
        storage.broken = True
        storage.gate.set()
        assert await room.outcomes(first, second) == [StorageUnavailable] * 2
        assert storage.calls.count("commit") == 1


async def test_the_state_is_loaded_afresh_where_the_outcome_was_unknown(
    storage: MemoryStorage,
) -> None:
    async with at_work(storage) as room:
        storage.broken = storage.commits_all_the_same = storage.probe_says_reload = True
        assert await room.outcomes(room.submit(usage())) == [StorageUnavailable]
        storage.broken = False
        await room.recovered()
        assert room.loads == 2
        assert 'esim_id="e"' in room.text()
        assert await room.submit(usage()) is Result.DUPLICATE


@pytest.mark.parametrize("error", [StorageUnavailable("gone again"), StorageDamaged("no file")])
async def test_a_load_that_fails_is_tried_again(
    storage: MemoryStorage, error: StorageUnavailable | StorageDamaged
) -> None:
    async with at_work(storage) as room:
        storage.broken = storage.commits_all_the_same = storage.probe_says_reload = True
        assert await room.outcomes(room.submit(usage())) == [StorageUnavailable]
        storage.load_faults = [error]
        storage.broken = False
        await room.recovered()
        assert storage.load_faults == []
        assert 'esim_id="e"' in room.text()
        assert await room.submit(usage()) is Result.DUPLICATE


async def test_a_conflict_loads_the_state_that_is_stored(storage: MemoryStorage) -> None:
    async with at_work(storage) as room:
        await room.submit(usage())
        other = MemoryStorage()
        async with at_work(other) as elsewhere:
            await elsewhere.submit(usage())
            await elsewhere.submit(usage(time=9))
        storage.rows = dict(other.rows)
        assert await room.outcomes(room.submit(usage(time=5))) == [StorageUnavailable]
        await room.recovered()
        assert f"}} {START + 9}\n" in room.text()
        assert await room.submit(usage(time=5)) is Result.ACCEPTED
        assert text_of(await load(storage), room.now) == room.text()


async def test_a_storage_that_cannot_be_read_at_the_start_ends_the_run(
    storage: MemoryStorage,
) -> None:
    storage.load_faults = [StorageDamaged("no file")]
    room = Room(storage)
    with pytest.raises(StorageDamaged):
        await room.intake.run()
    with pytest.raises(StorageUnavailable, match="not loaded"):
        await room.submit(usage())


# Overload, timeouts, clients that go away


async def test_too_many_that_wait_are_refused_at_once(storage: MemoryStorage) -> None:
    async with at_work(storage, max_pending=2) as room:
        storage.gate.clear()
        first = room.submit(usage("a"))
        await begun(storage)
        waiting = [room.submit(usage("b")), room.submit(usage("c"))]
        assert await room.outcomes(room.submit(usage("d"))) == [Overloaded]
        storage.gate.set()
        assert await room.outcomes(first, *waiting) == [Result.ACCEPTED] * 3
        assert 'esim_id="d"' not in room.text()


async def test_one_that_waits_too_long_is_refused_and_may_become_durable(
    storage: MemoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_WAIT", 0.001)
    async with at_work(storage) as room:
        storage.gate.clear()
        with pytest.raises(Overloaded, match=r"no commit within 0\.001 seconds"):
            await room.submit(usage())
        storage.gate.set()
        monkeypatch.setattr(module, "MAX_WAIT", WAIT)
        assert await room.submit(usage()) is Result.DUPLICATE


async def test_each_that_waits_too_long_is_refused_in_its_time(
    storage: MemoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with at_work(storage) as room:
        storage.gate.clear()
        monkeypatch.setattr(module, "MAX_WAIT", 0.02)
        first = room.submit(usage("a"))
        await begun(storage)
        monkeypatch.setattr(module, "MAX_WAIT", 0.03)
        later = room.submit(usage("b"))
        async with asyncio.timeout(WAIT):
            assert await room.outcomes(first, later) == [Overloaded] * 2
        storage.gate.set()


@pytest.mark.parametrize("content", [usage(), invalid()])
async def test_nobody_need_wait_for_an_answer(
    storage: MemoryStorage, content: Event | EventError
) -> None:
    async with at_work(storage) as room:
        storage.gate.clear()
        task = room.submit(content)
        await begun(storage)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        assert task.cancelled()
        storage.gate.set()
        await room.submit(OtherEvent("roamify", "order"))
        assert len(room.state.fleet.esims) + len(room.state.rejected) == 1
        assert text_of(await load(storage), room.now) == room.text()


async def test_a_failure_nobody_waits_for_is_no_error(
    storage: MemoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_WAIT", 0.001)
    async with at_work(storage) as room:
        storage.gate.clear()
        assert await room.outcomes(room.submit(usage())) == [Overloaded]
        storage.broken = True
        storage.gate.set()
        await storage.probed.wait()
        assert room.intake.failed


# The stop


async def test_the_stop_finishes_what_waits_and_takes_no_more(storage: MemoryStorage) -> None:
    async with at_work(storage) as room:
        storage.gate.clear()
        first = room.submit(usage("a"))
        await begun(storage)
        second = room.submit(usage("b"))
        await asyncio.sleep(0)
        room.intake.stop()
        assert await room.outcomes(room.submit(usage("c"))) == [StorageUnavailable]
        storage.gate.set()
        assert await room.outcomes(first, second) == [Result.ACCEPTED] * 2
    assert text_of(await load(storage), room.now) == room.text()


async def test_the_stop_does_not_wait_for_a_storage_that_fails(storage: MemoryStorage) -> None:
    async with at_work(storage) as room:
        storage.broken = True
        assert await room.outcomes(room.submit(usage())) == [StorageUnavailable]
    assert room.intake.failed


async def test_the_stop_lets_the_commit_under_way_fail(storage: MemoryStorage) -> None:
    async with at_work(storage) as room:
        storage.gate.clear()
        tasks = [room.submit(usage("a"))]
        await begun(storage)
        tasks.append(room.submit(usage("b")))
        await asyncio.sleep(0)
        room.intake.stop()
        storage.broken = True
        storage.gate.set()
        assert await room.outcomes(*tasks) == [StorageUnavailable] * 2
    assert "probe" not in storage.calls


# Expiry


async def filled(storage: MemoryStorage) -> None:
    """Store an eSIM that expires a day after its arrival."""
    async with at_work(storage) as room:
        await room.submit(usage())
        await room.submit(StatusEvent("roamify", START + 1, "e", Status.DELETED))
    storage.entered.clear()


async def test_what_is_due_expires_while_nothing_arrives(storage: MemoryStorage) -> None:
    await filled(storage)
    async with at_work(storage, expiry_interval=0.001) as room:
        assert 'esim_id="e"' in room.text()
        room.now += DAY
        await begun(storage)
        await until(lambda: room.state.fleet.expired == 1)
        assert 'esim_id="e"' not in room.text()
        assert room.metric("expired_total") == 1
        assert text_of(await load(storage), room.now) == room.text()


@asynccontextmanager
async def overdue(storage: MemoryStorage) -> AsyncIterator[Room]:
    """Yield an intake whose first commit is an expiry. The next check is far in the future."""
    await filled(storage)
    storage.gate.clear()
    room = Room(storage)
    room.now += DAY
    run = asyncio.create_task(room.intake.run())
    await begun(storage)
    try:
        yield room
    finally:
        storage.gate.set()
        room.intake.stop()
        await asyncio.wait_for(run, WAIT)


async def test_expiry_goes_on_at_once_after_a_step_that_changed_nothing(
    storage: MemoryStorage,
) -> None:
    before = RunningFleet(storage=storage)
    before.take(*[usage(f"{number:04}") for number in range(1000)])
    before.take(StatusEvent("roamify", START + 1, "0999", Status.DELETED))
    # The silent eSIMs would be due, but expiry waits after the start.
    room = Room(storage, policy=Policy(grace=DAY), expiry_interval=3600)
    room.now += 31 * DAY
    run = asyncio.create_task(room.intake.run())

    await asyncio.wait_for(until(lambda: room.metric("expired_total") == 1), WAIT)

    assert len(room.state.fleet.esims) == 999
    room.intake.stop()
    await asyncio.wait_for(run, WAIT)


async def test_what_expires_is_shown_until_that_is_durable(storage: MemoryStorage) -> None:
    async with overdue(storage) as room:
        assert 'esim_id="e"' in room.text()
        storage.gate.set()
        await until(lambda: room.state.fleet.expired == 1)
        assert 'esim_id="e"' not in room.text()


async def test_a_storage_that_fails_at_expiry_is_probed_soon(storage: MemoryStorage) -> None:
    async with overdue(storage) as room:
        storage.broken = True
        storage.gate.set()
        await asyncio.wait_for(storage.probed.wait(), WAIT)
        assert 'esim_id="e"' in room.text()
        assert room.metric("expired_total") == 0
        storage.broken = False
        await room.recovered()
        assert await room.submit(usage("new", 5)) is Result.ACCEPTED


async def test_what_arrives_during_an_expiry_that_fails_is_refused_without_a_commit(
    storage: MemoryStorage,
) -> None:
    async with overdue(storage) as room:
        task = room.submit(usage("a"))
        await asyncio.sleep(0)
        storage.broken = True
        storage.gate.set()
        assert await room.outcomes(task) == [StorageUnavailable]
        storage.broken = False
        await room.recovered()
        assert await room.submit(usage("a")) is Result.ACCEPTED


async def test_the_stop_may_come_during_an_expiry(storage: MemoryStorage) -> None:
    async with overdue(storage) as room:
        room.intake.stop()
    assert room.state.fleet.expired == 1
    assert text_of(await load(storage), room.now) == room.text()


# SQLite


async def test_survives_a_restart_on_sqlite(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    storage = await SqliteStorage.open(path)
    async with at_work(storage) as room:
        tasks = [
            room.submit(usage("Å\n\"'\\", locations=(("Åland", 0),))),
            room.submit(usage("b")),
            room.submit(StatusEvent("roamify", START + 1, "b", Status.EXPIRED)),
            room.submit(invalid(), b"\xff\x00"),
        ]
        assert await room.outcomes(*tasks) == [*[Result.ACCEPTED] * 3, InvalidEvent]
        before = room.text()
    await storage.close()
    storage = await SqliteStorage.open(path)
    async with at_work(storage, expiry_interval=0.001) as room:
        assert room.text() == before
        assert [r.body for r in room.state.rejected] == [b"\xff\x00"]
        assert await room.submit(usage("b")) is Result.DUPLICATE
        room.now += 30 * DAY
        await until(lambda: room.state.fleet.expired == 2)
        assert await room.submit(usage("b", 9)) is Result.ACCEPTED
        before = room.text()
    await storage.close()
    storage = await SqliteStorage.open(path)
    assert text_of(await load(storage), room.now) == before
    await storage.close()
