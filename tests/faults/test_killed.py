"""``kill -9`` under load: no acknowledged event is missing, and none counts twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from feeding import CLIENTS, Ledger, end, feeders, shown_steps
from measuring import grouped, times
from running import Serving, serving, until

if TYPE_CHECKING:
    from pathlib import Path

    from measuring import Chance, Measured

RATE = 500
"""Signed events a second."""

LONGEST = 1.5
"""Most seconds under load before a kill."""

ESIMS = [f"esim-{number}" for number in range(500)]
COUNTERS = {"collect[]": ["esims", "fleet"]}


def shown(server: Serving) -> dict[str, int]:
    return shown_steps(server.get("/metrics", params=COUNTERS).text)


def assert_not_damaged(server: Serving) -> None:
    """Check that the start reported at most a write that the kill interrupted."""
    assert server.logged("storage damaged") == []
    for record in server.logged("storage noted"):
        assert "the transaction there was not finished" in record["note"]


def test_no_acknowledged_event_is_missing_or_counts_twice_after_kills(
    tmp_path: Path, chance: Chance, measured: Measured
) -> None:
    kills = times(2, 200)
    ledger = Ledger()
    for _ in range(kills):
        with serving(tmp_path) as server:
            before = shown(server)
            assert ledger.missing(before) == []
            assert ledger.surplus(before) == []
            assert_not_damaged(server)
            address = server.public.removeprefix("http://")
            answers = ledger.answers
            running = feeders(address, ledger, ESIMS, chance, rate=RATE)
            until(lambda answers=answers: ledger.answers > answers)  # type: ignore[misc]
            running[0].join(chance.uniform(0, LONGEST))
            server.kill()
            end(running)
            assert set().union(*(feeder.codes for feeder in running)) == {200}

    with serving(tmp_path) as server:
        address = server.public.removeprefix("http://")
        last = feeders(address, ledger, ESIMS, chance, rate=RATE)
        until(lambda: len(ledger.unanswered) <= CLIENTS)  # the current event of each
        end(last)
        final = shown(server)
        text = server.state()
        assert_not_damaged(server)
    missing, twice = ledger.missing(final), ledger.surplus(final)
    measured(
        "kill -9",
        f"{kills} kills, {grouped(ledger.deliveries)} deliveries, "
        f"{grouped(ledger.answers)} acknowledged, {len(missing)} missing, "
        f"{len(twice)} counted twice, seed {chance.number}",
    )
    assert (missing, twice) == ([], [])
    total = sum(final.values()) << 20
    assert (
        f'package_id="esim-afghanistan-7days-1gb-all"}} {total}\n'
        in text.partition("# TYPE esim_fleet_data_consumed_bytes_total")[2]
    )
