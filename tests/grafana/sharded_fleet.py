"""Samples over two days of the same fleet in several layouts: alone, replicas and shards.

The fleets are real and follow one another like replicas on one database. The metrics of the
processes about themselves come from the real registry; the processes share its counters.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

from sharded_events import AT_THRESHOLDS, END, HOUR, REPORTING, START, VENDORS, events

from exporter.exposition.exposition import Exposition, Format, Group
from exporter.exposition.families import InfoLabels
from exporter.fleet.drafts import Draft, expire_due
from exporter.fleet.fleet import Fleet, Policy
from exporter.model.expiry import Retention
from exporter.model.refusals import REFUSALS
from exporter.model.shards import Shard
from exporter.selfmetrics import SelfMetrics
from exporter.storage.contract import Row, Table
from exporter.storage.stored_records import decode

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from exporter.model.events import Event
    from exporter.storage.contract import Changes

_UNIT: Final = 120
"""Seconds between two scrapes in the last half hour, before which there is one an hour."""
_LAST: Final = END - HOUR // 2
SCRAPES: Final = (*range(START, _LAST, HOUR), *range(_LAST, END + 1, _UNIT))
"""The times of all scrapes. Single eSIMs are scraped only every four hours and at the end."""
_POLICY: Final = Policy(Retention(terminal=2 * HOUR))
_STALE_AFTER: Final = 9 * HOUR


@dataclass(frozen=True, slots=True)
class Layout:
    """The processes that show the fleet. The name is the one of their scrape job."""

    name: str
    shards: int
    replicas: int

    @property
    def esims_job(self) -> str:
        """Return the name of the job of single eSIMs."""
        return f"{self.name}-esims"

    @property
    def processes(self) -> int:
        return self.shards * self.replicas


ALONE: Final = Layout("alone", 1, 1)
LAYOUTS: Final = (
    ALONE,
    Layout("replicas", 1, 2),
    Layout("shards", 4, 1),
    Layout("shards-with-replicas", 4, 2),
)


class Shown:
    """A fleet, or one shard of it, and its exposition."""

    def __init__(self, shard: Shard | None) -> None:
        """Without a shard, it belongs to a process that is alone on its storage."""
        self.shard = shard
        self.fleet = Fleet(_POLICY, VENDORS, shard)
        self._exposition = Exposition(self.fleet, InfoLabels(), _STALE_AFTER, {AT_THRESHOLDS})

    def commit(self, batch: list[Event], now: float) -> Iterator[Changes]:
        """Merge events, then expire what is due; yield the changes for the storage."""
        draft = Draft(self.fleet, now)
        for event in batch:
            draft.merge(event)
        while True:
            yield draft.changes()
            self.fleet.publish(draft)
            if not self.fleet.any_due(now):
                return
            draft = expire_due(self.fleet, now)

    def follow(self, changes: Changes) -> None:
        """Take over the changes to its own shard that another process has committed."""
        assert self.shard
        rows = [
            Row(c.table, c.key, c.expected + 1 if c.data else 0, c.data or b"")
            for c in changes.rows
            if c.table not in {Table.ESIM, Table.TOMBSTONE} or self.fleet.keeps(*c.key[:2])
        ]
        bases = {
            key: amount for key, amount in changes.bases.items() if self.shard.owns(int(key[-1]))
        }
        self.fleet.absorb([(row, decode(row) if row.version else None) for row in rows], bases)

    def text(self, group: Group, now: float) -> str:
        """Return the samples of a group."""
        for _ in self._exposition.refresh({group}):
            pass
        return b"".join(
            self._exposition.scrape({group}, Format.OPENMETRICS, now).identity()
        ).decode()


def samples() -> Iterator[str]:
    """Yield the lines of every scrape of every layout, in order of time."""
    alone, whole = Shown(None), Shown(Shard())
    shards = [Shown(Shard(number, 4)) for number in range(4)]
    shown = {1: [whole], 4: shards}
    waiting = sorted(events(), key=lambda event: event[0])
    for at in SCRAPES:
        due = [event for arrives, event in waiting if arrives <= at]
        waiting = waiting[len(due) :]
        for _ in alone.commit(due, at):
            pass
        for changes in whole.commit(due, at):
            for each in shards:
                each.follow(changes)
        for layout in LAYOUTS:
            parts = [alone] if layout is ALONE else shown[layout.shards]
            yield from _scrape(layout, parts, at)


def _scrape(layout: Layout, parts: list[Shown], at: int) -> Iterator[str]:
    both = at % (4 * HOUR) == 0 or at == _LAST
    for number, part in enumerate(parts):
        fleet = part.text(Group.FLEET, at) + part.text(Group.ATTENTION, at)
        esims = part.text(Group.ESIMS, at) if both else ""
        for replica in range(layout.replicas):
            target = f'instance="{layout.name}-{number}-{replica}",zone="{replica}"'
            own = _own(layout, part, at)
            yield _stored(fleet + own + _ADDED, f'job="{layout.name}",{target}', at)
            if both:
                yield _stored(esims + _ADDED, f'job="{layout.esims_job}",{target}', at)


_ADDED: Final = "up 1\nscrape_samples_scraped 5\nscrape_duration_seconds 0.01\n"


def _stored(text: str, target: str, at: int) -> str:
    """Return samples with the labels of a target and the time of a scrape."""
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)
    text = re.sub(r"^(\w+) ", r"\1{} ", text, flags=re.MULTILINE)
    return text.replace("{", f"{{{target},").replace(",}", "}").replace("\n", f" {at}\n")


def _own(layout: Layout, part: Shown, at: int) -> str:
    """Return the metrics of one process about itself."""
    first, step = _registry()
    units = (at - START) / _UNIT
    values = {
        series: (value + units * step[series]) / (layout.processes if _counts(series) else 1)
        for series, value in first.items()
    }
    values |= {
        "process_start_time_seconds": at - at % 240,  # it restarts every four minutes
        "esim_exporter_clock_behind": 1,
        "esim_exporter_config_last_reload_successful": 0,
        "esim_exporter_esims": len(part.fleet.esims),
        "esim_exporter_esims_limit": 4000 / layout.shards,
        "esim_exporter_esims_over_limit": 8 / layout.shards,
        "esim_exporter_rejected_events": 3,
        "esim_exporter_storage_damaged_rows": 2,
        "esim_exporter_storage_size_bytes": 40960,
        "esim_exporter_storage_up": at < _LAST,
        "esim_exporter_storage_wal_size_bytes": 4096,
        "esim_exporter_tombstones": len(part.fleet.tombstones),
        'esim_exporter_last_received_timestamp_seconds{vendor="roamify"}': END - 6 * HOUR,
        'esim_exporter_last_usage_received_timestamp_seconds{vendor="roamify"}': END - 6 * HOUR,
        'esim_exporter_last_received_timestamp_seconds{vendor="shrunk"}': END,
        'esim_exporter_last_usage_received_timestamp_seconds{vendor="shrunk"}': END - 8 * HOUR,
        f'esim_exporter_last_received_timestamp_seconds{{vendor="{AT_THRESHOLDS}"}}': END - HOUR,
        f'esim_exporter_last_usage_received_timestamp_seconds{{vendor="{AT_THRESHOLDS}"}}': (
            END - HOUR
        ),
        'esim_exporter_http_connections_refused_total{listener="public"}': units / layout.processes,
        'esim_exporter_http_connections_displaced_total{listener="public"}': 0,
        'esim_exporter_tls_certificate_expiry_timestamp_seconds{listener="public"}': END + HOUR,
        "esim_exporter_attention_over_limit": 8 / layout.shards,
    }
    values |= {
        f'esim_exporter_vendor_report_interval_seconds{{vendor="{vendor}"}}': 4 * HOUR
        for vendor in (*REPORTING, "new")  # nothing was ever received of the last one
    }
    if part.shard:
        values |= {
            "esim_exporter_storage_lag_seconds": 0.5,
            "esim_exporter_shard": part.shard.number,
            "esim_exporter_total_shards": part.shard.total,
        }
    return "".join(f"{series} {value:.10g}\n" for series, value in values.items())


def _counts(series: str) -> bool:
    return re.search(r"_(total|bucket|sum|count)(\{|$)", series) is not None


@cache
def _registry() -> tuple[Mapping[str, float], Mapping[str, float]]:
    """Return the samples of the registry at the start, and their rise in a unit of time."""
    metrics = SelfMetrics({"roamify": ("usage",)})
    _happens(metrics, 1000)
    first = _samples(metrics)
    _happens(metrics, 1)
    last = _samples(metrics)
    return first, {series: last[series] - value for series, value in first.items()}


def _samples(metrics: SelfMetrics) -> dict[str, float]:
    text = metrics.text(openmetrics_format=True)
    lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    # No rule reads the metrics about Python.
    return {k: float(v) for k, _, v in lines if not k.startswith("python_")}


def _happens(metrics: SelfMetrics, times: int) -> None:
    """Count every good and bad event the given number of times."""
    for result in ("accepted", "stale"):
        metrics.events.labels("roamify", "usage", result).inc(times)
    metrics.unverified_known_esims.labels("roamify").inc(times)
    metrics.signatures.labels("roamify", "0").inc(times)
    for reason in REFUSALS:
        metrics.rejected.labels("roamify", reason).inc(2 * times)
    for code in ("200", "503"):
        metrics.requests.labels("/webhooks/roamify", "POST", code).inc(times)
    # What has expired is not counted, as if a part of the storage had been lost.
    for counter in (metrics.commit_errors, metrics.conflicts, metrics.rejected_dropped):
        counter.inc(times)
    metrics.scrape_size.labels("gzip").set(1000)
    metrics.last_event_delay.labels("roamify").set(400)
    counted = metrics.unknown_fields("roamify")
    for _ in range(times):
        counted("data.roaming")
        for histogram in (metrics.webhook_duration, metrics.event_delay, metrics.scrape_duration):
            histogram.observe(0.02)
        metrics.webhook_duration.observe(2.5)
        metrics.commit_duration.observe(0.002)
