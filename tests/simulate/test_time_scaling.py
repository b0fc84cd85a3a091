from __future__ import annotations

import json
from itertools import islice
from typing import Any

from exporter.simulate import NO_FAULTS, SimulatedDelivery, Simulation
from exporter.simulate.time_scaling import ScaledDeliveries

START = 1_700_000_000
FASTER = 60


def pairs(count: int = 300) -> list[tuple[SimulatedDelivery, SimulatedDelivery]]:
    """Return deliveries as they are, each with its compressed one."""
    plain, other = (Simulation(start=START, esims=20, faults=NO_FAULTS) for _ in range(2))
    compressed = ScaledDeliveries(other, origin=START, faster=FASTER)
    return list(zip(islice(plain, count), islice(compressed, count), strict=True))


def data(delivery: SimulatedDelivery) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(delivery.body)
    return document.get("data", document)  # type: ignore[no-any-return]


def test_hours_pass_in_minutes() -> None:
    for plain, compressed in pairs():
        assert compressed.at == START + (plain.at - START) / FASTER


def test_times_in_events_move_with_them() -> None:
    moved = 0
    for plain, compressed in pairs():
        for name in ("timestamp", "start", "end"):
            before, after = data(plain).get(name), data(compressed).get(name)
            assert after == (before and int(START + (before - START) / FASTER))
            moved += after is not None
    assert moved > 600


def test_no_event_is_sent_before_its_time() -> None:
    assert all(data(compressed)["timestamp"] <= compressed.at for _, compressed in pairs())


def test_all_else_stays() -> None:
    for plain, compressed in pairs():
        moved = {"timestamp": 0, "start": 0, "end": 0}
        assert data(plain) | moved == data(compressed) | moved
