"""Each event is sent one to four times in random order: the exposition is the same."""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

import mixed_fleet
from measuring import grouped, times
from running import Serving, serving

from exporter.model.consumption import SAMPLES_KEPT
from exporter.model.events import StatusEvent, UsageEvent
from exporter.simulate.deliveries import NO_FAULTS, Simulation
from exporter.vendors.registry import SIMULATED

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from measuring import Chance, Measured

    from exporter.simulate.deliveries import SimulatedDelivery

DAY = 86_400
SENDERS = 4


VENDORS = [vendor for vendor in SIMULATED if vendor.has_event_time]
"""Those for which the order of deliveries does not matter."""


def events(esims: int, count: int, seed: int) -> list[SimulatedDelivery]:
    """Return events of a fleet over half a day or more, for each eSIM fewer than are kept."""
    reported: Counter[tuple[str, str]] = Counter()
    chosen = []
    now = time.time()
    fleet = Simulation(
        seed=seed, esims=esims, start=now - 2 * DAY, faults=NO_FAULTS, vendors=VENDORS
    )
    for delivery in islice(fleet.advance(now), count):
        event = delivery.vendor.parse(delivery.body, now=now)
        name = event.esim_id if isinstance(event, UsageEvent | StatusEvent) else ""
        reported[delivery.vendor.name, name] += 1
        if reported[delivery.vendor.name, name] < SAMPLES_KEPT:
            chosen.append(delivery)
    return chosen


def deliver(server: Serving, deliveries: Iterable[SimulatedDelivery]) -> None:
    with ThreadPoolExecutor(SENDERS) as pool:
        answers = pool.map(partial(mixed_fleet.deliver, server), deliveries)
        assert {answer.status_code for answer in answers} == {200}


def test_repeated_and_disordered_deliveries_give_the_same_exposition(
    tmp_path: Path, chance: Chance, measured: Measured
) -> None:
    once = events(times(60, 1500), times(300, 10_000), chance.number)
    repeated = [event for event in once for _ in range(chance.randint(1, 4))]
    chance.shuffle(repeated)
    environ = mixed_fleet.environ(VENDORS)
    for name in ("once", "repeated"):
        (tmp_path / name).mkdir()

    with serving(tmp_path / "once", environ=environ) as server:
        deliver(server, once)
        expected = server.state()
    with serving(tmp_path / "repeated", environ=environ) as server:
        deliver(server, repeated)
        found = server.state()

    measured(
        "repeated and disordered deliveries",
        f"{grouped(len(once))} events delivered {grouped(len(repeated))} times, "
        f"{'the same' if found == expected else 'NOT the same'} "
        f"{grouped(expected.count(chr(10)))} lines, seed {chance.number}",
    )
    assert found == expected
