from __future__ import annotations

import itertools
import json
from collections import Counter, defaultdict
from typing import Any, NamedTuple

import pytest

from exporter.model.events import Status, StatusEvent
from exporter.simulate.fleet import SimulatedFleet
from exporter.vendors.esim_go import ESIM_GO

START = 1_700_000_000
HOUR = 3600
DAY = 24 * HOUR


class Sent(NamedTuple):
    at: float
    kind: str
    document: dict[str, Any]
    event: Any


def simulate(seconds: float, *, esims: int = 300) -> list[Sent]:
    fleet = SimulatedFleet(seed=1, esims=esims, start=START, vendor=ESIM_GO)
    events = itertools.takewhile(lambda event: event[0] <= START + seconds, fleet)
    return [
        Sent(
            at,
            document.get("alertType") or document["event"],
            document,
            ESIM_GO.parse(body, now=at),
        )
        for at, body in events
        for document in [json.loads(body)]
    ]


@pytest.fixture(scope="module")
def fortnight() -> list[Sent]:
    return simulate(14 * DAY)


def of(sent: list[Sent], *kinds: str) -> list[Sent]:
    return [each for each in sent if each.kind in kinds]


def test_every_type_of_event_occurs(fortnight: list[Sent]) -> None:
    assert {sent.kind for sent in fortnight} == {
        "FirstUse", "Utilisation", "CountryChange", "esim.deletion_scheduled", "esim.deleted",
    }  # fmt: skip


def test_no_event_about_usage_has_a_time_or_a_status(fortnight: list[Sent]) -> None:
    for sent in of(fortnight, "FirstUse", "Utilisation"):
        assert set(sent.document) == {"alertType", "iccid", "bundle"}
        assert sent.event.time == int(sent.at)
        assert sent.event.status is None


def test_usage_is_told_at_1_50_80_and_100_per_cent_of_each_resource(
    fortnight: list[Sent],
) -> None:
    used: dict[str, Counter[float]] = defaultdict(Counter)
    for sent in of(fortnight, "Utilisation"):
        bundle = sent.document["bundle"]
        share = 1 - bundle["remainingQuantity"] / bundle["initialQuantity"]
        used[bundle.get("unit", "BYTES")][round(share, 1 if share > 0.1 else 2)] += 1
    assert set(used["BYTES"]) == {0.01, 0.5, 0.8, 1}
    assert set(used) == {"BYTES", "SMSmessages", "minutes"}
    assert set(used["minutes"]) <= {0.01, 0.5, 0.8, 1}


def test_an_event_tells_of_one_resource(fortnight: list[Sent]) -> None:
    parts = Counter(sent.event.parts for sent in of(fortnight, "FirstUse", "Utilisation"))
    assert set(parts) == {
        frozenset({"data", "period"}), frozenset({"sms", "period"}),
        frozenset({"voice", "period"}),
    }  # fmt: skip


def test_within_an_assignment_remaining_only_falls(fortnight: list[Sent]) -> None:
    remaining: dict[tuple[str, str], list[int]] = defaultdict(list)
    for sent in of(fortnight, "Utilisation"):
        bundle = sent.document["bundle"]
        unit = bundle.get("unit", "BYTES")
        if sent.at > START + 4 * HOUR:  # before that, old news come among new ones
            remaining[bundle["id"], unit].append(bundle["remainingQuantity"])
    assert all(each == sorted(each, reverse=True) for each in remaining.values())
    assert sum(len(each) > 2 for each in remaining.values()) > 50


def test_a_renewal_is_another_assignment_with_the_same_name(fortnight: list[Sent]) -> None:
    by_esim: dict[str, dict[str, tuple[str, str]]] = defaultdict(dict)
    for sent in of(fortnight, "Utilisation"):
        bundle = sent.document["bundle"]
        by_esim[sent.document["iccid"]][bundle["id"]] = (bundle["startTime"], bundle["name"])
    renewed = [list(each.values()) for each in by_esim.values() if len(each) > 1]
    assert len(renewed) > 5
    for assignments in renewed:
        starts, names = zip(*assignments, strict=True)
        assert list(starts) == sorted(set(starts))
        assert len(set(names)) == 1


def test_the_first_use_of_an_assignment_is_told_once(fortnight: list[Sent]) -> None:
    uses = Counter(
        (sent.document["iccid"], sent.document["bundle"]["startTime"])
        for sent in of(fortnight, "FirstUse")
    )
    assert set(uses.values()) == {1}
    assert len(uses) > 300


def test_an_unlimited_bundle_is_told_as_such(fortnight: list[Sent]) -> None:
    unlimited = [s for s in of(fortnight, "Utilisation") if s.document["bundle"]["unlimited"]]
    assert len(unlimited) > 10
    assert all(sent.event.snapshot.data_unlimited for sent in unlimited)


def test_a_country_is_told_again_after_24_hours_and_never_before(fortnight: list[Sent]) -> None:
    told: dict[tuple[str, str], list[float]] = defaultdict(list)
    countries: dict[str, set[str]] = defaultdict(set)
    for sent in of(fortnight, "CountryChange"):
        iccid, code = sent.document["iccid"], sent.document["country"]["code"]
        countries[iccid].add(code)
        if sent.at > START + 8 * HOUR:
            told[iccid, code].append(sent.at)
    gaps = [b - a for each in told.values() for a, b in itertools.pairwise(each)]
    assert min(gaps) >= DAY - 1
    assert min(gaps) < DAY + 1
    assert any(len(each) > 1 for each in countries.values())


def test_a_deletion_is_announced(fortnight: list[Sent]) -> None:
    announced = {s.document["iccid"]: s.at for s in of(fortnight, "esim.deletion_scheduled")}
    deleted = of(fortnight, "esim.deleted")
    weeks = 0
    for sent in deleted:
        assert isinstance(sent.event, StatusEvent)
        assert sent.event.status is Status.DELETED
        weeks += sent.at - announced[sent.document["iccid"]] == pytest.approx(7 * DAY, abs=1)
    assert weeks > 0.8 * len(deleted) > 20


def test_the_iccid_is_a_text_of_19_digits(fortnight: list[Sent]) -> None:
    for sent in fortnight:
        iccid = sent.document["iccid"]
        assert isinstance(iccid, str)
        assert len(iccid) == 19
        assert iccid.isdecimal()
