"""More eSIMs than the cap on series: all are counted and stored, none is lost, each is cheap."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flood import Order, delivered
from measuring import grouped, private_memory, times
from running import Serving, serving

if TYPE_CHECKING:
    from pathlib import Path

    from measuring import Measured

DEAREST = 600
"""Limit of memory for an eSIM over the cap, in bytes."""

ENOUGH = 50_000
"""Number of eSIMs over the cap from which on the memory of one can be measured."""


def test_distinct_esims_beyond_the_cap_are_counted_stored_and_cheap(
    tmp_path: Path, measured: Measured
) -> None:
    count, cap = times(1_500, 1_000_000), times(150, 10_000)
    flags = (f"--limits.max-esims={cap}",)
    with serving(tmp_path, *flags) as server:
        host, port = server.public.removeprefix("http://").split(":")
        first = Order(host, int(port), 0, count // 4)
        rest = Order(host, int(port), first.count, count - first.count)
        assert delivered(first).codes == {"200": first.count}
        before = private_memory(server.process.pid)
        outcome = delivered(rest)
        assert outcome.codes == {"200": rest.count}
        each = (private_memory(server.process.pid) - before) / rest.count
        check(server, count, cap)
        text = server.state()
        server.kill()
    with serving(tmp_path, *flags) as server:
        check(server, count, cap)
        assert server.state() == text
    enough = count - cap >= ENOUGH
    cost = f"{each:.0f} bytes" if enough else "too few to measure the bytes"
    measured(
        "distinct eSIMs over the cap",
        f"{grouped(count)} eSIMs, {grouped(cap)} with series, {outcome.rate:,.0f} events/s, "
        f"{cost} of memory for each one over the cap, none lost after a kill",
    )
    assert each < DEAREST or not enough


def check(server: Serving, count: int, cap: int) -> None:
    """Check that all eSIMs are counted, and that as many as the cap have series."""
    own, state = server.own(), server.state()
    assert (own["esims"], own["esims_over_limit"]) == (cap, count - cap)
    assert state.count("esim_status{") == cap
    assert f'esim_fleet_esims{{vendor="roamify",status="ACTIVATED"}} {count}' in state
    package = "esim-afghanistan-7days-1gb-all"
    consumed = f'esim_fleet_data_consumed_bytes_total{{vendor="roamify",package_id="{package}"}}'
    assert f"{consumed} {count << 20}\n" in state
