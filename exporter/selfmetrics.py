"""Metrics about the exporter itself: the group ``exporter``.

Counters start at 0 for every label combination that is known beforehand, so that the
first increase is seen as one.
"""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, NamedTuple

import prometheus_client
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

import exporter
from exporter.model.merge import Result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from prometheus_client.metrics_core import Metric

PREFIX = "esim_exporter_"

REJECTIONS = ("invalid", "malformed", "overload", "signature", "storage", "timeout", "too_large")
"""Why a delivery was not answered with 200: the reasons of ``webhook_rejected_total``."""

_ANSWER_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 1.5, 2, 3, 5, 10)
_COMMIT_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_DELAY_BUCKETS = (1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 4 * 3600, 9 * 3600, 86400)
_SCRAPE_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Description(NamedTuple):
    """What the documentation says of a family."""

    name: str
    type: str
    labels: tuple[str, ...]
    help: str


class SelfMetrics:
    """The registry of the exporter's own metrics."""

    def __init__(self, vendors: Mapping[str, Sequence[str]]) -> None:
        """Create the metrics for these vendors and their event types."""
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.descriptions: list[Description] = []
        """Families with the prefix of this group, those of the process and of Python apart."""
        self.registry = registry = CollectorRegistry(auto_describe=True)
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        self._gauge(
            "build_info", "Version of the exporter; always 1.", "version revision pythonversion"
        ).labels(exporter.__version__, exporter.__revision__, platform.python_version()).set(1)
        self.events = self._counter(
            "webhook_events", "Verified events by what became of them.", "vendor event_type result"
        )
        self.rejected = self._counter(
            "webhook_rejected", "Deliveries that were not answered with 200.", "vendor reason"
        )
        self.signatures = self._counter(
            "webhook_signatures",
            "Deliveries by the place of the secret that verified them, counted from 0.",
            "vendor secret",
        )
        self.requests = self._counter(
            "http_requests", "Answered HTTP requests.", "handler method code"
        )
        self.webhook_duration = self._histogram(
            "webhook_duration_seconds",
            "Time to answer a webhook request, its commit included.",
            _ANSWER_BUCKETS,
        )
        self.event_delay = self._histogram(
            "event_delay_seconds", "Arrival of an event after its event time.", _DELAY_BUCKETS
        )
        self.commit_duration = self._histogram(
            "storage_commit_duration_seconds", "Time of a durable commit.", _COMMIT_BUCKETS
        )
        self.commit_errors = self._counter("storage_commit_errors", "Commits that failed.")
        self.conflicts = self._counter(
            "storage_conflicts", "Batches merged again because another replica was first."
        )
        self.rejected_dropped = self._counter(
            "rejected_dropped", "Kept rejected deliveries that were dropped for newer ones."
        )
        self.expired = self._counter("expired", "Allowances that left /metrics for their age.")
        self.scrape_duration = self._histogram(
            "scrape_duration_seconds", "Time to prepare and send an exposition.", _SCRAPE_BUCKETS
        )
        self.scrape_size = self._gauge(
            "scrape_size_bytes", "Size of the newest exposition, as sent.", "encoding"
        )
        self.reload_successful = self._gauge(
            "config_last_reload_successful", "Whether the last reload succeeded."
        )
        self.reload_success_time = self._gauge(
            "config_last_reload_success_timestamp_seconds", "When a reload last succeeded."
        )
        for vendor, event_types in vendors.items():
            for event_type in event_types:
                for result in Result:
                    self.events.labels(vendor, event_type, result.value)
            for reason in REJECTIONS:
                self.rejected.labels(vendor, reason)

    def observe(
        self, families: Callable[[], Iterable[Metric]], descriptions: Iterable[Description]
    ) -> None:
        """Add families that are read when scraped."""
        self.registry.register(_Observer(families))
        self.descriptions += descriptions

    def text(self, *, openmetrics_format: bool) -> str:
        """Return the group in one of the two formats, without OpenMetrics' last line."""
        if not openmetrics_format:
            return prometheus_client.generate_latest(self.registry).decode()
        text: bytes = openmetrics.generate_latest(self.registry)  # type: ignore[no-untyped-call]
        return text.decode().removesuffix("# EOF\n")

    def _counter(self, name: str, help_: str, labels: str = "") -> Counter:
        names = self._describe(f"{name}_total", "counter", help_, labels)
        return Counter(PREFIX + name, help_, names, registry=self.registry)

    def _gauge(self, name: str, help_: str, labels: str = "") -> Gauge:
        names = self._describe(name, "gauge", help_, labels)
        return Gauge(PREFIX + name, help_, names, registry=self.registry)

    def _histogram(self, name: str, help_: str, buckets: tuple[float, ...]) -> Histogram:
        self._describe(name, "histogram", help_)
        return Histogram(PREFIX + name, help_, buckets=buckets, registry=self.registry)

    def _describe(self, name: str, type_: str, help_: str, labels: str = "") -> tuple[str, ...]:
        names = tuple(labels.split())
        self.descriptions.append(Description(PREFIX + name, type_, names, help_))
        return names


class _Observer(Collector):
    def __init__(self, families: Callable[[], Iterable[Metric]]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families()

    def describe(self) -> Iterable[Metric]:
        return ()
