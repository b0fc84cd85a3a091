"""Shards on one PostgreSQL database: each keeps its own rows, and fetches rows of others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from postgres_places import esim, followed, one, row
from stored import content

from exporter.model.shards import SLOTS, Shard, slot_of
from exporter.storage.contract import Change, Changes, Row, Table

if TYPE_CHECKING:
    from postgres_places import Open

    from exporter.storage.contract import Key


def shard_with(name: str) -> tuple[Shard, Shard]:
    """Of two shards, return the one that keeps an eSIM, then the other one."""
    shards = Shard(0, 2), Shard(1, 2)
    return shards if shards[0].keeps("v", name) else shards[::-1]


async def test_rows_of_other_shards_are_fetched_to_be_changed(opened: Open) -> None:
    own, other = shard_with("a")
    keeper, visitor = await opened(own), await opened(other)
    await keeper.commit(one(esim("a", 0, b"old")))
    wanted = [(Table.ESIM, ("v", "a")), (Table.TOMBSTONE, ("v", "a", ""))]

    assert await visitor.fetch(wanted) == (row("a", 1, b"old"),)
    assert await visitor.commit(one(esim("a", 1, b"new"))) == ()
    assert await followed(visitor) == ([], {})
    assert await followed(keeper) == ([row("a", 2, b"new")], {})


async def test_a_fetched_row_that_others_change_is_a_conflict(opened: Open) -> None:
    own, other = shard_with("a")
    keeper, visitor = await opened(own), await opened(other)
    await keeper.commit(one(esim("a", 0, b"first")))
    assert len(await visitor.fetch([(Table.ESIM, ("v", "a"))])) == 1
    await keeper.commit(one(esim("a", 1, None)))
    await keeper.commit(one(esim("a", 0, b"second")))

    assert await visitor.commit(one(esim("a", 1, b"x"))) == (row("a", 1, b"second"),)
    assert await visitor.fetch([(Table.ESIM, ("v", "a"))]) == (row("a", 1, b"second"),)
    assert await visitor.commit(one(esim("a", 1, b"third"))) == ()
    assert await followed(keeper) == ([row("a", 2, b"third")], {})


async def test_a_fetched_row_that_was_missing_and_others_wrote_is_a_conflict(
    opened: Open,
) -> None:
    own, other = shard_with("a")
    keeper, visitor = await opened(own), await opened(other)
    assert await visitor.fetch([(Table.ESIM, ("v", "a"))]) == ()
    await keeper.commit(one(esim("a")))
    assert await visitor.commit(one(esim("a", 0, b"x"))) == (row("a"),)


async def test_shards_load_and_follow_their_own_rows_and_shared_rows(opened: Open) -> None:
    whole = await opened()
    shards = [await opened(Shard(number, 4)) for number in range(4)]
    names = [f"e{number}" for number in range(100)]
    esims = tuple(esim(name) for name in names)
    graves = tuple(Change(Table.TOMBSTONE, ("v", name, "p"), 0, b"1") for name in names)
    package = Change(Table.PACKAGE, ("v", "p"), 0, b"1")
    bases: dict[Key, int] = {("consumed", "v", "p", str(slot)): slot + 1 for slot in range(SLOTS)}
    assert await whole.commit(Changes((*esims, *graves, package), bases)) == ()

    for following in (True, False):
        rows: list[Row] = []
        amounts: dict[Key, int] = {}
        for storage in shards:
            own, counted = await (followed if following else content)(storage)
            assert len(own) > 20
            assert counted.keys().isdisjoint(amounts)
            assert Row(package.table, package.key, 1, b"1") in own
            rows += own
            amounts |= counted
        assert len(rows) == 2 * len(names) + 4
        assert {found.key for found in rows} == {
            *(change.key for change in (*esims, *graves)),
            package.key,
        }
        assert amounts == bases


async def test_a_shard_counts_in_its_bases_what_it_commits_for_itself_only(opened: Open) -> None:
    own, other = shard_with("a")
    slot = str(slot_of("v", "a"))
    keeper, visitor = await opened(own), await opened(other)
    await visitor.commit(Changes(bases={("consumed", "v", "p", slot): 5}))
    await keeper.commit(Changes(bases={("consumed", "v", "p", slot): 1}))
    assert await followed(visitor) == ([], {})
    assert await followed(keeper) == ([], {("consumed", "v", "p", slot): 5})
