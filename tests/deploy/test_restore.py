"""The commands of deploy/README.md restore a backup, also after the exporter was killed."""

from __future__ import annotations

import os
import re
import subprocess
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import helm
import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml
from running import SECRET, WAIT, Serving, event, serving

if TYPE_CHECKING:
    from collections.abc import Callable

    from postgres import Postgres

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "deploy" / "README.md").read_text()
IN_CONTAINER = re.findall(r"-c '(rm -f [^']+)' < NAME\.db$", README, re.MULTILINE)
"""What writes a backup to the volume, with Docker, Compose and Kubernetes."""


def with_systemd() -> list[str]:
    """The commands of the section about systemd, in their order."""
    section = README.partition("### With systemd\n")[2].partition("\n###")[0]
    found = re.findall(r"(?<=\n\n)(?: {4}\S.*\n)+", section)
    return [line for block in found for line in textwrap.dedent(block).splitlines()]


ALLOW, RESTART, BACK_UP, STOP, *RESTORE, START = with_systemd()


def in_container(folder: Path, backup: Path) -> None:
    (script,) = set(IN_CONTAINER)
    with backup.open() as stream:
        run(script.replace("/data", str(folder)), folder, stdin=stream)


def under_systemd(folder: Path, backup: Path) -> None:
    script = "\n".join(RESTORE).replace("/var/lib/esim-exporter", str(folder))
    script = script.replace(" -o esim-exporter -g esim-exporter", "")
    run(script.replace("NAME.db", str(backup)), folder)


def run(script: str, folder: Path, **options: Any) -> str:
    done = subprocess.run(
        ["sh", "-ec", script],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=WAIT,
        check=False,
        **options,
    )
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


def settings(folder: Path) -> dict[str, str]:
    """The environment of the unit after the command that allows backups."""
    file = folder / "environment"
    run(ALLOW.replace("/etc/esim-exporter/environment", str(file)), folder)
    given = dict(line.split("=", 1) for line in file.read_text().splitlines())
    return {"ESIM_EXPORTER_WEBHOOK_SECRET": SECRET.decode(), **given}


def shown(server: Serving) -> str:
    return server.get("/metrics?collect[]=esims&collect[]=fleet").text


@pytest.mark.parametrize("restore", [under_systemd, in_container])
@pytest.mark.parametrize("killed", [False, True], ids=["stopped", "killed"])
def test_what_was_there_at_the_backup_is_there_again(
    restore: Callable[[Path, Path], None], killed: bool, tmp_path: Path
) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    environ = settings(tmp_path)
    with serving(folder, environ=environ) as server:
        assert server.post(event()).status_code == 200
        before = shown(server)
        run(
            BACK_UP.replace("http://localhost:10877", server.internal),
            tmp_path,
            env={"PATH": os.environ["PATH"], "no_proxy": "*"},
        )
        (backup,) = folder.glob("esim-exporter-*.db")
        assert server.post(event()).status_code == 200
        assert shown(server) != before
        if killed:
            server.kill()
    assert (folder / "esim-exporter.db-wal").exists() == killed

    restore(folder, backup)

    with serving(folder, environ=environ) as server:
        assert shown(server) == before
        assert server.own()["storage_damaged_rows"] == 1  # the second event is missing
        assert server.post(event()).status_code == 200
    with serving(folder, environ=environ) as server:
        assert server.own()["storage_damaged_rows"] == 0
    assert (folder / "esim-exporter.db").stat().st_mode & 0o777 == 0o600


def test_a_database_is_as_it_was_when_it_was_dumped(postgres: Postgres, tmp_path: Path) -> None:
    dump, restore = re.findall(r"^    (pg_(?:dump|restore) .*)$", README, re.MULTILINE)
    url = {"ESIM_EXPORTER_STORAGE_URL": postgres.new_database()}
    environ = {"ESIM_EXPORTER_WEBHOOK_SECRET": SECRET.decode(), **url}
    typed = postgres.environ | url
    with serving(tmp_path, environ=environ) as server:
        assert server.post(event()).status_code == 200
        before = shown(server)
        run(dump, tmp_path, env=typed)
        assert server.post(event()).status_code == 200
        assert shown(server) != before

    run(restore, tmp_path, env=typed)

    with serving(tmp_path, environ=environ) as server:
        assert shown(server) == before
        assert server.post(event()).status_code == 200


def test_the_unit_is_stopped_before_and_started_after() -> None:
    assert (STOP, START) == ("systemctl stop esim-exporter", "systemctl start esim-exporter")
    assert RESTART == "systemctl restart esim-exporter"


def test_all_containers_are_restored_alike() -> None:
    assert len(IN_CONTAINER) == 3
    assert len(set(IN_CONTAINER)) == 1


def test_the_pod_that_restores_may_run_and_has_the_volume_of_the_chart() -> None:
    pod = yaml.safe_load((ROOT / "deploy" / "restore-pod.yaml").read_text())
    kubernetes_validate.validate(pod, "1.31", strict=True)
    values = {"ingress": {"host": "x.example.com"}}
    chart = helm.running().render(values)
    (stateful,) = (each for each in chart if each["kind"] == "StatefulSet")
    template = stateful["spec"]["template"]["spec"]
    assert pod["spec"]["securityContext"] == template["securityContext"]
    (container,), (exporter,) = pod["spec"]["containers"], template["containers"]
    for key in ("image", "securityContext"):
        assert container[key] == exporter[key]
    name = stateful["spec"]["volumeClaimTemplates"][0]["metadata"]["name"]
    (volume,) = pod["spec"]["volumes"]
    claim = f"{name}-{stateful['metadata']['name']}-0"
    assert volume["persistentVolumeClaim"]["claimName"] == claim
    mounted = {each["mountPath"] for each in exporter["volumeMounts"]}
    assert {each["mountPath"] for each in container["volumeMounts"]} <= mounted
