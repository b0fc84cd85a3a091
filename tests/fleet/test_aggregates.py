"""The sums over the fleet."""

from __future__ import annotations

import pytest
from running_fleet import (
    ARRIVAL,
    STALE_AFTER,
    RunningFleet,
    capped,
    expired,
    fleet_consumed,
    fleet_sample,
    series,
    status,
    usage,
)

from exporter.fleet.aggregates import THRESHOLDS, thresholds_reached
from exporter.fleet.drafts import Draft
from exporter.model.events import Snapshot, Status


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


def test_an_esim_that_reports_again_is_not_stale() -> None:
    running = RunningFleet()
    running.take(status(Status.ACTIVATED))
    running.now += STALE_AFTER + 1
    assert stale(running) == 1
    running.take(usage(time=1))
    assert stale(running) == 0


def usage_received(running: RunningFleet) -> int:
    return running.fleet.totals.vendors["roamify"].usage_received


def test_the_newest_usage_event_is_the_last_that_changed_an_allowance() -> None:
    running = RunningFleet()
    running.take(status(Status.ACTIVATED))
    assert usage_received(running) == 0
    running.take(usage("e"), usage("f"))
    running.now += 60
    running.take(usage("e"), status(Status.INACTIVE, "f", time=9))
    assert usage_received(running) == ARRIVAL
    running.take(usage("e", time=1, used=20))
    assert usage_received(running) == usage_received(running.restarted()) == ARRIVAL + 60


def test_the_newest_usage_event_stays_known_when_its_esim_leaves_or_an_older_one_is_replayed() -> (
    None
):
    running = RunningFleet()
    running.take(usage())
    draft = Draft(running.fleet, running.now + 60)
    draft.remove(("roamify", "e"))
    draft.merge_as_of(usage("f"), ARRIVAL - 60)
    running.publish(draft)
    assert usage_received(running) == ARRIVAL


def test_a_package_is_shown_once_seen_with_every_status() -> None:
    running = expired()
    for value in Status:
        labels = {"package_id": "p", "status": value.value}
        assert fleet_sample(running, "esim_fleet_allowances", **labels) == 0
