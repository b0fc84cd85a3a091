"""The store of packed tombstones behaves as a dictionary, and knows the oldest."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING

from generated_records import tombstones
from hypothesis import given
from hypothesis import strategies as st

from exporter.fleet import tombstones as store
from exporter.fleet.tombstones import CompactTombstones
from exporter.model.records import Tombstone

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pytest

DAYS = 90
"""Different times of expiry in the larger tests."""

packable = tombstones.filter(lambda each: "\0" not in "".join(each.key))


def buried(number: int, expired: int) -> Tombstone:
    """Return a tombstone whose place in the order of keys does not follow its number."""
    return Tombstone("v", f"{number * 7919 % 10_007:05}", "p", 1, expired)


def kept(given: Iterable[Tombstone]) -> CompactTombstones:
    found = CompactTombstones()
    for each in given:
        found.put(each)
    return found


def ages(given: Iterable[Tombstone]) -> list[int]:
    return [each.expired for each in given]


@given(packable)
def test_a_tombstone_comes_back_as_it_was_put(each: Tombstone) -> None:
    assert kept([each]).get(each.key) == each


@given(st.lists(packable, unique_by=lambda each: each.key, max_size=8))
def test_loaded_tombstones_are_those_that_were_put(given: list[Tombstone]) -> None:
    loaded = CompactTombstones()
    loaded.extend(sorted(given, key=lambda each: [part.encode() for part in each.key]))
    assert list(loaded) == list(kept(given))
    assert len(loaded) == len(given)
    assert loaded.oldest(9) == sorted(given, key=lambda each: (each.expired, *each.key))


@given(st.data())
def test_it_is_a_dictionary_that_knows_the_oldest(data: st.DataObject) -> None:
    found, plain = CompactTombstones(), dict[tuple[str, ...], Tombstone]()
    for _ in range(data.draw(st.integers(1, 12))):
        first, count = data.draw(st.integers(0, 400)), data.draw(st.integers(1, 150))
        gone = data.draw(st.booleans())
        for number in range(first, first + count):
            each = buried(number, data.draw(st.integers(0, 2)) * DAYS + number % DAYS)
            if gone:
                found.discard(each.key)
                plain.pop(each.key, None)
            else:
                found.put(each)
                plain[each.key] = each
        assert len(found) == len(plain)
        assert list(found) == [plain[key] for key in sorted(plain)]
        assert found.get(each.key) == plain.get(each.key)
        oldest = found.oldest(5)
        assert ages(oldest) == sorted(ages(plain.values()))[: len(oldest)]
        assert all(plain[each.key] == each for each in oldest)
        assert bool(oldest) == bool(plain), "so few are in blocks that one search reads"


def test_the_oldest_leave_in_their_order_one_search_after_the_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(store, "_SEARCHED", 3)
    given = [buried(number, number * 31 % DAYS) for number in range(2000)]
    found = kept(given)
    order: list[Tombstone] = []
    while found.any_due(DAYS):
        oldest = found.oldest(50)
        assert len(oldest) <= 50
        order += oldest
        for each in oldest:
            found.discard(each.key)
    assert ages(order) == sorted(ages(given))
    assert set(order) == set(given)
    assert len(found) == 0


def test_a_search_is_short_even_where_all_blocks_seem_to_hold_the_oldest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(store, "_SEARCHED", 1)
    found = kept(buried(number, number) for number in range(2000))  # each split block looks old
    left = list(range(2000))
    searches = 0
    while found.any_due(9):
        searches += 1
        for each in found.oldest(500):
            found.discard(each.key)
            left.remove(each.expired)
    assert left == list(range(10, 2000))
    assert searches < 100


def test_nothing_waits_to_be_rendered() -> None:
    found = kept(buried(number, number) for number in range(1000))
    found.discard(buried(7, 7).key)
    assert not found._blocks.dirty


def test_a_tombstone_takes_little_memory() -> None:
    given = [
        Tombstone("roamify", f"{number * 7919:036}", "esim-france-7days-3gb-all", 1 << 30, 1 << 30)
        for number in range(10_000)
    ]
    tracemalloc.start()
    found = kept(given)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size / len(found) < 200
