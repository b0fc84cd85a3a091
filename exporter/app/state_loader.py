"""Reads the whole state from the storage: at the start, and after a fault of the storage."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from exporter.exposition.exposition import Exposition
from exporter.fleet import process_memory
from exporter.fleet.loading import FleetLoader
from exporter.ingest.committed_state import CommittedState
from exporter.ingest.rejected_deliveries import RejectedDeliveries
from exporter.logs import fields
from exporter.storage.contract import Table

if TYPE_CHECKING:
    from exporter.app.reload import LiveSettings
    from exporter.exposition.families import InfoLabels
    from exporter.model.shards import Shard
    from exporter.storage.contract import Row, Storage

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StateLoader:
    """Builds the state from the rows of the storage."""

    storage: Storage
    settings: LiveSettings
    vendors: tuple[str, ...]
    """Names of the vendors that are shown before their first event."""
    info_labels: InfoLabels
    shard: Shard | None
    """The part of the fleet to keep, where several processes share the storage."""

    async def load(self) -> CommittedState:
        """Return the state. Raises ``StorageError``; logs damaged rows and leaves them out."""
        policy = self.settings.policy()
        loader = FleetLoader(policy, self.vendors, self.shard)
        rejected: list[Row] = []
        damage = 0
        with process_memory.collector_paused():
            async for chunk in self.storage.load():
                for line in chunk.notes:
                    log.warning("storage noted", extra=fields(note=line))
                for line in chunk.damaged:
                    log.error("storage damaged", extra=fields(damage=line))
                    damage += 1
                rejected += [row for row in chunk.rows if row.table is Table.REJECTED]
                loader.take(chunk)
            fleet = loader.finish()
        if self.settings.policy() != policy:  # settings were reloaded while the state was read
            fleet.set_policy(self.settings.policy())
        kept = RejectedDeliveries(self.settings.started.limits.max_rejected)
        kept.restore(rejected)
        exposition = Exposition(fleet, self.info_labels, self.settings.current.fleet.stale_after)
        counts = fields(esims=len(fleet.esims), over_limit=len(fleet.over_cap), rejected=len(kept))
        log.info("state loaded", extra=counts)
        return CommittedState(fleet, exposition, kept, damage)
