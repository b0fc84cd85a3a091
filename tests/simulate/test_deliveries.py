from __future__ import annotations

import itertools
import json
from collections import Counter

import pytest

from exporter.errors import InvalidEvent, MalformedEvent
from exporter.simulate.deliveries import NO_FAULTS, Fault, Faults, SimulatedDelivery, Simulation
from exporter.simulate.fleet import Phase, SimulatedFleet
from exporter.vendors import roamify

START = 1_700_000_000
DAY = 86400

ALL_FAULTS = Faults(retry=0.1, duplicate=0.1, late=0.1, bad_signature=0.1, malformed=0.1)


def day(faults: Faults, *, seed: int = 1) -> list[SimulatedDelivery]:
    simulation = Simulation(start=START, seed=seed, esims=200, faults=faults)
    return list(simulation.advance(START + DAY))


def test_same_seed_gives_the_same_deliveries() -> None:
    assert day(ALL_FAULTS) == day(ALL_FAULTS)


def test_another_seed_gives_other_deliveries() -> None:
    assert not {d.body for d in day(NO_FAULTS)} & {d.body for d in day(NO_FAULTS, seed=2)}


def test_deliveries_come_in_the_order_of_sending() -> None:
    times = [delivery.at for delivery in day(ALL_FAULTS)]
    assert times == sorted(times)


def test_without_faults_it_is_the_fleet_as_it_is() -> None:
    fleet = SimulatedFleet(seed=1, esims=200, start=START)
    events = itertools.takewhile(lambda event: event[0] <= START + DAY, fleet)
    assert [(d.at, d.body) for d in day(NO_FAULTS)] == list(events)


@pytest.mark.parametrize("phase", Phase)
def test_advancing_in_steps_gives_the_same_as_iterating(phase: Phase) -> None:
    stepped = Simulation(start=START, phase=phase, faults=ALL_FAULTS)
    steps = [list(stepped.advance(START + step * 1800)) for step in range(1, 49)]
    deliveries = list(itertools.chain.from_iterable(steps))
    whole = Simulation(start=START, phase=phase, faults=ALL_FAULTS)
    assert list(itertools.islice(whole, len(deliveries))) == deliveries
    for step, part in enumerate(steps):
        assert all(START + step * 1800 < d.at <= START + (step + 1) * 1800 for d in part)


def test_no_delivery_comes_before_its_events_time() -> None:
    for delivery in day(Faults(retry=0.1, duplicate=0.1, late=0.1)):
        document = json.loads(delivery.body)
        assert document.get("data", document)["timestamp"] <= delivery.at


def test_every_event_arrives_whatever_the_faults() -> None:
    undisturbed = {d.body for d in day(NO_FAULTS) if d.at < START + DAY - 300}
    good = {d.body for d in day(ALL_FAULTS) if d.fault in {None, Fault.LATE}}
    assert undisturbed <= good


def test_a_retry_repeats_the_body_half_a_minute_to_two_minutes_later() -> None:
    first: dict[bytes, float] = {}
    retries = 0
    for delivery in day(Faults(retry=0.1, duplicate=0, late=0)):
        if delivery.fault is Fault.RETRY:
            retries += 1
            assert 30 <= delivery.at - first[delivery.body] <= 120
        else:
            first[delivery.body] = delivery.at
    assert retries > 50


def test_a_duplicate_follows_at_once() -> None:
    deliveries = day(Faults(retry=0, duplicate=0.1, late=0))
    pairs = [
        (before, after)
        for before, after in itertools.pairwise(deliveries)
        if after.fault is Fault.DUPLICATE
    ]
    assert len(pairs) > 50
    assert all((a.body, a.at) == (b.body, b.at) for a, b in pairs)


def test_a_late_delivery_comes_after_newer_events() -> None:
    newest = 0
    overtaken = 0
    for delivery in day(Faults(retry=0, duplicate=0, late=0.1)):
        document = json.loads(delivery.body)
        time = document.get("data", document)["timestamp"]
        if delivery.fault is Fault.LATE:
            assert delivery.at - time <= 301
            overtaken += time < newest
        newest = max(newest, time)
    assert overtaken > 20


def test_nothing_is_damaged_unless_asked_for() -> None:
    faults = Counter(d.fault for d in day(Faults()))
    assert set(faults) == {None, Fault.RETRY, Fault.DUPLICATE, Fault.LATE}
    assert faults[None] > 0.9 * faults.total()


def test_every_undamaged_body_is_accepted_by_the_parser_and_no_other() -> None:
    errors: Counter[type[Exception]] = Counter()
    for delivery in day(ALL_FAULTS):
        if delivery.fault is not Fault.MALFORMED:
            roamify.parse(delivery.body, now=delivery.at)
            continue
        with pytest.raises((MalformedEvent, InvalidEvent)) as caught:
            roamify.parse(delivery.body, now=delivery.at)
        errors[caught.type] += 1
    assert set(errors) == {MalformedEvent, InvalidEvent}
