"""The process needs no more than the systemd unit allows."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import programs
import pytest
from running import COMMAND, WAIT, event, serving, until
from tracing import ended, environment

if TYPE_CHECKING:
    from measuring import Measured

UNIT = Path(__file__).parents[2] / "deploy" / "systemd" / "esim-exporter.service"
PROGRAM = "/opt/esim-exporter/bin/esim-exporter"

MOST_EXPOSED = 1.5
"""Highest exposure level that systemd-analyze may report, of 10."""

REQUIRED = {
    "CapabilityBoundingSet": "",
    "MemoryDenyWriteExecute": "yes",
    "NoNewPrivileges": "yes",
    "PrivateDevices": "yes",
    "PrivateTmp": "yes",
    "ProtectHome": "yes",
    "ProtectSystem": "strict",
    "RestrictAddressFamilies": "AF_INET AF_INET6",
    "StateDirectory": "esim-exporter",
    "User": "esim-exporter",
}
"""Directives that the documentation promises."""

AS_ROOT = {"fchown"}
"""Calls that SQLite makes only as root, as in some tests: it gives a log the database's owner."""

CONFINED = ("@system-service",), ("@privileged", "@resources")
"""The groups of system calls that the unit allows, and the groups that it excludes from them."""


def directives() -> dict[str, str]:
    lines = (line for line in UNIT.read_text().splitlines() if not line.startswith("#"))
    return {key: value for key, mark, value in (line.partition("=") for line in lines) if mark}


def test_the_unit_gives_no_more_than_is_needed() -> None:
    found = directives()
    assert found | REQUIRED == found
    assert "ReadWritePaths" not in found
    filters = re.findall(r"^SystemCallFilter=(.*)$", UNIT.read_text(), re.MULTILINE)
    allowed, excluded = CONFINED
    assert filters == [" ".join(allowed), "~" + " ".join(excluded)]


def header() -> list[str]:
    """The commands at the beginning of the unit, which the reader types in a checkout."""
    lines = UNIT.read_text().partition("[Unit]")[0].splitlines()
    return [line.removeprefix("#   ") for line in lines if line.startswith("#   ")]


def test_the_commands_of_the_header_prepare_what_the_unit_needs(tmp_path: Path) -> None:
    for place in ("etc/systemd/system", "opt", "var/lib/esim-exporter"):
        (tmp_path / place).mkdir(parents=True)
    # These need root, the network or systemd.
    others = ("useradd ", "python3 -m venv ", "/opt/esim-exporter/bin/pip ", "systemctl ", "curl ")
    mine = [each for each in header() if not each.startswith(others)]
    typed = "\n".join(mine).replace(" -o root -g esim-exporter", "")
    # Not the path in the checkout, which is relative.
    moved = re.sub(r"(?<=\s)/(?=etc|opt|var)", f"{tmp_path}/", typed)
    subprocess.run(["sh", "-ec", moved], cwd=UNIT.parents[2], check=True, timeout=WAIT)

    unit = (tmp_path / "etc/systemd/system" / UNIT.name).read_text()
    environ = dict(re.findall(r"^Environment=(\w+)=(.*)$", unit, re.MULTILINE))
    environ = {name: re.sub("/(?=etc|var)", f"{tmp_path}/", text) for name, text in environ.items()}
    assert len(environ) == 2
    checked = subprocess.run(
        [*COMMAND, "--config.check"],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=WAIT,
    )
    assert (checked.returncode, checked.stderr) == (0, "")
    home = f"--home-dir /var/lib/{directives()['StateDirectory']} "
    assert any(home in each for each in header())
    assert f"python3 -m venv {Path(PROGRAM).parents[1]}" in header()


def systemd(*arguments: str) -> str:
    """Return the output of systemd-analyze; empty where it is not installed."""
    if not shutil.which("systemd-analyze"):
        return ""
    done = subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, check=False, timeout=WAIT
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_systemd_finds_the_unit_well_formed_and_hardened(
    tmp_path: Path, measured: Measured
) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace(PROGRAM, "/bin/true"))  # which exists here
    systemd("verify", "--man=no", str(unit))
    report = systemd("security", "--offline=true", "--no-pager", str(UNIT))
    level = re.search(r"Overall exposure level .*: ([0-9.]+)", report)
    measured("systemd unit", f"exposure level {level[1] if level else 'not known here'} of 10")
    assert level is None or float(level[1]) <= MOST_EXPOSED


def calls_allowed() -> set[str]:
    """Return the system calls that the unit allows; none where systemd is not installed."""
    groups: dict[str, list[str]] = {}
    name = ""
    for line in systemd("syscall-filter", "--no-pager").splitlines():
        if line.startswith("@"):
            name = line.strip()
            groups[name] = []
        elif line.strip() and not line.strip().startswith("#"):
            groups[name].append(line.strip())

    def calls(group: str) -> set[str]:
        return {
            call
            for entry in groups.get(group, ())
            for call in (calls(entry) if entry.startswith("@") else {entry})
        }

    allowed, excluded = CONFINED
    return set().union(*map(calls, allowed)) - set().union(*map(calls, excluded))


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The folder of a server, and the system calls of its whole life."""
    folder = tmp_path_factory.mktemp("life")
    record = tmp_path_factory.mktemp("record") / "calls"
    strace = str(programs.require("strace"))
    command = [strace, "-D", "-f", "-qq", "-y", "-o", str(record), "-e", "signal=none"]
    environ = {**environment(), "PYTHONDONTWRITEBYTECODE": "1"}
    with serving(folder, environ=environ, command=[*command, *COMMAND]) as server:
        server.post(event())
        server.post(b"{")
        server.state()
        server.send(signal.SIGHUP)
        until(lambda: server.logged("reloaded"))
        assert server.end() == 0
    ended(record)
    return folder, record.read_text().splitlines()


def test_writes_nothing_but_its_storage(life: tuple[Path, list[str]]) -> None:
    folder, calls = life
    opened = [
        re.search(r" = \d+<([^<>]*)", line)
        for line in calls
        if re.search(r"\bopen(at)?\(.*\bO_(WRONLY|RDWR)\b", line)
    ]
    written = {Path(found[1]) for found in opened if found}
    assert folder in {path.parent for path in written} <= {folder, Path("/dev")}
    changed = [line for line in calls if re.search(r"\b(mkdir|rename|chmod|chown|link)\w*\(", line)]
    assert all(str(folder) in line for line in changed)


def test_needs_no_system_call_that_the_unit_denies(life: tuple[Path, list[str]]) -> None:
    allowed = calls_allowed()
    _, calls = life
    used = {found[1] for line in calls if (found := re.match(r"\d+ +(\w+)\(", line))}
    assert len(used) > 40
    assert not allowed or used - AS_ROOT <= allowed
