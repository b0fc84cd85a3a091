"""Gauges of the group ``exporter`` that are read off the parts when scraped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.core import GaugeMetricFamily

from exporter.records import Feed
from exporter.selfmetrics import PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client.metrics_core import Metric

    from exporter.intake import Intake, State
    from exporter.selfmetrics import SelfMetrics
    from exporter.storage import Storage


def observe(metrics: SelfMetrics, intake: Intake, storage: Storage, max_esims: int) -> None:
    """Show the state's and the storage's size; of the state only once it is loaded."""

    def families() -> Iterable[Metric]:
        sizes = storage.sizes()
        yield _gauge("esims_limit", "eSIMs that may have series; 0: no limit.", max_esims)
        yield _gauge("storage_size_bytes", "Size of the storage.", sizes.storage)
        yield _gauge("storage_wal_size_bytes", "Size of the storage's log.", sizes.wal)
        if intake.state:
            yield from _of_state(intake.state)

    metrics.observe(families)


def _of_state(state: State) -> Iterable[Metric]:
    fleet = state.fleet
    yield _gauge("esims", "eSIMs with series of their own.", len(fleet.esims))
    yield _gauge("esims_over_limit", "eSIMs without series, over the limit.", len(fleet.over))
    yield _gauge("rejected_events", "Rejected deliveries that are kept.", len(state.rejections))
    yield _gauge("tombstones", "Expired allowances and eSIMs remembered.", len(fleet.tombstones))
    received = GaugeMetricFamily(
        PREFIX + "last_received_timestamp_seconds",
        "When a verified delivery of the vendor last arrived.",
        labels=["vendor"],
    )
    for register in fleet.registers.values():
        if isinstance(register, Feed):
            received.add_metric([register.vendor], register.received)
    yield received


def _gauge(name: str, help_: str, value: float) -> Metric:
    return GaugeMetricFamily(PREFIX + name, help_, value=value)
