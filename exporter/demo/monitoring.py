"""Runs Prometheus and Alertmanager with the shipped rules and routes, if they are installed.

In the rules, every duration is divided by ``FASTER``. The notifications of Alertmanager are printed
as pages and tickets.
"""

from __future__ import annotations

import json
import shutil
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final, TextIO

from exporter.demo import processes
from exporter.mixin.documents import WATCHDOG_FILE, documents
from exporter.mixin.receiver_values import ReceiversValues
from exporter.mixin.values import MixinValues

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import ExitStack
    from pathlib import Path

FASTER: Final = 30
"""An hour of simulated time takes two minutes. With a much higher factor the few seconds until
the first scrape would count as an outage."""

_ROUTES: Final = "alertmanager.yml"
_SCRAPE: Final = "1s"
_ALERTMANAGER: Final = ("alertmanager", "prometheus-alertmanager")
"""Names of the program: upstream and Debian."""

_ALERTMANAGER_SCRIPT: Final = "/script.js"
"""A part of Alertmanager's web pages. Without them, its root only says that they are missing."""

_ALERTS: Final = ("/alerts", "/classic/alerts")
"""Paths of Prometheus's page about alerts: upstream and Debian."""

_WORDS: Final = {("/pager", "firing"): "PAGE", ("/tickets", "firing"): "ticket"}
"""Word by path and status. All other notifications say that an alert is resolved."""

_SHOWN: Final = 3
"""Alerts of one notification that are printed; the others are only counted."""


@dataclass(frozen=True, slots=True)
class MonitoringUrls:
    """The URLs of the programs that run."""

    alerts: str | None = None
    """URL of Prometheus's page about alerts; ``None`` if it is not installed."""
    alertmanager: str | None = None
    """URL of Alertmanager; ``None`` if it or Prometheus is not installed."""
    alertmanager_has_pages: bool = False
    """Whether a browser can use the URL. Debian packages Alertmanager without web pages."""


def shortened(seconds: float) -> str:
    """Return a duration divided by ``FASTER``, in the notation of Prometheus."""
    return f"{seconds / FASTER:.0f}s"


def written(pages: str) -> dict[str, str]:
    """Return the text of the rules and routes by the name of the file."""
    files = documents(MixinValues(faster=FASTER, receivers=ReceiversValues.below(pages)))
    unused = {WATCHDOG_FILE, "prometheusrule.yaml"}
    return {name: text for name, text in files.items() if name not in unused}


def start(stack: ExitStack, folder: Path, *, exporter: str, pages: str) -> MonitoringUrls:
    """Run what is installed until ``stack`` is closed.

    Prometheus scrapes the URL ``exporter``; Alertmanager sends notifications to the URL ``pages``.
    Raises ``NotReadyError``.
    """
    prometheus = shutil.which("prometheus")
    if prometheus is None:
        return MonitoringUrls()
    for name, text in written(pages).items():
        (folder / name).write_text(text, "utf-8")
    alertmanager = next(filter(None, map(shutil.which, _ALERTMANAGER)), None)
    notified = alertmanager and _alertmanager(stack, alertmanager, folder)
    scraping = _prometheus(stack, prometheus, folder, exporter, notified)
    alerts = (f"{scraping}{page}" for page in _ALERTS)
    return MonitoringUrls(
        next(filter(processes.is_there, alerts), scraping),
        notified,
        notified is not None and processes.is_there(f"{notified}{_ALERTMANAGER_SCRIPT}"),
    )


def _alertmanager(stack: ExitStack, program: str, folder: Path) -> str:
    flags = (
        f"--config.file={folder / _ROUTES}",
        f"--storage.path={folder / 'alertmanager'}",
        "--cluster.listen-address=",
    )
    return _started(stack, program, folder, flags, name="alertmanager", port=9093)


def _prometheus(
    stack: ExitStack, program: str, folder: Path, exporter: str, alertmanager: str | None
) -> str:
    config = folder / "prometheus.yml"
    config.write_text(json.dumps(_configuration(exporter, alertmanager)), "utf-8")
    flags = (
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'prometheus'}",
        # Alertmanager resolves an alert if no message about it arrives for four times this.
        "--rules.alert.resend-delay=5s",
    )
    return _started(stack, program, folder, flags, name="prometheus", port=9090)


def _configuration(exporter: str, alertmanager: str | None) -> dict[str, Any]:
    """Return Prometheus's configuration. It is written as JSON, which is YAML too."""
    jobs = {"esim-exporter": ["exporter", "fleet", "attention"], "esim-exporter-esims": ["esims"]}
    notified = [{"static_configs": [_targets(alertmanager)]}] if alertmanager else []
    return {
        "global": {"scrape_interval": _SCRAPE, "scrape_timeout": _SCRAPE},
        "rule_files": ["*.rules.yml"],
        "alerting": {"alertmanagers": notified},
        "scrape_configs": [
            {
                "job_name": job,
                "params": {"collect[]": groups},
                "static_configs": [_targets(exporter)],
            }
            for job, groups in jobs.items()
        ],
    }


def _targets(url: str) -> dict[str, list[str]]:
    return {"targets": [url.removeprefix("http://")]}


def _started(
    stack: ExitStack, program: str, folder: Path, flags: tuple[str, ...], *, name: str, port: int
) -> str:
    """Start a program and return its URL once it is ready. Raises ``NotReadyError``."""
    address = f"127.0.0.1:{processes.free_port(port)}"
    arguments = (*flags, f"--web.listen-address={address}", "--log.level=warn")
    process = stack.enter_context(processes.run_program(program, arguments, folder, name))
    url = f"http://{address}"
    if not processes.wait_until_ready(process, f"{url}/-/ready"):
        output = (folder / f"{name}.log").read_text("utf-8", "replace").strip()
        raise processes.NotReadyError(f"{program} did not become ready. Its output:\n{output}")
    return url


@contextmanager
def receiving(stream: TextIO) -> Iterator[str]:
    """Print notifications to ``stream`` until the end of the block; yield the receiver's URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(HTTPStatus.OK)
            self.end_headers()
            stream.write("".join(f"{line}\n" for line in lines_about(self.path, body)))
            stream.flush()

        def log_message(self, *_: object) -> None:
            """Log no request."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def lines_about(path: str, notification: dict[str, Any]) -> Iterator[str]:
    """Yield the lines to print for a notification (Alertmanager's webhook format, version 4)."""
    alerts = notification["alerts"]
    for alert in alerts[:_SHOWN]:
        word = _WORDS.get((path, alert["status"]), "resolved")
        yield f"{word:>8}  {alert['labels']['alertname']}: {alert['annotations']['description']}"
    more = len(alerts[_SHOWN:]) + notification["truncatedAlerts"]
    if more:
        yield f"{'':8}  and {more} more of the same kind"
