"""Slots and shards: stored slots never change, and another number of shards moves few slots."""

from __future__ import annotations

from collections import Counter
from itertools import groupby

import pytest

from exporter.model.shards import SLOTS, Shard, owners, slot_of

TOTALS = (*range(1, 20), 100, 255, 256)


@pytest.mark.parametrize(
    ("esim_id", "slot"),
    [
        ("c2a9cdae-430e-4251-bf65-a84df4562ed9", 205),
        ("e1", 23),
        ("", 47),
        ("Åland \U0001f600", 117),
    ],
)
def test_the_slot_of_an_esim_which_is_stored_never_changes(esim_id: str, slot: int) -> None:
    assert slot_of("roamify", esim_id) == slot


def test_replicas_of_different_versions_agree_about_the_owners() -> None:
    runs = [(shard, len([*slots])) for shard, slots in groupby(owners(4))]
    assert runs == [(0, 64), (3, 21), (2, 43), (1, 64), (3, 22), (2, 21), (3, 21)]


@pytest.mark.parametrize("total", TOTALS)
def test_all_shards_own_as_many_slots_or_one_less(total: int) -> None:
    owned = Counter(owners(total))
    assert set(owned) == set(range(total))
    assert sum(owned.values()) == SLOTS
    assert max(owned.values()) - min(owned.values()) <= 1


@pytest.mark.parametrize("total", TOTALS[:-1])
def test_one_shard_more_takes_its_share_and_nothing_else_moves(total: int) -> None:
    moved = [
        after
        for before, after in zip(owners(total), owners(total + 1), strict=True)
        if before != after
    ]
    assert set(moved) == {total}
    assert len(moved) == SLOTS // (total + 1)


@pytest.mark.parametrize("total", [1, 2, 4, 7])
def test_each_esim_is_kept_by_one_shard(total: int) -> None:
    shards = [Shard(number, total) for number in range(total)]
    assert sorted(slot for shard in shards for slot in shard.slots) == list(range(SLOTS))
    for number in range(500):
        key = ("roamify", f"esim-{number}")
        keepers = [shard for shard in shards if shard.keeps(*key)]
        assert keepers == [shard for shard in shards if shard.owns(slot_of(*key))]
        assert len(keepers) == 1
    assert [shard.is_only for shard in shards] == [total == 1] * total


def test_esims_are_spread_evenly() -> None:
    counts = Counter(
        next(n for n in range(4) if Shard(n, 4).keeps("roamify", f"esim-{number}"))
        for number in range(20_000)
    )
    assert all(4500 < count < 5500 for count in counts.values())
