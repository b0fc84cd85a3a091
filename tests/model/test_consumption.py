from __future__ import annotations

from itertools import permutations

import pytest
from expected_samples import SlowCounter
from hypothesis import given
from hypothesis import strategies as st

from exporter.model.consumption import Arrival, Consumption, insert, revived
from exporter.model.events import MAX_AMOUNT

Sample = tuple[int, int]

samples = st.tuples(st.integers(1, 40), st.sampled_from((0, 1, 2, 5, 100, MAX_AMOUNT)))


def kept(counter: Consumption) -> int:
    """Return how many samples lie above the anchor; each pair of time and amount has 12 bytes."""
    return len(counter.path) // 12 - 1


def counter(*of: Sample) -> Consumption:
    known: Consumption | None = None
    for time, used in of:
        known, _ = insert(known, time, used)
    assert known
    return known


def rising(start: int, count: int) -> list[Sample]:
    return [(time, 10 * time) for time in range(start, start + count)]


histories = st.lists(samples, min_size=1) | st.lists(samples, min_size=25, max_size=80)


@given(of=histories)
def test_does_in_any_order_what_the_contract_words(of: list[Sample]) -> None:
    slow = SlowCounter()
    known: Consumption | None = None
    for sample in of:
        known, arrival = insert(known, *sample)
        assert arrival.value == slow.arrive(sample)
        assert (known.total, known.last_used, kept(known), known.base) == (
            *(slow.value, slow.last_used),
            *(len(slow.samples), slow.base),
        )


@given(of=histories)
def test_a_counter_never_falls(of: list[Sample]) -> None:
    total = 0
    known: Consumption | None = None
    for sample in of:
        known, _ = insert(known, *sample)
        assert known.total >= total
        total = known.total


@pytest.mark.parametrize(
    ("used", "total"),
    [
        ((100, 100), 100),  # nothing happened
        ((100, 250), 250),
        ((100, 0, 40), 140),  # a renewal
        ((100, 90, 100), 110),  # a correction downwards is ignored, what follows is a rise
        ((0, 0), 0),
    ],
)
def test_counts_rises_and_nothing_else(used: tuple[int, ...], total: int) -> None:
    assert counter(*enumerate(used, start=1)).total == total


def test_samples_of_the_same_second_all_stay() -> None:
    of = [(1, 30), (1, 10), (1, 20)]
    assert {counter(*order) for order in permutations(of)} == {counter((1, 10), (1, 20), (1, 30))}
    assert kept(counter(*of)) == 3
    assert counter(*of).total == 30


def test_a_sample_that_16_newer_ones_overtook_counts_in_full() -> None:
    first, newer = (1, 500), rising(2, 16)
    assert counter(*newer, first).total == counter(first, *newer).total


def test_a_sample_that_17_newer_ones_overtook_is_late() -> None:
    known = counter(*rising(2, 17))
    assert insert(known, 1, 500) == (known, Arrival.LATE)


def test_a_sample_that_was_folded_away_as_the_newest_fold_is_a_duplicate() -> None:
    of = rising(1, 17)
    known = counter(*of)
    assert insert(known, *of[0]) == (known, Arrival.DUPLICATE)
    assert insert(known, *of[1]) == (known, Arrival.DUPLICATE)
    assert insert(known, *of[-1]) == (known, Arrival.DUPLICATE)


def test_a_sample_above_the_anchor_is_inserted_even_if_it_is_folded_at_once() -> None:
    known = counter(*rising(2, 16))
    after, arrival = insert(known, 1, 5)
    assert arrival is Arrival.INSERTED
    assert (after.base, kept(after), after.total) == (5, 16, known.total)
    assert insert(after, 1, 5) == (after, Arrival.DUPLICATE)
    assert insert(after, 1, 4) == (after, Arrival.LATE)


def test_the_first_sample_counts_from_nothing_used() -> None:
    assert insert(None, 7, 0) == (counter((7, 0)), Arrival.INSERTED)
    assert counter((7, 0)).total == 0
    assert counter((7, 9)).total == 9


def test_nothing_at_the_beginning_of_time_is_the_first_anchor_itself() -> None:
    known, arrival = insert(None, 0, 0)
    assert arrival is Arrival.DUPLICATE
    assert (known.total, kept(known)) == (0, 0)


def test_a_revived_counter_goes_on_where_it_was() -> None:
    known = revived(1000, 50, 300)
    assert (known.total, known.last_used, kept(known)) == (1000, 300, 0)
    assert insert(known, 49, 900) == (known, Arrival.LATE)
    assert insert(known, 50, 300) == (known, Arrival.DUPLICATE)
    assert insert(known, 51, 310)[0].total == 1010
    assert insert(known, 51, 0)[0].total == 1000


def test_a_total_may_outgrow_64_bits() -> None:
    known = counter(*[(time, MAX_AMOUNT * (time % 2)) for time in range(1, 100)])
    assert known.total == 50 * MAX_AMOUNT
