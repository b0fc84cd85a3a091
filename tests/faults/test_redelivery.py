"""Each event is sent one to four times in random order: the exposition is the same."""

from __future__ import annotations

import json
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING

from measuring import grouped, times
from running import Serving, serving

from exporter.model.consumption import SAMPLES_KEPT
from exporter.simulate.fleet import SimulatedFleet

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from measuring import Chance, Measured

DAY = 86_400
SENDERS = 4


def events(esims: int, count: int, seed: int) -> list[bytes]:
    """Return events of a fleet over half a day or more, for each eSIM fewer than are kept."""
    reported: Counter[str] = Counter()
    chosen = []
    fleet = SimulatedFleet(seed=seed, esims=esims, start=time.time() - 2 * DAY)
    for _, body in islice(fleet, count):
        document = json.loads(body)
        name = document.get("data", document).get("esim_id", "")
        reported[name] += 1
        if reported[name] < SAMPLES_KEPT:
            chosen.append(body)
    return chosen


def deliver(server: Serving, bodies: Iterable[bytes]) -> None:
    with ThreadPoolExecutor(SENDERS) as pool:
        assert {answer.status_code for answer in pool.map(server.post, bodies)} == {200}


def test_repeated_and_disordered_deliveries_give_the_same_exposition(
    tmp_path: Path, chance: Chance, measured: Measured
) -> None:
    once = events(times(40, 1500), times(200, 10_000), chance.number)
    repeated = [body for body in once for _ in range(chance.randint(1, 4))]
    chance.shuffle(repeated)
    for name in ("once", "repeated"):
        (tmp_path / name).mkdir()

    with serving(tmp_path / "once") as server:
        deliver(server, once)
        expected = server.state()
    with serving(tmp_path / "repeated") as server:
        deliver(server, repeated)
        found = server.state()

    measured(
        "repeated and disordered deliveries",
        f"{grouped(len(once))} events delivered {grouped(len(repeated))} times, "
        f"{'the same' if found == expected else 'NOT the same'} "
        f"{grouped(expected.count(chr(10)))} lines, seed {chance.number}",
    )
    assert found == expected
