"""Metrics about the exporter itself: the group ``exporter``.

Other modules count into the attributes of :class:`SelfMetrics`. The package ``app`` registers
functions that return further values at each scrape.

Counters start at 0 for every label combination that is known beforehand, so that Prometheus
sees the first increase.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

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
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector

from exporter import __version__
from exporter.model.events import OTHER
from exporter.model.merge import Result
from exporter.model.refusals import REFUSALS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from prometheus_client.metrics_core import Metric

PREFIX: Final = "esim_exporter_"

MAX_UNKNOWN_FIELDS: Final = 50
"""Most values of the label ``field`` for each vendor, besides ``other``."""

_ANSWER_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 1.5, 2, 3, 5, 10)
_COMMIT_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
_DELAY_BUCKETS = (1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 4 * 3600, 9 * 3600, 86400)
_SCRAPE_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Description(NamedTuple):
    """A family, as the documentation lists it."""

    name: str
    type: str
    labels: tuple[str, ...]
    help: str


Values = float | Mapping[str, float]
"""One value for a family without labels, or a value for each value of its only label."""

_LISTENER = ("listener",)
_GAUGE = "gauge"
_COUNTER = "counter"

_READ_AT_SCRAPE = (
    Description("esims_limit", _GAUGE, (), "eSIMs that may have series of their own; 0: no limit."),
    Description("storage_size_bytes", _GAUGE, (), "Size of the storage."),
    Description("storage_wal_size_bytes", _GAUGE, (), "Size of the storage's write-ahead log."),
    Description("storage_up", _GAUGE, (), "Whether the storage can be written (1) or not (0)."),
    Description(
        *("storage_lag_seconds", _GAUGE, ()),
        "Time since all that other replicas had committed was known here; of PostgreSQL only.",
    ),
    Description(
        "shard", _GAUGE, (), "Shard of the fleet that is shown, from 0 on; of PostgreSQL only."
    ),
    Description("total_shards", _GAUGE, (), "How many shards the fleet has; of PostgreSQL only."),
    Description("esims", _GAUGE, (), "eSIMs with series of their own."),
    Description("esims_over_limit", _GAUGE, (), "eSIMs over the limit, without series."),
    Description(
        *("attention_over_limit", _GAUGE, ()),
        "eSIMs over the limit of the group attention, without series in it.",
    ),
    Description(
        *("label_values_over_limit", _GAUGE, ("label",)),
        "Packages or locations over their limit, summed under other; at most 1000 are counted for "
        "each vendor.",
    ),
    Description(
        *("exposition_age_seconds", _GAUGE, ()),
        "Age of the oldest committed change that a scrape would not show; 0 if it shows all.",
    ),
    Description(
        *("allowances_over_location_limit", _GAUGE, ()),
        "Allowances some of whose locations are summed under other: their eSIM has too many.",
    ),
    Description(
        *("expiry_held", _GAUGE, ()),
        "Whether silent eSIMs are kept for now, after a start or a leap of the clock (1), or not.",
    ),
    Description(
        *("clock_behind", _GAUGE, ()),
        "Whether most of the newest events are more than a day in the future (1), or not.",
    ),
    Description("rejected_events", _GAUGE, (), "Rejected deliveries that are kept."),
    Description(
        *("storage_damaged_rows", _GAUGE, ()),
        "Damage found in the storage when it was last loaded; see the log.",
    ),
    Description("tombstones", _GAUGE, (), "Expired allowances and eSIMs that are remembered."),
    Description(
        *("last_received_timestamp_seconds", _GAUGE, ("vendor",)),
        "When a verified delivery last arrived.",
    ),
    Description(
        *("last_usage_received_timestamp_seconds", _GAUGE, ("vendor",)),
        "When a usage event that changed an allowance last arrived.",
    ),
    Description("http_connections", _GAUGE, _LISTENER, "Open connections."),
    Description(
        *("http_connections_refused_total", _COUNTER, _LISTENER),
        "Connections that found no place, all others being answered.",
    ),
    Description(
        *("http_connections_displaced_total", _COUNTER, _LISTENER),
        "Connections, TLS handshakes included, that were not being answered and gave way.",
    ),
    Description(
        *("tls_certificate_expiry_timestamp_seconds", _GAUGE, _LISTENER),
        "When the first certificate of a listener's chain expires.",
    ),
)
"""Families whose values are read at each scrape, named without the prefix."""


class SelfMetrics:
    """The registry of the exporter's own metrics."""

    def __init__(self, vendors: Mapping[str, Sequence[str]], revision: str = "unknown") -> None:
        """Create the metrics for these vendors and their event types.

        ``revision`` is the commit that the program was built from.
        """
        disable_created_metrics()  # type: ignore[no-untyped-call]  # it has no types
        self.descriptions: list[Description] = []
        """All families, except those read at each scrape and those of the process and of Python."""
        self.registry = registry = CollectorRegistry(auto_describe=True)
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=registry)
        self._gauge(
            "build_info", "Version of the exporter; always 1.", "version revision pythonversion"
        ).labels(__version__, revision, platform.python_version()).set(1)
        self.events = self._counter(
            "webhook_events", "Verified events by what became of them.", "vendor event_type result"
        )
        self.rejected = self._counter(
            "webhook_rejected",
            "Deliveries that were not answered with 200; unsigned: without a signature.",
            "vendor reason",
        )
        self.signatures = self._counter(
            "webhook_signatures",
            "Deliveries by the place of the secret that verified them, counted from 0.",
            "vendor secret",
        )
        self.unverified_known_esims = self._counter(
            "webhook_unverified_known_esims",
            "Deliveries about a known eSIM with a wrong signature, or from an address not allowed.",
            "vendor",
        )
        self._unknown_fields = self._counter(
            "webhook_unknown_fields",
            "Deliveries with a field that the vendor does not document, or with half of a pair.",
            "vendor field",
        )
        self.requests = self._counter(
            "http_requests", "Answered HTTP requests.", "handler method code"
        )
        self.http_failures = self._counter(
            "http_failures", "Requests that failed unexpectedly; see the log.", "listener"
        )
        self.webhook_duration = self._histogram(
            "webhook_duration_seconds",
            "Time to answer a webhook request, its commit included.",
            _ANSWER_BUCKETS,
        )
        self.event_delay = self._histogram(
            "event_delay_seconds", "Arrival of an event after its event time.", _DELAY_BUCKETS
        )
        self.last_event_delay = self._gauge(
            "last_event_delay_seconds",
            "Arrival of the last event after its event time; negative: vendor's clock is ahead.",
            "vendor",
        )
        self.report_interval = self._gauge(
            "vendor_report_interval_seconds",
            "Time between two usage events of an activated eSIM.",
            "vendor",
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
        self._start_at_zero(vendors)

    def unknown_fields(self, vendor: str) -> Callable[[str], None]:
        """Return a function that counts a delivery of the vendor that has an unknown field.

        After :data:`MAX_UNKNOWN_FIELDS` different fields, all others count as one.
        """
        counters = {OTHER: self._unknown_fields.labels(vendor, OTHER)}

        def count(field: str) -> None:
            if field not in counters and len(counters) <= MAX_UNKNOWN_FIELDS:
                counters[field] = self._unknown_fields.labels(vendor, field)
            counters.get(field, counters[OTHER]).inc()

        return count

    def show(self, read: Callable[[], Mapping[str, Values]]) -> None:
        """Add families. At each scrape, ``read`` returns their values by names without prefix."""
        self.registry.register(_ReadAtScrape(read))

    def text(self, *, openmetrics_format: bool) -> str:
        """Return the group in one of the two formats, without OpenMetrics' last line."""
        if not openmetrics_format:
            return prometheus_client.generate_latest(self.registry).decode()
        text: bytes = openmetrics.generate_latest(self.registry)  # type: ignore[no-untyped-call]
        return text.decode().removesuffix("# EOF\n")

    def _start_at_zero(self, vendors: Mapping[str, Sequence[str]]) -> None:
        for vendor, event_types in vendors.items():
            for event_type in event_types:
                for result in Result:
                    self.events.labels(vendor, event_type, result.value)
            self.unverified_known_esims.labels(vendor)
            for reason in REFUSALS:
                self.rejected.labels(vendor, reason)

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


class _ReadAtScrape(Collector):
    def __init__(self, read: Callable[[], Mapping[str, Values]]) -> None:
        self._read = read

    def collect(self) -> Iterable[Metric]:
        values = self._read()
        return [_family(each, values[each.name]) for each in _READ_AT_SCRAPE if each.name in values]

    def describe(self) -> Iterable[Metric]:
        return ()


def _family(described: Description, values: Values) -> Metric:
    name, type_, labels, help_ = described
    made = GaugeMetricFamily if type_ == _GAUGE else CounterMetricFamily
    family = made(PREFIX + name, help_, labels=labels)
    for label, value in values.items() if isinstance(values, Mapping) else [("", values)]:
        family.add_metric([label] if labels else [], value)
    return family


def descriptions() -> tuple[Description, ...]:
    """Return the families of the group in order, except those of the process and of Python."""
    read = (each._replace(name=PREFIX + each.name) for each in _READ_AT_SCRAPE)
    return (*SelfMetrics({}).descriptions, *read)
