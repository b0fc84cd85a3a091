from __future__ import annotations

import functools
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import programs
import pytest
import yaml
from looping import for_every
from monitoring_stack import ALERTS

from exporter.demo import monitoring
from exporter.mixin.documents import documents
from exporter.mixin.rules.rule_files import FILES, groups
from exporter.mixin.values import MixinValues
from exporter.settings.field_types import parse_duration

if TYPE_CHECKING:
    from pathlib import Path

RULE_FILES = sorted(ALERTS.glob("*.rules.yml"))
RULE_TESTS = sorted((ALERTS / "tests").glob("*.yml"))
CONFIGURATIONS = sorted(ALERTS.glob("alertmanager*.yml"))
NAMES = sorted({alert.name for group in groups() for alert in group.alerts})


def run(program: str, *arguments: str | Path) -> str:
    """Run a program, check that it succeeds, and return its output."""
    done = subprocess.run(
        [programs.require(program), *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_committed_files_are_what_the_command_writes() -> None:
    done = subprocess.run(
        [sys.executable, ALERTS / "repository_copies.py", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_no_other_rule_file_or_route_is_committed() -> None:
    committed = {path.name for path in ALERTS.glob("*.y*ml")}
    assert committed == {*documents(MixinValues()), "alertmanager-large-fleet.yml"}


def test_the_operators_object_holds_the_rules_of_all_files_but_the_watchdog() -> None:
    rule = yaml.safe_load((ALERTS / "prometheusrule.yaml").read_text())
    files = [name for name in FILES if name != "watchdog.rules.yml"]
    loaded = [yaml.safe_load((ALERTS / name).read_text())["groups"] for name in files]
    assert rule["spec"]["groups"] == [group for in_file in loaded for group in in_file]
    assert (rule["apiVersion"], rule["kind"]) == ("monitoring.coreos.com/v1", "PrometheusRule")


def test_promtool_has_nothing_to_say_about_the_rules() -> None:
    run("promtool", "check", "rules", "--lint=all", "--lint-fatal", *RULE_FILES)


def test_promtool_and_amtool_accept_what_the_demonstration_runs(tmp_path: Path) -> None:
    for name, text in monitoring.written("http://127.0.0.1:1").items():
        (tmp_path / name).write_text(text)
    run("promtool", "check", "rules", *tmp_path.glob("*.rules.yml"))
    run("amtool", "check-config", tmp_path / "alertmanager.yml")


def test_amtool_accepts_the_configurations() -> None:
    run("amtool", "check-config", *CONFIGURATIONS)


def test_a_bundle_with_shorter_durations_is_accepted_too(tmp_path: Path) -> None:
    for name, text in documents(MixinValues(faster=1200)).items():
        (tmp_path / name).write_text(text)
    run("promtool", "check", "rules", "--lint=all", "--lint-fatal", *tmp_path.glob("*.rules.yml"))
    run("amtool", "check-config", *tmp_path.glob("alertmanager*.yml"))


@pytest.mark.parametrize("path", RULE_TESTS, ids=lambda path: path.stem)
def test_promtool_finds_the_rules_behave_as_written(path: Path) -> None:
    run("promtool", "test", "rules", path)


@functools.cache
def rule_tests() -> list[dict[str, Any]]:
    return [
        test
        for path in RULE_TESTS
        for test in yaml.load(path.read_text(), yaml.CSafeLoader)["tests"]
    ]


def rule_checks() -> list[dict[str, Any]]:
    return [check for test in rule_tests() for check in test["alert_rule_test"]]


@for_every("name", NAMES, str)
def test_every_alert_has_a_test_in_which_it_fires_with_all_its_annotations(name: str) -> None:
    fired = [a for c in rule_checks() if c["alertname"] == name for a in c["exp_alerts"]]
    wanted = {"summary", "description", "runbook_url"}
    assert fired
    assert all(alert["exp_annotations"].keys() == wanted for alert in fired)


def test_every_rule_has_a_test_in_which_it_fires() -> None:
    fired = [
        {"alertname": check["alertname"], **alert["exp_labels"]}
        for check in rule_checks()
        for alert in check["exp_alerts"]
    ]
    for group in groups():
        for rule in group.alerts:
            labels = {"alertname": rule.name, **rule.document(MixinValues())["labels"]}
            assert any(labels.items() <= each.items() for each in fired), labels


@for_every("name", [name for name in NAMES if name != "Watchdog"], str)
def test_every_alert_has_a_test_in_which_something_like_it_is_silent(name: str) -> None:
    """The input of such a test has a case that must not fire, and the test names all alerts."""
    texts = [
        test["name"]
        for test in rule_tests()
        if any(check["alertname"] == name for check in test["alert_rule_test"])
    ]
    assert any("silen" in text or "resolve" in text for text in texts) or any(
        check["alertname"] == name and not check["exp_alerts"] for check in rule_checks()
    )


def test_the_readme_lists_every_alert() -> None:
    text = (ALERTS / "README.md").read_text()
    assert all(f"[{name}](runbooks/{name}.md)" in text for name in NAMES)


ESIM = ("scope=esim", "vendor=roamify", "esim_id=e", "package_id=p", "job=esim-exporter")
PACKAGE = ("scope=package", "vendor=roamify", "package_id=p", "job=esim-exporter")
ROUTES = [
    (("alertname=Watchdog", "severity=none", "scope=exporter"), "deadman", "deadman"),
    (("alertname=EsimOutOfData", "severity=critical", *ESIM), "pager", "tickets"),
    (("alertname=EsimOutOfData", "severity=warning", *ESIM), "tickets", "tickets"),
    (("alertname=EsimDataUsageHigh", "severity=warning", *ESIM), "tickets", "tickets"),
    (("alertname=EsimDataUsageHigh", "severity=info", *ESIM), "null", "null"),
    (("alertname=EsimSmsUsageHigh", "severity=warning", *ESIM), "tickets", "tickets"),
    (("alertname=EsimSmsUsageHigh", "severity=critical", *ESIM), "pager", "pager"),
    (("alertname=EsimFairUseExceeded", "severity=warning", *ESIM), "tickets", "tickets"),
    (("alertname=EsimReportingStale", "severity=info", *ESIM), "null", "null"),
    (("alertname=EsimPackageOutOfData", "severity=critical", *PACKAGE), "pager", "pager"),
    (("alertname=EsimFleetOutOfData", "severity=critical", "scope=fleet"), "pager", "pager"),
    (("alertname=EsimPackageUsageHigh", "severity=warning", *PACKAGE), "tickets", "tickets"),
    (("alertname=EsimMassRevocation", "severity=critical", "scope=fleet"), "pager", "pager"),
    (("alertname=EsimMassExpiry", "severity=warning", "scope=fleet"), "tickets", "tickets"),
    (("alertname=EsimExporterDown", "severity=critical", "scope=exporter"), "pager", "pager"),
    (("alertname=EsimCapReached", "severity=warning", "scope=exporter"), "tickets", "tickets"),
    (("alertname=SomebodyElses", "severity=warning"), "tickets", "tickets"),
]
"""Labels of an alert, its receiver by the usual routes, and by those for a large fleet."""


@for_every("route", ROUTES, lambda route: " ".join(route[0]))
def test_alerts_go_where_they_should(route: tuple[tuple[str, ...], str, str]) -> None:
    labels, usual, large = route
    for name, receiver in (
        ("alertmanager.yml", usual),
        ("alertmanager-large-fleet.yml", large),
    ):
        path = ALERTS / name
        routed = run("amtool", "config", "routes", "test", f"--config.file={path}", *labels)
        assert routed.strip() == receiver


def routes(configuration: dict[str, Any]) -> list[dict[str, Any]]:
    return [configuration["route"], *configuration["route"]["routes"]]


def test_the_routes_of_large_fleets_differ_in_one_value() -> None:
    usual, large = (
        yaml.safe_load((ALERTS / f"alertmanager{name}.yml").read_text())
        for name in ("", "-large-fleet")
    )
    for one, other in zip(routes(usual), routes(large), strict=True):
        if one.get("matchers") == ['alertname="EsimOutOfData"', 'severity="critical"']:
            assert (one.pop("receiver"), other.pop("receiver")) == ("pager", "tickets")
    assert usual == large


@for_every("path", CONFIGURATIONS, lambda path: path.stem)
def test_alertmanager_remembers_a_notification_until_it_is_due_again(path: Path) -> None:
    """It forgets after ``--data.retention``, by default 120 h, and then notifies again."""
    for route in routes(yaml.safe_load(path.read_text())):
        interval = route.get("repeat_interval")
        assert interval is None or parse_duration(interval) < 120 * 3600


@for_every("path", CONFIGURATIONS, lambda path: path.stem)
def test_only_an_exporter_that_is_down_mutes_esims_without_data(path: Path) -> None:
    rules = yaml.safe_load(path.read_text())["inhibit_rules"]
    labels = {"scope": "esim", "severity": "critical", "job": "esim-exporter"}
    for name in ("EsimOutOfData", "EsimPackageOutOfData", "EsimFleetOutOfData"):
        muting = [r for r in rules if matched(r["target_matchers"], labels | {"alertname": name})]
        assert [rule["source_matchers"] for rule in muting] == [['alertname="EsimExporterDown"']]


def matched(matchers: list[str], labels: dict[str, str]) -> bool:
    """Return whether labels fulfil the matchers of Alertmanager."""
    for matcher in matchers:
        match = re.fullmatch(r'(\w+)(=~|!~|!=|=)"(.*)"', matcher)
        assert match
        name, operator, value = match.groups()
        same = re.fullmatch(value if "~" in operator else re.escape(value), labels.get(name, ""))
        if bool(same) == operator.startswith("!"):
            return False
    return True


@for_every("path", CONFIGURATIONS, lambda path: path.stem)
def test_nothing_is_muted_by_an_alert_of_the_other_scrape_job(path: Path) -> None:
    rules = yaml.safe_load(path.read_text())["inhibit_rules"]
    assert rules
    assert all("job" in rule["equal"] for rule in rules)


@for_every("path", CONFIGURATIONS, lambda path: path.stem)
def test_no_bands_of_single_esims_are_compared_to_mute_each_other(path: Path) -> None:
    """Comparing them would cost two cores at 20 000 eSIMs, so the bands exclude each other."""
    rules = yaml.safe_load(path.read_text())["inhibit_rules"]
    assert all("esim_id" not in rule["equal"] for rule in rules)
