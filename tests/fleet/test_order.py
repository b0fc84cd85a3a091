"""Order does not matter: any order, any duplication, any batching, restarts and failures."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import TYPE_CHECKING

import pytest
from expected_attention import attention_samples
from expected_samples import DAY, Model
from generated_events import (
    START,
    assigned_events,
    batches,
    deliveries,
    event_sets,
    events,
    partial_events,
    status_events,
    usage_events,
    windowed_orders,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from running_fleet import ARRIVAL, RunningFleet, Series, counters_of, samples_of

from exporter.fleet.attention import AttentionRule
from exporter.fleet.drafts import expire_due
from exporter.fleet.fleet import Policy
from exporter.model.events import OtherEvent, Snapshot, UsageEvent
from exporter.model.expiry import Retention

if TYPE_CHECKING:
    from exporter.model.events import Event


TELLS_TIME_OF_RECEIPT = re.compile(
    "esim_(last_event_|attention_(last_event_|since_|out_of_data_since_))timestamp_seconds{"
    # The package is the one that ran out last.
    "|esim_attention_out_of_data{|esim_fleet_esims_out_of_data{"
)

SHARES = (Fraction(1, 2), Fraction(3, 4), Fraction(95, 100))


def shown_after(deliveries: list[list[Event]], policy: Policy | None = None) -> str:
    running = RunningFleet(policy)
    for batch in deliveries:
        running.take(*batch)
    return running.text()


@given(data=st.data(), of=event_sets)
def test_any_order_duplication_and_batching_give_the_same_text(
    data: st.DataObject, of: list[Event]
) -> None:
    first = shown_after(data.draw(deliveries(of)))
    assert shown_after(data.draw(deliveries(of))) == first
    assert shown_after([of]) == first


@given(data=st.data(), of=st.lists(st.one_of(partial_events(), status_events), max_size=16))
def test_any_order_of_events_that_say_less_gives_the_same_text(
    data: st.DataObject, of: list[Event]
) -> None:
    assert shown_after(data.draw(deliveries(of))) == shown_after([of])


@given(data=st.data(), of=st.lists(assigned_events(), max_size=16))
def test_any_order_of_events_without_a_time_gives_the_same_but_for_times_of_receipt(
    data: st.DataObject, of: list[Event]
) -> None:
    def shown(batches: list[list[Event]]) -> list[str]:
        received: list[list[Event]] = [
            [event._replace(time=START + at) for event in batch]  # type: ignore[call-arg]
            for at, batch in enumerate(batches)
        ]
        lines = shown_after(received).splitlines()
        return [line for line in lines if not TELLS_TIME_OF_RECEIPT.match(line)]

    assert shown(data.draw(deliveries(of))) == shown([of])


@given(data=st.data(), of=event_sets)
def test_shows_what_the_contract_says_of_a_set_of_events(
    data: st.DataObject, of: list[Event]
) -> None:
    model = Model()
    for event in of:
        model.arrive(event, ARRIVAL)
    text = shown_after(data.draw(deliveries(of)))
    assert samples_of(text) == model.samples(ARRIVAL)


@given(data=st.data(), of=event_sets, cap=st.sampled_from((1, 2)), least=st.sampled_from(SHARES))
def test_the_cap_of_attention_shows_the_same_in_any_order(
    data: st.DataObject, of: list[Event], cap: int, least: Fraction
) -> None:
    policy = Policy(attention=AttentionRule(least, cap))
    model = Model()
    for event in of:
        model.arrive(event, ARRIVAL)
    shown = samples_of(shown_after(data.draw(deliveries(of)), policy))
    attention = {s: value for s, value in shown.items() if s[0].startswith("esim_attention")}
    assert attention == attention_samples(model.cards, least, cap)


samples = st.tuples(st.integers(START, START + 30), st.sampled_from((0, 10, 20, 25, 400, 1000)))


def usage(sample: tuple[int, int]) -> UsageEvent:
    time, used = sample
    snapshot = Snapshot(data_allowed=1000, data_remaining=1000 - used)
    return UsageEvent("roamify", time, "e", "p", snapshot)


@given(data=st.data(), of=st.sets(samples, min_size=20, max_size=50))
def test_any_order_in_which_16_newer_samples_overtake_gives_the_same_text(
    data: st.DataObject, of: set[tuple[int, int]]
) -> None:
    in_order = [usage(sample) for sample in sorted(of)]
    order: list[Event] = []
    for event in data.draw(windowed_orders(in_order, 16)):
        order.append(event)
        if data.draw(st.booleans()):
            order.append(data.draw(st.sampled_from(order)))
    assert shown_after(data.draw(batches(order))) == shown_after([list(in_order)])


@given(of=st.lists(usage_events, max_size=60))
def test_no_counter_falls_whatever_the_order(of: list[UsageEvent]) -> None:
    assert_no_counter_falls(of)


@given(of=st.lists(assigned_events(), max_size=40))
def test_no_counter_falls_whatever_the_order_of_events_without_a_time(
    of: list[UsageEvent],
) -> None:
    # All are about one allowance, so that many meet.
    assert_no_counter_falls(
        [
            event._replace(time=START + at, vendor="roamify", esim_id="e", package_id="p")
            for at, event in enumerate(of)
        ]
    )


def assert_no_counter_falls(of: list[UsageEvent]) -> None:
    running = RunningFleet()
    before: dict[Series, float] = {}
    for event in of:
        running.take(event)
        after = counters_of(running.samples())
        assert all(after[series] >= value for series, value in before.items())
        before = after


@given(data=st.data(), of=event_sets)
def test_a_restart_at_any_point_shows_the_same_and_goes_on_the_same(
    data: st.DataObject, of: list[Event]
) -> None:
    delivered = data.draw(deliveries(of))
    at = data.draw(st.integers(0, len(delivered)))
    running = RunningFleet()
    for batch in delivered[:at]:
        running.take(*batch)
    restarted = running.restarted()
    assert restarted.text() == running.text()
    for batch in delivered[at:]:
        assert restarted.take(*batch) == running.take(*batch)
    assert restarted.text() == running.text()
    assert restarted.storage.rows == running.storage.rows


@given(data=st.data(), of=event_sets)
def test_a_failed_commit_leaves_no_trace_and_the_retry_succeeds(
    data: st.DataObject, of: list[Event]
) -> None:
    running, spared = RunningFleet(), RunningFleet()
    for batch in data.draw(deliveries(of)):
        before = running.text()
        running.lose(*batch)
        assert running.text() == before
        assert running.take(*batch) == spared.take(*batch)
    assert running.text() == spared.text()
    assert running.storage.rows == spared.storage.rows


CAPS = st.sampled_from((0, 1, 2, 4))
STEPS = st.sampled_from((0.0, 1.0, 0.5, 3600.0, 9 * 3600.0, DAY, 29 * DAY, 30 * DAY, 100 * DAY))


class FleetBesideModel(RuleBasedStateMachine):
    """A fleet beside the model of the contract. Everything that can happen happens to both."""

    def __init__(self) -> None:
        super().__init__()
        self.delivered: list[Event] = []
        self.highest: dict[Series, float] = {}

    @initialize(cap=CAPS, attention_cap=CAPS)
    def start(self, cap: int, attention_cap: int) -> None:
        self.model = Model(cap, attention_cap=attention_cap)
        self.running = RunningFleet(self.policy(cap))

    @rule(batch=st.lists(events, min_size=1, max_size=6), shift=st.booleans())
    def arrive(self, batch: list[Event], shift: bool) -> None:
        """Take events whose time is that of the start, or near the present time."""
        self._take([later(e, int(self.running.now) - ARRIVAL) if shift else e for e in batch])

    @rule(data=st.data())
    def arrive_again(self, data: st.DataObject) -> None:
        if self.delivered:
            self._take(data.draw(st.lists(st.sampled_from(self.delivered), max_size=4)))

    @rule(batch=st.lists(events, max_size=4))
    def fail(self, batch: list[Event]) -> None:
        self.running.lose(*batch)

    @rule(seconds=STEPS, most=st.sampled_from((1, 2, 500)))
    def pass_time(self, seconds: float, most: int) -> None:
        self.wait(seconds, most)

    def wait(self, seconds: float, most: int) -> None:
        self.running.now += seconds
        dropped = set(self.model.graves)
        self.running.expire(most)
        self.model.expire(self.running.now)
        for grave in dropped - set(self.model.graves):
            self._forget(grave)

    @rule()
    def fail_to_expire(self) -> None:
        expire_due(self.running.fleet, self.running.now + 40 * DAY).changes()

    @rule(cap=CAPS)
    def restart(self, cap: int) -> None:
        self.running.load(self.policy(cap))
        self.model.restart(cap)
        self.wait(0, 500)  # as the exporter does first after loading

    @rule(cap=CAPS)
    def raise_the_cap(self, cap: int) -> None:
        if not cap or 0 < self.model.cap < cap:
            self.running.policy = self.policy(cap)
            self.running.fleet.set_policy(self.running.policy)
            self.model.cap = cap
            self.wait(0, 500)

    @invariant()
    def shows_what_the_contract_says(self) -> None:
        text = self.running.text()
        samples = samples_of(text)
        assert samples == self.model.samples(self.running.now)
        assert self.running.restarted().text() == text
        for series, value in counters_of(samples).items():
            assert value >= self.highest.get(series, 0), series
            self.highest[series] = value
        fleet = {series for series in self.highest if series[0].startswith("esim_fleet")}
        assert fleet <= set(samples)

    def policy(self, cap: int) -> Policy:
        attention = AttentionRule(max_esims=self.model.attention_cap)
        return Policy(Retention(terminal=DAY, silent=30 * DAY), cap, attention=attention)

    def _take(self, batch: list[Event]) -> None:
        self.running.take(*batch)
        self.delivered += batch
        for event in batch:
            self.model.arrive(event, self.running.now)

    def _forget(self, grave: tuple[str, ...]) -> None:
        """Let the counters of an allowance begin again at 0, as its tombstone is gone."""
        labels = dict(zip(("vendor", "esim_id", "package_id"), grave, strict=False)).items()
        self.highest = {
            series: value
            for series, value in self.highest.items()
            if series[0].startswith("esim_fleet") or not labels <= set(series[1])
        }


def later(event: Event, seconds: int) -> Event:
    """Return the event with a time that is some seconds later."""
    moved: Event = event
    if not isinstance(event, OtherEvent):
        moved = event._replace(time=event.time + seconds)
    return moved


FleetBesideModel.TestCase.settings = settings(max_examples=40, stateful_step_count=25)
TestFleetBesideModel = pytest.mark.slow(FleetBesideModel.TestCase)
