"""A fleet that is one shard of several: what it keeps, and what it needs of other shards."""

from __future__ import annotations

import pytest
from replica_members import WHOLE, Member, status, usage
from running_fleet import RunningFleet, series, shown
from shared_memory import SharedMemory

from exporter.exposition.exposition import Group
from exporter.fleet.drafts import Draft, NotFetched
from exporter.ingest.replica import Replica, rows_of_other_shards
from exporter.model.events import Status
from exporter.model.merge import Result
from exporter.model.shards import Shard, slot_of
from exporter.storage.contract import Table


def shards_of(esim_id: str) -> tuple[Member, Member]:
    """Return the shard of two that keeps an eSIM, and the other."""
    keeper, visitor = Shard(0, 2), Shard(1, 2)
    if not keeper.keeps("roamify", esim_id):
        keeper, visitor = visitor, keeper
    storage = SharedMemory(keeper)
    return Member(storage), Member(storage.beside(visitor))


async def fetched(member: Member, *wanted: tuple[Table, tuple[str, ...]]) -> Draft:
    replica = Replica(member.shared, lambda: None)
    return Draft(member.fleet, member.now, await replica.fetch(wanted))


async def test_what_is_of_another_shard_must_be_fetched_first() -> None:
    keeper, visitor = shards_of("e")
    keeper.take(usage("e", used=40))
    event = usage("e", 1, 50)
    await visitor.follow()
    with pytest.raises(NotFetched) as missing:
        Draft(visitor.fleet, visitor.now).merge(event)
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
    assert list(visitor.fleet.tombstones) == []
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
