from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.fleet.blocks import FEWEST, FULL, MOST, Block, Blocks

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Record:
    name: str
    value: int = 0
    due: float = inf

    @property
    def key(self) -> tuple[str, ...]:
        return ("v", self.name)


class Named(Blocks[tuple[str, ...], Record]):
    def add(self, record: Record) -> None:
        self.put(record.key, record, record.due)

    def add_all(self, records: Iterable[Record]) -> None:
        ordered = list(records)
        for start in range(0, len(ordered), FULL):
            some = ordered[start : start + FULL]
            self.extend([Block([each.key for each in some], some, min(e.due for e in some))])


def named(*numbers: int) -> list[Record]:
    return [Record(f"{number:04}") for number in numbers]


def filled(count: int) -> Named:
    blocks = Named()
    blocks.add_all(named(*range(count)))
    return blocks


def search_due(blocks: Named, now: float) -> list[Record]:
    """Return the records that are due, and set the due times of their blocks."""
    due: list[Record] = []
    for block in list(blocks.due(now)):
        block.due = min(each.due for each in block.records)
        due += [each for each in block.records if each.due <= now]
    return due


def sizes(blocks: Named) -> list[int]:
    return [len(block.records) for block in blocks.blocks]


def render(blocks: Named) -> None:
    for block in list(blocks.dirty):
        block.rendered = tuple(block.records)
        del blocks.dirty[block]


def rendered(blocks: Named) -> list[Record]:
    """Return the records as an exposition shows them after it rendered the dirty blocks."""
    render(blocks)
    return [record for block in blocks.blocks for record in block.rendered or ()]


@given(
    first=st.integers(0, 3 * FULL),
    steps=st.lists(
        st.tuples(st.booleans(), st.integers(0, 400), st.integers(1, 150), st.integers(0, 9)),
        max_size=12,
    ),
)
def test_blocks_are_a_sorted_map_whatever_comes_and_goes(
    first: int, steps: list[tuple[bool, int, int, int]]
) -> None:
    blocks = filled(first)
    expected = {record.key: record for record in named(*range(first))}
    for put, start, count, value in steps:
        for number in range(start, start + count):
            record = Record(f"{number:04}", value)
            if put:
                blocks.add(record)
                expected[record.key] = record
            elif expected.pop(record.key, None):
                blocks.remove(record.key)
            else:
                assert blocks.get(record.key) is None
        ordered = [expected[key] for key in sorted(expected)]
        assert list(blocks) == ordered
        assert rendered(blocks) == ordered
        assert len(blocks) == len(expected)
        assert all(1 <= size <= MOST for size in sizes(blocks))
        assert all(blocks.get(key) == record for key, record in expected.items())


def test_blocks_are_filled_in_order() -> None:
    blocks = filled(FULL + 1)
    assert sizes(blocks) == [FULL, 1]
    assert list(blocks.dirty) == blocks.blocks
    assert list(blocks) == named(*range(FULL + 1))


def test_nothing_is_found_in_nothing() -> None:
    blocks = filled(0)
    assert blocks.get(("v", "0")) is None
    assert (len(blocks), list(blocks), blocks.blocks) == (0, [], [])
    with pytest.raises(KeyError):
        blocks.remove(("v", "0"))


def test_an_unknown_key_cannot_be_removed() -> None:
    blocks = filled(3)
    with pytest.raises(KeyError, match="0007"):
        blocks.remove(("v", "0007"))


def test_a_record_with_a_known_key_is_replaced() -> None:
    blocks = filled(3)
    blocks.add(Record("0001", 5))
    assert [record.value for record in blocks] == [0, 5, 0]
    assert len(blocks) == 3


def test_a_block_that_is_too_large_is_split() -> None:
    blocks = filled(0)
    for record in named(*range(MOST)):
        blocks.add(record)
    assert sizes(blocks) == [MOST]
    render(blocks)
    blocks.add(Record("9999"))
    assert sizes(blocks) == [FULL, FULL + 1]
    assert set(blocks.dirty) == set(blocks.blocks)
    assert all(block.rendered is None for block in blocks.blocks)


def remove(blocks: Named, numbers: Iterable[int]) -> None:
    for record in named(*numbers):
        blocks.remove(record.key)


def test_a_block_that_is_too_small_is_merged_into_the_one_before() -> None:
    blocks = filled(2 * FULL)
    render(blocks)
    remove(blocks, range(FULL, 2 * FULL - FEWEST))
    assert sizes(blocks) == [FULL, FEWEST]
    remove(blocks, [2 * FULL - 1])
    assert sizes(blocks) == [FULL + FEWEST - 1]
    assert list(blocks.dirty) == blocks.blocks
    assert blocks.blocks[0].rendered is None


def test_the_first_block_is_merged_with_the_one_behind() -> None:
    blocks = filled(2 * FULL)
    remove(blocks, range(FULL - FEWEST + 1))
    assert sizes(blocks) == [FULL + FEWEST - 1]
    assert list(blocks) == named(*range(FULL - FEWEST + 1, 2 * FULL))


def test_blocks_are_not_merged_where_the_sum_is_too_large() -> None:
    blocks = filled(2 * FULL)
    for record in named(*range(1000, 1000 + FULL)):
        blocks.add(record)
    remove(blocks, range(FULL - FEWEST + 1))
    assert sizes(blocks) == [FEWEST - 1, MOST]


def test_a_last_block_may_be_small_and_goes_when_it_is_empty() -> None:
    blocks = filled(2)
    remove(blocks, [0])
    assert sizes(blocks) == [1]
    assert blocks.get(("v", "0001")) == Record("0001")
    remove(blocks, [1])
    assert blocks.blocks == []
    assert blocks.dirty == {}


def test_changed_blocks_are_dirty_in_the_order_in_which_they_changed() -> None:
    blocks = filled(3 * FULL)
    render(blocks)
    blocks.touch(("v", f"{2 * FULL:04}"))
    blocks.add(Record("0000", 1))
    blocks.remove(("v", f"{2 * FULL + 1:04}"))
    assert list(blocks.dirty) == [blocks.blocks[2], blocks.blocks[0]]
    assert blocks.blocks[0].rendered is not None


def test_what_is_due_comes_in_the_order_of_keys() -> None:
    blocks = Named()
    blocks.add_all(Record(f"{number:04}", due=number % 5) for number in range(3 * FULL))
    assert search_due(blocks, -1) == []
    due = search_due(blocks, 2)
    assert due == [record for record in blocks if record.due <= 2]
    assert len(due) > 100
    assert search_due(blocks, 2) == due


@given(
    dues=st.lists(st.integers(0, 20), min_size=1, max_size=3 * FULL),
    removed=st.sets(st.integers(0, 3 * FULL)),
    replaced=st.dictionaries(st.integers(0, 4 * FULL), st.integers(0, 20)),
    now=st.integers(0, 20),
)
def test_nothing_due_is_missed_whatever_came_and_went(
    dues: list[int], removed: set[int], replaced: dict[int, int], now: int
) -> None:
    blocks = Named()
    blocks.add_all(Record(f"{number:04}", due=due) for number, due in enumerate(dues))
    search_due(blocks, now // 2)
    for number in removed & set(range(len(dues))):
        blocks.remove(("v", f"{number:04}"))
    for number, due in replaced.items():
        blocks.add(Record(f"{number:04}", due=due))
    found = sorted(search_due(blocks, now), key=lambda record: record.name)
    assert found == [record for record in blocks if record.due <= now]


def test_what_is_due_is_found_after_its_block_was_merged() -> None:
    blocks = Named()
    last = 2 * FULL - 1
    blocks.add_all(
        Record(f"{number:04}", due=5 if number == last else inf) for number in range(2 * FULL)
    )
    remove(blocks, range(FULL, last))
    assert sizes(blocks) == [FULL + 1]
    assert [record.name for record in search_due(blocks, 5)] == [f"{last:04}"]


def test_what_is_due_is_found_after_its_block_was_split() -> None:
    for due_number in (0, MOST):  # in the lower half, in the upper half
        blocks = Named()
        for number in range(MOST + 1):
            blocks.add(Record(f"{number:04}", due=5 if number == due_number else inf))
        assert sizes(blocks) == [FULL, FULL + 1]
        assert [record.name for record in search_due(blocks, 5)] == [f"{due_number:04}"]


def test_taking_a_few_due_blocks_at_a_time_passes_each_block_once() -> None:
    looks = []

    class Looked:
        """Stands in for a block, and counts how often its due time is read."""

        def __init__(self, due: float) -> None:
            self._due = due

        @property
        def due(self) -> float:
            looks.append(self)
            return self._due

    blocks: Blocks[str, str] = Blocks()
    waiting = [Looked(0.0 if at % 4 == 1 else inf) for at in range(100)]
    blocks.blocks[:] = waiting  # type: ignore[assignment]
    for _ in range(25):
        next(blocks.due(1))._due = inf  # type: ignore[attr-defined]

    assert next(blocks.due(1), None) is None
    assert len(looks) <= 100 + 25 + 100


def test_records_without_a_due_time_are_never_due() -> None:
    blocks: Blocks[str, str] = Blocks()
    blocks.put("a", "record")
    assert list(blocks.due(1e300)) == []
