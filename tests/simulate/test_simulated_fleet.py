from __future__ import annotations

import hashlib
import itertools
import json
from collections import Counter, defaultdict
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pytest

from exporter.model.events import (
    UNLIMITED_AMOUNT,
    OtherEvent,
    PartnerEvent,
    StatusEvent,
    UsageEvent,
)
from exporter.simulate.esim import REPORT_INTERVAL
from exporter.simulate.fleet import Phase, SimulatedFleet
from exporter.simulate.timeline import Timeline
from exporter.vendors import roamify
from exporter.vendors.registry import FIRST
from exporter.vendors.roamify.simulated_catalogue import CATALOGUE

START = 1_700_000_000
HOUR = 3600
DAY = 24 * HOUR
INTERVAL = 4 * HOUR
THRESHOLDS = (0.25, 0.5, 0.75, 0.9, 1.0)
PACKAGES = {package.package_id: package for package in CATALOGUE}


class Sent(NamedTuple):
    at: float
    event_type: str
    data: dict[str, Any]
    document: dict[str, Any]
    body: bytes


def simulate(
    seconds: float, *, seed: int = 1, esims: int = 200, phase: Phase = Phase.SPREAD
) -> list[Sent]:
    fleet = SimulatedFleet(seed=seed, esims=esims, start=START, phase=phase)
    sent = []
    for at, body in itertools.takewhile(lambda event: event[0] <= START + seconds, fleet):
        document = json.loads(body)
        sent.append(
            Sent(at, document["event_type"], document.get("data", document), document, body)
        )
    return sent


@pytest.fixture(scope="module")
def week() -> list[Sent]:
    return simulate(7 * DAY)


def is_usage(sent: Sent) -> bool:
    return sent.event_type in {"usage", "esim_usage"}


def usage_by_esim(events: list[Sent]) -> dict[str, list[Sent]]:
    found = defaultdict(list)
    for sent in events:
        if is_usage(sent):
            found[sent.data["esim_id"]].append(sent)
    return found


def used(sent: Sent) -> float:
    amounts = sent.data["usage_data"]
    return float(amounts["allowed_data"] - amounts["remaining_data"])


def limited(sent: Sent) -> bool:
    return not sent.data["usage_data"]["isUnlimited"]


def test_same_seed_gives_the_same_bytes() -> None:
    assert [s[::4] for s in simulate(DAY)] == [s[::4] for s in simulate(DAY)]


def test_a_seed_gives_the_bytes_that_it_gave_when_there_was_one_vendor() -> None:
    sent = b"".join(s.body for s in simulate(14 * DAY, esims=50))
    digest = "cdfe41b47a0b7d56fbdb669b36b7477ff6031f194306d8ccb701e4e55f75faf2"
    assert hashlib.sha256(sent).hexdigest() == digest


def test_another_seed_gives_other_esims() -> None:
    first = {s.data["esim_id"] for s in simulate(DAY, seed=1) if is_usage(s)}
    second = {s.data["esim_id"] for s in simulate(DAY, seed=2) if is_usage(s)}
    assert not first & second


def test_rejects_a_fleet_without_esims() -> None:
    with pytest.raises(ValueError, match="at least one"):
        SimulatedFleet(seed=1, esims=0, start=START)


def test_a_timeline_without_actions_ends() -> None:
    assert list(Timeline()) == []


def test_events_come_in_order_and_carry_the_second_they_are_sent_in(week: list[Sent]) -> None:
    times = [s.at for s in week]
    assert times == sorted(times)
    assert times[0] >= START
    assert all(s.data["timestamp"] == int(s.at) for s in week)


def test_every_kind_of_event_occurs_within_a_week(week: list[Sent]) -> None:
    assert {s.event_type for s in week} == {
        "usage", "esim_usage", "status",
        "low_balance", "insufficient_balance", "top_up",
        "order", "refunded", "rejected",
        "network_attached", "package_updated",
    }  # fmt: skip
    assert {s.data["status"] for s in week if s.event_type == "status"} == {
        "NEW", "INSTALLED", "ACTIVATED", "INACTIVE", "EXPIRED", "REVOKED", "DELETED",
    }  # fmt: skip
    assert {s.data["package_id"] for s in week if is_usage(s)} == set(PACKAGES)
    assert any("data" not in s.document for s in week)


def test_every_event_is_accepted_by_the_parser_and_has_documented_fields(week: list[Sent]) -> None:
    unknown: set[str] = set()
    kinds = Counter(type(roamify.parse(s.body, now=s.at, unknown=unknown.add)) for s in week)
    assert set(kinds) == {UsageEvent, StatusEvent, PartnerEvent, OtherEvent}
    assert unknown == set()


def test_the_parser_finds_the_amounts_that_were_meant(week: list[Sent]) -> None:
    for sent in filter(is_usage, week):
        event = roamify.parse(sent.body, now=sent.at)
        assert isinstance(event, UsageEvent)
        amounts, snapshot = sent.data["usage_data"], event.snapshot
        assert snapshot.data_unlimited is amounts["isUnlimited"]
        if not snapshot.data_unlimited:
            assert snapshot.data_allowed == amounts["allowed_data"] * 2**20
            assert snapshot.data_remaining == round(amounts["remaining_data"] * 2**20)
        package = PACKAGES[event.package_id]
        assert snapshot.sms_allowed == (package.sms or None)
        assert snapshot.voice_allowed == (package.voice * 60 or None)


def test_an_activated_esim_reports_every_four_hours(week: list[Sent]) -> None:
    ends = {
        s.data["esim_id"]: s.at
        for s in week
        if s.data.get("status") in {"EXPIRED", "REVOKED", "DELETED"}
    }
    checked = 0
    for esim_id, events in usage_by_esim(week).items():
        end = ends.get(esim_id, START + 7 * DAY)
        phases = Counter(round(s.at % INTERVAL, 3) for s in events)
        phase, _ = phases.most_common(1)[0]
        regular = [s.at for s in events if round(s.at % INTERVAL, 3) == phase]
        gaps = [round(later - earlier) for earlier, later in itertools.pairwise(regular)]
        assert set(gaps) <= {INTERVAL}
        if len(gaps) > 1:
            checked += 1
            assert end - regular[-1] <= INTERVAL
    assert checked > 200


def test_the_simulated_vendor_reports_as_often_as_it_says() -> None:
    assert FIRST.report_interval == REPORT_INTERVAL


def test_reports_are_spread_over_the_four_hours(week: list[Sent]) -> None:
    hours = Counter(int(s.at % INTERVAL) // HOUR for s in week if is_usage(s))
    assert min(hours.values()) > 0.15 * hours.total()


def test_a_burst_reports_all_esims_in_the_same_second() -> None:
    events = simulate(INTERVAL, phase=Phase.BURST)
    times = Counter(s.at for s in events if is_usage(s))
    [(at, count)] = times.most_common(1)
    assert at % INTERVAL == 0
    assert count > 150


def test_an_esim_activated_later_joins_the_burst() -> None:
    events = simulate(3 * DAY, phase=Phase.BURST)
    activated = {s.data["esim_id"]: s.at for s in events if s.data.get("status") == "ACTIVATED"
                 and s.event_type == "status" and s.data["start"] == s.data["end"]}  # fmt: skip
    by_esim = usage_by_esim(events)
    reports = 0
    for esim_id, at in activated.items():
        # Between two bursts, only limited packages report, when they cross a threshold.
        later = [s for s in by_esim[esim_id] if s.at != at]
        assert all(s.at % INTERVAL == 0 or limited(s) for s in later)
        reports += sum(s.at % INTERVAL == 0 for s in later)
    assert reports > 50


def test_a_crossed_threshold_is_reported_at_once(week: list[Sent]) -> None:
    reported = 0
    for events in usage_by_esim(week).values():
        for before, after in itertools.pairwise(filter(limited, events)):
            allowed = after.data["usage_data"]["allowed_data"]
            same_allowance = before.data["usage_data"]["allowed_data"] == allowed
            crossed = [t for t in THRESHOLDS if used(before) < t * allowed - 0.02 <= used(after)]
            if not (crossed and same_allowance):
                continue
            assert len(crossed) == 1
            assert used(after) == pytest.approx(crossed[0] * allowed, abs=0.02)
            reported += 1
    assert reported > 150


def test_remaining_lies_between_nothing_and_allowed(week: list[Sent]) -> None:
    for amounts in (s.data["usage_data"] for s in week if is_usage(s)):
        for resource in ("data", "sms", "voice"):
            allowed, remaining = amounts[f"allowed_{resource}"], amounts[f"remaining_{resource}"]
            assert 0 <= remaining <= allowed or remaining == allowed == -1


def test_what_is_topped_up_when_all_was_used_is_there_in_full() -> None:
    exhausted = 0
    for events in usage_by_esim(simulate(14 * DAY)).values():
        for before, after in itertools.pairwise(filter(limited, events)):
            amounts = [s.data["usage_data"] for s in (before, after)]
            rise = amounts[1]["allowed_data"] - amounts[0]["allowed_data"]
            if rise and not amounts[0]["remaining_data"]:
                assert amounts[1]["remaining_data"] == rise
                exhausted += 1
    assert exhausted > 3


def test_usage_falls_only_at_renewals_and_small_corrections(week: list[Sent]) -> None:
    changes: Counter[str] = Counter()
    for events in usage_by_esim(week).values():
        for before, after in itertools.pairwise(filter(limited, events)):
            allowed = [s.data["usage_data"]["allowed_data"] for s in (before, after)]
            if allowed[0] != allowed[1]:
                package = PACKAGES[after.data["package_id"]]
                assert package.data is not None
                assert allowed[1] - allowed[0] == package.data
                changes["top-up"] += 1
            fall = used(before) - used(after)
            if fall > 0:
                rows = [
                    sum(r["data_used"] for r in s.data.get("usage_list", ()))
                    for s in (before, after)
                ]
                renewed = fall > 0.05 * used(before) + 0.02
                changes["renewal" if renewed else "correction"] += 1
                assert not renewed or rows[1] <= rows[0]
            else:
                changes["rise"] += 1
    assert changes["rise"] > 5000
    assert set(changes) == {"rise", "top-up", "renewal", "correction"}
    assert changes["renewal"] + changes["correction"] < 0.01 * changes["rise"]


def test_the_life_of_an_esim_goes_from_new_to_activated(week: list[Sent]) -> None:
    lives = defaultdict(list)
    for sent in week:
        if sent.event_type == "status":
            lives[sent.data["esim_id"]].append(sent.data["status"])
    whole = [life for life in lives.values() if life[0] == "NEW" and len(life) > 2]
    assert whole
    assert all(life[:3] == ["NEW", "INSTALLED", "ACTIVATED"] for life in whole)


def test_nothing_is_said_of_an_esim_after_its_end(week: list[Sent]) -> None:
    ended = set()
    for sent in week:
        if sent.document["event_category"] != "esim" or "esim_id" not in sent.data:
            continue
        assert sent.data["esim_id"] not in ended
        if sent.data["status"] in {"EXPIRED", "REVOKED", "DELETED"}:
            ended.add(sent.data["esim_id"])
    assert ended


def test_an_inactive_esim_is_back_within_three_seconds(week: list[Sent]) -> None:
    inactive: dict[str, float] = {}
    returned = 0
    for sent in (s for s in week if s.event_type == "status"):
        esim_id = sent.data["esim_id"]
        if sent.data["status"] == "INACTIVE":
            inactive[esim_id] = sent.at
        elif esim_id in inactive:
            assert 2 <= sent.at - inactive.pop(esim_id) <= 3
            returned += 1
    assert len(inactive) <= 1
    assert returned > 50


def test_the_fleet_stays_at_about_its_size() -> None:
    events = simulate(30 * DAY, esims=100)
    for day in (1, 10, 20, 29):
        since = START + day * DAY
        reporting = {
            s.data["esim_id"] for s in events if is_usage(s) and since <= s.at < since + INTERVAL
        }
        assert 75 <= len(reporting) <= 110


def test_people_use_less_data_at_night() -> None:
    by_hour: Counter[int] = Counter()
    for events in usage_by_esim(simulate(7 * DAY, esims=300)).values():
        package = PACKAGES[events[0].data["package_id"]]
        if len(package.locations) > 1:
            continue
        offset = package.locations[0].utc_offset
        for before, after in itertools.pairwise(filter(limited, events)):
            middle = (before.at + after.at) / 2 / HOUR + offset
            by_hour[int(middle % 24) // 6] += max(0, int(used(after) - used(before)))
    night, morning, afternoon, evening = (by_hour[quarter] for quarter in range(4))
    assert night < 0.5 * min(morning, afternoon, evening)


def test_some_users_are_nearly_idle_and_some_use_up_everything(week: list[Sent]) -> None:
    last = [events[-1] for events in usage_by_esim(week).values() if limited(events[-1])]
    shares = [used(s) / s.data["usage_data"]["allowed_data"] for s in last]
    assert sum(share < 0.05 for share in shares) > 0.1 * len(shares)
    assert sum(share == 1 for share in shares) > 0.03 * len(shares)


def test_an_unlimited_package_carries_the_catalogues_amounts(week: list[Sent]) -> None:
    unlimited = [s for s in week if is_usage(s) and not limited(s)]
    assert unlimited
    for sent in unlimited:
        assert "un" in sent.data["package_id"]
        assert set(sent.data["usage_data"].values()) == {True, UNLIMITED_AMOUNT, -1}


def test_a_usage_list_has_one_row_for_each_date_and_location(week: list[Sent]) -> None:
    places: dict[str, set[str]] = defaultdict(set)
    for sent in filter(is_usage, week):
        rows = sent.data.get("usage_list", [])
        keys = [(r["date"], r["location"]) for r in rows]
        assert len(set(keys)) == len(keys)
        assert [date for date, _ in keys] == sorted(date for date, _ in keys)
        latest = datetime.fromtimestamp(sent.at, UTC).strftime("%Y-%m-%d")
        assert all(date <= latest for date, _ in keys)
        places[sent.data["package_id"]] |= {location for _, location in keys}
    assert places["esim-africa-adventure-15days-3gb-all"] == {"Africa Adventure"}
    assert "Åland Islands" in places["esim-europe-30days-10gb-all"]
    assert places["esim-cote-divoire-15days-2gb-all"] == {"Côte d'Ivoire"}


def test_messages_and_minutes_are_used_where_they_are_included(week: list[Sent]) -> None:
    america = [s for s in week if s.data.get("package_id") == "esim-united-states-30days-20gb-all"]
    amounts = [s.data["usage_data"] for s in america]
    assert {a["allowed_sms"] for a in amounts} == {100}
    assert min(a["remaining_sms"] for a in amounts) < 80
    assert min(a["remaining_voice"] for a in amounts) < 450


def test_start_and_end_are_the_reporting_window(week: list[Sent]) -> None:
    for events in usage_by_esim(week).values():
        for before, after in itertools.pairwise(events):
            assert after.data["start"] == int(before.at)
            assert after.data["end"] == int(after.at)
    new = [s for s in week if s.event_type == "status" and s.data["status"] == "NEW"]
    assert all(s.data["start"] is s.data["end"] is None for s in new)


def test_names_have_the_vendors_form(week: list[Sent]) -> None:
    named = [s.data for s in week if is_usage(s)]
    assert all(len(d["iccid"]) == 19 and d["iccid"].startswith("89") for d in named)
    assert all(d["iccid"].isdecimal() for d in named)
    assert any("reference_id" not in d for d in named)
    assert any(d.get("reference_id") == "" for d in named)
    assert any(d.get("reference_id", "").startswith("ref_") for d in named)


def test_a_refund_sent_again_keeps_its_event_id(week: list[Sent]) -> None:
    refunds = defaultdict(list)
    for sent in week:
        if sent.document["event_category"] == "refund":
            refunds[sent.document["event_id"]].append(sent.data)
    twice = [datas for datas in refunds.values() if len(datas) > 1]
    assert twice
    for first, second in twice:
        assert second["timestamp"] > first["timestamp"]
        assert second["refund_id"] == first["refund_id"]


def test_the_balance_is_filled_up_before_it_is_overdrawn(week: list[Sent]) -> None:
    balances = [s for s in week if s.document["event_category"] == "partner"]
    assert all(s.data["balance"] >= 0 for s in balances)
    assert all(
        s.data["balance"] < s.data["threshold"] for s in balances if s.event_type == "low_balance"
    )
    after_insufficient = [
        following.event_type
        for event, following in itertools.pairwise(balances)
        if event.event_type == "insufficient_balance"
    ]
    assert after_insufficient
    assert set(after_insufficient) == {"top_up"}


def test_bodies_hold_names_outside_ascii_as_utf8(week: list[Sent]) -> None:
    assert any("Åland Islands".encode() in s.body for s in week)
