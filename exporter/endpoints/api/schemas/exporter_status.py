"""The exporter as a whole in the answers of the API: its storage, its vendors, a backup."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import exporter
from exporter.endpoints.api.schemas import DOCUMENTED
from exporter.exposition.exposition import vendor_views
from exporter.model.events import Status  # noqa: TC001  # pydantic reads the types
from exporter.model.records import Feed
from exporter.model.shards import Shard

if TYPE_CHECKING:
    from exporter.ingest.committed_state import CommittedState


@dataclass(frozen=True, slots=True)
class StorageStatus:
    """The durable storage."""

    __pydantic_config__ = DOCUMENTED

    working: bool
    """Whether events can be committed at this moment."""
    size_bytes: int
    wal_size_bytes: int
    damaged_rows: int
    """Damage found when it was last loaded."""
    lag_seconds: float | None
    """Since all that other replicas had committed was known; null where there can be none."""


@dataclass(frozen=True, slots=True)
class Balance:
    """The account at a vendor, in one currency."""

    __pydantic_config__ = DOCUMENTED

    currency: str
    balance: float
    threshold: float | None
    """Below which the vendor warns."""
    time: int
    """Event time of the balance."""


@dataclass(frozen=True, slots=True)
class VendorStatus:
    """One vendor's part of the fleet."""

    __pydantic_config__ = DOCUMENTED

    vendor: str
    last_received: int | None
    """When a verified delivery last arrived; null if none ever did."""
    esims: dict[Status, int]
    """eSIMs by status."""
    stale: int
    """ACTIVATED eSIMs of which nothing was received for longer than --fleet.stale-after."""
    balances: list[Balance]


@dataclass(frozen=True, slots=True)
class ExporterStatus:
    """The exporter as a whole."""

    __pydantic_config__ = DOCUMENTED

    version: str
    started: int
    time: int
    """The exporter's clock."""
    storage: StorageStatus
    shard: int
    """Which part of the fleet all of this is about, counted from 0."""
    total_shards: int
    esims: int
    """eSIMs with series of their own."""
    esims_over_limit: int
    """eSIMs without, for --limits.max-esims."""
    esims_limit: int
    """0: no limit."""
    tombstones: int
    """Expired allowances and eSIMs that are remembered."""
    rejected: int
    """Rejected deliveries that are kept."""
    vendors: list[VendorStatus]

    @classmethod
    def of(
        cls, state: CommittedState, storage: StorageStatus, *, started: float, now: float
    ) -> ExporterStatus:
        """Return the exporter at ``now``; both times are unix seconds."""
        shard = state.fleet.shard or Shard()
        return cls(
            version=exporter.__version__,
            started=int(started),
            time=int(now),
            storage=storage,
            shard=shard.number,
            total_shards=shard.total,
            esims=len(state.fleet.esims),
            esims_over_limit=len(state.fleet.over_cap),
            esims_limit=state.fleet.policy.max_esims,
            tombstones=len(state.fleet.tombstones),
            rejected=len(state.rejected),
            vendors=_vendors(state, now),
        )


@dataclass(frozen=True, slots=True)
class BackupData:
    """A backup that was written."""

    __pydantic_config__ = DOCUMENTED

    path: str
    size_bytes: int


def _vendors(state: CommittedState, now: float) -> list[VendorStatus]:
    feeds = {r.vendor: r for r in state.fleet.registers.values() if isinstance(r, Feed)}
    return [
        VendorStatus(
            vendor=vendor,
            last_received=feeds[vendor].received if vendor in feeds else None,
            esims=dict(view.totals.statuses),
            stale=view.stale,
            balances=[Balance(b.currency, b.balance, b.threshold, b.time) for b in view.balances],
        )
        for vendor, view in vendor_views(state.fleet, now, state.exposition.stale_after)
    ]
