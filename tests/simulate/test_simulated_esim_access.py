from __future__ import annotations

import itertools
import json
from collections import Counter, defaultdict
from typing import Any, NamedTuple

import pytest

from exporter.model.events import Status, StatusEvent, UsageEvent
from exporter.simulate.fleet import SimulatedFleet
from exporter.vendors.esim_access import ESIM_ACCESS

START = 1_700_000_000
HOUR = 3600
DAY = 24 * HOUR


class Sent(NamedTuple):
    at: float
    notify_type: str
    content: dict[str, Any]
    event: Any


def simulate(seconds: float, *, esims: int = 300) -> list[Sent]:
    fleet = SimulatedFleet(seed=1, esims=esims, start=START, vendor=ESIM_ACCESS)
    events = itertools.takewhile(lambda event: event[0] <= START + seconds, fleet)
    return [
        Sent(at, document["notifyType"], document["content"], ESIM_ACCESS.parse(body, now=at))
        for at, body in events
        for document in [json.loads(body)]
    ]


@pytest.fixture(scope="module")
def fortnight() -> list[Sent]:
    return simulate(14 * DAY)


def of(sent: list[Sent], notify_type: str) -> list[Sent]:
    return [each for each in sent if each.notify_type == notify_type]


def test_every_type_of_event_occurs(fortnight: list[Sent]) -> None:
    assert {sent.notify_type for sent in fortnight} == {
        "CHECK_HEALTH", "ORDER_STATUS", "SMDP_EVENT", "ESIM_STATUS", "DATA_USAGE",
        "VALIDITY_USAGE",
    }  # fmt: skip


def test_the_url_is_tried_once_and_first(fortnight: list[Sent]) -> None:
    assert [fortnight[0]] == of(fortnight, "CHECK_HEALTH")


def test_usage_is_told_when_a_half_a_quarter_and_a_tenth_are_left(fortnight: list[Sent]) -> None:
    left: Counter[float] = Counter()
    for sent in of(fortnight, "DATA_USAGE"):
        content = sent.content
        assert content["orderUsage"] + content["remain"] == content["totalVolume"]
        share = content["remain"] / content["totalVolume"]
        assert share == pytest.approx(content["remainThreshold"])
        left[content["remainThreshold"]] += 1
    assert set(left) == {0.5, 0.25, 0.1}
    assert min(left.values()) > 20


def test_usage_is_one_to_three_hours_older_than_its_event(fortnight: list[Sent]) -> None:
    ages = [
        sent.event.reported - sent.event.time
        for sent in of(fortnight, "DATA_USAGE")
        if sent.at > START + 8 * HOUR  # not said again
    ]
    assert min(ages) >= HOUR - 1
    assert max(ages) <= 3 * HOUR + 1
    assert max(ages) - min(ages) > HOUR


def test_a_top_up_raises_the_total_and_revives_what_was_used_up(fortnight: list[Sent]) -> None:
    totals: dict[str, list[int]] = defaultdict(list)
    uses: dict[str, list[str]] = defaultdict(list)
    ending: set[str] = set()
    for sent in fortnight:
        name = sent.content.get("esimTranNo", "")
        if sent.notify_type == "VALIDITY_USAGE":
            ending.add(name)  # what is bought from now on may be a renewal
        elif name in ending:
            continue
        elif "totalVolume" in sent.content:
            totals[name].append(sent.content["totalVolume"])
        if sent.notify_type == "ESIM_STATUS":
            uses[name].append(sent.content["esimStatus"])
    assert any(b > a for each in totals.values() for a, b in itertools.pairwise(each))
    changes = Counter(pair for each in uses.values() for pair in itertools.pairwise(each))
    assert changes["USED_UP", "IN_USE"] > 3


def test_an_esim_that_has_used_up_its_data_says_so_with_amounts(fortnight: list[Sent]) -> None:
    used_up = [s for s in of(fortnight, "ESIM_STATUS") if s.content["esimStatus"] == "USED_UP"]
    assert used_up
    for sent in used_up:
        assert isinstance(sent.event, UsageEvent)
        assert sent.event.status is Status.OTHER
        assert sent.event.snapshot.data_remaining == sent.content["remainVolume"] == 0


def test_the_statuses_are_those_of_the_life_of_an_esim(fortnight: list[Sent]) -> None:
    lives: dict[str, list[Status]] = defaultdict(list)
    for sent in fortnight:
        if isinstance(sent.event, StatusEvent):
            life = lives[sent.event.esim_id]
            if life[-1:] != [sent.event.status]:
                life.append(sent.event.status)
    bought = [life for life in lives.values() if life[0] is Status.NEW and len(life) > 2]
    assert len(bought) > 100
    assert all(life[:3] == [Status.NEW, Status.INSTALLED, Status.ACTIVATED] for life in bought)
    statuses = {status for life in lives.values() for status in life}
    assert {Status.INACTIVE, Status.EXPIRED, Status.REVOKED, Status.DELETED} <= statuses


def test_the_end_of_a_plan_is_told_a_day_before(fortnight: list[Sent]) -> None:
    ends = {
        sent.event.esim_id: sent.event.time
        for sent in fortnight
        if isinstance(sent.event, StatusEvent) and sent.event.status is Status.EXPIRED
    }
    noticed = {}
    for sent in of(fortnight, "VALIDITY_USAGE"):
        event = sent.event
        assert event.parts == {"period"}
        assert sent.content["remain"] == 1
        if sent.at > START + 4 * HOUR:  # before that, it is told late
            assert event.snapshot.end - event.time == pytest.approx(DAY, abs=1)
            noticed[event.esim_id] = event.snapshot.end  # the last one, after a renewal
    ended = noticed.keys() & ends.keys()
    assert len(ended) > 50
    assert all(noticed[esim_id] == ends[esim_id] for esim_id in ended)


def test_an_order_is_told_before_its_esim(fortnight: list[Sent]) -> None:
    orders: set[str] = set()
    new = 0
    for sent in fortnight:
        if sent.notify_type == "ORDER_STATUS":
            assert "iccid" not in sent.content
            orders.add(sent.content["orderNo"])
        elif sent.content.get("smdpStatus") == "RELEASED":
            new += 1
            assert sent.content["orderNo"] in orders
    assert new == len(orders) > 100


def test_the_iccid_of_an_ended_esim_is_given_to_a_new_one(fortnight: list[Sent]) -> None:
    owners: dict[str, set[str]] = defaultdict(set)
    for sent in fortnight:
        if "iccid" in sent.content:
            owners[sent.content["iccid"]].add(sent.content["esimTranNo"])
    assert any(len(each) > 1 for each in owners.values())


def test_times_are_written_in_all_forms_that_were_seen() -> None:
    fleet = SimulatedFleet(seed=1, esims=100, start=START, vendor=ESIM_ACCESS)
    bodies = itertools.islice(fleet, 1000)
    endings = Counter(json.loads(body)["eventGenerateTime"][19:] for _, body in bodies)
    assert set(endings) == {"Z", "+0000", " UTC"}
    assert endings["Z"] > 900
