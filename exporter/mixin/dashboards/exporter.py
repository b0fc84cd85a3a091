"""The dashboard ``esim-exporter``: whether events arrive and are stored and shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.mixin.dashboards import feed, palette, process, replicas, variables, webhook
from exporter.mixin.dashboards.alerts import firing, of_exporter
from exporter.mixin.dashboards.expressions import sum_of_processes
from exporter.mixin.dashboards.layout import dashboard
from exporter.mixin.dashboards.panels import (
    Query,
    Words,
    figure,
    label_figure,
    up_or_down,
)
from exporter.settings.field_types import parse_duration

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders import stat
    from grafana_foundation_sdk.builders.dashboard import Dashboard

    from exporter.mixin.dashboards.panels import Panel
    from exporter.mixin.values import MixinValues


def make(values: MixinValues) -> Dashboard:
    """Return the dashboard."""
    health = [
        *((3, _up()), (3, process.storage_up())),
        *((6, feed.age(values)), (6, feed.usage_age(values))),  # one figure a vendor
        *((2, _kept()), (4, _budget(values))),
    ]
    sizes = (
        *(_version(), _uptime(), _certificate(values)),
        *(_esims(), _over_limit(), _over_attention()),
    )
    return dashboard(
        "exporter",
        "eSIM / Exporter",
        """The exporter itself: whether events arrive, and whether it understands, stores and shows
        them in time.""",
        values=values,
        since="now-1d",
        chosen_by=[
            *(variables.vendor(), variables.datasource()),
            *(variables.job(), variables.instance()),
        ],
        sections=[
            ("", [(4, health), (4, _sixths(*sizes))]),
            (
                "Webhook",
                [
                    (9, _halves(webhook.events(), webhook.rejections())),
                    (9, _thirds(webhook.latency(), webhook.delay(), webhook.burn(values))),
                    (9, _thirds(webhook.requests(), webhook.clocks(), webhook.strangers())),
                    (8, _halves(webhook.signatures(), firing(of_exporter(), values))),
                ],
            ),
            (
                "Storage, scrapes and process",
                [
                    (8, _thirds(process.commits(), process.failures(), process.storage())),
                    (8, _thirds(process.series(), process.scrapes(), process.scrape_sizes())),
                    (8, _halves(process.memory(), process.processor())),
                ],
            ),
            (
                "Replicas and shards",
                [
                    (
                        8,
                        [
                            *((5, replicas.missing()), (7, replicas.shards())),
                            *((7, replicas.lag()), (5, replicas.conflicts())),
                        ],
                    )
                ],
            ),
        ],
    )


def _halves(*panels: Panel) -> list[tuple[int, Panel]]:
    return [(12, panel) for panel in panels]


def _sixths(*panels: Panel) -> list[tuple[int, Panel]]:
    return [(4, panel) for panel in panels]


def _thirds(*panels: Panel) -> list[tuple[int, Panel]]:
    return [(8, panel) for panel in panels]


def _up() -> stat.Panel:
    return up_or_down(
        Words(
            "Up",
            """Whether Prometheus reaches every chosen instance. While an instance is down, the
            vendor drops events after three retries: start it. The runbook is EsimExporterDown.""",
            "not scraped",
        ),
        Query("min(up{@exporter})", instant=True),
    )


def _version() -> stat.Panel:
    return label_figure(
        Words(
            "Version",
            """The version of each chosen instance. Read the changelog before an upgrade.""",
            "not scraped",
        ),
        Query("max by (version) (esim_exporter_build_info{@exporter})", instant=True),
        "version",
    )


def _uptime() -> stat.Panel:
    return figure(
        Words(
            "Uptime",
            """Time since the newest start of a chosen instance. If it is short and nobody
            restarted it, its log says why it ended.""",
            "not scraped",
        ),
        [Query("time() - max(process_start_time_seconds{@exporter})", instant=True)],
        "s",
        trend=False,
    )


def _certificate(values: MixinValues) -> stat.Panel:
    return figure(
        Words(
            "Certificate ends in",
            """Time until the first TLS certificate of a listener expires. After that, the vendor
            can deliver nothing: renew it before. Behind a proxy with TLS there is none here.""",
            "no TLS here",
        ),
        [
            Query(
                """min(esim_exporter_tls_certificate_expiry_timestamp_seconds{@exporter})
                - time()""",
                instant=True,
            )
        ],
        "s",
        (
            (None, palette.CRITICAL),
            (parse_duration(values.exporter.certificate_ends_soon), palette.WARNING),
            (parse_duration(values.exporter.certificate_ends), palette.GOOD),
        ),
        decimals=0,
        trend=False,
    )


def _esims() -> stat.Panel:
    return figure(
        Words(
            "Cap used",
            """eSIMs with series of their own, as a share of --limits.max-esims. With several
            shards it is the fullest shard. Near 100 %, raise the limit; this needs memory of
            Prometheus and of the exporter.""",
            "no cap",
        ),
        [
            Query(
                "max(esim_exporter_esims{@exporter} / (esim_exporter_esims_limit{@exporter} > 0))",
                instant=True,
            )
        ],
        "percentunit",
        palette.above((0.8, palette.NOTICE), (1, palette.CRITICAL)),
        decimals=1,
        trend=False,
    )


def _over_limit() -> stat.Panel:
    return figure(
        Words(
            "Over the cap",
            """eSIMs that are stored and counted but have no series of their own in the group esims.
            The eSIM dashboard does not show them. Pages do not need these series. If it is not
            0, raise --limits.max-esims.""",
            "not loaded",
        ),
        [Query(sum_of_processes("esim_exporter_esims_over_limit{@exporter}"), instant=True)],
        "locale",
        palette.above((1, palette.WARNING)),
        trend=False,
    )


def _over_attention() -> stat.Panel:
    return figure(
        Words(
            "Attention over limit",
            """eSIMs that need somebody but have no series in the group attention, because more than
            --limits.max-attention need somebody. No alert about one of them can fire. If it is
            not 0, raise that limit.""",
            "not loaded",
        ),
        [Query(sum_of_processes("esim_exporter_attention_over_limit{@exporter}"), instant=True)],
        "locale",
        palette.above((1, palette.CRITICAL)),
        trend=False,
    )


def _kept() -> stat.Panel:
    return figure(
        Words(
            "Rejected",
            """Signed deliveries that the exporter could not understand and keeps. If it is not 0,
            the vendor may have changed its format. The runbook is EsimRejectedEventsWaiting.""",
            "not loaded",
        ),
        [Query("max(esim_exporter_rejected_events{@exporter})", instant=True)],
        "locale",
        palette.above((1, palette.NOTICE)),
        trend=False,
    )


def _budget(values: MixinValues) -> stat.Panel:
    return figure(
        Words(
            "Error budget used",
            """0.1 % of the webhook's requests may fail in three days; this share of them has
            failed. Above 100 % the objective is missed. Errors of an outage that EsimStorageDown
            told of do not count.""",
            "no requests, or the rules are not loaded",
        ),
        [Query(f"max({webhook.error_ratio('3d')}) / {values.webhook.error_budget}", instant=True)],
        "percentunit",
        palette.above((0.5, palette.NOTICE), (1, palette.CRITICAL)),
        decimals=0,
        trend=False,
    )
