"""Gauges of the group ``exporter`` that are read off the parts when scraped."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from exporter.model.records import Feed
from exporter.model.shards import Shard
from exporter.selfmetrics import PREFIX, Description

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from prometheus_client.metrics_core import Metric

    from exporter.http.listeners import Listener
    from exporter.ingest.committed_state import CommittedState
    from exporter.ingest.intake import Intake
    from exporter.selfmetrics import SelfMetrics
    from exporter.storage.contract import Sizes, Storage


class _Gauge(NamedTuple):
    name: str
    help: str
    value: Callable[[CommittedState], float]


_STATE = (
    _Gauge("esims", "eSIMs with series of their own.", lambda s: len(s.fleet.esims)),
    _Gauge(
        "esims_over_limit", "eSIMs over the limit, without series.", lambda s: len(s.fleet.over_cap)
    ),
    _Gauge(
        "expiry_held",
        "Whether silent eSIMs are kept for now, after a start or a leap of the clock (1), or not.",
        lambda s: s.fleet.held,
    ),
    _Gauge("rejected_events", "Rejected deliveries that are kept.", lambda s: len(s.rejected)),
    _Gauge(
        "storage_damaged_rows",
        "Damage found in the storage when it was last loaded; see the log.",
        lambda s: s.damage,
    ),
    _Gauge(
        "tombstones",
        "Expired allowances and eSIMs that are remembered.",
        lambda s: len(s.fleet.tombstones),
    ),
)
"""Read once the state is loaded."""

_LIMIT = ("esims_limit", "eSIMs that may have series of their own; 0: no limit.")
_SIZE = ("storage_size_bytes", "Size of the storage.")
_LOG_SIZE = ("storage_wal_size_bytes", "Size of the storage's write-ahead log.")
_UP = ("storage_up", "Whether the storage can be written (1) or not (0).")
_LAG = (
    "storage_lag_seconds",
    "Time since all that other replicas had committed was known here; of PostgreSQL only.",
)
_SHARD = ("shard", "Shard of the fleet that is shown, from 0 on; of PostgreSQL only.")
_SHARDS = ("total_shards", "How many shards the fleet has; of PostgreSQL only.")
_RECEIVED = ("last_received_timestamp_seconds", "When a verified delivery last arrived.")

_EXPIRY = (
    "tls_certificate_expiry_timestamp_seconds",
    "When the first certificate of a listener's chain expires.",
)
_CONNECTIONS = ("http_connections", "Open connections.")
_REFUSED = (
    "http_connections_refused",
    "Connections that found no place, all others being answered.",
)
_DISPLACED = (
    "http_connections_displaced",
    "Connections that waited for a request and gave way to new ones.",
)


def observe(metrics: SelfMetrics, intake: Intake, storage: Storage, max_esims: int) -> None:
    """Show the size of state and storage; that of the state only once it is loaded.

    And of one replica of several, which part of the fleet it shows, and how old a one.
    """

    def families() -> Iterable[Metric]:
        sizes: Sizes = storage.sizes()
        yield GaugeMetricFamily(PREFIX + _LIMIT[0], _LIMIT[1], value=max_esims)
        yield GaugeMetricFamily(PREFIX + _SIZE[0], _SIZE[1], value=sizes.storage)
        yield GaugeMetricFamily(PREFIX + _LOG_SIZE[0], _LOG_SIZE[1], value=sizes.wal)
        yield GaugeMetricFamily(PREFIX + _UP[0], _UP[1], value=not intake.failed)
        if intake.replica and intake.state:
            shard = intake.state.fleet.shard or Shard()
            yield GaugeMetricFamily(PREFIX + _LAG[0], _LAG[1], value=intake.replica.lag)
            yield GaugeMetricFamily(PREFIX + _SHARD[0], _SHARD[1], value=shard.number)
            yield GaugeMetricFamily(PREFIX + _SHARDS[0], _SHARDS[1], value=shard.total)
        if intake.state:
            yield from _of_state(intake.state)

    metrics.observe(families, descriptions())


def observe_listeners(metrics: SelfMetrics, listeners: Sequence[Listener]) -> None:
    """Show the connections of the listeners, and until when their certificates are valid."""

    def families() -> Iterable[Metric]:
        expiry = GaugeMetricFamily(PREFIX + _EXPIRY[0], _EXPIRY[1], labels=["listener"])
        held = GaugeMetricFamily(PREFIX + _CONNECTIONS[0], _CONNECTIONS[1], labels=["listener"])
        refused = CounterMetricFamily(PREFIX + _REFUSED[0], _REFUSED[1], labels=["listener"])
        displaced = CounterMetricFamily(PREFIX + _DISPLACED[0], _DISPLACED[1], labels=["listener"])
        for listener in listeners:
            held.add_metric([listener.name], listener.gate.held)
            refused.add_metric([listener.name], listener.gate.refused)
            displaced.add_metric([listener.name], listener.gate.displaced)
            if tls := listener.guard.protection.tls:
                expiry.add_metric([listener.name], tls.expiry)
        yield from (held, refused, displaced, expiry)

    metrics.observe(families, ())


def descriptions() -> tuple[Description, ...]:
    """Return the name and the rest of each gauge."""
    shared = [_UP, _LAG, _SHARD, _SHARDS]
    plain = [_LIMIT, _SIZE, _LOG_SIZE, *shared, *((gauge.name, gauge.help) for gauge in _STATE)]
    return (
        *(Description(PREFIX + name, "gauge", (), help_) for name, help_ in plain),
        Description(PREFIX + _RECEIVED[0], "gauge", ("vendor",), _RECEIVED[1]),
        Description(PREFIX + _CONNECTIONS[0], "gauge", ("listener",), _CONNECTIONS[1]),
        Description(f"{PREFIX}{_REFUSED[0]}_total", "counter", ("listener",), _REFUSED[1]),
        Description(f"{PREFIX}{_DISPLACED[0]}_total", "counter", ("listener",), _DISPLACED[1]),
        Description(PREFIX + _EXPIRY[0], "gauge", ("listener",), _EXPIRY[1]),
    )


def _of_state(state: CommittedState) -> Iterable[Metric]:
    for name, help_, value in _STATE:
        yield GaugeMetricFamily(PREFIX + name, help_, value=value(state))
    received = GaugeMetricFamily(PREFIX + _RECEIVED[0], _RECEIVED[1], labels=["vendor"])
    for register in state.fleet.registers.values():
        if isinstance(register, Feed):
            received.add_metric([register.vendor], register.received)
    yield received
