"""Tables of alerts, with links to their runbooks, eSIMs and packages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.mixin.dashboards import palette, variables
from exporter.mixin.dashboards.panels import Query, Words
from exporter.mixin.dashboards.tables import Column, columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from grafana_foundation_sdk.builders import table

    from exporter.mixin.values import MixinValues

_FIRING = 'alertname=~"Esim.+", alertstate="firing", severity!="none"'


def in_scopes(scopes: str) -> str:
    """Return an expression that counts the firing alerts of some scopes and of single eSIMs."""
    return f"""count by (severity, alertname, vendor, package_id) (
            ALERTS{{@alerts, {_FIRING}, scope=~"{scopes}"}})
        or count by (severity, alertname, vendor) (
            ALERTS{{@alerts, {_FIRING}, scope="esim"}})"""


def of_package() -> str:
    """Return an expression for the firing alerts of the chosen packages."""
    return f"""count by (severity, alertname, vendor, package_id) (
        ALERTS{{@package_rules, {_FIRING}}})"""


def of_exporter() -> str:
    """Return an expression for the firing alerts about the exporter."""
    return f"""count by (severity, alertname, vendor) (
        ALERTS{{@alerts, {_FIRING}, scope="exporter"}})"""


def _ranked(expr: str) -> str:
    """Add a label that sorts alerts by urgency. The names of severities sort differently."""
    for rank, severity in enumerate(palette.SEVERITIES, 1):
        expr = f'label_replace({expr}, "rank", "{rank}", "severity", "{severity}")'
    return expr


def firing(expr: str, values: MixinValues) -> table.Panel:
    """Return a table of firing alerts."""
    return _table(
        Words(
            "Firing alerts",
            """Alerts that fire now, and for how many eSIMs, packages or instances. critical is a
            page, warning is a ticket, info is sent to nobody. Follow an alert to its runbook.""",
            "no alert fires",
        ),
        [Query(_ranked(expr), instant=True)],
        [
            _severity(),
            _alert(values),
            Column("vendor", "Vendor", width=105),
            Column(
                "package_id",
                "Package",
                link=variables.to_dashboard("package", "package", "package_id"),
                link_title="Show this package",
            ),
            Column("Value", "Count", "locale", width=70),
        ],
    )


def of_esim(values: MixinValues) -> table.Panel:
    """Return a table of the alerts of the chosen eSIM."""
    expr = """count by (severity, alertname, resource, threshold, alertstate) (
        ALERTS{@esim_rules, severity!="none"})"""
    return _table(
        Words(
            "Its alerts",
            """Alerts that fire or are pending for this eSIM alone. Follow an alert to its runbook.
            The package's dashboard shows alerts of its package.""",
            "no alert about this eSIM",
        ),
        [Query(_ranked(expr), instant=True)],
        [
            _severity(),
            _alert(values),
            Column("resource", "Of", width=70),
            Column("threshold", "From", width=70),
            Column("alertstate", "State", width=90),
        ],
    )


def _table(words: Words, queries: Sequence[Query], shown: Sequence[Column]) -> table.Panel:
    return columns(words, queries, shown, sort_by="rank", descending=False)


def _severity() -> Column:
    ranks = {str(rank): name for rank, name in enumerate(palette.SEVERITIES, 1)}
    colours = {rank: palette.SEVERITIES[name] for rank, name in ranks.items()}
    return Column("rank", "Severity", width=90, colours=colours, names=ranks)


def _alert(values: MixinValues) -> Column:
    return Column(
        "alertname", "Alert", link=variables.to_runbook(values), link_title="Open the runbook"
    )
