"""Rules keep the labels of targets that tell installations apart, and mix no two installations."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import programs
import pytest
import yaml
from monitoring_stack import ALERTS

from exporter.mixin.documents import documents
from exporter.mixin.values import MixinValues

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

RULE_TESTS = sorted((ALERTS / "tests").glob("*.yml"))
CLUSTERS = ("east", "west")
OF_NO_CLUSTER = {"EsimExporterDown", "EsimRuleEvaluationFailing", "Watchdog"}
"""Alerts about targets that are missing, about Prometheus, and about nothing."""


def in_clusters(series: dict[str, str]) -> list[dict[str, str]]:
    name, brace, labels = series["series"].partition("{")
    assert brace
    return [series | {"series": f'{name}{{cluster="{each}",{labels}'} for each in CLUSTERS]


def told_of_clusters(check: dict[str, Any]) -> dict[str, Any]:
    alerts = [
        alert | {"exp_labels": alert["exp_labels"] | {"cluster": cluster}}
        for alert in check["exp_alerts"]
        for cluster in CLUSTERS
    ]
    return check | {"exp_alerts": alerts}


@pytest.mark.parametrize("path", RULE_TESTS, ids=lambda path: path.stem)
def test_two_installations_are_told_apart(path: Path, tmp_path: Path) -> None:
    """Each rule test holds for both, if all its series are there once for each."""
    for file, text in documents(MixinValues(target_labels=("cluster",))).items():
        (tmp_path / file).write_text(text)
    document = yaml.load(path.read_text(), yaml.CSafeLoader)
    document["rule_files"] = [file.removeprefix("../") for file in document["rule_files"]]
    for test in document["tests"]:
        test["input_series"] = [each for s in test["input_series"] for each in in_clusters(s)]
        test["alert_rule_test"] = [
            told_of_clusters(check)
            for check in test["alert_rule_test"]
            if check["alertname"] not in OF_NO_CLUSTER
        ]
    written = tmp_path / "test.yml"
    written.write_text(yaml.safe_dump(document))
    done = subprocess.run(
        [programs.require("promtool"), "test", "rules", written],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
