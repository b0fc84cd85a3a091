"""The committed dashboards as tests look at them, and variables put in their place."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import promql
import simulated_exporter as simulated

from grafana.generator import DASHBOARDS, FOLDER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

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
"""What is chosen, as Grafana puts it into expressions."""


_NOT_SHARED: Final = "the simulated exporter is alone on its storage, which is SQLite"
EMPTY: Final[Mapping[tuple[str, str, str], str]] = {
    ("eSIM / Exporter", "Shards missing", "A"): _NOT_SHARED,
    ("eSIM / Exporter", "Replicas by shard", "A"): _NOT_SHARED,
    ("eSIM / Exporter", "Lag behind other replicas", "A"): _NOT_SHARED,
}
"""Queries that have no data there, by dashboard, panel and reference, each with the reason."""


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
        """Return what names it."""
        return self.board, self.panel, self.ref

    def filled(self, chosen: Mapping[str, str] = CHOSEN) -> str:
        """Return the expression with what is chosen."""
        return interpolated(self.expr, chosen)


def interpolated(text: str, chosen: Mapping[str, str] = CHOSEN) -> str:
    """Put values in the place of ``$name``; raises ``KeyError`` for an unknown one."""
    return re.sub(r"\$(\w+)", lambda found: chosen[found[1]], text)


def panels(board: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the panels of a dashboard that show something."""
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
    """Take an expression apart."""
    # This modifier says when, not what.
    return promql.parse(expr.replace("@ end()", ""))
