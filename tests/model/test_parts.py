"""Events that say less: about some parts of an allowance, and about one of several assignments."""

from __future__ import annotations

from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.model.events import (
    USED_UP,
    Assignment,
    Snapshot,
    Status,
    StatusEvent,
    UsageEvent,
)
from exporter.model.merge import Result, merge_status, merge_usage, tombstone_of
from exporter.model.parts import ASSIGNMENTS_KEPT
from exporter.model.records import Allowance, Esim, Tombstone

GB = 10**9
FRESH = Esim("v", "e", 0, 1)
A, B = Assignment(100, "a"), Assignment(200, "b")
UNNAMED = Assignment(100)
PARTS = ("data", "sms", "voice", "period")


def event(
    time: int, *parts: str, assignment: Assignment | None = None, **said: object
) -> UsageEvent:
    snapshot = Snapshot(**said)  # type: ignore[arg-type]  # fields of a snapshot
    return UsageEvent("v", time, "e", "p", snapshot, parts=frozenset(parts), assignment=assignment)


def bought(
    received: int, allowed: int, left: int, assigned: Assignment = A, part: str = "data"
) -> UsageEvent:
    """Return an event about an assignment, without a time of its own."""
    amounts = {f"{part}_allowed": allowed, f"{part}_remaining": left}
    return event(received, part, assignment=assigned, **amounts)


def merged(*events: UsageEvent, tombstone: Tombstone | None = None) -> Allowance:
    esim = reduce(lambda esim, e: merge_usage(esim, tombstone, e, e.time)[0], events, FRESH)
    (allowance,) = esim.allowances
    return allowance


def result(*events: UsageEvent) -> Result:
    """Return what becomes of the last event."""
    *before, last = events
    esim = reduce(lambda esim, e: merge_usage(esim, None, e, e.time)[0], before, FRESH)
    return merge_usage(esim, None, last, last.time)[1]


def total(allowance: Allowance, resource: str = "data") -> int:
    counter = getattr(allowance, resource)
    return 0 if counter is None else counter.total


# With a time of its own


def test_what_an_event_does_not_speak_of_stays() -> None:
    allowance = merged(
        event(10, "data", data_allowed=100, data_remaining=60),
        event(20, "period", end=500),
        event(30, "voice", voice_allowed=60, voice_remaining=0),
        event(40, "data", data_allowed=100, data_remaining=50),
    )

    assert allowance.snapshot == Snapshot(
        data_allowed=100, data_remaining=50, voice_allowed=60, voice_remaining=0, end=500
    )
    assert (allowance.time, total(allowance), total(allowance, "voice")) == (40, 50, 60)


def test_an_older_event_changes_only_a_part_that_was_not_known() -> None:
    newer = event(20, "data", data_allowed=100, data_remaining=60)
    older = event(10, "data", data_allowed=100, data_remaining=90)
    allowance = merged(newer, older, event(5, "period", end=500))

    assert allowance.snapshot == Snapshot(data_allowed=100, data_remaining=60, end=500)
    assert allowance.time == 20
    assert result(newer, newer) is Result.DUPLICATE
    period = event(5, "period", end=500)
    assert result(newer, period, period) is Result.DUPLICATE
    assert result(event(9, "period", end=7), period) is Result.STALE


def test_an_event_about_everything_and_one_about_a_part_go_together() -> None:
    whole = UsageEvent("v", 10, "e", "p", Snapshot(data_allowed=9, data_remaining=8, sms_allowed=7))
    part = event(20, "data", data_allowed=9, data_remaining=3)
    for events in ((whole, part), (part, whole)):
        assert merged(*events).snapshot == Snapshot(data_allowed=9, data_remaining=3, sms_allowed=7)


def told_used_up(time: int, status: Status = Status.OTHER) -> UsageEvent:
    return event(time, USED_UP)._replace(status=status)


def test_used_up_in_words_counts_until_newer_amounts_or_a_newer_status() -> None:
    data = event(10, "data", data_allowed=100, data_remaining=60)
    again = event(30, "data", data_allowed=200, data_remaining=90)
    empty = Snapshot(data_allowed=100, data_remaining=0)

    assert (
        merged(data, told_used_up(20)).snapshot == merged(told_used_up(20), data).snapshot == empty
    )
    assert merged(told_used_up(20)).snapshot == Snapshot(data_remaining=0)
    assert merged(told_used_up(20), again).snapshot == again.snapshot
    assert merged(again, told_used_up(20)).snapshot == again.snapshot


@pytest.mark.parametrize("first", [True, False])
def test_a_newer_status_ends_used_up_in_any_order(first: bool) -> None:  # a parameter of the test
    data = event(10, "data", data_allowed=100, data_remaining=60)
    (esim, _), revived = (
        merge_usage(FRESH, None, data, 10),
        StatusEvent("v", 30, "e", Status.ACTIVATED),
    )
    if first:
        esim = merge_status(esim, revived, 30)[0]
    esim = merge_usage(esim, None, told_used_up(20), 20)[0]
    if not first:
        assert esim.allowances[0].snapshot.data_remaining == 0
        esim = merge_status(esim, revived, 30)[0]
    assert esim.allowances[0].snapshot.data_remaining == 60


amounts = st.none() | st.integers(0, 3)
timed = st.builds(
    lambda time, parts, values: event(
        time,
        *parts,
        **{
            field: value
            for part in parts
            for field, value in zip(
                ("start", "end") if part == "period" else (f"{part}_allowed", f"{part}_remaining"),
                values,
                strict=True,
            )
        },
    ),
    st.integers(1, 5),
    st.sets(st.sampled_from(PARTS), min_size=1),
    st.tuples(amounts, amounts),
)


@given(st.lists(timed, min_size=1, max_size=12), st.randoms())
def test_any_order_and_number_of_events_with_a_time_gives_the_same(
    events: list[UsageEvent], random: object
) -> None:
    again = [*events, *events[:3]]
    random.shuffle(again)  # type: ignore[attr-defined]  # Hypothesis' type has no methods

    assert merged(*again)._replace(received=0) == merged(*events)._replace(received=0)


# Without a time of its own


def test_less_remaining_is_newer_within_an_assignment() -> None:
    allowance = merged(bought(10, GB, GB // 2), bought(20, GB, 0), bought(30, GB, GB // 5))

    assert (allowance.snapshot.data_remaining, total(allowance)) == (0, GB)
    assert allowance.time == 20
    assert result(bought(10, GB, 0), bought(20, GB, 0)) is Result.DUPLICATE
    assert result(bought(10, GB, 0), bought(20, GB, 1)) is Result.STALE


def test_a_second_assignment_is_a_renewal() -> None:
    used_up, late = bought(10, GB, 0, A), bought(30, GB, GB // 2, A)
    second = bought(20, GB, GB * 9 // 10, B)

    for events in ((used_up, second, late), (second, late, used_up), (late, used_up, second)):
        allowance = merged(*events)
        assert allowance.snapshot.data_remaining == GB * 9 // 10
        assert total(allowance) == GB + GB // 10


def test_resources_that_come_apart_stay_together() -> None:
    allowance = merged(bought(10, GB, GB // 2, A), bought(20, 6000, 1200, B, "voice"))

    assert allowance.snapshot == Snapshot(
        data_allowed=GB, data_remaining=GB // 2, voice_allowed=6000, voice_remaining=1200
    )
    assert (total(allowance), total(allowance, "voice")) == (GB // 2, 4800)


def test_an_assignment_that_is_not_named_in_all_events_counts_once() -> None:
    first_use, half = bought(10, GB, GB, UNNAMED), bought(20, GB, GB // 2, UNNAMED)
    empty = bought(30, GB, 0, A)

    for events in ((first_use, half, empty), (empty, half, first_use)):
        allowance = merged(*events)
        assert (allowance.snapshot.data_remaining, total(allowance)) == (0, GB)


def test_an_assignment_that_starts_later_than_it_was_named_counts_once() -> None:
    waiting = bought(10, GB, GB, Assignment(0, "a"))
    started = bought(20, GB, 0, Assignment(300, "a"))
    for events in ((waiting, started), (started, waiting)):
        assert total(merged(*events)) == GB
        assert len(merged(*events).parts) == 1


def test_unlimited_data_has_no_counter() -> None:
    allowance = merged(event(10, "data", assignment=Assignment(1, "a"), data_unlimited=True))

    assert allowance.snapshot == Snapshot(data_unlimited=True)
    assert allowance.data is None


def test_the_time_of_a_used_share_is_that_of_its_first_report() -> None:
    allowance = merged(
        bought(10, GB, GB // 2), bought(20, GB, GB // 5), bought(30, GB, 0), bought(40, GB, GB // 2)
    )

    assert allowance.data
    assert allowance.data.at_least_since(GB * 8 // 10, 99) == 20


def test_an_expired_allowance_continues_its_counter() -> None:
    before = merged(bought(110, GB, GB // 2))
    tombstone = tombstone_of(before, FRESH, 150)

    same = merged(bought(160, GB, GB // 4), tombstone=tombstone)
    assert total(same) == GB * 3 // 4
    late = merged(bought(160, GB, GB * 9 // 10), tombstone=tombstone)
    assert total(late) == GB // 2
    esim = FRESH._replace(allowances=(late,))
    (after,) = merge_usage(esim, None, bought(170, GB, 0), 170)[0].allowances
    assert total(after) == GB


def test_an_assignment_that_began_after_the_last_event_before_expiry_counts_whole() -> None:
    before = merged(bought(110, GB, 0, A))
    tombstone = tombstone_of(before, FRESH, 150)

    again = merged(bought(210, GB, GB // 2, B), tombstone=tombstone)
    assert total(again) == GB * 3 // 2
    late = merged(bought(210, GB, 0, A), tombstone=tombstone)
    assert total(late) == GB


def test_the_least_of_too_many_assignments_is_counted_and_dropped() -> None:
    many = [bought(n, GB, 0, Assignment(100 + n, f"a{n}")) for n in range(1, ASSIGNMENTS_KEPT + 4)]
    allowance = merged(*many)

    assert len(allowance.parts) == ASSIGNMENTS_KEPT
    assert total(allowance) == GB * len(many)
    assert merged(*many, many[0], many[-1]) == allowance  # too late, and known


assigned = st.builds(
    lambda left, start, name, part: bought(0, 10, left, Assignment(start, name), part),
    st.integers(0, 10),
    st.integers(0, 3),
    st.sampled_from(["a", "b", "c"]),
    st.sampled_from(["data", "voice"]),
)


@pytest.mark.parametrize("names", [True, False])
@given(st.lists(assigned, min_size=1, max_size=12), st.randoms())
def test_any_order_and_number_of_events_without_a_time_gives_the_same_amounts(
    names: bool,  # a parameter of the test
    events: list[UsageEvent],
    random: object,
) -> None:
    if not names:
        events = [
            e._replace(assignment=Assignment(e.assignment.start)) for e in events if e.assignment
        ]
    again = [*events, *events[:3]]
    random.shuffle(again)  # type: ignore[attr-defined]  # Hypothesis' type has no methods

    def shown(events: list[UsageEvent]) -> object:
        allowance = merged(*[e._replace(time=n) for n, e in enumerate(events, 1)])
        parts = [part._replace(time=0) for part in allowance.parts]
        return allowance.snapshot, total(allowance), total(allowance, "voice"), parts

    assert shown(again) == shown(events)
