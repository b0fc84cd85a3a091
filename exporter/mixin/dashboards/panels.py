"""Panels of all dashboards: title, description, unit, and a text for missing data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from grafana_foundation_sdk.builders import (
    bargauge,
    gauge,
    piechart,
    prometheus,
    stat,
    table,
    timeseries,
)
from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import piechart as pie_models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from exporter.mixin.dashboards import palette, variables

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

P = TypeVar(
    "P", bargauge.Panel, gauge.Panel, piechart.Panel, stat.Panel, table.Panel, timeseries.Panel
)
Panel = bargauge.Panel | gauge.Panel | piechart.Panel | stat.Panel | table.Panel | timeseries.Panel

PER_ESIM: Final = "2m"
"""Smallest step for series that are scraped or recorded every two minutes (single eSIMs)."""


@dataclass(frozen=True, slots=True)
class Query:
    """A query of a panel. ``@name`` in it stands for matchers (:func:`variables.expression`)."""

    expr: str
    legend: str = ""
    instant: bool = False
    interval: str = ""


@dataclass(frozen=True, slots=True)
class Words:
    """The texts of a panel."""

    title: str
    description: str
    """What the panel shows, and what to do about it."""
    no_data: str


def _target(query: Query, place: int, *, as_table: bool) -> prometheus.Dataquery:
    target = (
        prometheus.Dataquery()
        .datasource(variables.DATASOURCE)
        .expr(variables.expression(query.expr))
        .ref_id(chr(ord("A") + place))
    )
    target = target.instant() if query.instant else target.range()
    if as_table:
        return target.format(PromQueryFormat.TABLE)
    target = target.format(PromQueryFormat.TIME_SERIES).legend_format(query.legend)
    return target.interval(query.interval) if query.interval else target


def described(
    panel: P,
    words: Words,
    queries: Sequence[Query],
    unit: str = "",
    steps: palette.Steps = (),
    *,
    as_table: bool = False,
) -> P:
    """Give a panel the properties that all panels have."""
    panel = (
        panel.title(words.title)
        .description(" ".join(words.description.split()))
        .datasource(variables.DATASOURCE)
        .no_value(words.no_data)
        .targets([_target(q, place, as_table=as_table) for place, q in enumerate(queries)])
    )
    if unit:
        panel = panel.unit(unit)
    return panel.thresholds(palette.thresholds(steps)) if steps else panel


def figure(
    words: Words,
    queries: Sequence[Query],
    unit: str,
    steps: palette.Steps = palette.PLAIN,
    *,
    decimals: int | None = None,
    trend: bool = True,
    names: bool = False,
) -> stat.Panel:
    """Return large figures, coloured by their steps. With ``trend``, a line is drawn behind them.

    A figure with a trend is as old as its newest point: several minutes.
    """
    panel = (
        described(stat.Panel(), words, queries, unit, steps)
        .mappings([palette.empty(words.no_data)])
        .reduce_options(_last())
        .color_mode(common.BigValueColorMode.VALUE)
        .graph_mode(common.BigValueGraphMode.AREA if trend else common.BigValueGraphMode.NONE)
        .text_mode(
            common.BigValueTextMode.VALUE_AND_NAME if names else common.BigValueTextMode.VALUE
        )
        .color_scheme(_by_steps())
    )
    return panel if decimals is None else panel.decimals(decimals)


def up_or_down(words: Words, query: Query) -> stat.Panel:
    """Return ``UP`` for 1 and ``DOWN`` for 0."""
    steps = ((None, palette.CRITICAL), (1, palette.GOOD))
    panel = figure(words, [query], "none", steps, trend=False)
    colours = {"0": palette.CRITICAL, "1": palette.GOOD}
    states = palette.coloured(colours, {"0": "DOWN", "1": "UP"})
    return panel.mappings([states, palette.empty(words.no_data)])


def label_figure(
    words: Words, query: Query, label: str, colours: dict[str, str] | None = None
) -> stat.Panel:
    """Return the value of a label as a large figure, coloured by a mapping."""
    panel = (
        described(stat.Panel(), words, [query], steps=palette.PLAIN, as_table=True)
        .reduce_options(_last().fields(f"/^{label}$/"))
        .color_mode(common.BigValueColorMode.VALUE)
        .graph_mode(common.BigValueGraphMode.NONE)
        .text_mode(common.BigValueTextMode.VALUE)
        .color_scheme(_by_steps())
    )
    mappings = [palette.coloured(colours)] if colours else []
    return panel.mappings([*mappings, palette.empty(words.no_data)])


def dial(words: Words, queries: Sequence[Query], steps: palette.Steps) -> gauge.Panel:
    """Return a gauge of a share."""
    return (
        described(gauge.Panel(), words, queries, "percentunit", steps)
        .mappings([palette.empty(words.no_data)])
        .reduce_options(_last())
        .min(0)
        .max(1)
        .decimals(1)
        .show_threshold_markers(True)  # noqa: FBT003  # the SDK takes it by position
        .color_scheme(_by_steps())
    )


def bars(
    words: Words,
    queries: Sequence[Query],
    unit: str,
    steps: palette.Steps = palette.PLAIN,
    *,
    colours: Mapping[str, str] | None = None,
) -> bargauge.Panel:
    """Return horizontal bars. ``colours`` maps the name of a bar to its colour."""
    panel = (
        described(bargauge.Panel(), words, queries, unit, steps)
        .mappings([palette.empty(words.no_data)])
        .reduce_options(_last())
        .orientation(common.VizOrientation.HORIZONTAL)
        .display_mode(common.BarGaugeDisplayMode.BASIC)
        .value_mode(common.BarGaugeValueMode.TEXT)
        .name_placement(common.BarGaugeNamePlacement.LEFT)
        .show_unfilled(True)  # noqa: FBT003  # the SDK takes it by position
        .text(common_builders.VizTextDisplayOptions().title_size(14).value_size(20))
        .min(0)
        .color_scheme(_by_steps())
    )
    for name, colour in (colours or {}).items():
        panel = recoloured(panel, name, colour)
    return panel


def pie(
    words: Words, queries: Sequence[Query], unit: str, colours: Mapping[str, str]
) -> piechart.Panel:
    """Return a donut with the figures beside it. Parts that are 0 are left out."""
    panel = (
        described(piechart.Panel(), words, queries, unit)
        .reduce_options(_last())
        .pie_type(pie_models.PieChartType.DONUT)
        .legend(
            piechart.PieChartLegendOptions()
            .display_mode(common.LegendDisplayMode.TABLE)
            .placement(common.LegendPlacement.RIGHT)
            .show_legend(True)  # noqa: FBT003  # the SDK takes it by position
            .values(
                [
                    pie_models.PieChartLegendValues.VALUE,
                    pie_models.PieChartLegendValues.PERCENT,
                ]
            )
        )
    )
    for name, colour in colours.items():
        panel = recoloured(panel, name, colour)
    return panel


def lines(
    words: Words,
    queries: Sequence[Query],
    unit: str,
    *,
    steps: palette.Steps = (),
    fill: int = 8,
    stacked: bool = False,
    stairs: bool = False,
    legend: Sequence[str] | None = (),
    interval: str = "",
    decades: tuple[float, float] | None = None,
    least: float | None = 0,
) -> timeseries.Panel:
    """Return lines over time.

    ``steps`` are drawn as dashed lines. ``decades`` are the ends of a logarithmic scale, on which
    dashed lines far above the measured values are visible too. ``legend`` lists the calculations
    of a table beside the graph. If it is empty, the legend is a list below the graph. ``None``
    means no legend. ``least`` is the lower end of the scale.
    """
    panel = (
        described(timeseries.Panel(), words, queries, unit, steps)
        .draw_style(common.GraphDrawStyle.LINE)
        # A line around an area that is 0 would lie on the areas below it.
        .line_width(2 if not stacked else 0)
        .fill_opacity(75 if stacked else fill)
        .show_points(common.VisibilityMode.NEVER)
        .tooltip(
            common_builders.VizTooltipOptions()
            .mode(common.TooltipDisplayMode.MULTI)
            .sort(common.SortOrder.DESCENDING)
        )
        .legend(_legend(legend))
        .color_scheme(builders.FieldColor().mode(models.FieldColorModeId.PALETTE_CLASSIC))
    )
    if decades:
        scale = common_builders.ScaleDistributionConfig().type(common.ScaleDistribution.LOG)
        panel = panel.scale_distribution(scale.log(10)).max(decades[1])
    lower = decades[0] if decades else least
    if lower is not None:
        panel = panel.min(lower)
    if stacked:
        stacking = common_builders.StackingConfig().mode(common.StackingMode.NORMAL).group("A")
        panel = panel.stacking(stacking)
    if stairs:
        panel = panel.line_interpolation(common.LineInterpolation.STEP_AFTER)
    if steps:
        style = common_builders.GraphThresholdsStyleConfig()
        panel = panel.thresholds_style(style.mode(common.GraphThresholdsStyleMode.DASHED))
    return panel.interval(interval) if interval else panel


def quantiles(family: str, selection: str, *shares: float) -> list[Query]:
    """Return queries for quantiles of a histogram, in the selection of an expression."""
    rate = f"sum by (le) (rate({family}_bucket{{{selection}}}[$__rate_interval]))"
    return [
        Query(f"histogram_quantile({share:g}, {rate})", f"p{100 * share:g}") for share in shares
    ]


def recoloured(panel: P, name: str, colour: str) -> P:
    """Give a series of a panel its colour."""
    return panel.override_by_name(name, [_colour(colour)])


def shaded(panel: timeseries.Panel, pattern: str, colour: str) -> timeseries.Panel:
    """Give the series whose names match a pattern shades of a colour."""
    value = {"mode": "shades", "fixedColor": colour}
    return panel.override_by_regexp(
        pattern, [models.DynamicConfigValue(id_val="color", value=value)]
    )


def renamed(panel: P, name: str, colour: str, title: str) -> P:
    """Give a series of a panel its colour and another name."""
    other = models.DynamicConfigValue(id_val="displayName", value=title)
    return panel.override_by_name(name, [_colour(colour), other])


def in_order(panel: bargauge.Panel, names: Sequence[str]) -> bargauge.Panel:
    """Put the bars in this order, because a query has none."""
    places = {name: place for place, name in enumerate(["Time", *names])}
    return panel.transformations(
        [
            models.DataTransformerConfig(
                id_val="joinByField", options={"byField": "Time", "mode": "outer"}
            ),
            models.DataTransformerConfig(
                id_val="organize",
                options={"excludeByName": {}, "indexByName": places, "renameByName": {}},
            ),
        ]
    )


def dashed(panel: timeseries.Panel, name: str, colour: str) -> timeseries.Panel:
    """Draw series whose names match a pattern as dashed lines without a filling, for limits."""
    style = {"fill": "dash", "dash": [8, 6]}
    return panel.override_by_regexp(
        name,
        [
            _colour(colour),
            models.DynamicConfigValue(id_val="custom.lineStyle", value=style),
            models.DynamicConfigValue(id_val="custom.fillOpacity", value=0),
        ],
    )


def _colour(colour: str) -> models.DynamicConfigValue:
    return models.DynamicConfigValue(id_val="color", value={"mode": "fixed", "fixedColor": colour})


def _by_steps() -> builders.FieldColor:
    return builders.FieldColor().mode(models.FieldColorModeId.THRESHOLDS)


def _last() -> common_builders.ReduceDataOptions:
    return common_builders.ReduceDataOptions().calcs(["lastNotNull"]).values(False)  # noqa: FBT003  # the SDK takes it by position


def _legend(calculations: Sequence[str] | None) -> common_builders.VizLegendOptions:
    legend = common_builders.VizLegendOptions().show_legend(calculations is not None)
    if not calculations:
        return legend.display_mode(common.LegendDisplayMode.LIST).placement(
            common.LegendPlacement.BOTTOM
        )
    return (
        legend.display_mode(common.LegendDisplayMode.TABLE)
        .placement(common.LegendPlacement.RIGHT)
        .calcs(list(calculations))
        .sort_by("Mean" if "mean" in calculations else "Last *")
        .sort_desc(True)  # noqa: FBT003  # the SDK takes it by position
    )
