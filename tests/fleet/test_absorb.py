"""A fleet that others change too, and one that is a shard: what is taken over, kept and needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from expected_samples import DAY
from generated_events import START
from running_fleet import RunningFleet, series
from shared_memory import SharedMemory

from exporter.errors import StorageDamaged
from exporter.exposition.exposition import Group
from exporter.fleet import admission
from exporter.fleet.drafts import NotFetched
from exporter.fleet.fleet import Fleet, Policy
from exporter.ingest.rejected_deliveries import RejectedDeliveries, RejectedDelivery
from exporter.ingest.replica import Replica, rows_of_other_shards
from exporter.model.events import PartnerEvent, Snapshot, Status, StatusEvent, UsageEvent
from exporter.model.merge import Result
from exporter.model.shards import Shard, slot_of
from exporter.storage.contract import Changes, Row, Table

if TYPE_CHECKING:
    from exporter.fleet.drafts import Draft

WHOLE = Shard()


class Member(RunningFleet):
    """One of several fleets on a storage, which follows by hand."""

    def __init__(self, storage: SharedMemory, policy: Policy | None = None) -> None:
        super().__init__(policy, storage=storage, shard=storage.shard)
        self.shared = storage
        self.rejections = RejectedDeliveries(2)
        self._replica = Replica(storage, lambda: None)

    async def follow(self) -> None:
        assert await self._replica.follow(self.fleet, self.rejections)


def usage(esim_id: str = "e", time: int = 0, used: int = 10, **values: Any) -> UsageEvent:
    package_id = values.pop("package_id", "p")
    snapshot = Snapshot(data_allowed=100, data_remaining=100 - used, **values)
    return UsageEvent("roamify", START + time, esim_id, package_id, snapshot)


def status(value: Status, esim_id: str = "e", time: int = 0) -> StatusEvent:
    return StatusEvent("roamify", START + time, esim_id, value)


def members(policy: Policy | None = None) -> tuple[Member, Member]:
    storage = SharedMemory(WHOLE)
    return Member(storage, policy), Member(storage.beside(), policy)


def remove(member: Member, esim_id: str = "e") -> None:
    draft = member.fleet.draft(member.now)
    assert draft.remove(("roamify", esim_id))
    member.publish(draft)


def shown(member: RunningFleet) -> list[str]:
    samples = member.samples()
    return sorted({dict(labels)["esim_id"] for name, labels in samples if name == "esim_status"})


async def both_show_what_is_stored(one: Member, other: Member) -> None:
    for member in (one, other, one):
        await member.follow()
    assert one.text() == other.text()
    for member in (one, other):
        before = member.text()
        member.load()
        assert member.text() == before


# Taking over


async def test_what_one_takes_the_other_shows() -> None:
    one, other = members()
    partner = PartnerEvent("roamify", "low_balance", START, "EUR", 1.5, None)
    one.take(usage("a", locations=(("France", 7),)), status(Status.ACTIVATED, "a"), partner)
    await other.follow()
    assert other.text() == one.text()
    assert other.take(usage("a")) == [Result.DUPLICATE]

    other.take(usage("a", 1, 60), usage("b"))
    await both_show_what_is_stored(one, other)
    assert one.take(usage("a", 1, 60)) == [Result.DUPLICATE]


async def test_much_is_taken_over_at_once() -> None:
    one, other = members()
    one.take(*(usage(f"e{number}") for number in range(500)))
    await other.follow()
    assert other.text() == one.text()


async def test_following_ones_own_commits_changes_nothing() -> None:
    one, other = members()
    one.take(usage("a"))
    for member in (one, other):
        await member.follow()
    other.take(PartnerEvent("roamify", "low_balance", START, "EUR", 1.5, None))
    one.take(usage("a", 1, 30))
    one.text()
    await one.follow()
    assert one.exposition.pending == 0, "nothing is rendered again"
    await both_show_what_is_stored(one, other)


async def test_what_one_lets_go_leaves_the_other_and_is_counted_once() -> None:
    one, other = members()
    one.take(usage("e", used=40, locations=(("France", 7),)), usage("f"))
    await other.follow()
    remove(one)
    await both_show_what_is_stored(one, other)
    consumed = series("esim_fleet_data_consumed_bytes_total", vendor="roamify", package_id="p")
    assert other.samples()[consumed] == 50
    assert shown(other) == ["f"]
    assert other.take(usage("e", used=40)) == [Result.STALE]

    assert other.take(usage("e", 1, 60)) == [Result.ACCEPTED]
    await both_show_what_is_stored(one, other)
    assert one.samples()[consumed] == 70


async def test_a_second_life_at_the_version_of_the_first_is_taken_over() -> None:
    one, other = members()
    one.take(usage("e", used=40), usage("f"))
    await other.follow()
    remove(one)
    one.take(usage("e", 1, 50, package_id="q"))
    first, second = other.fleet.esim(("roamify", "e")), one.fleet.esim(("roamify", "e"))
    assert first
    assert second
    assert first.version == second.version
    await both_show_what_is_stored(one, other)


async def test_what_came_and_went_in_between_is_never_shown() -> None:
    one, other = members()
    one.take(usage("e"))
    remove(one)
    await both_show_what_is_stored(one, other)
    assert shown(other) == []
    assert other.take(usage("e")) == [Result.STALE]


async def test_a_forgotten_tombstone_is_forgotten_by_all() -> None:
    one, other = members()
    one.take(usage("e"))
    remove(one)
    await other.follow()
    one.now += 91 * DAY
    one.expire()
    await other.follow()
    assert one.fleet.tombstones == other.fleet.tombstones == {}


# The cap


async def test_what_others_admit_over_the_cap_waits() -> None:
    one, other = members(Policy(max_esims=2))
    one.take(usage("a"), usage("b"), usage("c"))
    await other.follow()
    assert (len(other.fleet.esims), len(other.fleet.over_cap)) == (2, 1)
    one.take(usage("c", 1, 20))
    await other.follow()
    assert (len(other.fleet.esims), len(other.fleet.over_cap)) == (2, 1)
    assert one.text(Group.FLEET) == other.text(Group.FLEET)


async def test_one_that_others_let_go_makes_room_for_one_that_waits() -> None:
    one, other = members(Policy(max_esims=1))
    one.take(usage("a"), usage("b"))
    await other.follow()
    remove(one, "a")
    await other.follow()
    other.take(usage("new"))
    assert shown(other) == [], "those that wait go first"
    other.expire()
    assert shown(other) == ["b"]
    await one.follow()
    one.expire()
    assert shown(one) == ["b"]


async def test_a_second_life_over_the_cap_still_gets_room_in_the_end() -> None:
    one, other = members(Policy(max_esims=1))
    one.take(usage("a"), usage("b"))
    await other.follow()
    remove(one, "b")
    one.take(usage("b", 1))
    await other.follow()
    remove(one, "a")
    await other.follow()
    other.expire()
    assert shown(other) == ["b"]


async def test_replicas_that_admit_with_the_same_number_keep_the_cap_after_a_restart() -> None:
    one, other = members(Policy(max_esims=2))
    one.take(usage("x"), usage("b"))
    conflicting = other.fleet.draft(other.now)
    for esim_id in ("c", "a"):
        conflicting.merge(usage(esim_id))
    rows = tuple(c for c in conflicting.changes().rows if c.table is Table.ESIM)
    assert other.storage.apply(Changes(rows)) == ()
    stored = RunningFleet(storage=one.storage, shard=WHOLE).fleet.esims
    assert sorted(each.admitted for each in stored) == [1, 1, 2, 2]

    for member in (one, other):
        await member.follow()
        member.load()
        assert shown(member) == ["c", "x"], "by admission, then by name"
        assert member.fleet.room() == 0
    assert [e.esim_id for e in one.fleet.admission.next_waiting(9)] == ["a", "b"]


async def test_replicas_at_the_cap_show_the_same_whoever_admitted_first() -> None:
    one, other = members(Policy(max_esims=10))
    for number in range(0, 30, 2):  # at the same time, with the same numbers
        one.take(status(Status.ACTIVATED, f"e{number:02}"))
        other.take(status(Status.ACTIVATED, f"e{number + 1:02}"))
        if number % 3 == 0:
            await one.follow()
            await other.follow()
    await both_show_what_is_stored(one, other)
    assert shown(one) == [f"e{number:02}" for number in range(10)]

    remove(one, "e03")
    for member in (other, one):
        await member.follow()
        member.expire()
    await both_show_what_is_stored(one, other)
    assert "e10" in shown(one)


async def test_places_are_given_up_from_the_last_on_however_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(admission, "KEPT", 3)
    one, other = members(Policy(max_esims=20))
    one.take(*(status(Status.ACTIVATED, f"x{number:02}") for number in range(20)))
    other.take(*(status(Status.ACTIVATED, f"a{number:02}") for number in range(15)))
    await both_show_what_is_stored(one, other)
    assert len(shown(one)) == 20
    firsts = [f"{group}{number:02}" for number in range(10) for group in "ax"]
    assert shown(one) == sorted(firsts)


# One shard of several


def shards_of(esim_id: str) -> tuple[Member, Member]:
    """Return the shard of two that keeps an eSIM, and the other."""
    keeper, visitor = Shard(0, 2), Shard(1, 2)
    if not keeper.keeps("roamify", esim_id):
        keeper, visitor = visitor, keeper
    storage = SharedMemory(keeper)
    return Member(storage), Member(storage.beside(visitor))


async def fetched(member: Member, *wanted: tuple[Table, tuple[str, ...]]) -> Draft:
    replica = Replica(member.shared, lambda: None)
    return member.fleet.draft(member.now, await replica.fetch(wanted))


async def test_what_is_of_another_shard_must_be_fetched_first() -> None:
    keeper, visitor = shards_of("e")
    keeper.take(usage("e", used=40))
    event = usage("e", 1, 50)
    await visitor.follow()
    with pytest.raises(NotFetched) as missing:
        visitor.fleet.draft(visitor.now).merge(event)
    wanted = rows_of_other_shards(visitor.fleet, [event])
    assert missing.value.wanted in wanted
    assert rows_of_other_shards(keeper.fleet, [event]) == []
    assert rows_of_other_shards(RunningFleet().fleet, [event]) == []

    draft = await fetched(visitor, *wanted)
    assert draft.merge(event) is Result.ACCEPTED
    assert draft.merge(event) is Result.DUPLICATE
    visitor.publish(draft)
    assert shown(visitor) == []
    assert visitor.fleet.room() == RunningFleet().fleet.room(), "it takes none of this shard's"
    await keeper.follow()
    assert keeper.take(event) == [Result.DUPLICATE]
    assert "} 50\n" in keeper.text(Group.ESIMS)
    assert RunningFleet(storage=keeper.storage, shard=WHOLE).text(Group.ESIMS) == keeper.text(
        Group.ESIMS
    )


async def test_what_is_not_there_in_another_shard_is_made() -> None:
    keeper, visitor = shards_of("e")
    event = usage("e")
    draft = await fetched(visitor, *rows_of_other_shards(visitor.fleet, [event]))
    assert draft.merge(event) is Result.ACCEPTED
    visitor.publish(draft)
    await keeper.follow()
    assert shown(keeper) == ["e"]


async def test_a_status_needs_no_package_of_another_shard() -> None:
    _, visitor = shards_of("e")
    assert rows_of_other_shards(visitor.fleet, [status(Status.DELETED)]) == [
        (Table.ESIM, ("roamify", "e")),
        (Table.TOMBSTONE, ("roamify", "e", "")),
    ]


async def test_an_esim_of_another_shard_is_buried_in_its_slot_and_revived_from_there() -> None:
    keeper, visitor = shards_of("e")
    keeper.take(usage("e", used=40, locations=(("France", 7),)))
    await visitor.follow()
    graves = [(Table.TOMBSTONE, ("roamify", "e", package)) for package in ("", "p")]
    draft = await fetched(visitor, (Table.ESIM, ("roamify", "e")), *graves)
    assert draft.remove(("roamify", "e"))
    visitor.publish(draft)
    slot = str(slot_of("roamify", "e"))
    assert visitor.storage.bases == {
        ("consumed", "roamify", "p", slot): 40,
        ("location", "roamify", "France", slot): 7,
    }
    assert visitor.fleet.tombstones == {}
    consumed = series(
        "esim_fleet_data_consumed_bytes_total",
        vendor="roamify",
        package_id="p",
        shard=str(keeper.shared.shard.number),
    )
    await keeper.follow()
    assert keeper.samples()[consumed] == 40

    event = usage("e", 1, 60)
    draft = await fetched(visitor, *rows_of_other_shards(visitor.fleet, [event]))
    assert draft.merge(event) is Result.ACCEPTED
    visitor.publish(draft)
    await keeper.follow()
    assert set(keeper.storage.bases.values()) == {0}
    assert keeper.samples()[consumed] == 60
    for member in (keeper, visitor):
        before = member.text()
        member.load()
        assert member.text() == before


async def test_shards_are_told_apart_in_the_fleets_series_only() -> None:
    keeper, visitor = shards_of("e")
    keeper.take(usage("e"))
    await visitor.follow()
    for member in (keeper, visitor):
        label = f'shard="{member.shared.shard.number}"'
        lines = member.text(Group.FLEET).splitlines()
        assert all(label in line for line in lines if not line.startswith("#"))
        assert "esim_package_info" in member.text(Group.FLEET)
        assert "shard" not in member.text(Group.ESIMS)


# Rejected deliveries


def rejection(body: bytes, received: int) -> RejectedDelivery:
    return RejectedDelivery("roamify", "invalid", (), body, received, received)


def reject(member: Member, body: bytes, received: int) -> None:
    draft = member.rejections.draft()
    draft.add(rejection(body, received))
    assert member.storage.apply(Changes(draft.changes())) == ()
    member.rejections.publish(draft)


def bodies(member: Member) -> list[bytes]:
    return [each.body for each in member.rejections]


async def test_rejections_of_others_are_kept_in_the_order_of_their_receipt() -> None:
    one, other = members()
    reject(one, b"late", 9)
    reject(other, b"early", 1)
    for member in (one, other):
        await member.follow()
        assert bodies(member) == [b"early", b"late"]
    reject(one, b"later", 10)
    await other.follow()
    assert bodies(one) == bodies(other) == [b"late", b"later"]


async def test_a_rejection_that_others_count_again_or_drop_changes_or_leaves() -> None:
    one, other = members()
    reject(one, b"x", 1)
    reject(one, b"y", 2)
    await other.follow()
    reject(other, b"x", 3)
    await one.follow()
    assert bodies(one) == [b"y", b"x"]
    assert [each.deliveries for each in one.rejections] == [1, 2]

    draft = one.rejections.draft()
    draft.remove(next(iter(one.rejections)).digest)
    assert one.storage.apply(Changes(draft.changes())) == ()
    await other.follow()
    assert bodies(other) == [b"x"]


def test_a_rejection_of_a_newer_version_is_not_taken_over() -> None:
    with pytest.raises(StorageDamaged):
        RejectedDeliveries(2).absorb([Row(Table.REJECTED, ("d",), 1, b"[2]")])


def test_a_clock_behind_that_of_another_replica_changes_nothing() -> None:
    fleet = Fleet(Policy(), ("roamify",), Shard())
    ahead = fleet.draft(START + 5)
    ahead.note_delivery("roamify")
    ahead.changes()
    fleet.publish(ahead)

    behind = fleet.draft(START + 4)
    behind.note_delivery("roamify")

    assert not behind.changes()
