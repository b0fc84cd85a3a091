"""The cardinality cap: which eSIMs have series, and who gets room that frees up."""

from __future__ import annotations

from expected_samples import DAY
from running_fleet import (
    RunningFleet,
    capped,
    fleet_consumed,
    shown,
    status,
    usage,
)

from exporter.fleet.admission import AdmissionOrder
from exporter.fleet.compact_store import CompactEsims
from exporter.fleet.drafts import expire_due
from exporter.fleet.fleet import Policy
from exporter.model.events import Status
from exporter.model.merge import Result
from exporter.model.records import Esim


def test_esims_over_the_cap_count_in_the_sums_but_have_no_series() -> None:
    running = capped(2, "c", "b", "a")
    assert shown(running) == ["b", "c"]
    assert fleet_consumed(running) == 30
    assert running.fleet.esim(("roamify", "a"))
    assert (len(running.fleet.esims), len(running.fleet.over_cap), running.fleet.room()) == (
        2,
        1,
        0,
    )


def test_the_cap_holds_within_a_batch() -> None:
    running = RunningFleet(Policy(max_esims=2))
    running.take(usage("c"), usage("b"), usage("a"), usage("b", 1))
    assert shown(running) == ["b", "c"]


def test_an_esim_over_the_cap_is_merged_like_any_other() -> None:
    running = capped(1, "a", "b")
    assert running.take(usage("b", 1, 60)) == [Result.ACCEPTED]
    assert running.take(usage("b", 1, 60)) == [Result.DUPLICATE]
    assert fleet_consumed(running) == 70
    assert shown(running) == ["a"]


def test_no_cap_shows_all() -> None:
    assert shown(capped(0, "a", "b", "c")) == ["a", "b", "c"]


def test_room_that_frees_up_goes_to_those_admitted_first() -> None:
    running = capped(2, "d", "c", "b", "a")
    running.take(status(Status.DELETED, "d", 1))
    running.now += DAY
    running.expire()
    assert shown(running) == ["b", "c"]
    assert running.restarted().text() == running.text()


def test_those_that_wait_still_wait_after_the_commit_that_gave_them_series_failed() -> None:
    running = capped(1, "a", "b", "c")
    running.take(status(Status.DELETED, "a", 1))
    running.now += DAY
    failed = expire_due(running.fleet, running.now)
    assert failed.esims.get(("roamify", "b")) != running.fleet.esim(("roamify", "b"))
    running.expire()
    assert shown(running) == ["b"]


def test_a_new_esim_does_not_overtake_those_that_wait() -> None:
    running = capped(1, "a", "b")
    running.fleet.set_policy(Policy(max_esims=2))
    running.take(usage("new"))
    assert shown(running) == ["a"]
    running.expire()
    assert shown(running) == ["a", "b"]


def test_a_lowered_cap_takes_series_from_those_admitted_last() -> None:
    running = capped(0, "d", "c", "b", "a")
    running.load(Policy(max_esims=2))
    assert shown(running) == ["c", "d"]
    assert fleet_consumed(running) == 40
    assert running.fleet.room() == 0


def test_a_raised_cap_gives_series_to_those_admitted_first() -> None:
    running = capped(1, "d", "c", "b", "a")
    running.load(Policy(max_esims=3))
    running.expire()
    assert shown(running) == ["b", "c", "d"]
    running.load(Policy(max_esims=0))
    running.expire(most=1)
    assert shown(running) == ["a", "b", "c", "d"]


def test_a_cap_lowered_and_raised_again_keeps_the_order() -> None:
    running = capped(0, "a", "b", "c")
    running.load(Policy(max_esims=1))
    running.expire()
    running.take(usage("b", 1))
    running.load(Policy(max_esims=2))
    running.expire()
    assert shown(running) == ["a", "b"]


def test_one_that_waits_may_expire_before_its_turn() -> None:
    running = capped(1, "a", "b", "c")
    running.take(status(Status.DELETED, "b", 1), status(Status.DELETED, "a", 1))
    running.now += DAY
    running.expire()
    assert shown(running) == ["c"]
    running.take(status(Status.ACTIVATED, "b", 2), usage("d", 2))
    running.take(status(Status.DELETED, "c", 3))
    running.now += DAY
    running.expire()
    assert shown(running) == ["b"]


def test_one_over_the_cap_that_comes_back_queues_again() -> None:
    running = capped(1, "a", "b", "c")
    running.take(status(Status.DELETED, "b", 1))
    running.now += DAY
    running.expire()
    running.take(usage("b", 2))
    running.take(status(Status.DELETED, "a", 3))
    running.now += DAY
    running.expire()
    assert shown(running) == ["c"]


def test_a_cap_that_is_raised_while_running_fills_in_steps() -> None:
    running = capped(1, "a", "b", "c", "d")
    running.fleet.set_policy(Policy(max_esims=3))
    assert running.publish(expire_due(running.fleet, running.now, most=1))
    assert shown(running) == ["a", "b"]
    running.expire()
    assert shown(running) == ["a", "b", "c"]


def test_a_cap_that_is_lowered_while_running_takes_no_series_until_the_next_start() -> None:
    running = capped(3, "a", "b", "c")
    running.fleet.set_policy(Policy(max_esims=1))
    running.take(usage("d"))
    running.expire()
    assert shown(running) == ["a", "b", "c"]
    running.load(Policy(max_esims=1))
    assert shown(running) == ["a"]


def test_an_esim_that_lost_its_series_again_waits_once() -> None:
    shown_, waiting = (CompactEsims(lambda _: 0.0) for _ in range(2))
    order = AdmissionOrder(shown_, waiting, replicated=True)
    before = None
    for tracked in (False, True, False):
        esim = Esim("roamify", "b", received=0, admitted=2, tracked=tracked)
        if before:
            (shown_ if before.tracked else waiting).remove(before.key)
        order.note(before, esim, (shown_ if tracked else waiting).put(esim))
        before = esim
    assert [each.esim_id for each in order.next_waiting(9)] == ["b"]
    assert [each.esim_id for each in order.next_waiting(9)] == ["b"]
