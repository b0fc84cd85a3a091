"""What holds for every vendor that is played, whatever it sends."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from exporter.model.events import (
    OTHER,
    Event,
    OtherEvent,
    PartnerEvent,
    StatusEvent,
    UsageEvent,
    reported,
)
from exporter.simulate.fleet import Phase, SimulatedFleet
from exporter.vendors.registry import FIRST, SIMULATED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from exporter.vendors.vendor import Vendor

START = 1_700_000_000
HOUR = 3600
DAY = 24 * HOUR

every_vendor = pytest.mark.parametrize("vendor", SIMULATED, ids=lambda vendor: vendor.name)


def simulate(
    vendor: Vendor, seconds: float, *, seed: int = 1, esims: int = 60, faster: float = 1
) -> list[tuple[float, bytes]]:
    fleet = SimulatedFleet(seed=seed, esims=esims, start=START, vendor=vendor, faster=faster)
    return list(itertools.takewhile(lambda event: event[0] <= START + seconds, fleet))


def parsed(vendor: Vendor, sent: list[tuple[float, bytes]]) -> Iterator[tuple[float, Event]]:
    return ((at, vendor.parse(body, now=at)) for at, body in sent)


def documented_kinds(vendor: Vendor) -> set[type]:
    """Return the classes of the events that a vendor documents."""
    others = set(vendor.event_types) - {"usage", "status", OTHER}
    chosen = {UsageEvent: True, StatusEvent: "status" in vendor.event_types, OtherEvent: others}
    return {kind for kind, is_documented in chosen.items() if is_documented}


def times_in(document: Any, name: str = "") -> Iterator[tuple[str, int]]:
    """Yield the fields of a document that hold times, as whole unix seconds."""
    if isinstance(document, dict):
        for key, value in document.items():
            yield from times_in(value, key)
    elif isinstance(document, str) and re.match(r"\d{4}-\d\d-\d\d[T ]", document):
        text = document.replace(" UTC", "+0000").replace("Z", "+0000")
        yield name, int(datetime.fromisoformat(text).astimezone(UTC).timestamp())
    elif isinstance(document, int) and name in {"time", "timestamp", "start", "end"}:
        yield name, document


@every_vendor
def test_the_same_seed_gives_the_same_bytes_and_another_one_gives_others(vendor: Vendor) -> None:
    first = simulate(vendor, 3 * DAY)
    assert simulate(vendor, 3 * DAY) == first
    other = {body for _, body in simulate(vendor, 3 * DAY, seed=2)}
    assert len(other & {body for _, body in first}) < 2


@every_vendor
def test_events_come_in_order_from_the_start_on(vendor: Vendor) -> None:
    times = [at for at, _ in simulate(vendor, 3 * DAY)]
    assert times == sorted(times)
    assert times[0] >= START


@every_vendor
def test_every_body_is_accepted_and_has_documented_fields_only(vendor: Vendor) -> None:
    unknown: set[str] = set()
    bodies = simulate(vendor, 14 * DAY)
    kinds = {type(vendor.parse(body, now=at, unknown=unknown.add)) for at, body in bodies}
    assert kinds >= documented_kinds(vendor)
    assert unknown == set()


@every_vendor
def test_no_event_comes_before_its_time(vendor: Vendor) -> None:
    for at, event in parsed(vendor, simulate(vendor, 7 * DAY)):
        if isinstance(event, UsageEvent | StatusEvent | PartnerEvent):
            assert event.time <= reported(event) <= at


@every_vendor
def test_nearly_all_esims_in_use_are_known_after_four_hours(vendor: Vendor) -> None:
    known = {
        event.esim_id
        for _, event in parsed(vendor, simulate(vendor, 4 * HOUR, esims=200))
        if isinstance(event, UsageEvent | StatusEvent)
    }
    assert len(known) > 160


@every_vendor
def test_the_usage_that_was_said_before_the_start_is_part_of_what_is_known(vendor: Vendor) -> None:
    sent = parsed(vendor, simulate(vendor, 4 * HOUR, esims=200))
    usage = {event.esim_id for _, event in sent if isinstance(event, UsageEvent)}
    assert len(usage) > 40


@every_vendor
def test_some_esims_use_up_their_data(vendor: Vendor) -> None:
    events = [event for _, event in parsed(vendor, simulate(vendor, 7 * DAY))]
    empty = [e for e in events if isinstance(e, UsageEvent) and e.snapshot.data_remaining == 0]
    assert len({event.esim_id for event in empty}) > 3


@every_vendor
def test_times_in_bodies_move_with_a_faster_life(vendor: Vendor) -> None:
    plain = simulate(vendor, 12 * HOUR, esims=20)
    scaled = simulate(vendor, 12 * HOUR / 30, esims=20, faster=30)
    moved = 0
    for (at, body), (scaled_at, scaled_body) in zip(plain, scaled, strict=True):
        assert scaled_at == START + (at - START) / 30
        before, after = (list(times_in(json.loads(each))) for each in (body, scaled_body))
        assert after == [(name, int(START + (time - START) / 30)) for name, time in before]
        moved += len(after)
    assert moved > len(plain) / 2


@every_vendor
def test_a_burst_begins_at_a_multiple_of_four_hours(vendor: Vendor) -> None:
    fleet = SimulatedFleet(seed=1, esims=100, start=START, phase=Phase.BURST, vendor=vendor)
    times = [at for at, _ in itertools.islice(fleet, 500)]
    burst = max(set(times), key=times.count)
    assert burst % (4 * HOUR) == 0
    assert times.count(burst) > 50


def test_esims_of_two_vendors_have_different_names() -> None:
    cards = [
        {
            event.iccid
            for _, event in parsed(vendor, simulate(vendor, DAY))
            if isinstance(event, UsageEvent | StatusEvent)
        }
        for vendor in SIMULATED
    ]
    assert sum(map(len, cards)) == len(set().union(*cards))


def test_the_vendor_that_is_played_by_default_can_be_played() -> None:
    assert FIRST in SIMULATED


def test_serve_does_not_import_what_only_the_simulation_needs() -> None:
    code = "import sys, exporter.app.run; print([m for m in sys.modules if 'simulat' in m])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
