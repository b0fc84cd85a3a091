"""Panels of the time since something arrived, by vendor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import dashboard as models

from exporter.mixin.dashboards import palette
from exporter.mixin.dashboards.expressions import report_interval
from exporter.mixin.dashboards.panels import Query, Words, figure

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders import stat

    from exporter.mixin.values import MixinValues

_NEUTRAL: Final = {"mode": "fixed", "fixedColor": palette.NEUTRAL}


def age(values: MixinValues) -> stat.Panel:
    """Return the panel of the time since the last verified delivery of each vendor."""
    return _since(
        "esim_exporter_last_received_timestamp_seconds",
        Words(
            "Feed age",
            values.text(
                """Time since the last verified delivery of each vendor. After @feed.silent it is a
                page: see the rejections on the exporter's dashboard. A vendor in blue reports at
                thresholds only, so hours without a delivery are usual."""
            ),
            "nothing received yet",
        ),
        values,
    )


def usage_age(values: MixinValues) -> stat.Panel:
    """Return the panel of the time since usage of each vendor last arrived."""
    return _since(
        "esim_exporter_last_usage_received_timestamp_seconds",
        Words(
            "Last usage",
            """Time since the last usage event of each vendor that changed something. If it is long
            while the feed age is short, nobody sees who runs out of data: ask the vendor. A vendor
            in blue reports at thresholds only, so hours without one are usual.""",
            "no usage received yet",
        ),
        values,
    )


def _since(timestamp: str, words: Words, values: MixinValues) -> stat.Panel:
    """Return the time since then. Only where a vendor reports at intervals, it has a limit."""
    since = f"time() - min by (vendor) (max by (job, vendor) ({timestamp}{{@fleet}}))"
    panel = figure(
        words,
        [
            Query(f"{since} and on (vendor) {report_interval()}", "{{vendor}}", instant=True),
            Query(f"{since} unless on (vendor) {report_interval()}", "{{vendor}}", instant=True),
        ],
        "s",
        palette.silence(values),
        trend=False,
    )
    return panel.text_mode(
        common.BigValueTextMode.AUTO
    ).override_by_query(  # with names where there are several vendors
        "B", [models.DynamicConfigValue(id_val="color", value=_NEUTRAL)]
    )
