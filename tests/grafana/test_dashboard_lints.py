"""Checks of the committed dashboards: the rules of dashboard-linter, and rules of our own.

A test whose name ends in ``_rule`` checks the rule of that name of
https://github.com/grafana/dashboard-linter. The linter's own file ``grafana/dashboards/.lint``
lists the exclusions from a rule with their reasons.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import yaml
from committed_dashboards import BOARDS, FOLDER, panels, parsed
from grafana_foundation_sdk.models import units
from looping import for_every

from exporter.mixin.dashboards import palette
from exporter.mixin.dashboards.dashboards import DASHBOARDS, dashboards, reread
from exporter.mixin.rules.rule_files import groups
from exporter.mixin.value_groups import (
    ExporterValues,
    FeedValues,
    ForecastValues,
    LinkValues,
    PackageValues,
)
from exporter.mixin.values import MixinValues

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import promql

PANELS = [
    {**panel, "board": board["title"]} for board in BOARDS.values() for panel in panels(board)
]
EXCLUSIONS = yaml.safe_load((FOLDER / ".lint").read_text(encoding="utf-8"))["exclusions"]

every_board = for_every("board", BOARDS.values(), lambda board: str(board["title"]))
every_panel = for_every("panel", PANELS, lambda panel: f"{panel['board']}: {panel['title']}")
every_name = for_every("name", DASHBOARDS, str)

UNITS = {value for name, value in vars(units).items() if isinstance(value, str)}


def variables(board: dict[str, Any], type_: str) -> dict[str, dict[str, Any]]:
    found = board["templating"]["list"]
    return {each["name"]: each for each in found if each["type"] == type_}


def selectors(panel: dict[str, Any]) -> list[promql.Selector]:
    expressions = (target["expr"] for target in panel["targets"])
    return [each for expr in expressions for each in parsed(expr).selectors]


def excluded(rule: str, panel: dict[str, Any]) -> bool:
    entry = {"dashboard": panel["board"], "panel": panel["title"]}
    return entry in EXCLUSIONS.get(rule, {}).get("entries", [])


def test_the_committed_dashboards_are_what_the_generator_makes() -> None:
    for name, text in dashboards(MixinValues()).items():
        assert (FOLDER / name).read_text(encoding="utf-8") == text, "run make mixin"
    assert {path.name for path in FOLDER.glob("*.json")} == set(DASHBOARDS)


@every_name
def test_the_sdk_reads_a_dashboard_and_drops_none_of_it(name: str) -> None:
    text = (FOLDER / name).read_text(encoding="utf-8")
    assert reread(text) == text


@every_board
def test_template_datasource_rule(board: dict[str, Any]) -> None:
    found = variables(board, "datasource")
    assert {name: each["label"] for name, each in found.items()} == {"datasource": "Data source"}


@every_board
def test_template_job_rule_and_template_instance_rule(board: dict[str, Any]) -> None:
    for name in ("job", "instance"):
        variable = variables(board, "query")[name]
        assert variable["datasource"]["uid"] == "${datasource}"
        assert variable["label"] == name.capitalize()
        assert variable["multi"]
        assert variable["includeAll"]
        assert variable["allValue"] == ".+"


@every_board
def test_template_label_promql_rule(board: dict[str, Any]) -> None:
    for variable in variables(board, "query").values():
        for source in (variable["query"]["query"], variable["definition"]):
            match = re.fullmatch(r"label_values\((.+), (\w+)\)", source)
            assert match
            # Our parser needs a name before the braces.
            assert parsed(re.sub(r"^\{", "any{", match[1])).selectors


@every_board
def test_template_on_time_change_reload_rule(board: dict[str, Any]) -> None:
    assert {each["refresh"] for each in variables(board, "query").values()} == {2}


@every_panel
def test_panel_datasource_rule(panel: dict[str, Any]) -> None:
    found = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
    assert {each["uid"] for each in found} == {"${datasource}"}


@every_panel
def test_panel_title_description_rule(panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert len(panel["description"].split()) > 8, "says what it shows and what to do"
    assert panel["description"].endswith(".")


@every_panel
def test_a_panel_names_only_alerts_that_exist(panel: dict[str, Any]) -> None:
    named = re.findall(r"\bEsim[A-Z]\w+", panel["description"])
    assert set(named) <= {alert.name for group in groups() for alert in group.alerts}


@every_panel
def test_panel_units_rule(panel: dict[str, Any]) -> None:
    config = panel["fieldConfig"]
    shown_as_text = panel["options"].get("reduceOptions", {}).get("fields")
    overrides = [p for each in config["overrides"] for p in each["properties"]]
    found = [p["value"] for p in overrides if p["id"] == "unit"]
    found += [config["defaults"][key] for key in ("unit",) if key in config["defaults"]]
    assert found or shown_as_text or panel["type"] == "table"
    assert set(found) <= UNITS


@every_panel
def test_panel_no_targets_rule(panel: dict[str, Any]) -> None:
    assert panel["targets"]


@every_panel
def test_target_promql_rule(panel: dict[str, Any]) -> None:
    # Another test shows that Prometheus accepts every expression.
    assert selectors(panel)


@every_panel
def test_target_rate_interval_rule(panel: dict[str, Any]) -> None:
    for selector in selectors(panel):
        if {"rate", "irate"} & set(selector.functions):
            assert selector.window == "$__rate_interval"


@every_panel
def test_target_job_rule(panel: dict[str, Any]) -> None:
    for selector in selectors(panel):
        assert ("job", "=~", "$job") in selector.matchers, selector.name


@every_panel
def test_target_instance_rule(panel: dict[str, Any]) -> None:
    without = {
        selector.name
        for selector in selectors(panel)
        if ("instance", "=~", "$instance") not in selector.matchers
    }
    assert bool(without) == excluded("target-instance-rule", panel)
    assert all(":" in name or name == "ALERTS" for name in without)


@every_panel
def test_target_counter_agg_rule(panel: dict[str, Any]) -> None:
    for selector in selectors(panel):
        if selector.name.endswith("_total"):
            assert {"rate", "irate", "increase"} & set(selector.functions)


@every_board
def test_uneditable_dashboard(board: dict[str, Any]) -> None:
    assert board["editable"] is False


def test_every_exclusion_has_a_reason_and_names_an_existing_panel() -> None:
    shown = {(b["title"], panel["title"]) for b in BOARDS.values() for panel in panels(b)}
    for rule in EXCLUSIONS.values():
        assert rule["reason"]
        assert {(each["dashboard"], each["panel"]) for each in rule["entries"]} <= shown


@every_board
def test_a_dashboard_has_the_address_that_alerts_link_to(board: dict[str, Any]) -> None:
    assert board["uid"] in {f"esim-{scope}" for scope in ("fleet", "package", "esim", "exporter")}
    linked = {name for name in ("vendor", "package", "esim") if name in names(board)}
    by_scope = {
        "esim-fleet": {"vendor"},
        "esim-package": {"vendor", "package"},
        "esim-esim": {"vendor", "esim"},
        "esim-exporter": {"vendor"},
    }
    assert linked == by_scope[board["uid"]]


def names(board: dict[str, Any]) -> set[str]:
    return {each["name"] for each in board["templating"]["list"]}


@every_board
def test_people_choose_the_vendor_first(board: dict[str, Any]) -> None:
    order = [each["name"] for each in board["templating"]["list"]]
    own = [name for name in order if name in {"package", "esim"}]
    assert order == ["vendor", *own, "datasource", "job", "instance"]


@every_board
def test_no_variable_lists_single_esims(board: dict[str, Any]) -> None:
    for variable in variables(board, "query").values():
        assert not variable["definition"].endswith(("esim_id)", "reference_id)", "iccid)"))
    assert set(variables(board, "textbox")) == names(board) & {"esim"}


@every_board
def test_every_variable_that_is_named_exists(board: dict[str, Any]) -> None:
    text = json.dumps(board["panels"])
    named = set(re.findall(r"\$\{?(\w+)", text))
    own = {name for name in named if not name.startswith("__")}
    assert own <= names(board)
    assert names(board) - own <= {"datasource"}, "a variable that nothing depends on"


@every_board
def test_panels_fill_the_grid_without_overlapping(board: dict[str, Any]) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {
            (place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
    height = max(y for _, y in taken) + 1
    assert len(taken) == 24 * height, "there are no holes"


@every_board
def test_panel_ids_are_unique(board: dict[str, Any]) -> None:
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)


@every_panel
def test_a_panel_says_why_it_may_be_empty(panel: dict[str, Any]) -> None:
    assert panel["fieldConfig"]["defaults"]["noValue"]


@every_panel
def test_shares_of_an_allowance_have_the_same_colours_everywhere(panel: dict[str, Any]) -> None:
    config = panel["fieldConfig"]
    properties = [p for each in config["overrides"] for p in each["properties"]]
    found = [p["value"] for p in properties if p["id"] == "thresholds"]
    found += [config["defaults"]["thresholds"]] if "thresholds" in config["defaults"] else []
    expected = [{"color": colour, "value": value} for value, colour in palette.USED]
    for thresholds in found:
        if 0.75 in {step["value"] for step in thresholds["steps"]}:
            assert thresholds["steps"] == expected
    bands = dict(palette.BANDS.values())
    for bound, colour in palette.USED[1:]:
        assert bands[f"{bound:.0%}".replace("%", " %")] == colour
    for override in config["overrides"]:
        given = {p["id"]: p["value"] for p in override["properties"]}
        if given.get("displayName") in bands:
            assert given["color"]["fixedColor"] == bands[given["displayName"]]


@every_board
def test_links_lead_to_existing_dashboards_and_runbooks(board: dict[str, Any]) -> None:
    uids = {each["uid"] for each in BOARDS.values()}
    links = re.findall(r'"url": "([^"]+)"', json.dumps(board))
    assert links
    for link in links:
        if link.startswith("/d/"):
            assert re.match(r"/d/([\w-]+)", link)[1] in uids  # type: ignore[index]
        else:
            assert link.startswith(MixinValues().links.runbooks)
    assert {"dashboards", "link"} == {link["type"] for link in board["links"]}
    assert not re.search(r"example\.com", json.dumps(board))


def test_dashboards_link_to_one_another_by_their_tag() -> None:
    (tags,) = {tuple(board["tags"]) for board in BOARDS.values()}
    for board in BOARDS.values():
        (others,) = (link for link in board["links"] if link["type"] == "dashboards")
        assert tuple(others["tags"]) == tags
        assert others["includeVars"]
        assert others["keepTime"]


@every_board
def test_links_and_annotations_are_in_no_menu(board: dict[str, Any]) -> None:
    """The SDK puts them into a menu that Grafana 12.3 does not fill (grafana/grafana#115084)."""
    shown = [*board["links"], *board["annotations"].get("list", ())]
    assert shown
    assert not any("placement" in each for each in shown)


@every_board
def test_annotations_are_about_the_chosen_instances(board: dict[str, Any]) -> None:
    found = {each["name"]: each for each in board["annotations"]["list"]}
    assert found.keys() == {"Restarts", "Versions"}
    for each in found.values():
        for selector in parsed(each["expr"]).selectors:
            assert ("job", "=~", "$job") in selector.matchers
            assert ("instance", "=~", "$instance") in selector.matchers


def test_the_exporter_shows_first_whether_it_and_its_storage_are_up() -> None:
    first = panels(BOARDS["esim-exporter.json"])[:3]
    assert [panel["title"] for panel in first] == ["Up", "Storage", "Feed age"]
    assert {panel["gridPos"]["y"] for panel in first} == {0}


def test_http_codes_have_the_colours_of_their_class() -> None:
    (panel,) = (panel for panel in PANELS if panel["title"] == "HTTP requests by code")
    colours = {
        code: properties["value"]["fixedColor"]
        for code in ("200", "401", "503")
        for override in panel["fieldConfig"]["overrides"]
        for properties in override["properties"]
        if re.match(override["matcher"]["options"].strip("/"), f"{code} /webhooks/roamify")
    }
    assert colours == {"200": palette.GOOD, "401": palette.WARNING, "503": palette.CRITICAL}


def test_links_that_are_not_known_are_left_out() -> None:
    default, known = (
        dashboards(MixinValues(links=LinkValues(status_page=url)))["esim-fleet.json"]
        for url in ("", "https://esims.example.com/")
    )
    assert "tatus page" not in without_descriptions(default)
    (link,) = (each for each in json.loads(known)["links"] if each["title"] == "Status page")
    assert link["url"] == "https://esims.example.com"
    for page in (
        "/esims?out_of_data=true",
        "/esims/${__data.fields.vendor:percentencode}/${__data.fields.esim_id:percentencode}",
    ):
        assert f'"https://esims.example.com{page}"' in known


def test_thresholds_and_labels_of_targets_come_from_the_values() -> None:
    values = MixinValues(
        target_labels=("cluster",),
        feed=FeedValues(silent="3h"),
        packages=PackageValues(usage_high=0.35, min_esims=17),
        forecast=ForecastValues(horizon="5d"),
        exporter=ExporterValues(certificate_ends="30d"),
    )
    written = dashboards(values)
    for name, expected in {
        "esim-fleet.json": ('"value": 10800', "After 3h it is a page", "by (job, cluster, shard"),
        "esim-package.json": ('"value": 0.35', "17 or more", '"value": 432000', "line of 5d"),
        "esim-exporter.json": ('"value": 10800', '"value": 2592000', "by (job, cluster, vendor"),
    }.items():
        for text in expected:
            assert text in written[name], (name, text)


def without_descriptions(text: str) -> str:
    return re.sub(r'"description": .*', "", text)


def provisioning() -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in sorted((FOLDER.parent / "provisioning").glob("*/*.yaml")):
        yield path, yaml.safe_load(path.read_text(encoding="utf-8"))


def test_provisioning_names_a_data_source_and_a_folder_of_dashboards() -> None:
    found = {path.parent.name: document for path, document in provisioning()}
    (source,) = found["datasources"]["datasources"]
    assert source["type"] == "prometheus"
    assert source["jsonData"]["timeInterval"] == "30s", "as often as README.md scrapes"
    (provider,) = found["dashboards"]["providers"]
    assert provider["type"] == "file"
    assert provider["options"]["path"]
    assert {document["apiVersion"] for document in found.values()} == {1}


@every_name
def test_there_is_a_picture_of_a_dashboard(name: str) -> None:
    picture = FOLDER.parent / "screenshots" / name.replace(".json", ".png")
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size < 300_000, "small enough to keep in the repository"
