"""Several fleets on one storage, which follow each other when they are asked to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from generated_events import START
from running_fleet import RunningFleet
from shared_memory import SharedMemory

from exporter.fleet.drafts import Draft
from exporter.ingest.rejected_deliveries import RejectedDeliveries
from exporter.ingest.replica import Replica
from exporter.model.events import Snapshot, Status, StatusEvent, UsageEvent
from exporter.model.shards import Shard

if TYPE_CHECKING:
    from exporter.fleet.fleet import Policy

WHOLE = Shard()


class Member(RunningFleet):
    """One of several fleets on a storage. It follows the others when :meth:`follow` is called."""

    def __init__(self, storage: SharedMemory, policy: Policy | None = None) -> None:
        super().__init__(policy, storage=storage, shard=storage.shard)
        self.shared = storage
        self.rejections = RejectedDeliveries(2)
        self._replica = Replica(storage, lambda: None)

    async def follow(self) -> None:
        assert await self._replica.follow(self.fleet, self.rejections)


def usage(esim_id: str = "e", time: int = 0, used: int = 10, **values: Any) -> UsageEvent:
    package_id = values.pop("package_id", "p")
    snapshot = Snapshot(data_allowed=100, data_remaining=100 - used, **values)
    return UsageEvent("roamify", START + time, esim_id, package_id, snapshot)


def status(value: Status, esim_id: str = "e", time: int = 0) -> StatusEvent:
    return StatusEvent("roamify", START + time, esim_id, value)


def members(policy: Policy | None = None) -> tuple[Member, Member]:
    storage = SharedMemory(WHOLE)
    return Member(storage, policy), Member(storage.beside(), policy)


def remove(member: Member, esim_id: str = "e") -> None:
    draft = Draft(member.fleet, member.now)
    assert draft.remove(("roamify", esim_id))
    member.publish(draft)


async def both_show_what_is_stored(one: Member, other: Member) -> None:
    for member in (one, other, one):
        await member.follow()
    assert one.text() == other.text()
    for member in (one, other):
        before = member.text()
        member.load()
        assert member.text() == before
