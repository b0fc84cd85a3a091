"""A dashboard: its variables, its links, and its panels in rows from the top."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models import dashboard as models

from exporter.mixin.dashboards import variables
from exporter.mixin.dashboards.annotations import restarts, versions

if TYPE_CHECKING:
    from grafana_foundation_sdk.cog.builder import Builder

    from exporter.mixin.dashboards.panels import Panel
    from exporter.mixin.values import MixinValues

WIDTH: Final = 24
"""Columns of Grafana's grid."""

PanelRow = tuple[int, Sequence[tuple[int, "Panel"]]]
"""Height, and panels with their widths. The widths must add up to :data:`WIDTH`."""

Section = tuple[str, Sequence[PanelRow]]
"""Heading and rows."""


def dashboard(
    name: str,
    title: str,
    description: str,
    *,
    values: MixinValues,
    since: str,
    chosen_by: Sequence[Builder[models.VariableModel]],
    sections: Sequence[Section],
) -> builders.Dashboard:
    """Return a dashboard with the uid ``esim-<name>``."""
    board = (
        builders.Dashboard(title)
        .uid(f"esim-{name}")
        .description(" ".join(description.split()))
        .tags([variables.TAG])
        .readonly()
        .time(since, "now")
        .refresh("1m")
        .timezone("browser")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .variables(list(chosen_by))
        .annotations([restarts(), versions()])
        .links([*_links(values)])
        .version(1)
    )
    number, top = 1, 0
    for heading, rows in sections:
        if heading:
            board.with_row(
                builders.Row(heading).id(number).grid_pos(models.GridPos(h=1, w=WIDTH, x=0, y=top))
            )
            number, top = number + 1, top + 1
        for height, panels in rows:
            left = 0
            for width, panel in panels:
                place = models.GridPos(h=height, w=width, x=left, y=top)
                board.with_panel(panel.id(number).grid_pos(place))
                number, left = number + 1, left + width
            assert left == WIDTH, f"{heading}: a row of {left} columns"
            top += height
    return board


def _links(values: MixinValues) -> list[builders.DashboardLink]:
    """Return the links above the panels. Pages whose addresses are not known are left out."""
    links = [_others(), _page("Runbooks", values.links.runbooks, "doc")]
    if values.links.status_page:
        links.append(_page("Status page", values.links.status_page, "external link"))
    return links


def _others() -> builders.DashboardLink:
    return (
        builders.DashboardLink("eSIM dashboards")
        .type(models.DashboardLinkType.DASHBOARDS)
        .tags([variables.TAG])
        .keep_time(True)  # noqa: FBT003  # the SDK's own signatures
        .include_vars(True)  # noqa: FBT003  # the SDK takes it by position
    )


def _page(title: str, url: str, icon: str) -> builders.DashboardLink:
    return (
        variables.link(title, url).icon(icon).target_blank(True)  # noqa: FBT003  # the SDK takes it by position
    )
