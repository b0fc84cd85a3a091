"""The demo that ``make run`` starts does what it prints, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from free_ports import free_port
from monitoring_stack import placed_alertmanager, placed_prometheus
from running import SUCCESS, WAIT, until

from exporter.demo import processes
from exporter.demo.fleet_line import fleet_line
from exporter.demo.monitoring import lines_about
from exporter.settings.field_types import WEB_PORT, WEBHOOK_PORT

if TYPE_CHECKING:
    from collections.abc import Iterator


class Demo:
    def __init__(self, folder: Path, ports: list[int], path: Path, esims: int) -> None:
        self.printed: list[str] = []
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "exporter", "demo", f"--esims={esims}"),
                *(
                    f"{flag}={port}"
                    for flag, port in zip(("--web-port", "--webhook-port"), ports, strict=False)
                ),
            ],
            env=os.environ
            | {
                "PATH": str(path),
                "TMPDIR": str(folder),
                "ESIM_EXPORTER_WEB_MAX_REQUESTS": "nonsense",
            },
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
def demo(
    folder: Path, ports: list[int], path: Path = Path("/nowhere"), esims: int = 20
) -> Iterator[Demo]:
    running = Demo(folder, ports, path, esims)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.end(signal.SIGTERM)


def children(process: subprocess.Popen[str]) -> set[int]:
    """Return the children of a process, and their children."""
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


def temporary(folder: Path) -> Path:
    path = folder / "temporary"
    path.mkdir()
    return path


def with_programs(folder: Path) -> Path:
    """Return a folder with the programs that the demo looks for."""
    path = folder / "programs"
    path.mkdir()
    # They read templates and pages relative to their folder.
    placed = {
        "prometheus": placed_prometheus(path),
        "prometheus-alertmanager": placed_alertmanager(path),
    }
    for name, program in placed.items():
        starter = path / name
        starter.write_text(f'#!/bin/sh\ncd {path}\nexec {program} "$@"\n')
        starter.chmod(0o755)
    return path


def ended_without_a_trace(running: Demo, number: int, folder: Path) -> None:
    started = children(running.process)
    assert [path.name[:19] for path in folder.iterdir()] == ["esim-exporter-demo-"]

    assert running.end(number) == 0

    assert not [pid for pid in started if Path(f"/proc/{pid}").exists()]
    assert list(folder.iterdir()) == []
    assert not any("Traceback" in line for line in running.printed)


@pytest.mark.slow
def test_what_it_prints_works_and_it_leaves_nothing_behind(tmp_path: Path) -> None:
    with demo(tmp_path, [free_port(), free_port()]) as running:
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
        assert len(children(running.process)) == 2
        assert "apt-get install prometheus\n" in "".join(running.printed)
        assert "Pages and tickets" not in "".join(running.printed)
        ended_without_a_trace(running, signal.SIGINT, tmp_path)


@pytest.mark.slow
def test_with_prometheus_and_alertmanager_pages_are_printed(
    tmp_path: Path,
) -> None:
    folder = temporary(tmp_path)
    with demo(folder, [free_port(), free_port()], with_programs(tmp_path), esims=1000) as running:
        # About a hundred eSIMs have no data when the demo begins. Twenty are enough for this page.
        page = re.compile(r" PAGE +EsimFleetOutOfData: \d+ eSIMs of roamify ran out of data")
        until(lambda: any(map(page.search, running.printed)))
        assert len(children(running.process)) == 4
        printed = "".join(running.printed)
        (alerts,) = re.findall(r"Prometheus +(http://\S+)", printed)
        assert "<html" in curl(f"curl -sf {alerts}")
        (alertmanager,) = re.findall(r"Alertmanager .*(http://\S+)", printed)
        assert "EsimFleetOutOfData" in curl(f"curl -sf {alertmanager}/api/v2/alerts")
        with_pages = "script.js" in curl(f"curl -sf {alertmanager}")
        assert ("has no web pages; try: amtool alert" in printed) != with_pages
        assert "Pages and tickets are printed below." in printed
        # The line is printed after the first half minute, and again after the next one.
        fleet = re.compile(
            r"   fleet  after (\d+) min: \d+ eSIMs, \d+ activated, [1-9]\d* out of data"
        )
        until(lambda: len([line for line in running.printed if fleet.match(line)]) > 1)
        assert " 0/s" not in "".join(running.printed)
        ended_without_a_trace(running, signal.SIGTERM, folder)


def test_a_port_that_the_user_asks_for_and_that_is_taken_ends_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        with demo(tmp_path, [taken, free_port()]) as running:
            assert running.process.wait(WAIT) == 1
            running.end(0)

    assert f"--web-port: cannot listen on port {taken} of this" in "".join(running.printed)
    assert list(tmp_path.iterdir()) == []


def test_other_ports_are_taken_where_the_usual_ones_are_in_use(tmp_path: Path) -> None:
    with ExitStack() as stack:
        for port in (WEB_PORT, WEBHOOK_PORT):
            with suppress(OSError):  # another program uses it, which is as good
                stack.enter_context(socket.create_server(("127.0.0.1", port)))
        running = stack.enter_context(demo(tmp_path, []))
        until(lambda: any("Ctrl-C" in line for line in running.printed))
        (page,) = re.findall(r"status page +(\S+)", "".join(running.printed))
        (webhook,) = re.findall(r"webhook +(\S+)", "".join(running.printed))

        assert not {str(WEB_PORT), str(WEBHOOK_PORT)} & set(re.findall(r"\d+", page + webhook))
        assert "out of data" in curl(f"curl -sf {page}")
        curl(f"curl -sf {webhook}")


def test_a_program_that_does_not_start_is_named_with_what_it_says(tmp_path: Path) -> None:
    folder = temporary(tmp_path)
    prometheus = tmp_path / "prometheus"
    prometheus.write_text("#!/bin/sh\necho no such flag >&2\nexit 1\n")
    prometheus.chmod(0o755)
    with demo(folder, [free_port(), free_port()], tmp_path) as running:
        assert running.process.wait(WAIT) == 1
        running.end(0)

    said = "".join(running.printed)
    assert f"{prometheus} did not become ready. Its output:\nno such flag\n" in said
    assert list(folder.iterdir()) == []


def test_another_port_is_taken_where_the_usual_one_is_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        assert processes.free_port(taken) != taken
    assert processes.free_port(taken) == taken


def test_a_program_that_does_not_end_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_END", 0.1)
    deaf = ("-c", "trap '' TERM; echo deaf; exec sleep 1000")
    with processes.run_program("/bin/sh", deaf, tmp_path, "deaf") as process:
        until((tmp_path / "deaf.log").read_text)

    assert process.poll() == -signal.SIGKILL


def notification(*esims: str, status: str = "firing", truncated: int = 0) -> dict[str, object]:
    return {
        "alerts": [
            {
                "status": status,
                "labels": {"alertname": "EsimOutOfData"},
                "annotations": {"description": f"eSIM {esim} has used 100% of its data."},
            }
            for esim in esims
        ],
        "truncatedAlerts": truncated,
    }


def test_pages_tickets_and_what_is_over_are_told_apart() -> None:
    said = "EsimOutOfData: eSIM a has used 100% of its data."
    assert list(lines_about("/pager", notification("a"))) == [f"    PAGE  {said}"]
    assert list(lines_about("/tickets", notification("a"))) == [f"  ticket  {said}"]
    assert list(lines_about("/pager", notification("a", status="resolved"))) == [
        f"resolved  {said}"
    ]


def test_of_many_alerts_at_once_the_first_are_told() -> None:
    lines = list(lines_about("/pager", notification(*"abcde", truncated=7)))
    assert len(lines) == 4
    assert lines[-1] == "          and 9 more of the same kind"


def test_the_line_about_the_fleet_sums_over_vendors_and_packages() -> None:
    vendors = [
        {"esims": {"ACTIVATED": 3, "NEW": 1}, "last_received": 90},
        {"esims": {"ACTIVATED": 2, "NEW": 0}, "last_received": None},
    ]
    packages = [{"out_of_data": 1, "data_consumed": 2**30}, {"out_of_data": 2, "data_consumed": 0}]

    line = fleet_line(
        {"esims": 6, "time": 100, "vendors": vendors}, {"packages": packages}, passed=3600 * 2 + 960
    )

    assert line == (
        "   fleet  after 2 h 16 min: 6 eSIMs, 5 activated, 3 out of data, 1 GiB used; "
        "last event 10 s ago"
    )


def test_before_the_first_event_the_line_says_so() -> None:
    status = {"esims": 0, "time": 1, "vendors": []}
    line = fleet_line(status, {"packages": []}, passed=60)
    assert line == (
        "   fleet  after 1 min: 0 eSIMs, 0 activated, 0 out of data, 0 B used; no event yet"
    )
