"""The dashboard ``esim-package``: packages side by side, to find the one with a problem."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from exporter.mixin.dashboards import palette, variables
from exporter.mixin.dashboards.alerts import firing, of_package
from exporter.mixin.dashboards.attention import esims_out_of_data, which
from exporter.mixin.dashboards.expressions import per_shard, report_interval
from exporter.mixin.dashboards.layout import dashboard
from exporter.mixin.dashboards.panels import (
    Query,
    Words,
    bars,
    dashed,
    lines,
    recoloured,
)
from exporter.mixin.dashboards.tables import Column, columns
from exporter.settings.field_types import parse_duration

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders import bargauge, table, timeseries
    from grafana_foundation_sdk.builders.dashboard import Dashboard

    from exporter.mixin.values import MixinValues

_PACKAGE: Final = ("vendor", "package_id")
_REMAINING: Final = per_shard(
    "esim_fleet_data_remaining_bytes{@package}", *_PACKAGE, of_replicas="min"
)
_ALLOWED: Final = per_shard("esim_fleet_data_allowed_bytes{@package}", *_PACKAGE)
_STATUSES: Final = per_shard("esim_fleet_allowances{@package}", *_PACKAGE, "status")
_CONSUMED: Final = "package:esim_fleet_data_consumed_bytes"


def make(values: MixinValues) -> Dashboard:
    """Return the dashboard."""
    return dashboard(
        "package",
        "eSIM / Package",
        """All packages side by side, and the chosen ones over time. An eSIM with two packages
        counts in each.""",
        values=values,
        since="now-2d",
        chosen_by=[
            *(variables.vendor(), variables.package()),
            *(variables.datasource(), variables.job(), variables.instance()),
        ],
        sections=[
            ("", [(15, ((24, _packages(values)),))]),
            (
                "The chosen packages",
                [
                    (9, ((24, which("@package", values)),)),
                    (10, ((14, _consumption()), (10, _remaining()))),
                    (9, ((8, _distribution()), (8, _nearly_used(values)), (8, _statuses()))),
                    (11, ((12, _lasts(values)), (12, firing(of_package(), values)))),
                ],
            ),
        ],
    )


def _over(threshold: str) -> str:
    """Return an expression for the allowances of which at least a share is used."""
    family = "esim_fleet_allowances_over_threshold"
    series = f'{family}{{@package, resource="data", threshold="{threshold}"}}'
    return per_shard(series, *_PACKAGE)


def _packages(values: MixinValues) -> table.Panel:
    horizon = parse_duration(values.forecast.horizon)
    by = "sum by (vendor, package_id)"
    queries = [
        """max by (vendor, package_id, package_name) (esim_package_info{@package})""",
        esims_out_of_data("@package"),
        f"{by} ({_over('0.9')})",
        f"""{by} ({_STATUSES.replace("@package", '@package, status="ACTIVATED"')})""",
        f"1 - {by} ({_REMAINING}) / {by} ({_ALLOWED})",
        _lasts_seconds(),
    ]
    to_package = variables.to_dashboard("package", "package", "package_id")
    return columns(
        Words(
            "Packages",
            """All chosen packages, those with most eSIMs out of data first. An eSIM is out of data
            if it has nothing left in any package; it counts in the one that ran out last. Used
            is the share of all data of the eSIMs. Lasts is how long the rest lasts at the
            consumption of the last day, if the vendor reports at intervals.""",
            "no package is known",
        ),
        [Query(source, instant=True) for source in queries],
        [
            Column("package_id", "Package", link=to_package, link_title="Only this package"),
            Column("package_name", "Name"),
            Column("vendor", "Vendor", width=105),
            Column("Value #B", "Out of data", "locale", palette.above((1, palette.CRITICAL)), 115),
            Column("Value #C", "Over 90 %", "locale", palette.above((1, palette.WARNING)), 90),
            Column("Value #D", "Activated", "locale", width=90),
            Column(
                *("Value #E", "Used", "percentunit", palette.USED),
                bar=True,
                empty="unlimited",
                decimals=1,
                width=220,
            ),
            Column(
                *("Value #F", "Lasts", "s", ((None, palette.CRITICAL), (horizon, palette.GOOD))),
                width=110,
                empty="-",
                decimals=1,
            ),
        ],
        sort_by="Value #B",
    )


def _lasts_seconds() -> str:
    """Return an expression for how long the remaining data of packages lasts.

    What is reported at thresholds only was not used within the last day.
    """
    by = "sum by (vendor, package_id)"
    return f"""{by} ({_REMAINING}) / {by} ({_CONSUMED}:delta1d{{@package_rules}} > 0) * 86400
        and on (vendor) {report_interval()}"""


def _consumption() -> timeseries.Panel:
    return lines(
        Words(
            "Consumption",
            """Mean over four hours, because reports at intervals come every four hours. Use that is
            reported at thresholds only shows when one is reached. Compare with the same hour of the
            day before. A gap means that no events arrived.""",
            "nothing consumed, or the rules are not loaded",
        ),
        [
            Query(
                f"sum by (package_id) ({_CONSUMED}:delta4h{{@package_rules}}) / 14400",
                "{{package_id}}",
            )
        ],
        "binBps",
        stacked=True,
        legend=["mean", "max"],
    )


def _remaining() -> timeseries.Panel:
    panel = lines(
        Words(
            "Remaining against allowed",
            """Sums over the chosen packages: limited data of eSIMs that have not ended. Allowed
            rises with new eSIMs and top-ups, and falls when eSIMs end.""",
            "no limited package is chosen",
        ),
        [
            Query(
                f"sum({_REMAINING})",
                "remaining",
            ),
            Query(
                f"sum({_ALLOWED})",
                "allowed",
            ),
        ],
        "bytes",
        stairs=True,
    )
    return dashed(recoloured(panel, "remaining", palette.NEUTRAL), "allowed", palette.IDLE)


def _distribution() -> bargauge.Panel:
    shares = list(palette.BANDS)
    names = ["25 to 50 %", "50 to 75 %", "75 to 90 %", "90 to 100 %", "used up"]
    totals = {share: f"sum({_over(share)})" for share in shares}
    bands = {
        name: totals[low] + (f" - {totals[high]}" if high else "")
        for name, low, high in zip(names, shares, [*shares[1:], ""], strict=True)
    }
    below = f"sum(package:esim_fleet_allowances:sum{{@package_rules}}) - {totals[shares[0]]}"
    colours = {name: palette.BANDS[share][1] for name, share in zip(names, shares, strict=True)}
    lowest = "less, or unlimited"
    return bars(
        Words(
            "eSIMs by share used, now",
            """eSIMs of the chosen packages by their share of data used, without ended eSIMs. Those
            in orange lose service next, unless they have another package.""",
            "no package is chosen",
        ),
        [Query(expr, name, instant=True) for name, expr in {lowest: below, **bands}.items()],
        "locale",
        colours={lowest: palette.IDLE, **colours},
    )


def _nearly_used(values: MixinValues) -> timeseries.Panel:
    return lines(
        Words(
            "Share of eSIMs over 90 %",
            values.text(
                """For each package, the share of its eSIMs that used over 90 %, without ended
                eSIMs. Above the dashed line EsimPackageUsageHigh opens a ticket if it concerns
                @packages.min_esims or more eSIMs: offer top-ups, or a larger package."""
            ),
            "no limited package is chosen, or the rules are not loaded",
        ),
        [
            Query(
                """max by (package_id) (
                package:esim_fleet_allowances_over:ratio{@package_rules, resource="data"}) > 0""",
                "{{package_id}}",
            )
        ],
        "percentunit",
        steps=((None, "transparent"), (values.packages.usage_high, palette.WARNING)),
        fill=0,
    )


def _statuses() -> timeseries.Panel:
    panel = lines(
        Words(
            "eSIMs by status",
            """eSIMs of the chosen packages. When EXPIRED rises as ACTIVATED falls, packages end as
            usual. A rise of REVOKED or DELETED is not usual.""",
            "no package is chosen",
        ),
        [
            Query(
                f"sum by (status) ({_STATUSES}) > 0",
                "{{status}}",
            )
        ],
        "locale",
        fill=0,
        stairs=True,
    )
    for status, colour in palette.STATUSES.items():
        panel = recoloured(panel, status, colour)
    return panel


def _lasts(values: MixinValues) -> timeseries.Panel:
    return lines(
        Words(
            "How long the remaining data lasts",
            values.text(
                """For each package, at the consumption of the last day. Below the dashed line of
                @forecast.horizon EsimPackageExhaustionForecast opens a ticket if it concerns
                @packages.min_esims or more eSIMs. Packages of vendors that report at thresholds
                only have no line."""
            ),
            "no consumption within a day, no vendor that reports at intervals, or no rules",
        ),
        [Query(_lasts_seconds(), "{{package_id}}")],
        "s",
        steps=((None, "transparent"), (parse_duration(values.forecast.horizon), palette.WARNING)),
        fill=0,
        legend=["lastNotNull"],
    )
