"""Metrics about the exporter itself: the group ``exporter``.

Other modules count into the attributes of :class:`SelfMetrics`. Gauges that are read at each
scrape come as plain values, which the package ``app`` collects from the parts.

Counters start at 0 for every label combination that is known beforehand, so that Prometheus
sees the first increase.
"""

from __future__ import annotations

import platform
from dataclasses import Field, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final, NamedTuple

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
from exporter.model.merge import Result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from prometheus_client.metrics_core import Metric

PREFIX: Final = "esim_exporter_"

REJECTIONS = ("invalid", "malformed", "overload", "signature", "storage", "timeout", "too_large")
"""Labels ``reason`` of ``webhook_rejected_total``: why the answer was not 200."""

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


def _gauge_field(help_: str) -> Any:
    """Mark a field whose name, after the prefix, is that of a gauge."""
    return field(metadata={"help": help_})


@dataclass(frozen=True, kw_only=True, slots=True)
class StateValues:
    """What the loaded state holds, at one moment."""

    esims: int = _gauge_field("eSIMs with series of their own.")
    esims_over_limit: int = _gauge_field("eSIMs over the limit, without series.")
    expiry_held: bool = _gauge_field(
        "Whether silent eSIMs are kept for now, after a start or a leap of the clock (1), or not."
    )
    rejected_events: int = _gauge_field("Rejected deliveries that are kept.")
    storage_damaged_rows: int = _gauge_field(
        "Damage found in the storage when it was last loaded; see the log."
    )
    tombstones: int = _gauge_field("Expired allowances and eSIMs that are remembered.")
    last_received: Mapping[str, float]
    """Unix seconds of the last verified delivery, by vendor."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReplicaValues:
    """Which part of the fleet one of several replicas shows, and how old it is."""

    storage_lag_seconds: float = _gauge_field(
        "Time since all that other replicas had committed was known here; of PostgreSQL only."
    )
    shard: int = _gauge_field("Shard of the fleet that is shown, from 0 on; of PostgreSQL only.")
    total_shards: int = _gauge_field("How many shards the fleet has; of PostgreSQL only.")


@dataclass(frozen=True, kw_only=True, slots=True)
class ExporterValues:
    """All values that are read at each scrape, except those of the listeners."""

    esims_limit: int = _gauge_field("eSIMs that may have series of their own; 0: no limit.")
    storage_size_bytes: int = _gauge_field("Size of the storage.")
    storage_wal_size_bytes: int = _gauge_field("Size of the storage's write-ahead log.")
    storage_up: bool = _gauge_field("Whether the storage can be written (1) or not (0).")
    replica: ReplicaValues | None
    """``None`` where no other replicas share the storage, or the state is not loaded."""
    state: StateValues | None
    """``None`` until the state is loaded."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ListenerValues:
    """The connections of one listener, at one moment."""

    name: str
    connections: int
    refused: int
    displaced: int
    certificate_expiry: float | None
    """Unix seconds; ``None`` without TLS."""


_LAST_RECEIVED = Description(
    f"{PREFIX}last_received_timestamp_seconds",
    "gauge",
    ("vendor",),
    "When a verified delivery last arrived.",
)

_LISTENER = ("listener",)

_CONNECTIONS = Description(f"{PREFIX}http_connections", "gauge", _LISTENER, "Open connections.")

_REFUSED = Description(
    f"{PREFIX}http_connections_refused_total",
    "counter",
    _LISTENER,
    "Connections that found no place, all others being answered.",
)

_DISPLACED = Description(
    f"{PREFIX}http_connections_displaced_total",
    "counter",
    _LISTENER,
    "Connections that waited for a request and gave way to new ones.",
)

_CERTIFICATE_EXPIRY = Description(
    f"{PREFIX}tls_certificate_expiry_timestamp_seconds",
    "gauge",
    _LISTENER,
    "When the first certificate of a listener's chain expires.",
)


class SelfMetrics:
    """The registry of the exporter's own metrics."""

    def __init__(self, vendors: Mapping[str, Sequence[str]], revision: str = "unknown") -> None:
        """Create the metrics for these vendors and their event types.

        ``revision`` is the commit that the program was built from.
        """
        disable_created_metrics()  # type: ignore[no-untyped-call]
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
        self._start_at_zero(vendors)

    def show_exporter(self, read: Callable[[], ExporterValues]) -> None:
        """Add gauges of what ``read`` returns at each scrape."""
        self.registry.register(_ReadWhenScraped(lambda: _exporter_families(read())))

    def show_listeners(self, read: Callable[[], Iterable[ListenerValues]]) -> None:
        """Add connections and certificates of what ``read`` returns at each scrape."""
        self.registry.register(_ReadWhenScraped(lambda: _listener_families(read())))

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
            for reason in REJECTIONS:
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


class _ReadWhenScraped(Collector):
    def __init__(self, families: Callable[[], Iterable[Metric]]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families()

    def describe(self) -> Iterable[Metric]:
        return ()


def descriptions() -> tuple[Description, ...]:
    """Return the families of the group in order, except those of the process and of Python."""
    return (
        *SelfMetrics({}).descriptions,
        *(
            Description(PREFIX + each.name, "gauge", (), each.metadata["help"])
            for values in (ExporterValues, ReplicaValues, StateValues)
            for each in _gauges(values)
        ),
        *(_LAST_RECEIVED, _CONNECTIONS, _REFUSED, _DISPLACED, _CERTIFICATE_EXPIRY),
    )


def _gauges(values: Any) -> Iterable[Field[Any]]:
    """Return the fields of a dataclass that are gauges."""
    return (each for each in fields(values) if each.metadata)


def _exporter_families(values: ExporterValues) -> Iterable[Metric]:
    for holder in (values, values.replica, values.state):
        for each in _gauges(holder) if holder else ():
            value = getattr(holder, each.name)
            yield GaugeMetricFamily(PREFIX + each.name, each.metadata["help"], value=value)
    if values.state:
        received = _family(_LAST_RECEIVED)
        for vendor, moment in values.state.last_received.items():
            received.add_metric([vendor], moment)
        yield received


def _listener_families(listeners: Iterable[ListenerValues]) -> Iterable[Metric]:
    connections, refused, displaced, expiry = map(
        _family, (_CONNECTIONS, _REFUSED, _DISPLACED, _CERTIFICATE_EXPIRY)
    )
    for listener in listeners:
        connections.add_metric([listener.name], listener.connections)
        refused.add_metric([listener.name], listener.refused)
        displaced.add_metric([listener.name], listener.displaced)
        if listener.certificate_expiry is not None:
            expiry.add_metric([listener.name], listener.certificate_expiry)
    return connections, refused, displaced, expiry


def _family(described: Description) -> GaugeMetricFamily | CounterMetricFamily:
    made = GaugeMetricFamily if described.type == "gauge" else CounterMetricFamily
    return made(described.name, described.help, labels=described.labels)
