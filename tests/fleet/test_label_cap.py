"""Caps on packages and locations: the others are summed under one value, and nothing is lost."""

from __future__ import annotations

from collections import Counter

import pytest
from expected_samples import DAY
from generated_events import START, deliveries, event_sets, events
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from replica_members import both_show_what_is_stored, members
from running_fleet import (
    RunningFleet,
    Series,
    counters_of,
    fleet_sample,
    series,
    status,
    usage,
)
from shared_memory import SharedMemory

from exporter.exposition.exposition import Group
from exporter.fleet import label_cap
from exporter.fleet.drafts import Draft
from exporter.fleet.fleet import Policy
from exporter.model.events import Event, Snapshot, Status, UsageEvent
from exporter.model.expiry import Retention
from exporter.model.shards import Shard

CONSUMED = "esim_fleet_data_consumed_bytes_total"
PER_LOCATION = "esim_fleet_location_data_consumed_bytes_total"
CAPS = st.sampled_from((1, 2))


def policy(packages: int = 0, locations: int = 0) -> Policy:
    retention = Retention(terminal=DAY, silent=30 * DAY)
    return Policy(retention, max_packages=packages, max_locations=locations)


def used_in(esim_id: str, *locations: str, amount: int = 10, time: int = 0) -> UsageEvent:
    used = tuple((location, amount) for location in sorted(locations))
    return usage(esim_id, time, snapshot=Snapshot(data_unlimited=True, locations=used))


def with_package(package_id: str, used: int = 10, time: int = 0) -> UsageEvent:
    return usage(package_id, time, used, package_id=package_id, package_name=f"Name {package_id}")


def per_location(running: RunningFleet) -> dict[str, float]:
    return _values(running, PER_LOCATION, "location")


def per_package(running: RunningFleet) -> dict[str, float]:
    return _values(running, CONSUMED, "package_id")


def _values(running: RunningFleet, family: str, label: str) -> dict[str, float]:
    samples = running.samples().items()
    return {dict(labels)[label]: value for (name, labels), value in samples if name == family}


def sums(samples: dict[Series, float]) -> Counter[Series]:
    """Return the samples of the group fleet, summed over packages and locations."""
    total: Counter[Series] = Counter()
    for (name, labels), value in samples.items():
        if name.startswith("esim_fleet") and value:
            kept = {k: v for k, v in labels if k not in {"package_id", "location"}}
            total[series(name, **kept)] += int(value)
    return total


def test_values_over_the_cap_are_summed_under_one() -> None:
    running = RunningFleet(policy(packages=2, locations=2))
    running.take(*(with_package(each, used) for each, used in (("z", 1), ("y", 2), ("x", 3))))
    running.take(with_package("w", 4))
    assert per_package(running) == {"z": 1, "y": 2, "other": 7}
    names = [dict(labels) for name, labels in running.samples() if name == "esim_package_info"]
    assert {each["package_id"]: each["package_name"] for each in names} == {
        "z": "Name z",
        "y": "Name y",
        "other": "other",
    }
    running.take(used_in("a", "Peru"), used_in("b", "Chad", amount=5), used_in("c", "Oman", "Peru"))
    assert per_location(running) == {"Peru": 20, "Chad": 5, "other": 10}
    assert (running.fleet.totals.package_cap.over, running.fleet.totals.location_cap.over) == (3, 1)


def test_a_flood_of_new_values_pushes_out_no_known_one() -> None:
    running = RunningFleet(policy(packages=3, locations=2))
    running.take(used_in("a", "Peru", "Oman"))
    before = running.restarted()
    for number in range(20):
        running.take(used_in(f"e{number}", f"!{number}"), with_package(f"!{number}"))
    running.take(used_in("a", "Peru", amount=30, time=1))
    assert per_location(running) == {"Peru": 30, "Oman": 10, "other": 200}
    assert per_location(running.restarted()) == per_location(running)
    assert not before.storage.bases, "below the cap nothing is stored"


def test_two_vendors_have_room_of_their_own() -> None:
    running = RunningFleet(policy(locations=1))
    events = [used_in("a", "Peru"), used_in("b", "Chad")]
    running.take(*events, *(event._replace(vendor="other-vendor") for event in events[::-1]))
    labels = {"vendor": "other-vendor", "location": "Chad"}
    assert running.samples()[series(PER_LOCATION, **labels)] == 10
    assert per_location(running) == {"Peru": 10, "Chad": 10, "other": 10}


def test_a_location_that_is_called_as_the_sum_is_part_of_it_and_takes_no_room() -> None:
    running = RunningFleet(policy(packages=1, locations=1))
    running.take(used_in("a", "other"), used_in("b", "Peru"), used_in("c", "Chad"))
    assert per_location(running) == {"other": 20, "Peru": 10}
    running.take(with_package("other", 3), with_package("q", 4))
    assert per_package(running)["other"] == 7
    assert running.restarted().text() == running.text()


def test_a_failed_commit_gives_series_to_nothing() -> None:
    running = RunningFleet(policy(locations=1))
    running.lose(used_in("a", "Peru", "Chad"))
    running.take(used_in("b", "Oman"))
    running.take(used_in("a", "Peru"))
    assert per_location(running) == {"Oman": 10, "other": 10}
    assert running.restarted().text() == running.text()


def test_what_one_batch_names_gets_series_in_the_order_of_its_events() -> None:
    running = RunningFleet(policy(locations=1))
    running.take(used_in("b", "Peru"), used_in("a", "Oman"), used_in("b", "Chad", time=1))
    assert set(per_location(running)) == {"Peru", "other"}
    assert running.restarted().text() == running.text()


def test_what_expires_over_the_cap_stays_counted() -> None:
    running = RunningFleet(policy(packages=1, locations=1))
    running.take(used_in("a", "Peru"), used_in("b", "Chad"), with_package("q", 7))
    running.take(status(Status.EXPIRED, "b", time=9), status(Status.EXPIRED, "q", time=9))
    before = (per_location(running), per_package(running))
    running.now += DAY + 1
    running.expire()
    assert (per_location(running), per_package(running)) == before
    assert running.restarted().text() == running.text()
    running.take(used_in("b", "Chad", amount=15, time=20))
    assert per_location(running) == {"Peru": 10, "other": 15}


def test_a_higher_cap_shows_more_and_a_lower_one_fewer() -> None:
    running = RunningFleet(policy(locations=2))
    running.take(used_in("a", "Peru", "Oman"), used_in("b", "Chad"), used_in("c", "Iran"))
    running.load(policy(locations=3))
    assert per_location(running) == {"Peru": 10, "Oman": 10, "Chad": 10, "other": 10}
    running.take(used_in("d", "Cuba"))
    assert set(per_location(running.restarted())) == {"Peru", "Oman", "Chad", "other"}
    running.load(policy(locations=1))
    assert per_location(running) == {"Chad": 10, "other": 40}
    running.load(policy())
    assert set(per_location(running)) == {"Peru", "Oman", "Chad", "Iran", "Cuba"}
    assert running.fleet.totals.location_cap.over == 0


def test_series_of_a_storage_without_stored_values_are_kept_from_the_next_commit_on() -> None:
    running = RunningFleet()
    running.take(used_in("a", "Peru", "Oman"), used_in("b", "Chad"))
    assert not running.storage.bases
    running.load(policy(locations=2))
    assert per_location(running) == {"Chad": 10, "Oman": 10, "other": 10}
    running.expire()
    assert len(running.storage.bases) == 2
    running.take(used_in("c", "Aden"))
    assert set(per_location(running.restarted())) == {"Chad", "Oman", "other"}


def test_a_vendor_at_the_cap_stores_no_more_than_the_values_with_series() -> None:
    running = RunningFleet(policy(packages=2, locations=3))
    for number in range(10):
        running.take(used_in(f"e{number}", f"L{number}"), with_package(f"p{number}"))
    assert sorted(kind for kind, *_ in running.storage.bases) == [
        *["shown_location"] * 3,
        *["shown_package"] * 2,
    ]
    assert set(running.storage.bases.values()) == {0}


def test_values_over_the_cap_are_counted_up_to_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_cap, "COUNTED", 4)
    running = RunningFleet(policy(locations=1))
    running.take(*(used_in(f"e{number}", f"L{number}") for number in range(9)))
    assert running.fleet.totals.location_cap.over == 4
    assert running.restarted().fleet.totals.location_cap.over == 4


def test_an_event_counts_only_the_allowance_that_it_changes_again() -> None:
    running = RunningFleet()
    packages = [f"p{number:03}" for number in range(320)]
    running.take(*(usage(each, package_id=each) for each in packages))
    running.take(*(usage(package_id=each) for each in packages[::5]))
    running.text()
    running.take(usage(package_id="p005", time=1, used=30))
    assert len(running.fleet.totals.packages.dirty) == 1
    assert per_package(running)["p005"] == 40


async def test_replicas_show_the_same_values() -> None:
    one, other = members(policy(packages=2, locations=2))
    one.take(used_in("a", "Peru"), with_package("q"))
    await other.follow()
    other.take(used_in("b", "Oman"), used_in("c", "Chad"), with_package("r"))
    await both_show_what_is_stored(one, other)
    assert per_location(one) == {"Peru": 10, "Oman": 10, "other": 10}
    one.take(used_in("d", "Aden"), with_package("s"))
    await both_show_what_is_stored(one, other)


async def test_a_replica_that_is_behind_shows_the_values_that_another_stored() -> None:
    one, other = members(policy(locations=2))
    batch = [used_in("z", "Peru"), used_in("y", "Oman"), used_in("x", "Chad")]
    one.take(status(Status.ACTIVATED, "x"), *batch)  # the row of x comes first
    await other.follow()
    assert per_location(other) == per_location(one) == {"Peru": 10, "Oman": 10, "other": 10}


async def test_each_shard_has_room_of_its_own() -> None:
    storage = SharedMemory(Shard(1, 2))
    running = RunningFleet(policy(locations=1), storage=storage, shard=Shard(1, 2))
    keys = [f"e{number}" for number in range(20) if running.fleet.keeps("roamify", f"e{number}")]
    for key, location in zip(keys, ("Peru", "Oman", "Chad"), strict=False):
        running.take(used_in(key, location))
    before = running.text(Group.FLEET)
    running.load()
    assert running.text(Group.FLEET) == before
    assert 'location="Peru"' in before
    assert 'location="other"' in before


@given(data=st.data(), of=event_sets)
def test_below_the_cap_the_order_does_not_matter(data: st.DataObject, of: list[Event]) -> None:
    shown = []
    for caps in (policy(), policy(packages=2, locations=3)):  # as many as there are
        running = RunningFleet(caps)
        for batch in data.draw(deliveries(of)):
            running.take(*batch)
        shown.append(running.text())
        assert not running.storage.bases
    assert shown[0] == shown[1]


@given(data=st.data(), of=event_sets, packages=CAPS, locations=CAPS)
def test_above_the_cap_sums_over_all_values_do_not_depend_on_the_order(
    data: st.DataObject, of: list[Event], packages: int, locations: int
) -> None:
    free, capped = RunningFleet(policy()), RunningFleet(policy(packages, locations))
    free.take(*of)
    before: dict[Series, float] = {}
    for batch in data.draw(deliveries(of)):
        capped.take(*batch)
        samples = capped.samples()
        assert capped.restarted().text() == capped.text()
        assert all(samples[known] >= v for known, v in counters_of(before).items())
        before = samples
    assert sums(before) == sums(free.samples())
    assert capped.text(Group.ESIMS, Group.ATTENTION) == free.text(Group.ESIMS, Group.ATTENTION)


class CappedBesideFree(RuleBasedStateMachine):
    """A fleet above its caps beside one without caps."""

    def __init__(self) -> None:
        super().__init__()
        self.free = RunningFleet(policy())
        self.highest: dict[Series, float] = {}

    @initialize(packages=CAPS, locations=CAPS)
    def start(self, packages: int, locations: int) -> None:
        self.capped = RunningFleet(policy(packages, locations))

    @rule(batch=st.lists(events, min_size=1, max_size=6))
    def arrive(self, batch: list[Event]) -> None:
        assert self.capped.take(*batch) == self.free.take(*batch)

    @rule(batch=st.lists(events, max_size=4))
    def fail(self, batch: list[Event]) -> None:
        self.capped.lose(*batch)

    @rule(days=st.sampled_from((1, 29, 31, 100)))
    def pass_time(self, days: int) -> None:
        for each in (self.free, self.capped):
            each.now += days * DAY
            each.expire()

    @rule()
    def delete(self) -> None:
        for each in (self.free, self.capped):
            draft = Draft(each.fleet, each.now)
            draft.remove(("roamify", "e1"))
            each.publish(draft)

    @rule()
    def restart(self) -> None:
        self.capped.load()

    @invariant()
    def loses_nothing(self) -> None:
        text, samples = self.capped.text(), self.capped.samples()
        assert self.capped.restarted().text() == text
        assert sums(samples) == sums(self.free.samples())
        fleet = {s: v for s, v in counters_of(samples).items() if s[0].startswith("esim_fleet")}
        assert all(fleet[known] >= value for known, value in self.highest.items())
        self.highest = fleet


CappedBesideFree.TestCase.settings = settings(max_examples=40, stateful_step_count=25)
TestCappedBesideFree = pytest.mark.slow(CappedBesideFree.TestCase)


def test_a_package_over_the_cap_counts_as_out_of_data_under_the_sum() -> None:
    running = RunningFleet(policy(packages=1))
    running.take(with_package("p"), with_package("q", used=100))
    out = "esim_fleet_esims_out_of_data"
    assert fleet_sample(running, out, package_id="other") == 1
    running.take(with_package("q", used=0, time=1)._replace(time=START + 5))
    assert fleet_sample(running, out, package_id="other") == 0
