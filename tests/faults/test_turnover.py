"""A fleet is replaced by the next one again and again: nothing grows but the tombstones."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from feeding import usage
from flood import Order, delivered, name
from measuring import SHARE, grouped, private_memory, times
from running import Serving, serving, until

if TYPE_CHECKING:
    from pathlib import Path

    from measuring import Measured

MOST_MEMORY = 250
"""Limit of what memory grows by for a tombstone, in bytes."""

MOST_DISK = 500
"""Limit of what the storage grows by for a tombstone, in bytes."""

GRAVES = 2
"""Tombstones of an eSIM with one allowance: one of each."""

WARM = 2
"""Number of fleets after which caches and pools are as large as they get."""

STALE = 'webhook_events_total{event_type="usage",result="stale",vendor="roamify"}'


@dataclass(frozen=True, slots=True)
class Sample:
    """What the process has grown to, when a fleet is complete."""

    memory: int
    tombstones: int
    storage: int
    log: int
    series: int

    @classmethod
    def of(cls, server: Serving) -> Sample:
        server.state()
        own = server.own()
        return cls(
            memory=private_memory(server.process.pid),
            tombstones=int(own["tombstones"]),
            storage=int(own["storage_size_bytes"]),
            log=int(own["storage_wal_size_bytes"]),
            series=len(own),
        )


def growth(first: Sample, last: Sample) -> tuple[float, float]:
    """Return how much memory and storage grew for each tombstone, in bytes."""
    graves = last.tombstones - first.tombstones
    return (last.memory - first.memory) / graves, (last.storage - first.storage) / graves


@pytest.mark.slow
def test_fleets_come_and_go_and_only_tombstones_stay(tmp_path: Path, measured: Measured) -> None:
    fleets, size, period = times(4, 15), times(500, 25_000), times(5, 120)
    samples: list[Sample] = []
    flags = (f"--retention.silent={period}s",)
    with serving(tmp_path, *flags) as server:
        host, port = server.public.removeprefix("http://").split(":")
        for number in range(fleets):
            order = Order(host, int(port), number * size, size, rate=size / period, again=True)
            assert delivered(order).codes["200"] == size
            samples.append(Sample.of(server))
            sys.stdout.write(f"{samples[-1]}\n")  # pytest shows it if the test fails
        until(lambda: server.own()["esims"] == 0)
        assert server.own()["tombstones"] == GRAVES * fleets * size
        late = [usage(name(number * size), 1) for number in range(fleets)]
        assert [server.post(body).status_code for body in late] == [200] * fleets
        assert server.own()[STALE] == fleets, "each fleet is remembered"
        state = server.state()
        server.kill()
    with serving(tmp_path, *flags) as server:
        assert server.own()["tombstones"] == GRAVES * fleets * size
        assert server.state() == state
    warm, middle, last = samples[WARM - 1], samples[fleets // 2], samples[-1]
    memory, disk = growth(warm, last)
    later, _ = growth(middle, last)
    # With few tombstones, the working memory of the process is more than theirs.
    enough = SHARE == 1
    cost = f"{memory:.0f} bytes of memory ({later:.0f} in the second half)"
    measured(
        "fleets that replace each other",
        f"{fleets} fleets of {grouped(size)} eSIMs, one in {period} s: {grouped(last.tombstones)} "
        f"tombstones, each {cost if enough else 'too little to measure in memory'} and "
        f"{disk:.0f} bytes on disk; log of {last.log / 1e6:.1f} MB, process of "
        f"{last.memory / 1e6:.0f} MB",
    )
    assert {sample.series for sample in samples} == {last.series}
    assert disk < MOST_DISK
    assert max(memory, later) < MOST_MEMORY or not enough
