from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import programs
import pytest
import yaml

from exporter.settings import loading
from exporter.vendors.registry import VENDORS

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "compose"
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((FOLDER / "replicas.yaml").read_text())[
    "services"
]
SINGLE: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
REPLICAS = [name for name in SERVICES if name.startswith("exporter-")]


def test_what_is_extended_and_mounted_is_there() -> None:
    extended = [service["extends"] for service in SERVICES.values() if "extends" in service]
    assert {(FOLDER / each["file"]).resolve() for each in extended} == {ROOT / "compose.yaml"}
    assert {each["service"] for each in extended} == set(SINGLE) - {"exporter", "where-to-look"}
    for service in SERVICES.values():
        for mount in service.get("volumes", []):
            assert not mount.startswith(".") or (FOLDER / mount.split(":")[0]).is_file()


def test_prometheus_has_another_configuration_in_the_same_place() -> None:
    (mount,) = SERVICES["prometheus"]["volumes"]
    targets = [each.split(":")[1] for each in SINGLE["prometheus"]["volumes"]]
    assert mount.split(":")[1] in targets


def test_only_the_webhook_is_reached_from_other_machines() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == ["10878:10878"]
    assert len(set(ports)) == len(ports)


@pytest.mark.parametrize("name", REPLICAS)
def test_a_replica_is_as_confined_as_one_alone_and_keeps_nothing(name: str) -> None:
    replica, alone = SERVICES[name], SINGLE["exporter"]
    for key in ("read_only", "cap_drop", "security_opt", "stop_grace_period", "restart", "image"):
        assert replica[key] == alone[key]
    assert "volumes" not in replica


def test_replicas_share_a_database_that_is_one_of_the_services() -> None:
    environ = {
        name: re.sub(r"\$\{.*?\}", "x", re.sub(r"\$\{\w+:-\}", "", value))
        for name, value in SERVICES[REPLICAS[0]]["environment"].items()
    }
    assert all(
        SERVICES[name]["environment"] == SERVICES[REPLICAS[0]]["environment"] for name in REPLICAS
    )
    url = loading.load([], environ).storage.url
    user = SERVICES["postgres"]["environment"]["POSTGRES_USER"]
    assert url == f"postgresql://{user}:x@postgres/{user}"


def test_the_proxy_knows_every_replica() -> None:
    text = (FOLDER / "nginx.conf").read_text()
    assert re.findall(r"server (\S+):10878 ", text) == REPLICAS
    assert "proxy_next_upstream error timeout http_503 non_idempotent;" in text


def test_the_proxy_leads_to_every_vendor_and_logs_no_token() -> None:
    text = (FOLDER / "nginx.conf").read_text()
    (path,) = re.findall(r"location (\S+) \{\s+#?.*\s*proxy_pass", text)
    assert all(vendor.webhook_path.startswith(path) for vendor in VENDORS)
    assert re.findall(r"\w+_log .*;", text) == ["access_log off;", "error_log stderr emerg;"]


def test_prometheus_scrapes_every_replica_and_is_otherwise_the_same(tmp_path: Path) -> None:
    several, one = (
        yaml.safe_load((FOLDER / name).read_text())
        for name in ("prometheus-replicas.yml", "prometheus.yml")
    )
    for job in several["scrape_configs"][1:]:
        (targets,) = job["static_configs"]
        assert targets["targets"] == [f"{name}:10877" for name in REPLICAS]
        targets["targets"] = ["exporter:10877"]
    assert several == one
    (tmp_path / "prometheus.yml").symlink_to(FOLDER / "prometheus-replicas.yml")
    (tmp_path / "alerts").symlink_to(ROOT / "alerts")
    check = [str(programs.require("promtool")), "check", "config", "prometheus.yml"]
    subprocess.run(check, cwd=tmp_path, capture_output=True, check=True)
