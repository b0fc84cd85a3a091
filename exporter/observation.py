"""Gauges of the group ``exporter`` that are read off the parts when scraped."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from prometheus_client.core import GaugeMetricFamily

from exporter.records import Feed
from exporter.selfmetrics import PREFIX, Description

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from prometheus_client.metrics_core import Metric

    from exporter.intake import Intake, State
    from exporter.selfmetrics import SelfMetrics
    from exporter.storage import Sizes, Storage


class _Gauge(NamedTuple):
    name: str
    help: str
    value: Callable[[State], float]


_STATE = (
    _Gauge("esims", "eSIMs with series of their own.", lambda s: len(s.fleet.esims)),
    _Gauge(
        "esims_over_limit", "eSIMs over the limit, without series.", lambda s: len(s.fleet.over)
    ),
    _Gauge("rejected_events", "Rejected deliveries that are kept.", lambda s: len(s.rejections)),
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
_RECEIVED = ("last_received_timestamp_seconds", "When a verified delivery last arrived.")


def observe(metrics: SelfMetrics, intake: Intake, storage: Storage, max_esims: int) -> None:
    """Show the size of state and storage; that of the state only once it is loaded."""

    def families() -> Iterable[Metric]:
        sizes: Sizes = storage.sizes()
        yield GaugeMetricFamily(PREFIX + _LIMIT[0], _LIMIT[1], value=max_esims)
        yield GaugeMetricFamily(PREFIX + _SIZE[0], _SIZE[1], value=sizes.storage)
        yield GaugeMetricFamily(PREFIX + _LOG_SIZE[0], _LOG_SIZE[1], value=sizes.wal)
        if intake.state:
            yield from _of_state(intake.state)

    metrics.observe(families, descriptions())


def descriptions() -> tuple[Description, ...]:
    """Return the name and the rest of each gauge."""
    plain = [_LIMIT, _SIZE, _LOG_SIZE, *((gauge.name, gauge.help) for gauge in _STATE)]
    return (
        *(Description(PREFIX + name, "gauge", (), help_) for name, help_ in plain),
        Description(PREFIX + _RECEIVED[0], "gauge", ("vendor",), _RECEIVED[1]),
    )


def _of_state(state: State) -> Iterable[Metric]:
    for name, help_, value in _STATE:
        yield GaugeMetricFamily(PREFIX + name, help_, value=value(state))
    received = GaugeMetricFamily(PREFIX + _RECEIVED[0], _RECEIVED[1], labels=["vendor"])
    for register in state.fleet.registers.values():
        if isinstance(register, Feed):
            received.add_metric([register.vendor], register.received)
    yield received
