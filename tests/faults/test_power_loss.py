"""A power cut at any moment: every acknowledged event is on the disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

import altered
from evidence import acknowledged, after_cuts, recorded
from measuring import grouped, times

if TYPE_CHECKING:
    from pathlib import Path

    from measuring import Chance, Measured

WRITTEN_BACK = {altered.LOG_LIMIT: "200000"}
"""A small limit of the log in bytes, so that a short run writes it back."""


async def test_no_acknowledged_event_is_missing_after_a_power_cut(
    tmp_path: Path, chance: Chance, measured: Measured
) -> None:
    cuts = times(40, 1000)
    recording = recorded(tmp_path, chance, acknowledged(times(80, 1000)), environ=WRITTEN_BACK)
    written_back = recording.count("pwrite64", "esim-exporter.db")
    assert written_back > 0

    places = chance.choices(range(recording.length), k=cuts)
    found = await after_cuts(recording, chance, places, tmp_path)

    measured(
        "power loss",
        f"{grouped(cuts)} cuts over {grouped(recording.ledger.answers)} acknowledged events, "
        f"{grouped(written_back)} pages written back, {grouped(found.looked_at)} eSIMs looked at, "
        f"{found.behind} behind what was acknowledged, seed {chance.number}",
    )
    assert found.looked_at > 0
    assert (found.behind, found.refused, found.damaged) == (0, [], [])


async def test_the_same_cuts_find_what_synchronous_normal_loses(
    tmp_path: Path, chance: Chance, measured: Measured
) -> None:
    cuts = times(30, 200)
    normal = {altered.SYNCHRONOUS: "NORMAL"}
    recording = recorded(tmp_path, chance, acknowledged(times(40, 300)), environ=normal)

    places = chance.choices(range(recording.length), k=cuts)
    found = await after_cuts(recording, chance, places, tmp_path)

    measured(
        "power loss with synchronous=NORMAL, to show that the test notices losses",
        f"{grouped(cuts)} cuts, {found.behind} of {grouped(found.looked_at)} eSIMs behind what "
        f"was acknowledged, {len(found.damaged)} starts reported damage, "
        f"{len(found.refused)} refused, seed {chance.number}",
    )
    assert found.behind + len(found.refused) > 0
