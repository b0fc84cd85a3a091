from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import programs
import pytest
import yaml
from packaging.requirements import Requirement

from exporter.settings import loading
from exporter.settings.vendor_settings import secret_variable
from exporter.vendors.registry import FIRST, VENDORS

ROOT = Path(__file__).resolve().parents[2]
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "compose.yaml").read_text())[
    "services"
]
MOUNTS = [
    (name, *mount.split(":"))
    for name, service in SERVICES.items()
    for mount in service.get("volumes", [])
    if mount.startswith(".")
]
PROMETHEUS = ROOT / "deploy" / "compose" / "prometheus.yml"


@pytest.mark.parametrize(("name", "source", "target", "mode"), MOUNTS)
def test_what_is_mounted_is_there_and_is_only_read(
    name: str, source: str, target: str, mode: str
) -> None:
    assert (ROOT / source).exists(), name
    assert target.startswith("/")
    assert mode == "ro"


def test_only_the_webhook_is_reached_from_other_machines() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == ["10878:10878"]


FILES = ("compose.yaml", "deploy/compose/replicas.yaml")


def services(file: str) -> dict[str, dict[str, Any]]:
    """Return the services of a file. Those that it takes from the other one have their ports."""
    found: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / file).read_text())["services"]
    return {name: SERVICES.get(name, {}) | service for name, service in found.items()}


@pytest.mark.parametrize("file", FILES)
def test_nothing_but_the_secret_must_be_given(file: str) -> None:
    required = re.findall(r"\$\{(\w+)(?!:-)[:?}]", (ROOT / file).read_text())
    assert set(required) == {"ESIM_EXPORTER_WEBHOOK_SECRET"}


@pytest.mark.parametrize("file", FILES)
def test_every_vendor_can_be_turned_on_and_off(file: str) -> None:
    (exporter, *_) = (each for name, each in services(file).items() if name.startswith("exporter"))
    given = exporter["environment"]
    assert "?" in given["ESIM_EXPORTER_WEBHOOK_SECRET"]  # not :?, which would refuse an empty one
    for vendor in VENDORS:
        if vendor is not FIRST:
            name = secret_variable(vendor)
            assert given[name] == f"${{{name}:-}}"
            assert vendor not in loading.load(["--webhook.allow-unsigned"], {name: ""}).vendors_on


@pytest.mark.parametrize("file", FILES)
def test_where_to_look_is_printed_when_it_can_be_seen(file: str) -> None:
    others = services(file)
    printer = others.pop("where-to-look")
    ports = [port.split(":")[-2] for each in others.values() for port in each.get("ports", [])]

    printed = subprocess.run(
        [*printer["entrypoint"], *printer["command"]], capture_output=True, text=True, check=True
    ).stdout

    assert sorted(re.findall(r"http://localhost:(\d+)/", printed)) == sorted(ports)
    published = {name for name, each in others.items() if "ports" in each}
    assert set(printer["depends_on"]) >= published
    waited_for = {
        name for name, each in printer["depends_on"].items() if "healthy" in each["condition"]
    }
    assert waited_for == {name for name in others if name.startswith("exporter")}


def test_the_exporter_allows_no_backups_unless_asked() -> None:
    environ = SERVICES["exporter"]["environment"]
    name = "ESIM_EXPORTER_WEB_ENABLE_ADMIN_API"
    assert environ[name] == f"${{{name}:-false}}"
    for given in ("true", "false"):
        web = loading.load([], {name: given, "ESIM_EXPORTER_WEBHOOK_SECRET": "x"}).web
        assert web.enable_admin_api == (given == "true")


def test_prometheus_takes_its_configuration_with_the_rules(tmp_path: Path) -> None:
    promtool = programs.require("promtool")
    (tmp_path / "prometheus.yml").symlink_to(PROMETHEUS)
    (tmp_path / "alerts").symlink_to(ROOT / "alerts")
    done = subprocess.run(
        [promtool, "check", "config", "prometheus.yml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 rule files found" in done.stdout


def test_grafana_s_data_source_is_the_provisioned_one_at_another_address() -> None:
    here = yaml.safe_load((ROOT / "deploy/compose/datasource.yaml").read_text())
    there = yaml.safe_load((ROOT / "grafana/provisioning/datasources/prometheus.yaml").read_text())
    assert here["datasources"][0].pop("url") == "http://prometheus:9090"
    del there["datasources"][0]["url"]
    assert here == there


def test_dashboards_lie_where_they_are_looked_for() -> None:
    file = ROOT / "grafana/provisioning/dashboards/esim-exporter.yaml"
    (provider,) = yaml.safe_load(file.read_text())["providers"]
    mounted = [target for _, source, target, _ in MOUNTS if source == "./grafana/dashboards"]
    assert mounted == [provider["options"]["path"]]


def test_the_image_has_what_postgresql_needs(tmp_path: Path) -> None:
    text = (ROOT / "Dockerfile").read_text()
    (script,) = re.findall(r"^RUN python3 -c '(.+?)' > /tmp/requirements", text, re.MULTILINE)
    (tmp_path / "pyproject.toml").symlink_to(ROOT / "pyproject.toml")

    listed = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )

    assert {"asyncpg", "quart"} <= {Requirement(line).name for line in listed.stdout.splitlines()}


def test_the_image_is_built_from_what_the_build_may_see() -> None:
    seen = (ROOT / ".dockerignore").read_text().splitlines()
    copied = [
        word
        for line in (ROOT / "Dockerfile").read_text().splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for word in line.split()[1:-1]
    ]
    assert copied
    assert all(f"!{name}" in seen for name in copied)


GUIDE = (ROOT / "deploy" / "README.md").read_text()


def test_the_sample_event_of_readme_can_be_sent_to_the_container_and_seen() -> None:
    (command,) = re.findall(r"^    docker run --name (?:.*\\\n)*.*$", GUIDE, re.MULTILINE)
    published = re.findall(r"--publish (?:127\.0\.0\.1:)?(\d+):\1", command)
    asked = re.findall(
        r"http://localhost:(\d+)/(?:webhooks|metrics)", (ROOT / "README.md").read_text()
    )
    assert set(asked) == set(published)
    assert "--publish 10877" not in command  # other machines would reach it


def test_the_recipe_without_a_registry_leaves_nothing_untracked() -> None:
    (base,) = re.findall(r"^    debootstrap .* (\S+)$", GUIDE, re.MULTILINE)
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert f"{Path(base).parts[0]}/" in ignored
