"""Panels of storage, scrapes and process, for the exporter's dashboard."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grafana.generator import palette
from grafana.generator.panels import Query, Words, dashed, lines, quantiles
from grafana.generator.replicas import kept

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders import timeseries


def commits() -> timeseries.Panel:
    """Return the panel of the time of commits."""
    return lines(
        Words(
            "Time of a commit",
            """Until a batch is on disk. This is most of the time to answer; when it rises, the disk
            or the database is slow or shared.""",
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
            """In five minutes. Any may become a page (EsimStorageDown): deliveries are refused
                until the storage takes them. Free space, or look into the log.""",
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
            """It follows the number of eSIMs, not the traffic; a shared database holds those of all
            shards. A log that only grows cannot be checkpointed: something else holds the
            file.""",
            "not scraped",
        ),
        [
            # Replicas share one.
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
            """With series, over the cap, and expired ones that are remembered; of all shards
            together. When the first reaches the dashed line, further eSIMs get no series.""",
            "not loaded",
        ),
        [
            Query(kept("esim_exporter_esims{@exporter}"), "with series"),
            Query(kept("esim_exporter_esims_over_limit{@exporter}"), "over the cap"),
            Query(kept("esim_exporter_tombstones{@exporter}"), "tombstones"),
            Query(kept("(esim_exporter_esims_limit{@exporter} > 0)"), "cap"),
        ],
        "locale",
    )
    return dashed(panel, "^cap$", palette.CRITICAL)


def scrapes() -> timeseries.Panel:
    """Return the panel of the time to serve a scrape."""
    return lines(
        Words(
            "Time to serve a scrape",
            """Both groups of metrics together. It must stay far below the scrape timeout; a scrape
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
            """Of the newest, by encoding; of several processes the largest. Prometheus asks for
            gzip; identity is a person or a proxy that unpacks.""",
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
            """Resident memory by instance. It follows the number of eSIMs, about 1.5 kB each with
            what is rendered of them; growth without more eSIMs is a leak worth a report.""",
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
            """Cores in use by instance. Near one core deliveries begin to wait: see the time to
            answer.""",
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
