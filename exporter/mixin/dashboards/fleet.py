"""The dashboard ``esim-fleet``: whether anyone is about to lose service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from exporter.mixin.dashboards import palette, variables
from exporter.mixin.dashboards.alerts import firing, in_scopes
from exporter.mixin.dashboards.layout import dashboard
from exporter.mixin.dashboards.panels import (
    PER_ESIM,
    Query,
    Words,
    bars,
    dashed,
    dial,
    figure,
    in_order,
    lines,
    pie,
    renamed,
)
from exporter.mixin.dashboards.tables import Column, columns
from exporter.mixin.rules.rule_types import TERMINAL

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders import bargauge, piechart, table, timeseries
    from grafana_foundation_sdk.builders.dashboard import Dashboard

    from exporter.mixin.values import MixinValues

_DAYS: Final = {
    "1": ("within a day", palette.CRITICAL),
    "2": ("1 to 2 days", palette.WARNING),
    "3": ("2 to 3 days", palette.NOTICE),
    **{str(day): (f"{day - 1} to {day} days", palette.GOOD) for day in range(4, 8)},
}
"""Names and colours of the days of the forecast."""


def make(values: MixinValues) -> Dashboard:
    """Return the dashboard."""
    figures = (
        (4, figure(*_ACTIVE)),
        (4, figure(*_NEARLY, trend=False)),
        (4, figure(*_EXHAUSTED, trend=False)),
        (4, figure(*_STALE)),
        (4, figure(*_FEED, trend=False)),
        (4, figure(*_BALANCE, decimals=0, trend=False)),
    )
    return dashboard(
        "fleet",
        "eSIM / Fleet",
        """All eSIMs: who is about to lose service, which package, which eSIM, and whether events
        arrive.""",
        values=values,
        since="now-2d",
        # There is no variable for packages, because half of these figures do not exist per package.
        chosen_by=[
            variables.datasource(),
            variables.job(),
            variables.instance(),
            variables.vendor(),
        ],
        sections=[
            ("", [(5, figures)]),
            (
                "About to lose service",
                [
                    (
                        9,
                        (
                            (14, _nearest()),
                            (10, firing(in_scopes("fleet|package|exporter"), values)),
                        ),
                    ),
                    (9, ((10, _thresholds()), (8, _forecast()), (6, dial(*_SHARE)))),
                ],
            ),
            (
                "Consumption and status",
                [
                    (9, ((16, _by_package()), (8, _statuses()))),
                    (9, ((16, _by_location()), (8, _balance()))),
                ],
            ),
        ],
    )


_ACTIVE: Final = (
    Words(
        "Activated eSIMs",
        """eSIMs that can use data now. A sudden fall means lost state or a mass revocation: see
        the status panel below and the runbook of EsimFleetShrunk.""",
        "no eSIMs known",
    ),
    [Query('sum(max without (instance, pod) (esim_fleet_esims{@fleet, status="ACTIVATED"}))')],
    "locale",
)
_NEARLY: Final = (
    Words(
        "90 % or more used",
        """eSIMs that have used at least 90 % of their data, also those that have used all. The
        table below shows which. Tell their owners, or top them up.""",
        "no limited packages",
    ),
    [
        Query(
            """sum(max without (instance, pod) (
            esim_fleet_allowances_over_threshold{@fleet, resource="data", threshold="0.9"}))"""
        )
    ],
    "locale",
    palette.above((1, palette.WARNING)),
)
_EXHAUSTED: Final = (
    Words(
        "Exhausted",
        """eSIMs without any data left: they have lost service. There are always a few. A rise
        within hours is a page (EsimPackageExhausted). The package dashboard shows which
        package.""",
        "no limited packages",
    ),
    [
        Query(
            """sum(max without (instance, pod) (
            esim_fleet_allowances_over_threshold{@fleet, resource="data", threshold="1"}))"""
        )
    ],
    "locale",
    palette.above((1, palette.CRITICAL)),
)
_STALE: Final = (
    Words(
        "Stale",
        """Activated eSIMs that have missed two of their four-hourly reports, so their data here is
        old. If there are many, events are missing: see the exporter's dashboard.""",
        "no eSIMs known",
    ),
    [Query("sum(min without (instance, pod) (esim_fleet_esims_stale{@fleet}))")],
    "locale",
    palette.above((1, palette.NOTICE)),
)
_FEED: Final = (
    Words(
        "Feed age",
        """Time since the last event, for the vendor that has been silent longest. After 4 h every
        activated eSIM should have reported; after 5 h it is a page. No other figure here is
        true until events arrive again: see the exporter's dashboard.""",
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
)
_BALANCE: Final = (
    Words(
        "Lowest balance",
        """The balance at the vendor, in the account's currency. With several accounts it is the
        lowest. Orders fail once it is used up: top up before it falls below the threshold in
        the panel below.""",
        "no partner event yet",
    ),
    [Query("min(min without (instance, pod) (esim_partner_balance{@fleet}))")],
    "none",
)
_SHARE: Final = (
    Words(
        "Data used of all that is allowed",
        """Share of data used, over all limited packages of eSIMs that have not ended. It moves
        slowly. A jump means that many eSIMs began or ended at once.""",
        "no limited packages",
    ),
    [
        Query(
            """1 - sum(min without (instance, pod) (esim_fleet_data_remaining_bytes{@fleet}))
            / sum(max without (instance, pod) (esim_fleet_data_allowed_bytes{@fleet}))""",
            instant=True,
        )
    ],
    palette.USED,
)


def _nearest() -> table.Panel:
    # It reads only the few eSIMs that the rules record, above 75 %. That is fast in large fleets.
    near = f"""topk(12,
        esim_package:esim_data_used:ratio_high{{@rules}} < 1
        unless on (job, vendor, esim_id) esim_status{{@fleet, status=~"{TERMINAL}"}})"""
    by = "max by (vendor, esim_id, package_id)"  # equal labels make one row
    left = "esim_package:esim_data_left_seconds:forecast1d{@rules}"
    return columns(
        Words(
            "Nearest to their limit",
            """The twelve eSIMs that have used most of their data and still have some. Follow an
            eSIM to its history, or a package to compare it with others. Top up those that must
            not lose service. Alerts list the exhausted ones.""",
            "no eSIM has used 75 % of its data",
        ),
        [
            Query(f"{by} ({near})", instant=True),
            Query(f"{by} ({left} and {near})", instant=True),
        ],
        [
            Column(
                "esim_id",
                "eSIM",
                width=320,
                link=variables.to_dashboard("esim", "esim", "esim_id"),
                link_title="Show this eSIM",
            ),
            Column(
                "package_id",
                "Package",
                link=variables.to_dashboard("package", "package", "package_id"),
                link_title="Show this package",
            ),
            Column("Value #A", "Used", "percentunit", palette.USED, 90, decimals=1),
            Column("Value #B", "Lasts", "s", width=110, empty="a day idle", decimals=1),
        ],
        sort_by="Value #A",
    )


def _thresholds() -> timeseries.Panel:
    panel = lines(
        Words(
            "eSIMs by share of data used",
            """How many eSIMs have used at least 25, 50, 75, 90 and 100 % of their data. Each line
            includes the lines below it. If red or orange rises steeply, find the package on the
            package dashboard.""",
            "no limited packages",
        ),
        [
            Query(
                """sum by (threshold) (max without (instance, pod) (
                esim_fleet_allowances_over_threshold{@fleet, resource="data"}))""",
                "{{threshold}}",
            )
        ],
        "locale",
    )
    for threshold, (title, colour) in palette.BANDS.items():
        panel = renamed(panel, threshold, colour, title)
    return panel


def _forecast() -> bargauge.Panel:
    # One query for all bars, because each query would read every eSIM.
    left = "esim_package:esim_data_left_seconds:forecast1d{@rules}"
    panel = bars(
        Words(
            "Forecast to run out of data",
            """eSIMs by the day on which their data runs out, at the consumption of the last day.
            Those that run out within a day need a top-up today; the table of the nearest to
            their limit shows which.""",
            "no eSIM runs out within a week, or the rules are not loaded",
        ),
        [
            Query(
                f'count_values("days", ceil(({left} > 0 < {7 * 86400}) / 86400))',
                "{{days}}",
                instant=True,
            )
        ],
        "locale",
    )
    for day, (title, colour) in _DAYS.items():
        panel = renamed(panel, day, colour, title)
    return in_order(panel, list(_DAYS))


def _by_package() -> timeseries.Panel:
    recorded = "package:esim_fleet_data_consumed_bytes"
    return lines(
        Words(
            "Consumption per package, ten largest of the last day",
            """Mean over four hours, because each eSIM reports every four hours. A band that grows
            explains a rise of the shares above. A gap means that no events arrived.""",
            "nothing consumed, or the rules are not loaded",
        ),
        [
            Query(
                f"""sum by (package_id) ({recorded}:delta4h{{@rules}}) / 14400
                and on (package_id)
                topk(10, sum by (package_id) ({recorded}:delta1d{{@rules}} @ end()))""",
                "{{package_id}}",
            )
        ],
        "binBps",
        stacked=True,
        legend=["mean", "max"],
    )


def _by_location() -> timeseries.Panel:
    used = "max without (instance, pod) (increase("
    family = "esim_fleet_location_data_consumed_bytes_total{@fleet}"
    return lines(
        Words(
            "Consumption per location, ten largest of the last day",
            """Where data is used, by the vendor's names of places. Mean over four hours. A new or
            fast growing place may be expensive roaming, or fraud.""",
            "no report has named a place",
        ),
        [
            Query(
                f"""sum by (location) ({used}{family}[4h]))) / 14400
                and on (location)
                topk(10, sum by (location) ({used}{family}[1d] @ end()))))""",
                "{{location}}",
            )
        ],
        "binBps",
        stacked=True,
        legend=["mean", "max"],
        interval=PER_ESIM,
    )


def _statuses() -> piechart.Panel:
    return pie(
        Words(
            "eSIMs by status",
            """All known eSIMs, until a day after their end. If many become REVOKED at once, the
            vendor did it: ask there. UNKNOWN and OTHER are statuses that the vendor has not
            documented.""",
            "no eSIMs known",
        ),
        [
            Query(
                """sum by (status) (max without (instance, pod) (esim_fleet_esims{@fleet})) > 0""",
                "{{status}}",
                instant=True,
            )
        ],
        "locale",
        palette.STATUSES,
    )


def _balance() -> timeseries.Panel:
    panel = lines(
        Words(
            "Partner balance",
            """The balance in the newest partner event. The dashed line is where the vendor warns;
            below it, top up. The balance changes with partner events only, so a flat line means
            no news.""",
            "no partner event yet",
        ),
        [
            Query(
                "min without (instance, pod, shard, job) (esim_partner_balance{@fleet})",
                "{{vendor}} {{currency}}",
            ),
            Query(
                "max without (instance, pod, shard, job) (esim_partner_balance_threshold{@fleet})",
                "threshold {{vendor}} {{currency}}",
            ),
        ],
        "none",
        stairs=True,
    )
    return dashed(panel, "^threshold.*", palette.CRITICAL)
