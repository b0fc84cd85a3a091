"""Panels of storage, scrapes and process, for the exporter's dashboard."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.mixin.dashboards import palette
from exporter.mixin.dashboards.expressions import sum_of_processes
from exporter.mixin.dashboards.panels import Query, Words, dashed, lines, quantiles, up_or_down

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders import stat, timeseries


def storage_up() -> stat.Panel:
    """Return the panel that shows whether the storage works."""
    return up_or_down(
        Words(
            "Storage",
            """Whether every chosen instance can write to its storage. While one cannot, it refuses
            events and what it shows gets old. The runbook is EsimStorageDown.""",
            "not scraped",
        ),
        Query("min(esim_exporter_storage_up{@exporter})", instant=True),
    )


def commits() -> timeseries.Panel:
    """Return the panel of the time of commits."""
    return lines(
        Words(
            "Time of a commit",
            """Time until a batch is on disk. It is most of the time of an answer. If it rises, the
            disk or the database is slow, or others use it too.""",
            "no commits",
        ),
        quantiles("esim_exporter_storage_commit_duration_seconds", "@exporter", 0.5, 0.95, 0.99),
        "s",
        fill=0,
    )


def failures() -> timeseries.Panel:
    """Return the panel of failed commits."""
    return lines(
        Words(
            "Failed commits",
            """Failed commits in five minutes. One may become a page (EsimStorageDown): the
            exporter refuses deliveries until the storage works. Free disk space, or read the
            log.""",
            "not scraped",
        ),
        [
            Query(
                """sum by (instance) (
                    increase(esim_exporter_storage_commit_errors_total{@exporter}[5m]))""",
                "{{instance}}",
            )
        ],
        "short",
        fill=30,
    ).color_scheme(palette.only(palette.CRITICAL))


def storage() -> timeseries.Panel:
    """Return the panel of the size of the storage."""
    return lines(
        Words(
            "Size of the storage",
            """It follows the number of eSIMs and not the traffic. A shared database holds all
            shards. If the log only grows, something else holds the file and prevents
            checkpoints.""",
            "not scraped",
        ),
        [
            # All replicas share one storage.
            Query("max(esim_exporter_storage_size_bytes{@exporter})", "database"),
            Query("max(esim_exporter_storage_wal_size_bytes{@exporter})", "write-ahead log"),
        ],
        "bytes",
    )


def series() -> timeseries.Panel:
    """Return the panel of eSIMs against the cap."""
    panel = lines(
        Words(
            "eSIMs against the cap",
            """eSIMs with series, eSIMs over the cap, and expired ones that are remembered, summed
            over shards. When the first line reaches the dashed line, further eSIMs get no
            series.""",
            "not loaded",
        ),
        [
            Query(sum_of_processes("esim_exporter_esims{@exporter}"), "with series"),
            Query(sum_of_processes("esim_exporter_esims_over_limit{@exporter}"), "over the cap"),
            Query(sum_of_processes("esim_exporter_tombstones{@exporter}"), "tombstones"),
            Query(sum_of_processes("(esim_exporter_esims_limit{@exporter} > 0)"), "cap"),
        ],
        "locale",
    )
    return dashed(panel, "^cap$", palette.CRITICAL)


def scrapes() -> timeseries.Panel:
    """Return the panel of the time to serve a scrape."""
    return lines(
        Words(
            "Time to serve a scrape",
            """All groups of metrics together. It must stay far below the scrape timeout. A scrape
            does not delay the webhook.""",
            "not scraped",
        ),
        quantiles("esim_exporter_scrape_duration_seconds", "@exporter", 0.5, 0.99),
        "s",
        fill=0,
    )


def scrape_sizes() -> timeseries.Panel:
    """Return the panel of the size of a scrape."""
    return lines(
        Words(
            "Size of a scrape, as sent",
            """Size of the newest scrape by encoding; with several processes, the largest.
            Prometheus asks for gzip. identity is a person, or a proxy that decompresses.""",
            "not scraped",
        ),
        [Query("max by (encoding) (esim_exporter_scrape_size_bytes{@exporter})", "{{encoding}}")],
        "bytes",
    )


def memory() -> timeseries.Panel:
    """Return the panel of memory."""
    return lines(
        Words(
            "Memory",
            """Resident memory of each instance. It follows the number of eSIMs, with about 1.5 kB
            for each. If it grows while the number does not, report a leak.""",
            "not scraped",
        ),
        [Query("max by (instance) (process_resident_memory_bytes{@exporter})", "{{instance}}")],
        "bytes",
    )


def processor() -> timeseries.Panel:
    """Return the panel of CPU."""
    return lines(
        Words(
            "CPU",
            """Processor cores in use by each instance. Near one core, deliveries begin to wait:
            see the time to answer.""",
            "not scraped",
        ),
        [
            Query(
                "sum by (instance) (rate(process_cpu_seconds_total{@exporter}[$__rate_interval]))",
                "{{instance}}",
            )
        ],
        "percentunit",
    )
