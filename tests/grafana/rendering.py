"""The dashboards as Grafana's own components draw them: ``make test-dashboards``.

Not among the tests of ``make test``: what draws them is fetched and built, which takes minutes the
first time and half a minute later. It needs ``node`` with ``npm``, and ``chromium``. The pictures
are left in ``.cache/screenshots``; ``make screenshots`` takes those for the documentation.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import simulated_exporter as simulated
from boards import BOARDS, panels
from filled_prometheus import ROOT, TIMES, filled_prometheus

from grafana.generator import FOLDER

if TYPE_CHECKING:
    import httpx

HARNESS = Path(__file__).resolve().parent / "render"
PICTURES = ROOT / ".cache" / "screenshots"
THEMES = ("dark", "light")
GREEN, YELLOW, ORANGE, RED = "#56A64B", "#E0B400", "#FA6400", "#E02F44"
"""The palette's colours as the dark theme has them."""

EXPECTED = {
    ("esim-fleet.json", "90 % or more used"): (None, ORANGE),
    ("esim-fleet.json", "Exhausted"): (None, RED),
    ("esim-fleet.json", "Stale"): (None, YELLOW),
    ("esim-fleet.json", "Feed age"): (None, GREEN),
    ("esim-fleet.json", "Data used of all that is allowed"): ("37.6%", GREEN),
    ("esim-esim.json", "Status"): ("ACTIVATED", GREEN),
    ("esim-esim.json", "Last report"): ("1.33 hours", GREEN),
    ("esim-esim.json", "Data used"): ("81.8%", YELLOW),
    ("esim-exporter.json", "Up"): ("UP", GREEN),
    ("esim-exporter.json", "Cap used"): (None, GREEN),
    ("esim-exporter.json", "Over the cap"): ("0", GREEN),
    ("esim-exporter.json", "Rejected"): (None, YELLOW),
    ("esim-exporter.json", "Error budget"): (None, RED),
}
"""Text, where it is the simulation's alone, and colour of the first figure of some panels."""

Reports = dict[tuple[str, str], dict[str, Any]]


def tool(name: str) -> str:
    path = shutil.which(name)
    assert path, f"{name} is needed to draw dashboards; Debian has it as {name}"
    return path


@pytest.fixture(scope="module")
def harness() -> None:
    """Fetch and build what draws the dashboards, unless that is done."""
    npm, lock = tool("npm"), HARNESS / "package-lock.json"
    if newest(HARNESS / "node_modules/.package-lock.json") < newest(lock):
        subprocess.run([npm, "ci", "--ignore-scripts"], cwd=HARNESS, check=True)
    sources = [*HARNESS.glob("src/*"), HARNESS / "vite.config.ts", lock]
    if newest(HARNESS / "dist/index.html") < max(map(newest, sources)):
        subprocess.run([tool("npx"), "vite", "build"], cwd=HARNESS, check=True)


def newest(path: Path) -> float:
    return path.stat().st_mtime if path.exists() else 0


@pytest.fixture(scope="module")
def reports(harness: None) -> Reports:  # noqa: ARG001
    PICTURES.mkdir(parents=True, exist_ok=True)
    jobs = [(name, theme) for name in BOARDS for theme in THEMES]
    with filled_prometheus() as client, ThreadPoolExecutor(2) as pool:
        drawn = pool.map(lambda job: draw(client, *job), jobs)
        return dict(zip(jobs, drawn, strict=True))


def draw(
    client: httpx.Client, name: str, theme: str, esim: str = simulated.SHOWN_ESIM
) -> dict[str, Any]:
    picture = f"{name.removesuffix('.json')}-{theme}.png"
    chosen = ""
    if name == "esim-esim.json":
        # No longer than there is something to see.
        chosen = f"&var-esim={esim}&from=now-3d"
        picture = picture if esim == simulated.SHOWN_ESIM else f"{esim}-{picture}"
    base = str(client.base_url).rstrip("/")
    query = f"prom={base}&now={TIMES.end}000&scrape={TIMES.step}s&theme={theme}{chosen}"
    done = subprocess.run(
        [tool("node"), "shot.mjs", FOLDER / name, PICTURES / picture, query],
        cwd=HARNESS,
        env=os.environ | {"CHROMIUM": tool("chromium"), "WIDTH": "1400"},
        capture_output=True,
        text=True,
        check=True,
    )
    report: dict[str, Any] = json.loads(done.stdout)
    return report


every_picture = pytest.mark.parametrize(
    ("name", "theme"), [(name, theme) for name in BOARDS for theme in THEMES]
)


@every_picture
def test_nothing_is_unknown_and_nothing_fails(name: str, theme: str, reports: Reports) -> None:
    # Unknown units, transformations, overrides and panel types are errors of their panel.
    report = reports[name, theme]
    assert [p for p in report["panels"] if p.get("error") or not p["ok"]] == []
    assert [v for v in report["variables"] if v.get("error")] == []
    assert report["unknownVariables"] == report["logs"] == report["missing"] == []
    assert "fatal" not in report
    assert "windowErrors" not in report


@every_picture
def test_every_panel_is_drawn_with_data(name: str, theme: str, reports: Reports) -> None:
    found = {panel["title"]: panel for panel in reports[name, theme]["panels"]}
    assert found.keys() == {panel["title"] for panel in panels(BOARDS[name])}
    for panel in found.values():
        assert all(target["samples"] for target in panel["targets"]), panel["title"]


@pytest.mark.parametrize(("name", "title"), EXPECTED)
def test_a_figure_has_the_expected_text_and_colour(name: str, title: str, reports: Reports) -> None:
    (panel,) = (p for p in reports[name, "dark"]["panels"] if p["title"] == title)
    shown = panel["fields"][0][0]["last"]
    text, colour = EXPECTED[name, title]
    assert shown["color"] == colour
    assert text in {None, shown["text"]}


def test_bands_of_the_forecast_are_in_order(reports: Reports) -> None:
    panels = reports["esim-fleet.json", "dark"]["panels"]
    (panel,) = (p for p in panels if p["title"] == "Forecast to run out of data")
    names = [field["name"] for field in panel["fields"][0]]
    assert names[0] == "within a day"
    assert names[1:] == sorted(names[1:])


def test_without_an_esim_every_panel_says_what_to_do(harness: None) -> None:  # noqa: ARG001
    with filled_prometheus() as client:
        report = draw(client, "esim-esim.json", "dark", esim="none")
    assert [p for p in report["panels"] if p.get("error")] == []
    assert not any(target["samples"] for p in report["panels"] for target in p["targets"])
