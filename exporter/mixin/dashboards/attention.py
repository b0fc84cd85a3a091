"""Panels about eSIMs that are out of data, or soon will be.

All of them read the job ``esim-exporter``, so they work where single eSIMs are not scraped. What
counts and what lists eSIMs has the same source. The count does not depend on the limit of the group
``attention``; the lists do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from grafana_foundation_sdk.models import dashboard as models

from exporter.mixin.dashboards import palette, variables
from exporter.mixin.dashboards.expressions import per_shard
from exporter.mixin.dashboards.panels import Query, Words, figure
from exporter.mixin.dashboards.tables import Column, columns, opened

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders import stat, table

    from exporter.mixin.values import MixinValues

ALERT: Final = "EsimOutOfData"

_MOST: Final = 200
"""Rows of a table. More would make a browser slow."""

_SINCE: Final = "esim_attention_out_of_data_since_timestamp_seconds"
_ROW: Final = "max by (vendor, esim_id, package_id)"
"""Equal labels make one row of a table, whichever replica shows them."""


def esims_out_of_data(selection: str) -> str:
    """Return an expression for the number of eSIMs out of data in each vendor and package."""
    count = per_shard(f"esim_fleet_esims_out_of_data{{{selection}}}", "vendor", "package_id")
    return f"sum by (vendor, package_id) ({count})"


def how_many(values: MixinValues) -> stat.Panel:
    """Return the panel of the number of eSIMs out of data."""
    panel = figure(
        Words(
            "Out of data now",
            f"""eSIMs that have no data left in any package: these people are offline. The table
            beside it lists them, and the package dashboard shows their packages. Top them up. The
            runbook is {ALERT}.""",
            "no eSIMs known",
        ),
        [Query(f"sum({esims_out_of_data('@fleet')})", instant=True)],
        "locale",
        palette.above((1, palette.CRITICAL)),
        trend=False,
    )
    links = {"Show their packages": variables.to_dashboard("package")}
    if values.links.status_page:
        links["List all on the status page"] = f"{values.links.status_page}/esims?out_of_data=true"
    return panel.data_links([variables.link(*each) for each in links.items()])


def which(selection: str, values: MixinValues) -> table.Panel:
    """Return the panel of the eSIMs out of data, the newest first."""
    newest = f"topk({_MOST}, {_ROW} ({_SINCE}{{{selection}}}))"
    since = f"1000 * {_named(newest)}"
    shown, labels = _links(values)
    for label in labels:
        since = f'label_replace({since}, "{label}", "open", "", "")'
    return columns(
        Words(
            "Which eSIMs are out of data",
            f"""The newest come first, at most {_MOST}. The package is the one that ran out last.
            If the number is higher than these rows, see --limits.max-attention; the status page
            lists all.""",
            "none, or the metric group attention is not scraped",
        ),
        [Query(since, instant=True), Query(f"time() - {newest}", instant=True)],
        [
            *_identity(),
            Column("Value #A", "Since", "dateTimeAsIso", width=165),
            Column(*("Value #B", "For", "s", ((None, palette.CRITICAL),)), width=85, decimals=1),
            *shown,
        ],
        sort_by="Value #A",
    )


def how_many_soon() -> stat.Panel:
    """Return the panel of the numbers of eSIMs that have used most of their data."""

    def over(threshold: str) -> str:
        family = "esim_fleet_allowances_over_threshold"
        series = f'{family}{{@fleet, resource="data", threshold="{threshold}"}}'
        return f"sum({per_shard(series, 'vendor', 'package_id')})"

    bands = (
        ("90 % or more used", "0.9", "1", palette.WARNING),
        ("75 to 90 % used", "0.75", "0.9", palette.NOTICE),
    )
    panel = figure(
        Words(
            "About to run out",
            """Packages of eSIMs that have used most of their data and still have some. An eSIM may
            have a second package with more data. The table beside it lists them: tell their
            owners, or top them up.""",
            "no limited packages",
        ),
        [Query(f"{over(low)} - {over(high)}", name, instant=True) for name, low, high, _ in bands],
        "locale",
        trend=False,
        names=True,
    )
    for name, _, _, colour in bands:
        steps = palette.above((1, colour))
        value = {
            "mode": "absolute",
            "steps": [{"value": bound, "color": shade} for bound, shade in steps],
        }
        panel = panel.override_by_name(
            name, [models.DynamicConfigValue(id_val="thresholds", value=value)]
        )
    return panel


def which_soon() -> table.Panel:
    """Return the panel of the packages of eSIMs that have used most of their data."""
    near = f"""topk({_MOST},
        {_ROW} (esim_attention_used_ratio{{@fleet, resource="data"}}) < 1)"""
    # Of the few rows before they are grouped, because there may be as many series as eSIMs.
    of_rows = f"and on (vendor, esim_id, package_id) {near}"
    entered = 'esim_attention_since_timestamp_seconds{@fleet, resource="data"}'
    left = "esim_package:esim_data_left_seconds:forecast1d{@rules}"
    return columns(
        Words(
            "Which eSIMs are about to run out",
            f"""Those that have used most of their data come first, at most {_MOST}. In this band is
            the time since 75 or 90 % was used. Lasts needs the job of single eSIMs, and a vendor
            that reports at intervals: how long the rest lasts at the consumption of the last
            day.""",
            "no eSIM has used 75 % of its data",
        ),
        [
            Query(_named(near), instant=True),
            Query(f"time() - {_ROW} ({entered} {of_rows})", instant=True),
            Query(f"{_ROW} ({left} {of_rows})", instant=True),
        ],
        [
            *_identity(),
            Column("Value #A", "Used", "percentunit", palette.USED, 80, decimals=1),
            Column("Value #B", "In this band", "s", width=110, decimals=1),
            Column("Value #C", "Lasts", "s", width=90, empty="-", decimals=1),
        ],
        sort_by="Value #A",
    )


def _named(series: str) -> str:
    """Add the label ``reference_id``.

    While replicas know different names of an eSIM, one of them is enough.
    """
    names = "topk by (vendor, esim_id) (1, esim_attention_info{@fleet})"
    return f"({series}) * on (vendor, esim_id) group_left (reference_id) {names}"


def _identity() -> list[Column]:
    return [
        Column(
            "esim_id",
            "eSIM",
            width=325,
            link=variables.to_dashboard("esim", "esim", "esim_id"),
            link_title="Show this eSIM",
        ),
        Column("reference_id", "Reference", width=135),
        Column(
            "package_id",
            "Package",
            link=variables.to_dashboard("package", "package", "package_id"),
            link_title="Show this package",
        ),
        Column("vendor", "Vendor", width=100),
    ]


def _links(values: MixinValues) -> tuple[list[Column], list[str]]:
    """Return columns of links to pages outside Grafana, and the labels that they show."""
    pages = {"Runbook": variables.to_runbook(values, ALERT)}
    if values.links.status_page:
        pages["Status page"] = variables.to_esim_page(values)
    shown = [opened(title, url) for title, url in pages.items()]
    return shown, [each.name for each in shown]
