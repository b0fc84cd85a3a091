"""Panels of several processes on one storage, for the exporter's dashboard.

One process on a SQLite file has few of these metrics. The panels then say "not used".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from exporter.mixin.dashboards import palette
from exporter.mixin.dashboards.panels import Query, Words, figure, lines

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders import stat, timeseries

_UNUSED: Final = "not used: no shared storage"

_SHOWN: Final = 'count_values("shard", esim_exporter_shard{@exporter})'
"""How many replicas show each shard."""


def missing() -> stat.Panel:
    """Return the panel of shards without a replica."""
    return figure(
        Words(
            "Shards missing",
            """Shards that no chosen instance shows. If it is not 0, their eSIMs have no series,
            and sums over the fleet are too low. The runbook is EsimShardMissing.""",
            _UNUSED,
        ),
        [
            Query(
                f"max(esim_exporter_total_shards{{@exporter}}) - count({_SHOWN})",
                instant=True,
            )
        ],
        "locale",
        palette.above((1, palette.CRITICAL)),
        trend=False,
    )


def shards() -> timeseries.Panel:
    """Return the panel of replicas by shard."""
    return lines(
        Words(
            "Replicas by shard",
            """How many replicas show each shard. A shard with one replica has no spare. A shard
            whose line ends is missing.""",
            _UNUSED,
        ),
        [Query(_SHOWN, "shard {{shard}}")],
        "locale",
        fill=0,
        stairs=True,
    )


def lag() -> timeseries.Panel:
    """Return the panel of the replicas' lag."""
    return lines(
        Words(
            "Lag behind other replicas",
            """How many seconds a replica is behind the others; normally less than one. It rises
            while the database is away, or if a replica lacks processor time. The runbook is
            EsimReplicaLagging.""",
            _UNUSED,
        ),
        [Query("max by (instance) (esim_exporter_storage_lag_seconds{@exporter})", "{{instance}}")],
        "s",
        fill=0,
    )


def conflicts() -> timeseries.Panel:
    """Return the panel of batches that were merged again."""
    rate = "rate(esim_exporter_storage_conflicts_total{@exporter}[$__rate_interval])"
    return lines(
        Words(
            "Batches merged again",
            """Batches that were merged again because another replica had changed the same eSIMs
            first. This is harmless, and never happens with one process. If answers get slow,
            use fewer replicas.""",
            "not scraped",
        ),
        [Query(f"60 * sum by (instance) ({rate})", "{{instance}}")],
        "opm",
        fill=30,
    ).axis_soft_max(1)
