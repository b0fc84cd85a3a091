"""What expires, when, and what stays of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from expected_samples import DAY
from generated_events import START
from running_fleet import (
    RunningFleet,
    capped,
    consumed,
    expired,
    fleet_consumed,
    fleet_sample,
    shown,
    status,
    usage,
)

from exporter.fleet import drafts
from exporter.fleet.drafts import Draft, expire_due
from exporter.fleet.fleet import Policy
from exporter.model.events import Snapshot, Status
from exporter.model.expiry import Retention
from exporter.model.merge import Result
from exporter.storage.contract import Table

if TYPE_CHECKING:
    from exporter.model.events import Event

MONTH = 30 * DAY


@pytest.mark.parametrize("value", [Status.DELETED, Status.REVOKED, Status.EXPIRED])
def test_an_allowance_leaves_a_day_after_its_esim_became_terminal(value: Status) -> None:
    running = RunningFleet()
    running.take(usage(), status(value, time=1))
    running.now += DAY - 0.5
    running.expire()
    assert consumed(running) == 10
    running.now += 0.5
    running.expire()
    assert consumed(running) is None
    assert shown(running) == []
    assert running.fleet.expired == 1


def test_the_day_begins_when_the_status_arrives_and_not_with_the_last_usage() -> None:
    running = RunningFleet()
    running.take(usage())
    running.now += 5 * DAY
    running.take(status(Status.DELETED, time=1))
    running.now += DAY - 1
    running.expire()
    assert consumed(running) == 10
    running.now += 1
    running.expire()
    assert consumed(running) is None


def test_an_allowance_leaves_a_month_after_it_fell_silent_and_its_esim_later() -> None:
    running = RunningFleet()
    running.take(usage())
    running.now += DAY
    running.take(status(Status.INACTIVE, time=1))
    running.now += MONTH - DAY
    running.expire()
    assert consumed(running) is None
    assert shown(running) == ["e"]
    running.now += DAY
    running.expire()
    assert shown(running) == []


def test_silence_is_counted_from_receipt_and_not_from_the_events_time() -> None:
    running = RunningFleet()
    running.now = START + 900 * DAY
    running.take(usage())
    running.expire()
    assert consumed(running) == 10


def test_a_duplicate_does_not_put_expiry_off() -> None:
    running = RunningFleet()
    running.take(usage())
    running.now += MONTH - 1
    running.take(usage())
    running.now += 1
    running.expire()
    assert consumed(running) is None


def test_an_allowance_may_leave_while_another_stays() -> None:
    running = RunningFleet()
    running.take(usage(), usage(package_id="q"))
    running.now += DAY
    running.take(usage(package_id="q", time=1))
    running.now += MONTH - DAY
    running.expire()
    esim = running.fleet.esim(("roamify", "e"))
    assert esim
    assert [a.package_id for a in esim.allowances] == ["q"]


def test_what_expires_stays_in_the_fleets_counters() -> None:
    running = RunningFleet()
    running.take(usage(used=40, snapshot=None), status(Status.EXPIRED, time=1))
    running.now += DAY
    running.expire()
    assert fleet_consumed(running) == 40
    assert running.restarted().text() == running.text()


def test_a_location_where_nothing_was_used_keeps_its_series_after_expiry_and_restart() -> None:
    running = RunningFleet()
    running.take(usage(snapshot=Snapshot(locations=(("Peru", 0),))))
    running.now += MONTH
    running.expire()
    name = "esim_fleet_location_data_consumed_bytes_total"
    assert fleet_sample(running, name, location="Peru") == 0
    assert running.restarted().text() == running.text()


def test_an_event_not_newer_than_the_tombstone_is_stale() -> None:
    running = expired()
    before = running.text()
    late: list[Event] = [usage(time=5, used=90), usage(time=4), status(Status.NEW, time=5)]
    assert running.take(*late, usage(package_id="q", time=5)) == [Result.STALE] * 4
    assert running.text() == before


def test_a_newer_event_revives_the_counter_and_takes_it_out_of_the_base() -> None:
    running = expired()
    assert running.take(usage(time=6, used=60)) == [Result.ACCEPTED]
    assert consumed(running) == 60
    assert fleet_consumed(running) == 60
    assert list(running.fleet.tombstones) == []
    assert running.storage.bases[("consumed", "roamify", "p")] == 0
    assert running.restarted().text() == running.text()


def test_a_revived_esim_stays_terminal_until_a_newer_status() -> None:
    running = expired()
    running.take(usage(time=6, used=60))
    esim = running.fleet.esim(("roamify", "e"))
    assert esim
    assert esim.terminal
    running.take(status(Status.ACTIVATED, time=7))
    assert fleet_sample(running, "esim_fleet_esims", status="ACTIVATED") == 1


def test_a_status_event_revives_the_esim_alone() -> None:
    running = expired()
    running.take(status(Status.ACTIVATED, time=6))
    assert shown(running) == ["e"]
    assert consumed(running) is None
    assert running.take(usage(time=5, used=90)) == [Result.STALE]
    running.take(usage(time=6, used=50))
    assert consumed(running) == 50


def test_expiry_in_a_row_keeps_counters_going() -> None:
    running = RunningFleet()
    totals = []
    for life in range(4):
        running.take(usage(time=10 * life, used=40), usage(time=10 * life + 1, used=10))
        totals.append(consumed(running))
        running.now += MONTH
        running.expire()
    assert totals == [40, 70, 100, 130]
    assert fleet_consumed(running) == 130


def test_tombstones_live_90_days() -> None:
    running = expired()
    running.now += 90 * DAY - 1
    running.expire()
    assert len(running.fleet.tombstones) == 2
    running.now += 1
    running.expire()
    assert list(running.fleet.tombstones) == []
    assert [at for at in running.storage.rows if at[0] is Table.TOMBSTONE] == []
    assert fleet_consumed(running) == 40


def test_an_allowance_begins_again_after_its_tombstone_is_gone() -> None:
    running = expired()
    running.now += 90 * DAY
    running.expire()
    running.take(usage(used=25))
    assert consumed(running) == 25
    assert fleet_consumed(running) == 65


def test_the_oldest_tombstones_go_first_where_there_are_too_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(drafts, "MAX_TOMBSTONES", 3)
    running = RunningFleet()
    for number, esim_id in enumerate("dcba"):
        running.take(status(Status.EXPIRED, esim_id, number))
        running.now += DAY
        running.expire()
    assert [each.esim_id for each in running.fleet.tombstones.oldest(9)] == ["c", "b", "a"]
    running.load()
    running.take(usage("d", -1))
    assert fleet_sample(running, "esim_fleet_esims", status="UNKNOWN") == 1


def test_tombstones_are_dropped_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    running = RunningFleet()
    running.take(*[status(Status.EXPIRED, str(number)) for number in range(7)])
    running.now += DAY
    running.expire()
    monkeypatch.setattr(drafts, "MAX_TOMBSTONES", 1)
    assert running.publish(expire_due(running.fleet, running.now, most=2))
    assert len(running.fleet.tombstones) == 5
    running.expire(most=2)
    assert len(running.fleet.tombstones) == 1


def test_a_tombstone_that_is_revived_in_the_same_draft_is_not_forgotten_twice() -> None:
    running = expired()
    running.now += 90 * DAY
    draft = Draft(running.fleet, running.now)
    draft.merge(usage(time=6, used=60))
    draft.drop_tombstones(500)
    running.publish(draft)
    assert consumed(running) == 60
    assert list(running.fleet.tombstones) == []


def test_what_expires_may_come_back_in_the_same_draft() -> None:
    running = RunningFleet()
    running.take(usage(used=40))
    running.now += MONTH
    draft = expire_due(running.fleet, running.now)
    assert draft.merge(usage(time=6, used=60)) is Result.ACCEPTED
    running.publish(draft)
    assert (consumed(running), fleet_consumed(running)) == (60, 60)
    assert list(running.fleet.tombstones) == []
    assert running.restarted().text() == running.text()


def test_expiry_takes_a_bounded_step() -> None:
    running = RunningFleet()
    running.take(*[usage(f"{number:04}") for number in range(1000)])
    running.now += MONTH
    assert running.publish(expire_due(running.fleet, running.now))
    assert 0 < len(running.fleet.esims) < 1000
    assert running.fleet.any_due(running.now)
    running.expire()
    assert len(running.fleet.esims) == 0
    assert not running.fleet.any_due(running.now)
    assert not expire_due(running.fleet, running.now).changes()


def test_a_step_of_expiry_in_which_nothing_is_due_says_whether_there_is_more() -> None:
    running = RunningFleet()
    running.take(*[usage(f"{number:04}") for number in range(1000)])
    running.fleet.set_policy(Policy(Retention(silent=MONTH)))
    assert not expire_due(running.fleet, running.now).changes()
    assert running.fleet.any_due(running.now)
    while running.fleet.any_due(running.now):
        assert not expire_due(running.fleet, running.now).changes()
    assert len(running.fleet.esims) == 1000


def test_retention_can_change_while_running() -> None:
    running = capped(1, "a", "b")
    running.fleet.set_policy(Policy(Retention(silent=60), max_esims=1))
    running.now += 60
    running.expire()
    assert len(running.fleet.esims) + len(running.fleet.over_cap) == 0


def test_a_shorter_retention_reaches_esims_over_the_cap() -> None:
    running = capped(1, "a", "b")
    running.now += 30
    running.take(usage("a", 1))
    running.fleet.set_policy(Policy(Retention(silent=60), max_esims=1))
    running.now += 30
    running.expire()
    assert running.fleet.esim(("roamify", "b")) is None
    assert shown(running) == ["a"]


def test_a_longer_retention_keeps_what_would_have_left() -> None:
    running = capped(0, "a")
    running.fleet.set_policy(Policy(Retention(silent=60 * DAY)))
    running.now += MONTH
    running.expire()
    assert shown(running) == ["a"]
