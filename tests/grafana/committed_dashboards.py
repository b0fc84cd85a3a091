"""The committed dashboards, their panels and their queries with variables filled in."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import promql
import simulated_exporter as simulated

from exporter.mixin.dashboards.dashboards import DASHBOARDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FOLDER: Final = Path(__file__).resolve().parents[2] / "grafana" / "dashboards"

BOARDS: Final[dict[str, dict[str, Any]]] = {
    name: json.loads((FOLDER / name).read_text(encoding="utf-8")) for name in DASHBOARDS
}

ALL: Final = ".+"
CHOSEN: Final[Mapping[str, str]] = {
    **dict.fromkeys(("job", "instance", "vendor", "package"), ALL),
    "esim": simulated.SHOWN_ESIM,
    "__range": "2d",
    "__rate_interval": f"{4 * simulated.STEP}s",
}
"""MixinValues of variables, as Grafana writes them into expressions."""


_NOT_SHARED: Final = "the simulated exporter is alone on its storage, which is SQLite"
EMPTY: Final[Mapping[tuple[str, str, str], str]] = {
    ("eSIM / Exporter", "Certificate ends in", "A"): "the simulated exporter has no TLS",
    ("eSIM / Exporter", "Shards missing", "A"): _NOT_SHARED,
    ("eSIM / Exporter", "Replicas by shard", "A"): _NOT_SHARED,
    ("eSIM / Exporter", "Lag behind other replicas", "A"): _NOT_SHARED,
}
"""Queries without data, by dashboard, panel and reference, each with the reason."""


@dataclass(frozen=True, slots=True)
class Target:
    """A query of a panel."""

    board: str
    """Title."""
    panel: str
    """Title."""
    ref: str
    expr: str
    legend: str
    instant: bool

    @property
    def place(self) -> tuple[str, str, str]:
        """Return the names that identify it."""
        return self.board, self.panel, self.ref

    def filled(self, chosen: Mapping[str, str] = CHOSEN) -> str:
        """Return the expression with the values of variables."""
        return interpolated(self.expr, chosen)


def interpolated(text: str, chosen: Mapping[str, str] = CHOSEN) -> str:
    """Replace each ``$name`` by its value; raise ``KeyError`` for an unknown name."""
    return re.sub(r"\$(\w+)", lambda found: chosen[found[1]], text)


def panels(board: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the panels of a dashboard, without the titles of rows."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def targets() -> Iterator[Target]:
    """Yield every query of every panel."""
    for board in BOARDS.values():
        for panel in panels(board):
            for each in panel["targets"]:
                yield Target(
                    *(board["title"], panel["title"], each["refId"], each["expr"]),
                    legend=each.get("legendFormat", ""),
                    instant=each["instant"],
                )


def parsed(expr: str) -> promql.Expression:
    """Return the parts of an expression."""
    # This modifier changes the time of evaluation only.
    return promql.parse(expr.replace("@ end()", ""))
