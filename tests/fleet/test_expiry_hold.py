"""Silent eSIMs are kept for a while after an interruption in which no delivery could arrive."""

from __future__ import annotations

import pytest
from generated_events import START
from running_fleet import ARRIVAL, RunningFleet

from exporter.fleet.drafts import Draft
from exporter.fleet.fleet import Policy
from exporter.model.events import Snapshot, Status, StatusEvent, UsageEvent
from exporter.model.expiry import LONGEST_PAUSE, ExpiryHold, Retention

DAY = 86_400
GRACE = 9 * 3600
STEP = LONGEST_PAUSE / 2


def usage(esim_id: str) -> UsageEvent:
    return UsageEvent("roamify", START, esim_id, "p", Snapshot(data_allowed=10, data_remaining=5))


def waiting(hold: ExpiryHold, now: float, seconds: float) -> float:
    """Note the time often while it passes; return the time at the end."""
    end = now + seconds
    while now < end:
        now = min(end, now + STEP)
        assert hold.note_time(now, GRACE, None) == 0
    return now


def test_holds_for_the_grace_after_a_start_and_no_longer() -> None:
    hold = ExpiryHold()
    assert not hold.active
    assert hold.note_time(ARRIVAL, GRACE, None) == 0
    assert hold.active
    now = waiting(hold, ARRIVAL, GRACE - 1)
    assert hold.active
    waiting(hold, now, 1)
    assert not hold.active


def test_returns_how_long_the_interruption_before_the_start_was() -> None:
    assert ExpiryHold().note_time(ARRIVAL, GRACE, ARRIVAL - 31 * DAY) == 31 * DAY
    assert ExpiryHold().note_time(ARRIVAL, GRACE, ARRIVAL - LONGEST_PAUSE) == 0


@pytest.mark.parametrize("leap", [LONGEST_PAUSE + 1, 3600, 31 * DAY])
def test_holds_again_after_an_interruption(leap: float) -> None:
    hold = ExpiryHold()
    hold.note_time(ARRIVAL, GRACE, None)
    now = waiting(hold, ARRIVAL, GRACE)

    assert hold.note_time(now + leap, GRACE, None) == leap

    assert hold.active
    waiting(hold, now + leap, GRACE)
    assert not hold.active


def test_holds_for_the_same_time_when_the_clock_is_set_back() -> None:
    hold = ExpiryHold()
    hold.note_time(ARRIVAL + 31 * DAY, GRACE, None)
    assert hold.note_time(ARRIVAL, GRACE, None) == 0
    assert hold.active
    waiting(hold, ARRIVAL, GRACE)
    assert not hold.active


def held(*esims: str, grace: float = GRACE) -> RunningFleet:
    """Return a fleet that was started again a month after these eSIMs reported."""
    running = RunningFleet(Policy(Retention(), grace=grace))
    running.take(*map(usage, esims))
    draft = Draft(running.fleet, running.now)
    draft.note_delivery("roamify")
    running.publish(draft)
    running.load()
    running.now = ARRIVAL + 31 * DAY
    return running


def release(running: RunningFleet) -> None:
    while running.fleet.held:
        running.now += STEP
        assert running.fleet.note_time(running.now) == 0


def names(running: RunningFleet) -> list[str]:
    return [esim.esim_id for esim in running.fleet.esims]


def test_after_a_month_of_downtime_an_esim_expires_unless_it_reports_during_the_grace() -> None:
    running = held("a", "b")
    assert running.fleet.note_time(running.now) == 31 * DAY
    running.expire()
    assert names(running) == ["a", "b"]
    assert not running.fleet.any_due(running.now)

    running.take(UsageEvent("roamify", START + 1, "b", "p", Snapshot(data_allowed=9)))
    release(running)
    running.expire()

    assert names(running) == ["b"]


def test_terminal_esims_leave_while_silent_ones_are_kept() -> None:
    running = held("a", "b", grace=2 * DAY)
    running.fleet.note_time(running.now)
    running.take(StatusEvent("roamify", START + 1, "a", Status.EXPIRED))
    for _ in range(int(DAY / STEP)):
        running.now += STEP
        running.fleet.note_time(running.now)
    running.expire()
    assert running.fleet.held
    assert names(running) == ["b"]


def test_tombstones_are_kept_while_it_holds() -> None:
    running = held("a")
    running.expire()
    assert running.fleet.tombstones
    running.now += 91 * DAY
    running.fleet.note_time(running.now)
    running.expire()
    assert running.fleet.tombstones

    release(running)
    running.expire()
    assert not running.fleet.tombstones


def test_without_a_grace_nothing_is_held() -> None:
    running = RunningFleet()
    running.take(usage("a"))
    running.fleet.note_time(running.now)
    assert not running.fleet.held
    running.now += 31 * DAY
    assert running.fleet.note_time(running.now) == 31 * DAY
    running.expire()
    assert names(running) == []


def test_a_new_policy_does_not_end_the_hold() -> None:
    running = held("a")
    running.fleet.note_time(running.now)
    running.fleet.set_policy(Policy(Retention(silent=60), grace=GRACE))
    running.expire()
    assert names(running) == ["a"]
    release(running)
    running.expire()
    assert names(running) == []
