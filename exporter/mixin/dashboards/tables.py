"""Tables of labels and values, with links."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import table
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import dashboard as models

from exporter.mixin.dashboards import palette
from exporter.mixin.dashboards.panels import Query, Words, described

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Column:
    """How a field of a table is shown. The name is that of the label, or ``Value #A``."""

    name: str
    title: str
    unit: str = ""
    steps: palette.Steps = ()
    width: int = 0
    link: str = ""
    link_title: str = ""
    bar: bool = False
    """Whether to draw a share as a bar."""
    colours: Mapping[str, str] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    """What to write instead of a coloured value."""
    empty: str = ""
    """What to write if a row has no such value."""
    decimals: int | None = None


def opened(title: str, url: str) -> Column:
    """Return a column with a link to a page in each row. Its label has the value ``open``."""
    name = title.lower()
    return Column(name.replace(" ", "_"), title, width=105, link=url, link_title=f"Open the {name}")


def columns(
    words: Words,
    queries: Sequence[Query],
    shown: Sequence[Column],
    *,
    sort_by: str = "",
    descending: bool = True,
) -> table.Panel:
    """Return a table of the labels and values of instant queries, one row for equal labels."""
    names = {each.name: each for each in shown}
    keep = "|".join(f"^{name}$" for name in names)
    panel = (
        described(table.Panel(), words, queries, as_table=True)
        .transformations(
            [
                models.DataTransformerConfig(id_val="merge", options={}),
                models.DataTransformerConfig(
                    id_val="filterFieldsByName", options={"include": {"pattern": keep}}
                ),
                models.DataTransformerConfig(
                    id_val="organize",
                    options={
                        "excludeByName": {},
                        "indexByName": {name: place for place, name in enumerate(names)},
                        "renameByName": {},
                    },
                ),
            ]
        )
        .cell_height(common.TableCellHeight.SM)
        .filterable(False)  # noqa: FBT003  # the SDK takes it by position
    )
    for each in shown:
        panel = panel.override_by_name(each.name, _column_properties(each))
    if sort_by:
        # Sorted by the title, because Grafana renames the field before it sorts.
        sorting = common_builders.TableSortByFieldState().display_name(names[sort_by].title)
        panel = panel.sort_by([sorting.desc(descending)])
    return panel


def _column_properties(column: Column) -> list[models.DynamicConfigValue]:
    # The text for missing data must not fill empty cells.
    chosen: dict[str, Any] = {"displayName": column.title, "noValue": ""}
    if column.unit:
        chosen["unit"] = column.unit
    if column.decimals is not None:
        chosen["decimals"] = column.decimals
    if column.width:
        chosen["custom.width"] = column.width
    if column.link:
        link = {"title": column.link_title, "url": column.link, "targetBlank": False}
        chosen["links"] = [link]
    if column.steps:
        chosen["thresholds"] = {
            "mode": "absolute",
            "steps": [{"value": value, "color": colour} for value, colour in column.steps],
        }
        chosen["color"] = {"mode": "thresholds"}
        chosen["custom.cellOptions"] = {"type": "color-text"}
    if column.bar:
        chosen |= {"min": 0, "max": 1}
        chosen["custom.cellOptions"] = {
            "type": "gauge",
            "mode": "basic",
            "valueDisplayMode": "text",
        }
    mappings: list[models.ValueMap | models.SpecialValueMap] = []
    if column.colours:
        mappings.append(palette.coloured(column.colours, column.names))
        chosen["custom.cellOptions"] = {"type": "color-text"}
    if column.empty:
        mappings.append(palette.empty(column.empty))
    if mappings:
        chosen["mappings"] = [each.to_json() for each in mappings]
    return [models.DynamicConfigValue(id_val=name, value=value) for name, value in chosen.items()]
