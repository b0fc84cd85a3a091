"""The text of the dashboards."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models import dashboard as models

from exporter.mixin.dashboards import esim, exporter, fleet, package

if TYPE_CHECKING:
    from exporter.mixin.values import MixinValues

DASHBOARDS: Final = {
    "esim-fleet.json": fleet.make,
    "esim-package.json": package.make,
    "esim-esim.json": esim.make,
    "esim-exporter.json": exporter.make,
}
"""The dashboards by the name of their file, in the order in which they answer questions."""


_ENCODER: Final = JSONEncoder(sort_keys=True, indent=2, ensure_ascii=False)


def dashboards(values: MixinValues) -> dict[str, str]:
    """Return the text of each dashboard by the name of its file."""
    return {
        name: values.with_target_labels(_text(make(values).build()))
        for name, make in DASHBOARDS.items()
    }


def reread(text: str) -> str:
    """Return a dashboard after the SDK has read and written it. Unknown fields are lost."""
    register_default_plugins()
    return _text(models.Dashboard.from_json(json.loads(text)))


def _text(board: models.Dashboard) -> str:
    """Return a dashboard whose links and annotations are visible.

    The SDK puts all of them into a menu (grafana/grafana-foundation-sdk#1272). Grafana 12.3 shows
    links to dashboards neither in that menu nor elsewhere (grafana/grafana#115084). Without a
    placement, every version shows them above the panels.
    """
    document = json.loads(_ENCODER.encode(board))
    for each in (*document["links"], *document["annotations"].get("list", ())):
        each.pop("placement", None)
    return json.dumps(document, sort_keys=True, indent=2, ensure_ascii=False) + "\n"
