"""Runs Prometheus and Alertmanager with the shipped rules and routes; collects notifications."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))  # what tests share

import programs
from free_ports import free_port
from running import WAIT, until

from exporter.mixin.documents import documents

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from exporter.mixin.values import MixinValues

ALERTS = Path(__file__).resolve().parents[2] / "alerts"


@dataclass(frozen=True)
class Notification:
    """A notification that Alertmanager sent to a receiver."""

    receiver: str
    status: str
    alerts: list[dict[str, Any]]
    truncated: int


@dataclass
class Receiver:
    """Collects notifications that are sent to it on loopback."""

    url: str = ""
    received: list[Notification] = field(default_factory=list)

    def of(self, *receivers: str) -> list[Notification]:
        """Return the notifications to these receivers so far."""
        return [each for each in list(self.received) if each.receiver in receivers]


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Receive notifications until the end of the block."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            receiver.received.append(
                Notification(
                    self.path.strip("/"), body["status"], body["alerts"], body["truncatedAlerts"]
                )
            )
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def alertmanager(folder: Path, values: MixinValues) -> Iterator[httpx.Client]:
    """Run Alertmanager with the shipped configuration; yield a client of its API."""
    path = folder / "alertmanager.yml"
    path.write_text(documents(values)[path.name], encoding="utf-8")
    address = free_address()
    flags = (
        f"--config.file={path}",
        f"--storage.path={folder / 'alertmanager'}",
        f"--web.listen-address={address}",
        "--cluster.listen-address=",
        "--log.level=warn",
    )
    with serving_program(folder, placed_alertmanager(folder), address, flags) as client:
        yield client


@contextmanager
def prometheus(
    folder: Path,
    values: MixinValues,
    *,
    exporter: str,
    alertmanager_url: str = "",
    watchdog: bool = False,
) -> Iterator[httpx.Client]:
    """Run Prometheus with the shipped rules on one exporter; yield a client of its API."""
    files = documents(values)
    rules = [n for n in files if n.endswith(".rules.yml") and (watchdog or "watchdog" not in n)]
    for name in rules:
        (folder / name).write_text(files[name], encoding="utf-8")
    address = free_address()
    jobs = {
        values.jobs.exporter: ["exporter", "fleet", "attention"],
        values.jobs.esims: ["esims"],
    }
    own = {"job_name": "prometheus", "static_configs": [{"targets": [address]}]}
    scrapes = [
        {"job_name": job, "params": {"collect[]": groups}, "static_configs": [_targets(exporter)]}
        for job, groups in jobs.items()
    ]
    document: dict[str, Any] = {
        "global": {"scrape_interval": "500ms", "scrape_timeout": "500ms"},
        "rule_files": rules,
        "scrape_configs": [own, *scrapes],
    }
    if alertmanager_url:
        document["alerting"] = {
            "alertmanagers": [{"static_configs": [_targets(alertmanager_url)]}],
        }
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    flags = (
        f"--config.file={path}",
        f"--storage.tsdb.path={folder / 'prometheus'}",
        f"--web.listen-address={address}",
        # Alertmanager resolves an alert that Prometheus does not send again within four times this
        # delay. A busy machine may stop Prometheus for longer than a scaled minute, so the delay
        # is not scaled down with the other durations.
        "--rules.alert.resend-delay=5s",
        "--log.level=warn",
    )
    with serving_program(folder, programs.require("prometheus"), address, flags) as client:
        yield client


def _targets(url: str) -> dict[str, list[str]]:
    return {"targets": [url.removeprefix("http://")]}


def free_address() -> str:
    return f"127.0.0.1:{free_port()}"


def placed_alertmanager(folder: Path) -> Path:
    """Return an Alertmanager that starts in ``folder``, installed or only unpacked."""
    return _placed("alertmanager", b"/usr/share/prometheus/alertmanager", folder)


def placed_prometheus(folder: Path) -> Path:
    """Return a Prometheus whose web pages work if it starts in ``folder``, as above."""
    return _placed("prometheus", b"/usr/share/prometheus/web", folder)


def _placed(name: str, there: bytes, folder: Path) -> Path:
    """Return the program if it is installed, else a copy that reads ``there`` below ``folder``.

    Debian's programs read templates and pages from the path where their packages install them. In
    the copy made here, a path of the same length relative to ``folder`` replaces that path.
    """
    program = programs.require(name)
    if not program.is_relative_to(programs.CACHE):
        return program
    link = f"{name}-files"
    slashes = len(there) - len(link) - 1
    copy = folder / f"{name}-copy"
    copy.write_bytes(program.read_bytes().replace(there, f".{slashes * '/'}{link}".encode()))
    copy.chmod(0o755)
    (folder / link).symlink_to(program.parents[2] / there.decode().lstrip("/"))
    return copy


@contextmanager
def serving_program(
    folder: Path, program: Path, address: str, flags: Sequence[str]
) -> Iterator[httpx.Client]:
    """Run a program until the end of the block; when it is ready, yield a client of its API."""
    with ExitStack() as stack:
        log = stack.enter_context((folder / f"{program.name}.log").open("w+"))
        process = stack.enter_context(subprocess.Popen([program, *flags], cwd=folder, stderr=log))
        stack.callback(process.kill)
        client = stack.enter_context(
            httpx.Client(base_url=f"http://{address}", timeout=WAIT, trust_env=False)
        )

        def ready() -> bool:
            assert process.poll() is None, Path(log.name).read_text(encoding="utf-8")
            try:
                return client.get("/-/ready").status_code == httpx.codes.OK
            except httpx.TransportError:
                return False

        until(ready)
        yield client
