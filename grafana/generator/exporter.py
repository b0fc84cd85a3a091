"""The dashboard ``esim-exporter``: whether the pipeline tells the truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grafana.generator import palette, process, replicas, variables, webhook
from grafana.generator.alerts import firing, of_exporter
from grafana.generator.layout import dashboard
from grafana.generator.panels import (
    Query,
    Words,
    figure,
    label_figure,
    up_or_down,
)

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders import stat
    from grafana_foundation_sdk.builders.dashboard import Dashboard

    from grafana.generator.panels import Panel


def make() -> Dashboard:
    """Return the dashboard."""
    figures = (
        *(_up(), _version(), _uptime(), _feed()),
        *(_esims(), _over_limit(), _kept(), _budget()),
    )
    return dashboard(
        "exporter",
        "eSIM / Exporter",
        """The exporter itself: whether events arrive, are understood, stored in time and
        scraped.""",
        since="now-1d",
        chosen_by=[
            *(variables.datasource(), variables.job()),
            *(variables.instance(), variables.vendor()),
        ],
        sections=[
            ("", [(4, [(3, each) for each in figures])]),
            (
                "Webhook",
                [
                    (9, _halves(webhook.events(), webhook.rejections())),
                    (9, _thirds(webhook.latency(), webhook.delay(), webhook.burn())),
                    (8, _thirds(webhook.signatures(), webhook.requests(), firing(of_exporter()))),
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
                            *((3, replicas.storage()), (4, replicas.missing())),
                            *((6, replicas.shards()), (6, replicas.lag())),
                            (5, replicas.conflicts()),
                        ],
                    )
                ],
            ),
        ],
    )


def _halves(*panels: Panel) -> list[tuple[int, Panel]]:
    return [(12, panel) for panel in panels]


def _thirds(*panels: Panel) -> list[tuple[int, Panel]]:
    return [(8, panel) for panel in panels]


def _up() -> stat.Panel:
    return up_or_down(
        Words(
            "Up",
            """Whether Prometheus reaches every chosen instance. While it is down, events are lost
            after the vendor's three retries: start it; the runbook is EsimExporterDown.""",
            "not scraped",
        ),
        Query("min(up{@exporter})", instant=True),
    )


def _version() -> stat.Panel:
    return label_figure(
        Words(
            "Version",
            """Of the chosen instances. Read the changelog before an upgrade.""",
            "not scraped",
        ),
        Query("max by (version) (esim_exporter_build_info{@exporter})", instant=True),
        "version",
    )


def _uptime() -> stat.Panel:
    return figure(
        Words(
            "Uptime",
            """Of the instance that started last. Short without a known restart: look into its log
            for why it ended.""",
            "not scraped",
        ),
        [Query("time() - max(process_start_time_seconds{@exporter})", instant=True)],
        "s",
        trend=False,
    )


def _feed() -> stat.Panel:
    return figure(
        Words(
            "Feed age",
            """Since when no verified delivery has arrived. Long without rejections: the vendor
            does not send, or something before the exporter is broken. Long with signature
            rejections: the secret has changed.""",
            "nothing received yet",
        ),
        [
            Query(
                """time() - min(max without (instance, pod) (
                esim_exporter_last_received_timestamp_seconds{@fleet}))""",
                instant=True,
            )
        ],
        "s",
        palette.above((4 * 3600, palette.NOTICE), (5 * 3600, palette.CRITICAL)),
        trend=False,
    )


def _esims() -> stat.Panel:
    return figure(
        Words(
            "Cap used",
            """eSIMs with series of their own, of those that --limits.max-esims allows; of several
            shards the fullest. Near 100 %: raise it, with memory for Prometheus and the exporter in
            mind.""",
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
            """eSIMs that are stored and counted but have no series, so that no alert about them
            alone can fire. Not 0: raise --limits.max-esims.""",
            "not loaded",
        ),
        [Query(replicas.kept("esim_exporter_esims_over_limit{@exporter}"), instant=True)],
        "locale",
        palette.above((1, palette.CRITICAL)),
        trend=False,
    )


def _kept() -> stat.Panel:
    return figure(
        Words(
            "Rejected",
            """Signed deliveries that were not understood and are kept. Not 0: the vendor may have
            changed its format; the runbook is EsimRejectedEventsWaiting.""",
            "not loaded",
        ),
        [Query("max(esim_exporter_rejected_events{@exporter})", instant=True)],
        "locale",
        palette.above((1, palette.NOTICE)),
        trend=False,
    )


def _budget() -> stat.Panel:
    return figure(
        Words(
            "Error budget used",
            """How much of what may fail (0.1 % of the webhook's requests in three days) has
            failed. Above 100 %: the objective is missed, see which errors and when below.""",
            "no requests, or the rules are not loaded",
        ),
        [Query(f"max({webhook.error_ratio('3d')}) / {webhook.OBJECTIVE}", instant=True)],
        "percentunit",
        palette.above((0.5, palette.NOTICE), (1, palette.CRITICAL)),
        decimals=0,
        trend=False,
    )
