"""The dashboard ``esim-fleet``: whether anyone is about to lose service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from grafana.generator import palette, variables
from grafana.generator.alerts import firing, in_scopes
from grafana.generator.layout import dashboard
from grafana.generator.panels import (
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
from grafana.generator.tables import Column, columns

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders import bargauge, piechart, table, timeseries
    from grafana_foundation_sdk.builders.dashboard import Dashboard

TERMINAL: Final = "DELETED|EXPIRED|REVOKED"
"""Statuses an eSIM does not come back from."""

_DAYS: Final = {
    "1": ("within a day", palette.CRITICAL),
    "2": ("1 to 2 days", palette.WARNING),
    "3": ("2 to 3 days", palette.NOTICE),
    **{str(day): (f"{day - 1} to {day} days", palette.GOOD) for day in range(4, 8)},
}
"""Names and colours of the days of the forecast."""


def make() -> Dashboard:
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
        """All eSIMs: who is about to lose service, which package, which eSIM, and whether the
        feed can be believed.""",
        since="now-2d",
        # No variable for packages: only half of these figures can be told by package.
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
                    (9, ((14, _nearest()), (10, firing(in_scopes("fleet|package|exporter"))))),
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
        """eSIMs that can use data now. A sudden fall means lost state or a mass revocation: look
        at the status panel below, and at the runbook of EsimFleetShrunk.""",
        "no eSIMs known",
    ),
    [Query('sum(max without (instance, pod) (esim_fleet_esims{@fleet, status="ACTIVATED"}))')],
    "locale",
)
_NEARLY: Final = (
    Words(
        "90 % or more used",
        """eSIMs that have used at least nine tenths of their data, the exhausted ones included.
        See which below, and tell their owners or top them up.""",
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
        """eSIMs without any data left: they have lost service. A few are always there; a rise
        within hours is a page (EsimPackageExhausted). Open the package dashboard to see which.""",
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
        """Activated eSIMs that have missed two of their four-hourly reports, so that what is shown
        of them is old. Many at once: the feed is silent or partly lost, see the exporter's
        dashboard.""",
        "no eSIMs known",
    ),
    [Query("sum(min without (instance, pod) (esim_fleet_esims_stale{@fleet}))")],
    "locale",
    palette.above((1, palette.NOTICE)),
)
_FEED: Final = (
    Words(
        "Feed age",
        """Since when nothing has arrived, of the vendor that has been silent for longest. Above
        4 h every activated eSIM owes a report; at 5 h it is a page. Until it is back no other
        figure here is true: go to the exporter's dashboard.""",
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
        """What is left in the account at the vendor, in the account's currency; of several
        accounts the lowest. Orders fail once it is used up: top up before it crosses the
        threshold in the panel below.""",
        "no partner event yet",
    ),
    [Query("min(min without (instance, pod) (esim_partner_balance{@fleet}))")],
    "none",
)
_SHARE: Final = (
    Words(
        "Data used of all that is allowed",
        """Over all limited packages of eSIMs not ended. It moves slowly; a jump means many new or
        many ended eSIMs at once.""",
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
    # Of the few that rules have found to be above 75 %, so that it is fast for large fleets.
    near = f"""topk(12,
        esim_package:esim_data_used:ratio_high{{@rules}} < 1
        unless on (job, vendor, esim_id) esim_status{{@fleet, status=~"{TERMINAL}"}})"""
    by = "max by (vendor, esim_id, package_id)"  # equal labels make one row
    left = "esim_package:esim_data_left_seconds:forecast1d{@rules}"
    return columns(
        Words(
            "Nearest to their limit",
            """The twelve that have used most of their data and still have some. Follow an eSIM to
            its history, or a package to see whether it is the package; top up what must not lose
            service. Exhausted ones are in the alerts of the eSIMs.""",
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
            """How many have used at least 25, 50, 75, 90 and 100 % of their data; each line holds
            the ones below it. Steep red or orange: look which package it is.""",
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
    # One query for all bars: each would look at every eSIM.
    left = "esim_package:esim_data_left_seconds:forecast1d{@rules}"
    panel = bars(
        Words(
            "Forecast to run out of data",
            """eSIMs by the day on which their data runs out, at the consumption of the last day.
            Those within a day need a top-up today; see them among the nearest to their limit.""",
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
            """Mean over four hours, since each eSIM reports once in four hours. A band that grows
            against the others explains what happens to the shares above; a gap is a silent
            feed.""",
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
            """Where data is used, by the vendor's names of places, mean over four hours. A place
            that is new or grows fast may be roaming at a price, or fraud.""",
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
            """All eSIMs that are known, until a day after they ended. Many REVOKED at once is the
            vendor's doing: ask there. UNKNOWN and OTHER are statuses the vendor has not
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
            """As in the newest partner event; dashed is where the vendor warns. Below it: top up.
            It moves with partner events only, so a flat line is no news.""",
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
