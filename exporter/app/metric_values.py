"""Collects the values that the group ``exporter`` shows at each scrape from the parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.model.records import Feed
from exporter.model.shards import Shard
from exporter.selfmetrics import ExporterValues, ListenerValues, ReplicaValues, StateValues

if TYPE_CHECKING:
    from collections.abc import Iterable

    from exporter.http.listeners import Listener
    from exporter.ingest.committed_state import CommittedState
    from exporter.ingest.intake import Intake
    from exporter.storage.contract import Storage


def exporter_values(intake: Intake, storage: Storage, esims_limit: int) -> ExporterValues:
    """Return the sizes of state and storage at this moment."""
    sizes, state = storage.sizes(), intake.state
    return ExporterValues(
        esims_limit=esims_limit,
        storage_size_bytes=sizes.storage,
        storage_wal_size_bytes=sizes.wal,
        storage_up=not intake.failed,
        replica=_replica_values(intake.replica.lag, state) if intake.replica and state else None,
        state=_state_values(state) if state else None,
    )


def listener_values(listeners: Iterable[Listener]) -> list[ListenerValues]:
    """Return the connections and certificates of the listeners at this moment."""
    return [
        ListenerValues(
            name=listener.name,
            connections=listener.connections.open,
            refused=listener.connections.refused,
            displaced=listener.connections.displaced,
            certificate_expiry=tls.expiry if (tls := listener.protection.current.tls) else None,
        )
        for listener in listeners
    ]


def _replica_values(lag: float, state: CommittedState) -> ReplicaValues:
    shard = state.fleet.shard or Shard()
    return ReplicaValues(storage_lag_seconds=lag, shard=shard.number, total_shards=shard.total)


def _state_values(state: CommittedState) -> StateValues:
    feeds = (each for each in state.fleet.registers.values() if isinstance(each, Feed))
    return StateValues(
        esims=len(state.fleet.esims),
        esims_over_limit=len(state.fleet.over_cap),
        expiry_held=state.fleet.held,
        rejected_events=len(state.rejected),
        storage_damaged_rows=state.damage,
        tombstones=len(state.fleet.tombstones),
        last_received={feed.vendor: feed.received for feed in feeds},
    )
