"""A replaced state is freed at once, because the garbage collector does not look for it."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING
from weakref import ref

import pytest
from generated_events import START
from running_fleet import RunningFleet

from exporter.exposition.exposition import Format, Group
from exporter.ingest.commit import CommittedState
from exporter.ingest.rejected_deliveries import RejectedDeliveries
from exporter.model.events import Snapshot, UsageEvent
from exporter.model.shards import Shard

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def without_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("without_collector")
@pytest.mark.parametrize("shard", [None, Shard(), Shard(0, 1)])
def test_nothing_of_a_state_refers_to_itself(shard: Shard | None) -> None:
    running = RunningFleet(shard=shard)
    for number in range(3):
        snapshot = Snapshot(data_allowed=100, data_remaining=90 - number)
        running.take(UsageEvent("roamify", START + number, "e", f"p{number}", snapshot))
    state = CommittedState(running.fleet, running.exposition, RejectedDeliveries(1))
    for _ in state.exposition.refresh():
        pass
    state.exposition.scrape(tuple(Group), Format.TEXT, running.now)
    gone: list[ref[object]] = [
        ref(state),
        ref(state.fleet),
        ref(state.exposition),
        ref(state.fleet.esims),
    ]

    del state, running

    assert [each() for each in gone] == [None] * len(gone)
