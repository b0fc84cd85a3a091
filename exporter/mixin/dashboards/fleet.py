"""The dashboard ``esim-fleet``: who has lost service, and who is about to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from exporter.mixin.dashboards import attention, balance, feed, palette, variables
from exporter.mixin.dashboards.alerts import firing, in_scopes
from exporter.mixin.dashboards.expressions import per_shard
from exporter.mixin.dashboards.layout import dashboard
from exporter.mixin.dashboards.panels import (
    PER_ESIM,
    Query,
    Words,
    bars,
    dial,
    figure,
    in_order,
    lines,
    pie,
    renamed,
)

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders import bargauge, piechart, timeseries
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
        (6, figure(*_ACTIVE)),
        (6, figure(*_STALE)),
        (6, feed.age(values)),
        (6, balance.now()),
    )
    return dashboard(
        "fleet",
        "eSIM / Fleet",
        """All eSIMs: who has lost service, who is about to, and whether events arrive.""",
        values=values,
        since="now-2d",
        # There is no variable for packages, because half of these figures do not exist per package.
        chosen_by=[
            variables.vendor(),
            variables.datasource(),
            variables.job(),
            variables.instance(),
        ],
        sections=[
            (
                "",
                [(10, ((4, attention.how_many(values)), (20, attention.which("@fleet", values))))],
            ),
            (
                "About to run out of data",
                [(9, ((4, attention.how_many_soon()), (20, attention.which_soon())))],
            ),
            (
                "Alerts, feed and balance",
                [
                    (4, figures),
                    (
                        9,
                        (
                            (12, firing(in_scopes("fleet|package|exporter"), values)),
                            (12, _thresholds()),
                        ),
                    ),
                ],
            ),
            (
                "Consumption and status",
                [
                    (9, ((16, _by_package()), (8, _statuses()))),
                    (9, ((16, _by_location()), (8, balance.over_time()))),
                    (9, ((16, _forecast()), (8, dial(*_SHARE)))),
                ],
            ),
        ],
    )


_PACKAGE: Final = ("vendor", "package_id")
_ESIMS: Final = "esim_fleet_esims{@fleet}"
_ACTIVATED: Final = 'esim_fleet_esims{@fleet, status="ACTIVATED"}'
_REMAINING: Final = "esim_fleet_data_remaining_bytes{@fleet}"
_OVER: Final = 'esim_fleet_allowances_over_threshold{@fleet, resource="data"}'

_ACTIVE: Final = (
    Words(
        "Activated eSIMs",
        """eSIMs that can use data now, of vendors that tell statuses. A sudden fall means lost
        state or a mass revocation: see the status panel below and the runbook of
        EsimFleetShrunk.""",
        "no eSIMs known",
    ),
    [Query(f"sum({per_shard(_ACTIVATED, 'vendor')})")],
    "locale",
)
_STALE: Final = (
    Words(
        "Stale",
        """Activated eSIMs that have missed two reports, so their data here is old. If there are
        many, events are missing: see the exporter's dashboard. Those of vendors that report at
        thresholds only are not counted, because they owe no report.""",
        "no vendor that reports at intervals",
    ),
    [Query(f"sum({per_shard('esim_fleet_esims_stale{@fleet}', 'vendor', of_replicas='min')})")],
    "locale",
    palette.above((1, palette.NOTICE)),
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
            f"1 - sum({per_shard(_REMAINING, *_PACKAGE, of_replicas='min')}) "
            f"/ sum({per_shard('esim_fleet_data_allowed_bytes{@fleet}', *_PACKAGE)})",
            instant=True,
        )
    ],
    palette.USED,
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
                f"sum by (threshold) ({per_shard(_OVER, *_PACKAGE, 'threshold')})",
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
            Those that run out within a day need a top-up today. It needs the job of single
            eSIMs.""",
            "no eSIM runs out within a week, or single eSIMs are not scraped",
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
            """Mean over four hours, because reports at intervals come every four hours. Use that is
            reported at thresholds only shows when one is reached. A band that grows explains a rise
            of the shares above. A gap means that no events arrived.""",
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
    family = "esim_fleet_location_data_consumed_bytes_total{@fleet}"
    by_day, by_report = (
        f"sum by (location) ({per_shard(f'increase({family}[{window}])', 'vendor', 'location')})"
        for window in ("1d", "4h")
    )
    return lines(
        Words(
            "Consumption per location, ten largest of the last day",
            """Where data is used, by the vendor's names of places. Mean over four hours. A new or
            fast growing place may be expensive roaming, or fraud.""",
            "no report has named a place",
        ),
        [
            Query(
                f"""{by_report} / 14400
                and on (location)
                topk(10, {by_day.replace("[1d]", "[1d] @ end()")})""",
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
            vendor did it: ask there. Of eSIMs in UNKNOWN, the vendor has told no status. OTHER are
            statuses that it has not documented.""",
            "no eSIMs known",
        ),
        [
            Query(
                f"sum by (status) ({per_shard(_ESIMS, 'vendor', 'status')}) > 0",
                "{{status}}",
                instant=True,
            )
        ],
        "locale",
        palette.STATUSES,
    )
