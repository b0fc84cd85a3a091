"""An intake at work, with its surroundings."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from generated_events import VENDORS
from memory_storage import MemoryStorage
from running import WAIT
from running_fleet import ARRIVAL, STALE_AFTER, STATE

from exporter.exposition.exposition import Exposition, Format
from exporter.exposition.families import InfoLabels
from exporter.fleet.fleet import Policy
from exporter.fleet.loading import FleetLoader
from exporter.ingest.batch import VerifiedDelivery
from exporter.ingest.commit import CommittedState
from exporter.ingest.intake import Intake
from exporter.ingest.rejected_deliveries import RejectedDeliveries
from exporter.model.merge import Result
from exporter.model.shards import Shard
from exporter.selfmetrics import SelfMetrics
from exporter.storage.contract import Row, SharedStorage, Storage, Table

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from exporter.errors import EventError
    from exporter.model.events import Event


class Room:
    """An intake with its surroundings."""

    def __init__(
        self,
        storage: Storage,
        *,
        max_pending: int = 1000,
        expiry_interval: float = 3600,
        shared: SharedStorage | None = None,
        shard: Shard | None = None,
        policy: Policy | None = None,
    ) -> None:
        """``shared`` is the storage, where there are other intakes on it."""
        self.storage = storage
        self._shard = shard or (Shard() if shared else None)
        self._policy = policy or Policy()
        self.now: float = ARRIVAL
        self.metrics = SelfMetrics({})
        self.loads = 0
        self.intake = Intake(
            *(storage, self._load, self.metrics, lambda: self.now),
            max_pending=max_pending,
            expiry_interval=expiry_interval,
            shared=shared,
        )

    async def _load(self) -> CommittedState:
        self.loads += 1
        return await load(self.storage, self._policy, self._shard)

    @property
    def state(self) -> CommittedState:
        assert self.intake.state
        return self.intake.state

    def text(self) -> str:
        return text_of(self.state, self.now)

    def metric(self, name: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"esim_exporter_{name}")

    def submit(self, content: Event | EventError, body: bytes = b"x") -> asyncio.Task[Result]:
        delivery = VerifiedDelivery("roamify", body, self.now, content)
        return asyncio.create_task(self.intake.submit(delivery))

    async def outcomes(self, *tasks: asyncio.Task[Result]) -> list[Result | type[BaseException]]:
        gathered = await asyncio.gather(*tasks, return_exceptions=True)
        return [each if isinstance(each, Result) else type(each) for each in gathered]

    async def recovered(self) -> None:
        await until(lambda: not self.intake.failed)


async def load(
    storage: Storage, policy: Policy | None = None, shard: Shard | None = None
) -> CommittedState:
    loader = FleetLoader(policy or Policy(), VENDORS, shard)
    rejected: list[Row] = []
    async for chunk in storage.load():
        rejected += [row for row in chunk.rows if row.table is Table.REJECTED]
        loader.take(chunk)
    fleet = loader.finish()
    rejections = RejectedDeliveries(3)
    rejections.restore(rejected)
    return CommittedState(fleet, Exposition(fleet, InfoLabels(), STALE_AFTER), rejections)


def text_of(state: CommittedState, now: float) -> str:
    for _ in state.exposition.refresh():
        pass
    return b"".join(state.exposition.scrape(STATE, Format.TEXT, now).identity()).decode()


async def until(reached: Callable[[], bool]) -> None:
    while not reached():  # noqa: ASYNC110  # what is looked at has no event, and needs none
        await asyncio.sleep(0)


@asynccontextmanager
async def at_work(storage: Storage, **options: Any) -> AsyncIterator[Room]:
    room = Room(storage, **options)
    run = asyncio.create_task(room.intake.run())
    await until(lambda: room.intake.state is not None)
    try:
        yield room
    finally:
        if isinstance(storage, MemoryStorage):
            storage.gate.set()
        room.intake.stop()
        await asyncio.wait_for(run, WAIT)
