"""The text of the generated files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models import dashboard as models

from grafana.generator import esim, exporter, fleet, package

FOLDER: Final = Path(__file__).resolve().parent.parent / "dashboards"

DASHBOARDS: Final = {
    "esim-fleet.json": fleet.make,
    "esim-package.json": package.make,
    "esim-esim.json": esim.make,
    "esim-exporter.json": exporter.make,
}
"""The dashboards by the name of their file, in the order in which they answer questions."""


_ENCODER: Final = JSONEncoder(sort_keys=True, indent=2, ensure_ascii=False)


def documents() -> dict[str, str]:
    """Return the text of each dashboard by the name of its file."""
    return {name: _ENCODER.encode(make().build()) + "\n" for name, make in DASHBOARDS.items()}


def reread(text: str) -> str:
    """Return a dashboard after the SDK has read and written it. Unknown fields are lost."""
    register_default_plugins()
    return _ENCODER.encode(models.Dashboard.from_json(json.loads(text))) + "\n"
