"""The demonstration that ``make run`` starts: it works as printed, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from running import SUCCESS, WAIT, until

if TYPE_CHECKING:
    from collections.abc import Iterator


def free_ports(count: int) -> list[int]:
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


class Demo:
    def __init__(self, folder: Path, ports: list[int]) -> None:
        self.ports = ports
        self.printed: list[str] = []
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "exporter", "demo", "--esims=20"),
                *(f"--web-port={ports[0]}", f"--webhook-port={ports[1]}"),
            ],
            env=os.environ | {"TMPDIR": str(folder), "ESIM_EXPORTER_WEB_MAX_REQUESTS": "nonsense"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        status = self.process.wait(WAIT)
        self._reader.join()
        return status

    def _read(self) -> None:
        assert self.process.stdout
        with self.process.stdout as stream:
            self.printed.extend(iter(stream.readline, ""))


@contextmanager
def demo(folder: Path, ports: list[int]) -> Iterator[Demo]:
    running = Demo(folder, ports)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.end(signal.SIGTERM)


def children(process: subprocess.Popen[str]) -> set[int]:
    """Return the processes that a process has started, and those that they have."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it ended meanwhile
        parents[int(entry.parent.name)] = int(fields[1])
    found = {process.pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {process.pid}


def curl(line: str) -> str:
    done = subprocess.run(
        ["sh", "-ec", line], capture_output=True, text=True, check=True, timeout=WAIT
    )
    return done.stdout


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_it_prints_works_and_it_leaves_nothing_behind(number: int, tmp_path: Path) -> None:
    with demo(tmp_path, free_ports(2)) as running:
        until(lambda: any("Ctrl-C" in line for line in running.printed))
        lines = [line.strip() for line in running.printed if line.startswith("  curl ")]
        fleet, post, look = lines

        assert 'esim_fleet_esims{vendor="roamify",status="ACTIVATED"}' in curl(fleet)
        assert curl(post).strip() == SUCCESS.decode()
        assert "esim_data_remaining_bytes" in curl(look)
        metrics = re.search(r"metrics +(\S+)", "".join(running.printed))
        assert metrics
        until(
            lambda: (
                int(re.findall(r"esim_exporter_esims (\d+)", curl(f"curl -s {metrics[1]}"))[0]) > 10
            )
        )
        started = children(running.process)
        assert len(started) == 2
        assert [path.name[:19] for path in tmp_path.iterdir()] == ["esim-exporter-demo-"]

        assert running.end(number) == 0

        assert not [pid for pid in started if Path(f"/proc/{pid}").exists()]
        assert list(tmp_path.iterdir()) == []
        assert not any("Traceback" in line for line in running.printed)


def test_a_port_that_is_taken_ends_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        with demo(tmp_path, [taken, *free_ports(1)]) as running:
            assert running.process.wait(WAIT) == 2
            running.end(0)

    assert f"cannot listen on 127.0.0.1:{taken}" in "".join(running.printed)
    assert list(tmp_path.iterdir()) == []
