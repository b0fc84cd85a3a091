"""What ``/api/v1/status`` says of the exporter as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import exporter
from exporter.endpoints.api import shapes
from exporter.exposition.exposition import vendor_views
from exporter.model.records import Feed
from exporter.model.shards import Shard

if TYPE_CHECKING:
    from collections.abc import Callable

    from exporter.ingest.committed_state import CommittedState
    from exporter.ingest.intake import Intake
    from exporter.ingest.recent_deliveries import RecentDeliveries
    from exporter.query.fleet_queries import FleetQueries
    from exporter.storage.contract import Storage


@dataclass(frozen=True, slots=True)
class ApiSources:
    """The parts of the exporter that the API tells of."""

    intake: Intake
    storage: Storage
    queries: FleetQueries
    deliveries: RecentDeliveries
    clock: Callable[[], float]
    started: float
    """Unix seconds."""


def exporter_status(parts: ApiSources, state: CommittedState) -> shapes.ExporterStatus:
    """Return the exporter at this moment."""
    sizes, now = parts.storage.sizes(), parts.clock()
    shard = state.fleet.shard or Shard()
    return shapes.ExporterStatus(
        version=exporter.__version__,
        started=int(parts.started),
        time=int(now),
        storage=shapes.StorageStatus(
            working=not parts.intake.failed,
            size_bytes=sizes.storage,
            wal_size_bytes=sizes.wal,
            damaged_rows=state.damage,
            lag_seconds=parts.intake.replica.lag if parts.intake.replica else None,
        ),
        shard=shard.number,
        total_shards=shard.total,
        esims=len(state.fleet.esims),
        esims_over_limit=len(state.fleet.over),
        esims_limit=state.fleet.policy.max_esims,
        tombstones=len(state.fleet.tombstones),
        rejected=len(state.rejected),
        vendors=_vendors(state, now),
    )


def _vendors(state: CommittedState, now: float) -> list[shapes.VendorStatus]:
    feeds = {r.vendor: r for r in state.fleet.registers.values() if isinstance(r, Feed)}
    return [
        shapes.VendorStatus(
            vendor=vendor,
            last_received=feeds[vendor].received if vendor in feeds else None,
            esims=dict(view.totals.statuses),
            stale=view.stale,
            balances=[
                shapes.Balance(b.currency, b.balance, b.threshold, b.time) for b in view.balances
            ],
        )
        for vendor, view in vendor_views(state.fleet, now, state.exposition.stale_after)
    ]
