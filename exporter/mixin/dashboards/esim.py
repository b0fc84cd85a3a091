"""The dashboard ``esim-esim``: one eSIM. The user types its id, or a link contains it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from grafana_foundation_sdk.models import common

from exporter.mixin.dashboards import palette, variables
from exporter.mixin.dashboards.alerts import of_esim
from exporter.mixin.dashboards.expressions import report_interval
from exporter.mixin.dashboards.layout import dashboard
from exporter.mixin.dashboards.panels import (
    PER_ESIM,
    Query,
    Words,
    bars,
    dashed,
    dial,
    figure,
    label_figure,
    lines,
    recoloured,
)
from exporter.mixin.dashboards.tables import Column, columns, opened

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders import bargauge, gauge, stat, table, timeseries
    from grafana_foundation_sdk.builders.dashboard import Dashboard

    from exporter.mixin.values import MixinValues

_TYPE_ID: Final = "no such eSIM: enter an id above"


def make(values: MixinValues) -> Dashboard:
    """Return the dashboard."""
    return dashboard(
        "esim",
        "eSIM / eSIM",
        """One eSIM: enter its id above, or follow a link from a table or an alert. It needs the
        scrape job of single eSIMs.""",
        values=values,
        since="now-7d",
        chosen_by=[
            *(variables.vendor(), variables.esim()),
            *(variables.datasource(), variables.job(), variables.instance()),
        ],
        sections=[
            ("", [(5, ((13, _identity(values)), (4, _service()), (4, _status()), (3, _age())))]),
            (
                "Data",
                [
                    (9, ((5, _share()), (5, _left()), (14, _remaining()))),
                    (9, ((10, _daily()), (7, _locations()), (7, _age_over_time()))),
                ],
            ),
            ("SMS, voice and alerts", [(8, ((7, _sms()), (7, _voice()), (10, of_esim(values))))]),
        ],
    )


def _identity(values: MixinValues) -> table.Panel:
    names = "max by (vendor, esim_id, reference_id) (esim_info{@esim})"
    pages = []
    if values.links.status_page:
        pages.append(opened("Status page", variables.to_esim_page(values, "esim")))
        names = f'label_replace({names}, "status_page", "open", "", "")'
    return columns(
        Words(
            "Identity",
            """Its names in other systems, and its packages. Start and end are the vendor's fields,
            and may describe the last report only. More names, such as the ICCID or a hash of
            it, come with --metrics.esim-labels.""",
            _TYPE_ID,
        ),
        [
            Query(names, instant=True),
            Query(
                "max by (vendor, esim_id, package_id) (esim_data_unlimited{@esim})", instant=True
            ),
            Query(
                """max by (vendor, esim_id, package_id) (
                esim_package_end_timestamp_seconds{@esim}) * 1000""",
                instant=True,
            ),
        ],
        [
            Column("reference_id", "Reference", width=135),
            Column(
                "package_id",
                "Package",
                link=variables.to_dashboard("package", "package", "package_id"),
                link_title="Show this package",
            ),
            Column("vendor", "Vendor", width=105),
            Column(
                "Value #B",
                "Data",
                width=80,
                colours={"0": palette.NEUTRAL, "1": palette.GOOD},
                names={"0": "limited", "1": "unlimited"},
            ),
            Column("Value #C", "End, as reported", "dateTimeAsIso", width=165),
            *pages,
        ],
    )


def _service() -> stat.Panel:
    states = {"0": (palette.GOOD, "HAS DATA"), "1": (palette.CRITICAL, "OUT OF DATA")}
    panel = figure(
        Words(
            "Service",
            """Whether it has data left in any package. If it has none, the person is offline: top
            it up. The runbook is EsimOutOfData. An eSIM with a final status has no service,
            whatever is left.""",
            _TYPE_ID,
        ),
        [
            Query(
                "max(esim_attention_out_of_data{@esim}) or 0 * max(esim_status{@esim})",
                instant=True,
            )
        ],
        "none",
        trend=False,
    )
    colours = {value: colour for value, (colour, _) in states.items()}
    names = {value: name for value, (_, name) in states.items()}
    return panel.mappings([palette.coloured(colours, names), palette.empty(_TYPE_ID)])


def _status() -> stat.Panel:
    return label_figure(
        Words(
            "Status",
            """The newest status that the vendor sent. INACTIVE for seconds means a lost network.
            EXPIRED, REVOKED and DELETED are final, and the eSIM leaves this dashboard a day
            later.""",
            _TYPE_ID,
        ),
        Query("max by (status) (esim_status{@esim})", instant=True),
        "status",
        palette.STATUSES,
    )


_LAST: Final = "max by (vendor) (esim_last_event_timestamp_seconds{@esim})"
_DUE: Final = report_interval()
_TWO_MISSED: Final = f"2 * {report_interval()} + 3600"
"""Seconds after which EsimReportingStale fires."""


def _age() -> stat.Panel:
    age = f"(time() - {_LAST})"
    states = {
        "two missing": (f"{age} >= on (vendor) ({_TWO_MISSED})", palette.CRITICAL),
        "late": (f"{age} > on (vendor) ({_DUE} + 600)", palette.NOTICE),
        "in time": (f"{age} <= on (vendor) ({_DUE} + 600)", palette.GOOD),
        "at thresholds": (age, palette.NEUTRAL),
    }
    named = (f'label_replace({e}, "state", "{state}", "", "")' for state, (e, _) in states.items())
    panel = figure(
        Words(
            "Last report",
            """Time since its newest usage report. It is yellow if a report is late. It is red if
            two are missing: everything shown here may be old. If other eSIMs are late too, see the
            exporter's dashboard. In blue, the vendor reports at thresholds only.""",
            _TYPE_ID,
        ),
        [Query(" or on (vendor) ".join(named), "{{state}}", instant=True)],
        "s",
        trend=False,
    )
    for state, (_, colour) in states.items():
        panel = recoloured(panel, state, colour)
    return panel


def _share() -> gauge.Panel:
    return dial(
        Words(
            "Data used",
            """Share of the data that its package allows. With several packages, it is the one that
            has used most. At 100 % of one package, the eSIM may have data in another: the panel
            Service tells. Unlimited packages have no share.""",
            "no share",
        ),
        [
            Query(
                """1 - min(
                esim_data_remaining_bytes{@esim} / (esim_data_allowed_bytes{@esim} > 0))""",
                instant=True,
            )
        ],
        palette.USED,
    )


def _left() -> stat.Panel:
    return figure(
        Words(
            "Time left",
            """Data: how long the rest lasts at the consumption of the last day. Package: time
            until its end, if the reported end is plausible. If the data ends first, the eSIM
            needs a top-up. If the vendor reports at thresholds only, nobody knows the first.""",
            "no consumption within a day",
        ),
        [
            Query(
                "min(esim_package:esim_data_left_seconds:forecast1d{@esim_rules})",
                "data",
                instant=True,
            ),
            Query(
                "min(esim_package:esim_package_left_seconds:plausible{@esim_rules})",
                "package",
                instant=True,
            ),
        ],
        "s",
        ((None, palette.CRITICAL), (86400, palette.NOTICE), (2 * 86400, palette.GOOD)),
        decimals=1,
        trend=False,
        names=True,
    )


def _remaining() -> timeseries.Panel:
    return _against(
        Words(
            "Data remaining against allowed",
            """A step up of the dashed line is a top-up or a new package; a step down is the end of
            a package. Both lines move in steps, because the vendor reports at intervals or at
            thresholds. Between two thresholds, days may pass.""",
            "unlimited, or no such eSIM",
        ),
        "min by (package_id) (esim_data_remaining_bytes{@esim})",
        "max by (package_id) (esim_data_allowed_bytes{@esim})",
        "bytes",
    )


def _against(words: Words, remaining: str, allowed: str, unit: str) -> timeseries.Panel:
    panel = lines(
        words,
        [Query(remaining, "{{package_id}}"), Query(allowed, "allowed {{package_id}}")],
        unit,
        stairs=True,
        fill=15,
        interval=PER_ESIM,
    )
    return dashed(panel, "^allowed.*", palette.IDLE)


def _daily() -> timeseries.Panel:
    # The query looks ahead, so that each bar stands at its own day. The bar of today grows.
    return (
        lines(
            Words(
                "Data consumed per day",
                """Days in UTC; the bar of today is not complete. A day far above the others
                explains an early end. A day of 0 with reports is a phone left at home.""",
                _TYPE_ID,
            ),
            [
                Query(
                    """max by (package_id) (
                    increase(esim_data_consumed_bytes_total{@esim}[1d] offset -1d))""",
                    "{{package_id}}",
                )
            ],
            "bytes",
            stacked=True,
            interval="1d",
        )
        .draw_style(common.GraphDrawStyle.BARS)
        .bar_alignment(common.BarAlignment.AFTER)
        .bar_width_factor(0.7)
    )


def _locations() -> bargauge.Panel:
    return bars(
        Words(
            "Data used per place",
            """Places in the newest report, which may cover less than the whole package. Ask the
            owner about a place where he or she is not.""",
            "the newest report names no place",
        ),
        [
            Query(
                "sort_desc(sum by (location) "
                "(max by (package_id, location) (esim_location_data_used_bytes{@esim})))",
                "{{location}}",
                instant=True,
            )
        ],
        "bytes",
    )


def _age_over_time() -> timeseries.Panel:
    limits = {
        "a report is due": (_DUE, palette.NOTICE),
        "two are missing": (_TWO_MISSED, palette.CRITICAL),
    }
    panel = lines(
        Words(
            "Age of the last report",
            """A saw-tooth below the first line is normal. Above the second line
            EsimReportingStale fires while the eSIM is activated. A vendor that reports at
            thresholds only has no such lines, and its eSIMs may be silent for days.""",
            _TYPE_ID,
        ),
        [
            Query(f"(time() - {_LAST}) / 3600", "age"),
            *(
                Query(f"({seconds}) / 3600 and on (vendor) {_LAST}", name)
                for name, (seconds, _) in limits.items()
            ),
        ],
        "h",  # so that the axis has whole hours
        interval=PER_ESIM,
    ).axis_soft_max(10)
    for name, (_, colour) in limits.items():
        panel = dashed(panel, name, colour)
    return panel


def _sms() -> timeseries.Panel:
    return _against(
        Words(
            "SMS remaining against allowed",
            """At 0 the eSIM cannot send SMS, and so cannot answer some logins by code. Data still
            works.""",
            "no SMS included",
        ),
        "min by (package_id) (esim_sms_remaining{@esim})",
        "max by (package_id) (esim_sms_allowed{@esim})",
        "locale",
    )


def _voice() -> timeseries.Panel:
    return _against(
        Words(
            "Voice minutes remaining against allowed",
            """At 0 the eSIM cannot make calls. Data still works; a top-up restores calls.""",
            "no voice included",
        ),
        "min by (package_id) (esim_voice_remaining_seconds{@esim}) / 60",
        "max by (package_id) (esim_voice_allowed_seconds{@esim}) / 60",
        "locale",
    )
