from __future__ import annotations

import json
from itertools import islice
from typing import Any

from exporter.simulate.deliveries import NO_FAULTS, SimulatedDelivery, Simulation

START = 1_700_000_000
FASTER = 60


def pairs(count: int = 300) -> list[tuple[SimulatedDelivery, SimulatedDelivery]]:
    """Return pairs of a delivery and the same delivery with scaled times."""
    plain, scaled = (
        Simulation(start=START, esims=20, faults=NO_FAULTS, faster=faster) for faster in (1, FASTER)
    )
    return list(zip(islice(plain, count), islice(scaled, count), strict=True))


def data(delivery: SimulatedDelivery) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(delivery.body)
    return document.get("data", document)  # type: ignore[no-any-return]


def test_hours_pass_in_minutes() -> None:
    for plain, scaled in pairs():
        assert scaled.at == START + (plain.at - START) / FASTER


def test_times_in_events_move_with_them() -> None:
    moved = 0
    for plain, scaled in pairs():
        for name in ("timestamp", "start", "end"):
            before, after = data(plain).get(name), data(scaled).get(name)
            assert after == (before and int(START + (before - START) / FASTER))
            moved += after is not None
    assert moved > 600


def test_no_event_is_sent_before_its_time() -> None:
    assert all(data(scaled)["timestamp"] <= scaled.at for _, scaled in pairs())


def test_all_else_stays() -> None:
    for plain, scaled in pairs():
        moved = {"timestamp": 0, "start": 0, "end": 0}
        assert data(plain) | moved == data(scaled) | moved
