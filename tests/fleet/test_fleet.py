"""The fleet by its behaviours: cap, expiry, tombstones, bounds, sums, restarts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from expected_samples import DAY
from generated_events import START
from running_fleet import ARRIVAL, STALE_AFTER, RunningFleet, series

from exporter.errors import InvalidEvent, StorageDamaged
from exporter.fleet import drafts
from exporter.fleet.aggregates import THRESHOLDS, thresholds_reached
from exporter.fleet.drafts import check_bounds
from exporter.fleet.fleet import Policy
from exporter.model.events import (
    OtherEvent,
    PartnerEvent,
    Snapshot,
    Status,
    StatusEvent,
    UsageEvent,
)
from exporter.model.expiry import Retention
from exporter.model.merge import Result
from exporter.model.records import Feed
from exporter.storage.contract import Chunk, Row, Table

if TYPE_CHECKING:
    from exporter.model.events import Event

MONTH = 30 * DAY


def usage(esim_id: str = "e", time: int = 0, used: int = 10, **values: Any) -> UsageEvent:
    snapshot = values.pop("snapshot", None) or Snapshot(data_allowed=100, data_remaining=100 - used)
    package_id = values.pop("package_id", "p")
    return UsageEvent("roamify", START + time, esim_id, package_id, snapshot, **values)


def status(value: Status, esim_id: str = "e", time: int = 0) -> StatusEvent:
    return StatusEvent("roamify", START + time, esim_id, value)


def consumed(running: RunningFleet, esim_id: str = "e") -> float | None:
    labels = {"vendor": "roamify", "esim_id": esim_id, "package_id": "p"}
    return running.samples().get(series("esim_data_consumed_bytes_total", **labels))


def fleet_sample(running: RunningFleet, name: str, **labels: str) -> float | None:
    return running.samples().get(series(name, vendor="roamify", **labels))


def fleet_consumed(running: RunningFleet) -> float | None:
    return fleet_sample(running, "esim_fleet_data_consumed_bytes_total", package_id="p")


def shown(running: RunningFleet) -> list[str]:
    """Return the eSIMs that have series."""
    samples = running.samples()
    return sorted({dict(labels)["esim_id"] for name, labels in samples if name == "esim_status"})


def capped(cap: int, *esim_ids: str) -> RunningFleet:
    running = RunningFleet(Policy(max_esims=cap))
    for esim_id in esim_ids:
        running.take(usage(esim_id))
    return running


# The cardinality cap


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
    failed = running.fleet.expire(running.now)
    assert failed.esims.get(("roamify", "b")) != running.fleet.esim(("roamify", "b"))
    running.expire()
    assert shown(running) == ["b"]


def test_a_newcomer_does_not_pass_by_those_that_wait() -> None:
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


def test_a_cap_lowered_and_raised_again_lets_nobody_pass_by() -> None:
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


# Expiry and tombstones


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


def expired() -> RunningFleet:
    """Return a fleet whose only allowance has consumed 40 and expired."""
    running = RunningFleet()
    running.take(usage(used=40), status(Status.EXPIRED, time=5))
    running.now += DAY
    running.expire()
    return running


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
    assert running.fleet.tombstones == {}
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
    assert running.fleet.tombstones == {}
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
    assert [key[1] for key in running.fleet.tombstones] == ["c", "b", "a"]
    running.load()
    running.take(usage("d", -1))
    assert fleet_sample(running, "esim_fleet_esims", status="UNKNOWN") == 1


def test_tombstones_are_dropped_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    running = RunningFleet()
    running.take(*[status(Status.EXPIRED, str(number)) for number in range(7)])
    running.now += DAY
    running.expire()
    monkeypatch.setattr(drafts, "MAX_TOMBSTONES", 1)
    assert running.publish(running.fleet.expire(running.now, most=2))
    assert len(running.fleet.tombstones) == 5
    running.expire(most=2)
    assert len(running.fleet.tombstones) == 1


def test_a_tombstone_that_is_revived_in_the_same_draft_is_not_forgotten_twice() -> None:
    running = expired()
    running.now += 90 * DAY
    draft = running.fleet.draft(running.now)
    draft.merge(usage(time=6, used=60))
    draft.forget(500)
    running.publish(draft)
    assert consumed(running) == 60
    assert running.fleet.tombstones == {}


def test_what_expires_may_come_back_in_the_same_draft() -> None:
    running = RunningFleet()
    running.take(usage(used=40))
    running.now += MONTH
    draft = running.fleet.expire(running.now)
    assert draft.merge(usage(time=6, used=60)) is Result.ACCEPTED
    running.publish(draft)
    assert (consumed(running), fleet_consumed(running)) == (60, 60)
    assert running.fleet.tombstones == {}
    assert running.restarted().text() == running.text()


def test_expiry_takes_a_bounded_step() -> None:
    running = RunningFleet()
    running.take(*[usage(f"{number:04}") for number in range(1000)])
    running.now += MONTH
    assert running.publish(running.fleet.expire(running.now))
    assert 0 < len(running.fleet.esims) < 1000
    assert running.fleet.any_due(running.now)
    running.expire()
    assert len(running.fleet.esims) == 0
    assert not running.fleet.any_due(running.now)
    assert not running.fleet.expire(running.now).changes()


def test_a_step_of_expiry_in_which_nothing_is_due_says_whether_there_is_more() -> None:
    running = RunningFleet()
    running.take(*[usage(f"{number:04}") for number in range(1000)])
    running.fleet.set_policy(Policy(Retention(silent=MONTH)))
    assert not running.fleet.expire(running.now).changes()
    assert running.fleet.any_due(running.now)
    while running.fleet.any_due(running.now):
        assert not running.fleet.expire(running.now).changes()
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


def test_a_cap_that_is_raised_while_running_fills_by_and_by() -> None:
    running = capped(1, "a", "b", "c", "d")
    running.fleet.set_policy(Policy(max_esims=3))
    assert running.publish(running.fleet.expire(running.now, most=1))
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


def test_a_longer_retention_keeps_what_would_have_left() -> None:
    running = capped(0, "a")
    running.fleet.set_policy(Policy(Retention(silent=60 * DAY)))
    running.now += MONTH
    running.expire()
    assert shown(running) == ["a"]


# Bounds


def test_an_esim_has_a_greatest_number_of_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drafts, "MAX_ALLOWANCES", 2)
    running = RunningFleet()
    running.take(usage(package_id="a"), usage(package_id="b"))
    before = running.text()
    draft = running.fleet.draft(running.now)
    with pytest.raises(InvalidEvent, match="package_id: the eSIM has 2 packages already"):
        draft.merge(usage(package_id="c", package_name="x", status=Status.NEW))
    assert draft.merge(usage(package_id="b")) is Result.DUPLICATE
    running.publish(draft)
    assert running.text() == before


def test_an_allowance_has_a_greatest_number_of_locations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drafts, "MAX_LOCATIONS", 2)
    running = RunningFleet()
    running.take(usage(snapshot=Snapshot(locations=(("A", 1), ("B", 1)))))
    draft = running.fleet.draft(running.now)
    with pytest.raises(InvalidEvent, match="usage_list: the package was used in 2 locations"):
        draft.merge(usage(time=1, snapshot=Snapshot(locations=(("C", 1),))))
    assert not draft.changes()


def test_bounds_do_not_concern_an_esim_without_the_package() -> None:
    running = capped(0, "e")
    esim = running.fleet.esim(("roamify", "e"))
    assert esim
    check_bounds(esim, "another")


# Sums


@pytest.mark.parametrize("percent", [25, 50, 75, 90, 100])
@pytest.mark.parametrize("allowed", [100, 1000, 3 * 2**50, 2**53 - 2])
def test_thresholds_are_exact(percent: int, allowed: int) -> None:
    exact = -(-allowed * percent // 100)
    assert percent in THRESHOLDS[: thresholds_reached(allowed, allowed - exact)]
    assert percent not in THRESHOLDS[: thresholds_reached(allowed, allowed - exact + 1)]


def test_nothing_is_never_used_up() -> None:
    assert thresholds_reached(0, 0) == 0
    assert thresholds_reached(None, 0) == 0
    assert thresholds_reached(100, None) == 0
    assert thresholds_reached(100, 200) == 0


@pytest.mark.parametrize(("used", "reached"), [(24, 0), (25, 1), (50, 2), (75, 3), (90, 4)])
def test_an_allowance_counts_under_every_threshold_it_has_reached(used: int, reached: int) -> None:
    running = capped(0)
    running.take(usage(used=used))
    for resource, thresholds in (("data", ("0.25", "0.5", "0.75", "0.9", "1")), ("sms", ("1",))):
        values = [
            fleet_sample(
                running,
                "esim_fleet_allowances_over_threshold",
                package_id="p",
                resource=resource,
                threshold=threshold,
            )
            for threshold in thresholds
        ]
        assert sum(value or 0 for value in values) == (reached if resource == "data" else 0)


def test_sms_and_voice_have_thresholds_of_their_own() -> None:
    running = capped(0)
    amounts = Snapshot(sms_allowed=4, sms_remaining=0, voice_allowed=60, voice_remaining=30)
    running.take(usage(snapshot=amounts))
    at = {
        (dict(labels)["resource"], dict(labels)["threshold"])
        for (name, labels), value in running.samples().items()
        if name == "esim_fleet_allowances_over_threshold" and value
    }
    sms = {("sms", threshold) for threshold in ("0.25", "0.5", "0.75", "0.9", "1")}
    assert at == sms | {("voice", "0.25"), ("voice", "0.5")}


def test_terminal_esims_count_neither_as_limited_nor_over_a_threshold() -> None:
    running = capped(0)
    running.take(usage(used=100), status(Status.DELETED, time=1))
    samples = running.samples()
    labels = {"vendor": "roamify", "package_id": "p"}
    assert series("esim_fleet_data_allowed_bytes", **labels) not in samples
    assert series("esim_fleet_data_remaining_bytes", **labels) not in samples
    assert samples[series("esim_fleet_allowances", **labels, status="DELETED")] == 1
    assert fleet_consumed(running) == 100
    over = [v for (name, _), v in samples.items() if name.endswith("over_threshold")]
    assert set(over) == {0}


def test_what_remains_without_a_limit_is_no_part_of_the_sum() -> None:
    running = capped(0)
    running.take(usage("a", used=50), usage("b", snapshot=Snapshot(data_remaining=7)))
    assert fleet_sample(running, "esim_fleet_data_remaining_bytes", package_id="p") == 50


def stale(running: RunningFleet) -> float | None:
    return fleet_sample(running, "esim_fleet_esims_stale")


@pytest.mark.parametrize("fraction", [0.0, 0.25])
@pytest.mark.parametrize("arrival", [ARRIVAL, ARRIVAL - ARRIVAL % 3600, 3599, 3600])
def test_an_esim_is_stale_when_nothing_was_received_for_longer(
    arrival: int, fraction: float
) -> None:
    running = RunningFleet()
    running.now = arrival
    running.take(status(Status.ACTIVATED), status(Status.INACTIVE, "idle"))
    running.now = arrival + STALE_AFTER - 1 + fraction
    running.take(status(Status.ACTIVATED, "fresh"))
    assert stale(running) == 0
    running.now = arrival + STALE_AFTER
    assert stale(running) == 0
    running.now = arrival + STALE_AFTER + 0.001
    assert stale(running) == 1
    running.now = arrival + STALE_AFTER + 1
    assert stale(running) == 1
    running.now += 24 * 3600
    assert stale(running) == 2


def test_an_esim_that_is_heard_of_again_is_not_stale() -> None:
    running = RunningFleet()
    running.take(status(Status.ACTIVATED))
    running.now += STALE_AFTER + 1
    assert stale(running) == 1
    running.take(usage(time=1))
    assert stale(running) == 0


def test_a_package_is_shown_once_seen_with_every_status() -> None:
    running = expired()
    for value in Status:
        labels = {"package_id": "p", "status": value.value}
        assert fleet_sample(running, "esim_fleet_allowances", **labels) == 0


# Accounts, feeds and what carries no metrics


def partner(event_type: str, time: int, balance: float = 5.0) -> PartnerEvent:
    return PartnerEvent("roamify", event_type, START + time, "EUR", balance)


def test_partner_events_feed_balance_and_time_by_type() -> None:
    running = RunningFleet()
    taken = running.take(
        partner("top_up", 5),
        partner("low_balance", 3, 2.0),
        partner("low_balance", 3, 2.0),
        partner("top_up", 5),
        partner("top_up", 4),
        partner("low_balance", 5, 1.0),
    )
    assert taken == [
        *(Result.ACCEPTED, Result.ACCEPTED, Result.STALE),
        *(Result.DUPLICATE, Result.STALE, Result.ACCEPTED),
    ]
    assert fleet_sample(running, "esim_partner_balance", currency="EUR") == 5
    name = "esim_partner_last_event_timestamp_seconds"
    assert fleet_sample(running, name, event_type="low_balance") == START + 5
    assert running.restarted().text() == running.text()


def test_an_event_without_metrics_is_ignored() -> None:
    running = RunningFleet()
    draft = running.fleet.draft(running.now)
    assert draft.merge(OtherEvent("roamify", "order")) is Result.IGNORED
    assert not draft.changes()


def test_hears_of_a_vendor_once_a_second() -> None:
    running = RunningFleet()
    running.now += 0.75
    for _ in range(2):
        draft = running.fleet.draft(running.now)
        draft.note_delivery("roamify")
        running.publish(draft)
    assert running.fleet.registers["feed", "roamify"] == Feed("roamify", ARRIVAL, 1)
    draft = running.fleet.draft(running.now + 1)
    draft.note_delivery("roamify")
    running.publish(draft)
    restarted = running.restarted().fleet.registers["feed", "roamify"]
    assert restarted == Feed("roamify", ARRIVAL + 1, 2)


def test_hears_of_a_vendor_after_the_clock_was_set_back() -> None:
    running = RunningFleet()
    for now in (ARRIVAL + MONTH, ARRIVAL):
        draft = running.fleet.draft(now)
        draft.note_delivery("roamify")
        running.publish(draft)
    assert running.fleet.registers["feed", "roamify"] == Feed("roamify", ARRIVAL, 2)


# Versions and restarts


def test_versions_of_rows_rise_by_one_a_batch() -> None:
    running = RunningFleet()
    running.take(usage(), usage(time=1))
    running.take(usage(time=2))
    assert {row.version for at, row in running.storage.rows.items() if at[0] is Table.ESIM} == {2}


def test_a_draft_that_changed_nothing_writes_nothing() -> None:
    running = capped(0, "e")
    draft = running.fleet.draft(running.now)
    draft.merge(usage())
    assert not draft.changes()


def test_what_came_and_went_in_one_draft_is_not_written() -> None:
    running = RunningFleet()
    draft = running.fleet.draft(running.now)
    draft.merge(usage())
    draft.esims.put(("roamify", "e"), None)
    assert {change.table for change in draft.changes().rows} == {Table.PACKAGE}


def test_an_esim_that_expired_and_came_back_begins_at_version_1_again() -> None:
    running = expired()
    running.take(usage(time=6))
    esim = running.fleet.esim(("roamify", "e"))
    assert esim
    assert esim.version == 1


def test_a_row_of_an_unknown_layout_is_refused() -> None:
    running = capped(0, "e")
    row = next(iter(running.storage.rows.values()))
    with pytest.raises(StorageDamaged, match="run the version that wrote it"):
        running.restarted_with(Chunk((row._replace(data=b"[2]"),)))
    with pytest.raises(StorageDamaged):
        running.restarted_with(Chunk((Row(Table.ESIM, ("roamify", "e"), 1, b"{"),)))
