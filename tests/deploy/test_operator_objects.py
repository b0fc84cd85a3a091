"""The chart's ServiceMonitors and PrometheusRules fit what the Prometheus Operator publishes."""

from __future__ import annotations

import copy
import hashlib
import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Final

import helm
import programs
import pytest
from prerequisites import exclusive, lack
from test_chart import FULL, RENDERINGS

pytestmark = pytest.mark.slow

SOURCES: Final = Path(__file__).resolve().parent / "operator_schemas"
CACHE: Final = Path(__file__).resolve().parents[2] / ".cache" / "operator_schemas"
INSTALL = ("ci", "--ignore-scripts", "--no-audit", "--no-fund")
TIMEOUT: Final = 500
"""Seconds for one run of npm or node. It ends before others give up waiting for the schemas."""


@pytest.fixture(scope="module")
def schemas() -> Path:
    """Return a folder with the schemas and the script that checks; fetch them if needed."""
    digest = hashlib.sha256()
    for path in sorted(SOURCES.iterdir()):
        digest.update(path.read_bytes())
    kept = CACHE / digest.hexdigest()[:16]
    with exclusive(CACHE / "lock"):
        if not kept.exists():
            with tempfile.TemporaryDirectory(dir=CACHE) as name:
                folder = shutil.copytree(SOURCES, Path(name) / "schemas")
                npm = programs.require("npm")
                done = programs.run_npm(INSTALL, folder, npm=npm, timeout=TIMEOUT)
                if done.returncode:
                    lack(f"npm could not fetch the schemas of the operator: {done.stderr.strip()}")
                folder.rename(kept)
    return kept


def problems(schemas: Path, objects: list[dict[str, Any]]) -> list[str]:
    with tempfile.NamedTemporaryFile(dir=schemas, suffix=".mts") as source:
        done = subprocess.run(
            [programs.require("node"), schemas / "check.mjs", source.name],
            cwd=schemas,
            input=json.dumps(objects),
            capture_output=True,
            text=True,
            check=True,
            timeout=TIMEOUT,
        )
    return done.stdout.splitlines()


def of_the_operator(values: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        each
        for each in helm.running().render(values)
        if each["apiVersion"] == "monitoring.coreos.com/v1"
    ]


@pytest.mark.parametrize("name", ["default", "shards", "full"])
def test_every_object_of_the_operator_fits(name: str, schemas: Path) -> None:
    objects = of_the_operator(RENDERINGS[name])
    assert len(objects) == 3
    assert problems(schemas, objects) == []


def test_wrong_values_and_unknown_fields_do_not_fit(schemas: Path) -> None:
    objects = {each["metadata"]["name"] + each["kind"]: each for each in of_the_operator(FULL)}
    monitor, rule = objects["esim-exporterServiceMonitor"], objects["esim-exporterPrometheusRule"]
    value, field, misspelt = copy.deepcopy(monitor), copy.deepcopy(monitor), copy.deepcopy(rule)
    value["spec"]["endpoints"][0]["interval"] = "30 s"
    field["spec"]["endpoints"][0]["relabelings"][0]["replacment"] = "x"
    misspelt["spec"]["groups"][0]["rules"][-1]["keepFiringFor"] = "10m"
    told = problems(schemas, [value, field, misspelt])
    assert len(told) == 3
    assert "interval must match pattern" in told[0]
    assert "'\"replacment\"' does not exist" in told[1]
    assert "'\"keepFiringFor\"'" in told[2]
