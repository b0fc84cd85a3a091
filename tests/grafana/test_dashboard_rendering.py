"""The dashboards as Grafana's own components draw them, in both themes.

The pictures stay in ``.cache/screenshots``. ``make screenshots`` copies some of them into the
documentation.
"""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

import pytest
import simulated_exporter as simulated
from committed_dashboards import BOARDS, EMPTY, FOLDER, panels
from dashboard_drawing import Drawing, draw
from filled_prometheus import ROOT, TIMES, filled_prometheus
from looping import for_every
from prerequisites import exclusive

if TYPE_CHECKING:
    import httpx

pytestmark = pytest.mark.slow

PICTURES = ROOT / ".cache" / "screenshots"
THEMES = ("dark", "light")
ESIM_BOARD, NO_ESIM = "esim-esim.json", "none"
GREEN, YELLOW, ORANGE, RED = "#56A64B", "#E0B400", "#FA6400", "#E02F44"
"""The palette's colours as the dark theme has them."""

EXPECTED = {
    ("esim-fleet.json", "Out of data now"): (str(simulated.OUT_OF_DATA), RED),
    ("esim-fleet.json", "About to run out"): ("1", ORANGE),
    ("esim-fleet.json", "Stale"): (None, YELLOW),
    ("esim-fleet.json", "Feed age"): (None, GREEN),
    ("esim-fleet.json", "Data used of all that is allowed"): ("47.0%", GREEN),
    ("esim-esim.json", "Status"): ("ACTIVATED", GREEN),
    ("esim-esim.json", "Service"): ("HAS DATA", GREEN),
    ("esim-esim.json", "Last report"): ("1.33 hours", GREEN),
    ("esim-esim.json", "Data used"): ("81.8%", YELLOW),
    ("esim-exporter.json", "Up"): ("UP", GREEN),
    ("esim-exporter.json", "Storage"): ("UP", GREEN),
    ("esim-exporter.json", "Last usage"): (None, GREEN),
    ("esim-exporter.json", "Attention over limit"): ("0", GREEN),
    ("esim-exporter.json", "Cap used"): (None, GREEN),
    ("esim-exporter.json", "Over the cap"): ("0", GREEN),
    ("esim-exporter.json", "Rejected"): (None, YELLOW),
    ("esim-exporter.json", "Error budget used"): (None, GREEN),
}
"""The colour of the first figure of some panels, and its text where that is always the same."""

Reports = dict[tuple[str, str], dict[str, Any]]


@pytest.fixture(scope="session")
def reports(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Reports:
    """Return the reports by dashboard and theme; all test processes together draw only once."""
    folder = tmp_path_factory.getbasetemp()
    kept = (folder if worker_id == "master" else folder.parent) / "drawn.json"
    with exclusive(kept.with_suffix(".lock")):
        if not kept.exists():
            kept.write_text(json.dumps(drawn()), encoding="utf-8")
    return {(name, shown): report for name, shown, report in json.loads(kept.read_text("utf-8"))}


def drawn() -> list[tuple[str, str, dict[str, Any]]]:
    jobs = [*((name, theme) for name in BOARDS for theme in THEMES), (ESIM_BOARD, NO_ESIM)]
    PICTURES.mkdir(parents=True, exist_ok=True)
    with filled_prometheus() as client:
        found = draw([drawing(client, *job) for job in jobs])
    return [(*job, report) for job, report in zip(jobs, found, strict=True)]


def drawing(client: httpx.Client, name: str, shown: str) -> Drawing:
    query = {
        "prom": str(client.base_url).rstrip("/"),
        "now": f"{TIMES.end}000",
        "scrape": f"{TIMES.step}s",
        "theme": "dark" if shown == NO_ESIM else shown,
    }
    if name == ESIM_BOARD:
        # The simulated eSIM has existed for three days.
        query["from"] = "now-3d"
        query["var-esim"] = "none" if shown == NO_ESIM else simulated.SHOWN_ESIM
    picture = PICTURES / f"{name.removesuffix('.json')}-{shown}.png"
    return Drawing(FOLDER / name, picture, query)


every_picture = for_every("picture", itertools.product(BOARDS, THEMES), " ".join)


@every_picture
def test_nothing_is_unknown_and_nothing_fails(picture: tuple[str, str], reports: Reports) -> None:
    # An unknown unit, transformation, override or panel type is an error of its panel.
    report = reports[picture]
    assert [p for p in report["panels"] if p.get("error") or not p["ok"]] == []
    assert [v for v in report["variables"] if v.get("error")] == []
    assert report["unknownVariables"] == report["logs"] == []
    assert "fatal" not in report
    assert "windowErrors" not in report


@every_picture
def test_every_panel_is_drawn_with_data(picture: tuple[str, str], reports: Reports) -> None:
    name, _ = picture
    found = {panel["title"]: panel for panel in reports[picture]["panels"]}
    assert found.keys() == {panel["title"] for panel in panels(BOARDS[name])}
    empty = {panel for board, panel, _ in EMPTY if board == BOARDS[name]["title"]}
    for title, panel in found.items():
        drawn = all(target["samples"] for target in panel["targets"])
        assert drawn == (title not in empty), title


@for_every("figure", EXPECTED, " ".join)
def test_a_figure_has_the_expected_text_and_colour(
    figure: tuple[str, str], reports: Reports
) -> None:
    name, title = figure
    (panel,) = (p for p in reports[name, "dark"]["panels"] if p["title"] == title)
    shown = panel["fields"][0][0]["last"]
    text, colour = EXPECTED[figure]
    assert shown["color"] == colour
    assert text in {None, shown["text"]}


@for_every("theme", THEMES, str)
def test_the_eye_first_meets_how_many_are_out_of_data_and_then_which(
    theme: str, reports: Reports
) -> None:
    report = reports["esim-fleet.json", theme]
    number = str(simulated.OUT_OF_DATA)
    assert report["largest"]["text"] == number
    first, second = panels(BOARDS["esim-fleet.json"])[:2]
    (tile,) = (panel for panel in report["panels"] if panel["title"] == first["title"])
    assert tile["fields"][0][0]["last"]["text"] == number
    (table,) = (panel for panel in report["panels"] if panel["title"] == second["title"])
    assert [target["series"] for target in table["targets"]] == [1, 1], "tables of"
    assert {target["samples"] for target in table["targets"]} == {simulated.OUT_OF_DATA}
    assert [field["name"] for field in table["fields"][0]][:3] == ["eSIM", "Reference", "Package"]
    place, beside = first["gridPos"], second["gridPos"]
    assert (place["x"], place["y"]) == (0, 0)
    assert (beside["x"], beside["y"]) == (place["w"], 0)


def test_bands_of_the_forecast_are_in_order(reports: Reports) -> None:
    panels = reports["esim-fleet.json", "dark"]["panels"]
    (panel,) = (p for p in panels if p["title"] == "Forecast to run out of data")
    names = [field["name"] for field in panel["fields"][0]]
    assert names[0] == "within a day"
    assert names[1:] == sorted(names[1:])


def test_without_an_esim_every_panel_says_what_to_do(reports: Reports) -> None:
    panels = reports[ESIM_BOARD, NO_ESIM]["panels"]
    assert [panel for panel in panels if panel.get("error")] == []
    assert not any(target["samples"] for panel in panels for target in panel["targets"])
