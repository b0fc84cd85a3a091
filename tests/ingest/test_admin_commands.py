"""Changes that people ask for, among deliveries, on storage that works and fails."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from expected_samples import DAY
from generated_events import START
from memory_storage import MemoryStorage
from running import WAIT
from running_fleet import ARRIVAL, RunningFleet
from working_intake import Room, at_work, load, text_of

from exporter.errors import (
    FieldError,
    FutureEvent,
    InvalidEvent,
    MalformedEvent,
    Missing,
    Overloaded,
    StorageUnavailable,
)
from exporter.fleet import bounds
from exporter.fleet.drafts import Draft
from exporter.fleet.fleet import Policy
from exporter.ingest import intake
from exporter.ingest.admin_commands import AdminCommands
from exporter.ingest.rejected_deliveries import RejectedDeliveries, RejectedDelivery, digest_of
from exporter.model.events import MAX_AHEAD, Event, Snapshot, Status, StatusEvent, UsageEvent
from exporter.model.expiry import Retention
from exporter.model.merge import Result
from exporter.storage.contract import Changes, Table
from exporter.storage.sqlite.storage import SqliteStorage
from exporter.vendors.registry import FIRST

KEY = ("roamify", "e")
BODY = b'{"used": 40}'
DIGEST = digest_of(BODY)
CONSUMED = 'esim_fleet_data_consumed_bytes_total{vendor="roamify",package_id="p"} '


@pytest.fixture(autouse=True)
def _timing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a busy machine take its time for a commit."""
    monkeypatch.setattr(intake, "MAX_WAIT", WAIT)


@pytest.fixture
def storage() -> MemoryStorage:
    return MemoryStorage()


def usage(time: int = 0, used: int = 10, esim_id: str = "e", **values: Any) -> UsageEvent:
    snapshot = Snapshot(data_allowed=100, data_remaining=100 - used, **values)
    return UsageEvent("roamify", START + time, esim_id, "p", snapshot)


def parse(body: bytes, now: float, *_: object, **__: object) -> Event:
    """Parse a body, as a vendor's newer parser would."""
    if not body.startswith(b"{"):
        raise MalformedEvent("the body is not JSON")
    document = json.loads(body)
    if "used" not in document:
        raise InvalidEvent((FieldError(("used",), "is required"),))
    event = usage(document.get("time", 0), document["used"], locations=document.get("locations"))
    if event.time > now + MAX_AHEAD:
        raise FutureEvent(event.time, FieldError(("time",), "is in the future"))
    return event


def administration(room: Room, folder: Path = Path("nowhere")) -> AdminCommands:
    vendor = replace(FIRST, name="roamify", parse=parse)
    return AdminCommands(room.intake, (vendor,), folder, lambda: room.now)


async def reject(room: Room, body: bytes = BODY) -> str:
    """Submit a delivery that is rejected; return its digest."""
    wrong = InvalidEvent((FieldError(("used",), "is of an unknown kind"),))
    assert await room.outcomes(room.submit(wrong, body)) == [InvalidEvent]
    return digest_of(body)


async def durable(room: Room) -> bool:
    """Return whether memory equals a new load from the storage."""
    stored = await load(room.storage)
    same_rejected = list(stored.rejected) == list(room.state.rejected)
    return same_rejected and text_of(stored, room.now) == room.text()


# Deleting an eSIM


async def test_a_deleted_esim_leaves_and_the_fleets_counters_stay(
    storage: MemoryStorage, caplog: pytest.LogCaptureFixture
) -> None:
    async with at_work(storage) as room:
        await room.submit(usage(used=40))
        esim = await administration(room).delete_esim(KEY)

        assert esim.allowances[0].package_id == "p"
        assert 'esim_id="e"' not in room.text()
        assert f"{CONSUMED}40\n" in room.text()
        assert await durable(room)
        assert room.metric("expired_total") == 0
        assert "eSIM deleted" in caplog.messages


async def test_a_newer_event_brings_a_deleted_esim_back_and_its_counters_go_on(
    storage: MemoryStorage,
) -> None:
    async with at_work(storage) as room:
        await room.submit(usage(5, used=40))
        await administration(room).delete_esim(KEY)

        assert await room.submit(usage(5, used=40)) is Result.STALE
        assert await room.submit(usage(4, used=90)) is Result.STALE
        assert 'esim_id="e"' not in room.text()
        assert await room.submit(usage(6, used=50)) is Result.ACCEPTED
        assert 'consumed_bytes_total{vendor="roamify",esim_id="e",package_id="p"} 50' in room.text()
        assert f"{CONSUMED}50\n" in room.text()
        assert await durable(room)


def test_deleting_is_expiring_now() -> None:
    texts, rows = [], []
    for deletes in (True, False):
        running = RunningFleet()
        running.take(usage(used=40), usage(used=20, esim_id="other"))
        running.take(StatusEvent("roamify", START + 1, "e", Status.REVOKED))
        if deletes:
            draft = Draft(running.fleet, running.now)
            draft.remove(KEY)
            running.publish(draft)
        else:
            running.load(Policy(Retention(terminal=0)))
            running.expire()
        texts.append(running.text())
        rows.append(running.storage.rows)

    assert texts[0] == texts[1]
    assert rows[0] == rows[1]


async def test_a_deletion_has_its_place_among_the_deliveries_of_a_batch(
    storage: MemoryStorage,
) -> None:
    async with at_work(storage) as room:
        deliveries = [room.submit(usage(1, used=40))]
        await asyncio.sleep(0)
        deletion = asyncio.create_task(administration(room).delete_esim(KEY))
        await asyncio.sleep(0)
        deliveries += [room.submit(usage(1, used=40)), room.submit(usage(2, used=50))]

        assert await room.outcomes(*deliveries) == [
            *(Result.ACCEPTED, Result.STALE, Result.ACCEPTED)
        ]
        await deletion
        assert f"{CONSUMED}50\n" in room.text()
        assert await durable(room)


async def test_what_is_not_there_cannot_be_deleted(storage: MemoryStorage) -> None:
    async with at_work(storage) as room:
        with pytest.raises(Missing):
            await administration(room).delete_esim(KEY)
        assert storage.calls.count("commit") == 0


async def test_a_deletion_that_cannot_be_committed_has_not_been(storage: MemoryStorage) -> None:
    async with at_work(storage) as room:
        await room.submit(usage())
        await reject(room)
        before = room.text()
        storage.broken = True
        for asked in (
            administration(room).delete_esim(KEY),
            administration(room).drop(DIGEST),
            administration(room).replay(DIGEST),
        ):
            with pytest.raises(StorageUnavailable):
                await asked
        assert room.text() == before
        assert len(room.state.rejected) == 1


# Rejected deliveries


async def test_a_replayed_delivery_counts_from_when_it_first_came(storage: MemoryStorage) -> None:
    async with at_work(storage) as room:
        await reject(room)
        room.now += DAY
        await reject(room)
        commits = storage.calls.count("commit")
        room.now += DAY

        assert await administration(room).replay(DIGEST) is Result.ACCEPTED
        assert storage.calls.count("commit") == commits + 1
        assert len(room.state.rejected) == 0
        esim = room.state.fleet.esim(KEY)
        assert esim
        assert esim.received == esim.allowances[0].received == ARRIVAL
        assert f"{CONSUMED}40\n" in room.text()
        assert await durable(room)


async def test_a_replay_does_not_make_an_esim_seem_silent(storage: MemoryStorage) -> None:
    async with at_work(storage) as room:
        digest = await reject(room, b'{"used": 40, "time": 9}')
        room.now += DAY
        await room.submit(usage(used=10))
        await administration(room).replay(digest)

        esim = room.state.fleet.esim(KEY)
        assert esim
        assert esim.received == esim.allowances[0].received == ARRIVAL + DAY


async def test_what_came_under_a_wrong_clock_is_replayed_by_the_clock_of_now(
    storage: MemoryStorage,
) -> None:
    async with at_work(storage) as room:
        right = room.now
        room.now = right - 3650 * DAY
        body = b'{"used": 40}'
        refused = await room.outcomes(room.submit(refusal_of(body, room.now), body))
        assert refused == [FutureEvent]
        (kept,) = room.state.rejected
        assert kept.reason == "future"
        with pytest.raises(FutureEvent):
            await administration(room).replay(kept.digest)
        room.now = right

        assert await administration(room).replay(kept.digest) is Result.ACCEPTED
        esim = room.state.fleet.esim(KEY)
        assert esim
        assert START <= esim.received <= right, "ten years ago it would have expired since"
        assert await durable(room)


async def test_while_the_clock_is_behind_nothing_is_dropped(storage: MemoryStorage) -> None:
    async with at_work(storage) as room:
        room.now -= 365 * DAY
        bodies = [b'{"used": %d}' % used for used in range(30)]
        outcomes = [
            (await room.outcomes(room.submit(refusal_of(body, room.now), body)))[0]
            for body in bodies
        ]
        assert outcomes == [FutureEvent] * 30
        assert room.intake.clock_check.behind
        for number in range(3):
            await reject(room, b"%d" % number)
        fourth = InvalidEvent((FieldError((), "does not fit"),))
        assert await room.outcomes(room.submit(fourth, b"3")) == [Overloaded]

        assert {kept.body for kept in room.state.rejected} == {*bodies, b"0", b"1", b"2"}
        assert room.metric("rejected_dropped_total") == 0
        room.now += 365 * DAY
        await reject(room, b"3")
        assert {kept.body for kept in room.state.rejected} == {*bodies, b"1", b"2", b"3"}
        assert set((await load(storage)).rejected) == set(room.state.rejected)


def refusal_of(body: bytes, now: float) -> FutureEvent:
    with pytest.raises(FutureEvent) as caught:
        parse(body, now)
    return caught.value


async def test_what_else_is_in_the_batch_of_a_replay_was_received_now(
    storage: MemoryStorage,
) -> None:
    async with at_work(storage) as room:
        await reject(room)
        room.now += DAY
        replay = asyncio.create_task(administration(room).replay(DIGEST))
        await asyncio.sleep(0)
        await room.submit(usage(esim_id="other"))
        await replay

        other = room.state.fleet.esim(("roamify", "other"))
        assert other
        assert other.received == ARRIVAL + DAY


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"<xml>", MalformedEvent),
        (b"{}", InvalidEvent),
        (b'{"used": 1, "locations": [["A", 1], ["B", 1]]}', InvalidEvent),
    ],
)
async def test_what_still_cannot_be_taken_stays(
    body: bytes, error: type[Exception], storage: MemoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "MAX_ALLOWANCES", 0)
    async with at_work(storage) as room:
        digest = await reject(room, body)
        before = list(room.state.rejected)

        with pytest.raises(error):
            await administration(room).replay(digest)
        assert list(room.state.rejected) == before
        assert len(room.state.fleet.esims) == 0
        assert await durable(room)


async def test_a_delivery_of_a_vendor_that_is_off_stays(storage: MemoryStorage) -> None:
    async with at_work(storage) as room:
        await reject(room)
        nobody = AdminCommands(room.intake, (), Path("nowhere"), lambda: room.now)

        with pytest.raises(InvalidEvent, match="cannot be read while roamify is off"):
            await nobody.replay(DIGEST)
        assert len(room.state.rejected) == 1


async def test_what_cannot_be_processed_stays(
    storage: MemoryStorage, caplog: pytest.LogCaptureFixture
) -> None:
    async with at_work(storage) as room:
        await reject(room)

        def fail(*_: object, **__: object) -> Event:
            raise KeyError

        vendor = replace(FIRST, name="roamify", parse=fail)
        broken = AdminCommands(room.intake, (vendor,), Path("nowhere"), lambda: room.now)
        with pytest.raises(InvalidEvent, match="cannot process"):
            await broken.replay(DIGEST)
        assert len(room.state.rejected) == 1
    assert "event could not be merged" in caplog.messages


async def test_a_replayed_event_without_a_time_of_its_own_happened_at_its_first_receipt(
    storage: MemoryStorage,
) -> None:
    async with at_work(storage) as room:
        await reject(room)
        first = room.now
        room.now += 1000
        times: list[float] = []

        def note(body: bytes, now: float, *__: object, **___: object) -> Event:
            assert body == BODY
            times.append(now)
            return usage(int(now), 40)

        vendor = replace(FIRST, name="roamify", parse=note, has_event_time=False)
        await AdminCommands(room.intake, (vendor,), Path("nowhere"), lambda: room.now).replay(
            DIGEST
        )
        assert times == [int(first)]


async def test_a_dropped_delivery_is_gone(storage: MemoryStorage) -> None:
    async with at_work(storage) as room:
        await reject(room)

        assert (await administration(room).drop(DIGEST)).body == BODY
        assert len(room.state.rejected) == 0
        assert await durable(room)
        assert room.metric("rejected_dropped_total") == 0
        for asked in (administration(room).drop(DIGEST), administration(room).replay(DIGEST)):
            with pytest.raises(Missing):
                await asked


async def test_a_body_that_comes_again_after_it_was_dropped_is_kept_anew(
    storage: MemoryStorage,
) -> None:
    async with at_work(storage) as room:
        await reject(room)
        room.now += 5
        drop = asyncio.create_task(administration(room).drop(DIGEST))
        await asyncio.sleep(0)
        await reject(room)
        await drop

        (kept,) = room.state.rejected
        assert (kept.first_received, kept.deliveries) == (ARRIVAL + 5, 1)
        assert await durable(room)


def rejection(body: bytes) -> RejectedDelivery:
    return RejectedDelivery("roamify", "invalid", (), body, 0, 0)


def test_what_is_dropped_in_its_own_batch_is_never_stored() -> None:
    storage, rejections = MemoryStorage(), RejectedDeliveries(9)
    draft = rejections.draft()
    draft.add(rejection(b"x"))
    draft.add(rejection(b"y"))
    draft.remove(digest_of(b"x"))

    assert draft.get(digest_of(b"x")) is None
    assert draft.get(digest_of(b"y"))
    assert storage.apply(Changes(draft.changes())) == ()
    rejections.publish(draft)
    assert [kept.body for kept in rejections] == [b"y"]
    assert [key for table, key in storage.rows if table is Table.REJECTED] == [(digest_of(b"y"),)]


def test_what_is_dropped_makes_room() -> None:
    rejections = RejectedDeliveries(2)
    draft = rejections.draft()
    draft.add(rejection(b"x"))
    draft.add(rejection(b"y"))
    draft.changes()
    rejections.publish(draft)
    draft = rejections.draft()
    draft.remove(digest_of(b"y"))
    draft.add(rejection(b"z"))
    draft.changes()
    rejections.publish(draft)

    assert [kept.body for kept in rejections] == [b"x", b"z"]
    assert draft.dropped == 0


# Backups


async def test_a_backup_opens_and_gives_the_same_text(tmp_path: Path) -> None:
    storage = await SqliteStorage.open(tmp_path / "state.db")
    async with at_work(storage) as room:
        await room.submit(usage(used=40))
        await reject(room)
        room.now = 1_795_564_180.25
        before = room.text()
        backup = await administration(room, tmp_path).back_up()
        await room.submit(usage(1, used=50))

        assert backup.path == tmp_path / "esim-exporter-20261124T234940.250000Z.db"
        assert backup.size == size_of(backup.path) > 0
        with pytest.raises(StorageUnavailable, match="File exists"):
            await administration(room, tmp_path).back_up()
        with pytest.raises(StorageUnavailable, match="No such file"):
            await administration(room, tmp_path / "nowhere").back_up()
        assert not room.intake.failed
    await storage.close()
    copy = await SqliteStorage.open(backup.path)
    async with at_work(copy) as restored:
        restored.now = room.now
        assert restored.text() == before
        assert [kept.body for kept in restored.state.rejected] == [BODY]
    await copy.close()


async def test_there_is_no_backup_before_the_state_is_loaded_and_after_the_stop(
    tmp_path: Path, storage: MemoryStorage
) -> None:
    room = Room(storage)
    with pytest.raises(StorageUnavailable, match="not loaded"):
        await administration(room, tmp_path).back_up()
    async with at_work(storage) as room:
        room.intake.stop()
        with pytest.raises(StorageUnavailable, match="not loaded"):
            await administration(room, tmp_path).back_up()


def size_of(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


@pytest.mark.parametrize("fails", [True, False])
async def test_nobody_need_wait_for_a_backup(fails: bool, tmp_path: Path) -> None:
    storage = await SqliteStorage.open(tmp_path / "state.db")
    async with at_work(storage) as room:
        path = tmp_path / ("nowhere" if fails else "") / "copy.db"
        asking = asyncio.create_task(room.intake.backup(path))
        await asyncio.sleep(0)
        asking.cancel()
        assert await room.submit(usage()) is Result.ACCEPTED
    assert bool(size_of(path)) is not fails
    await storage.close()
