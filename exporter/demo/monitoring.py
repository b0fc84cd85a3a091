"""Runs Prometheus and Alertmanager with the shipped rules and routes, if they are installed.

The folder ``rules`` holds copies in which every duration is divided by ``FASTER``. ``make alerts``
writes them.
"""

from __future__ import annotations

import json
import shutil
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from exporter.demo import processes

if TYPE_CHECKING:
    from collections.abc import Iterator

FASTER: Final = 30
"""An hour of simulated time takes two minutes. With a much higher factor the few seconds until
the first scrape would count as an outage."""

RULES: Final = Path(__file__).resolve().parent / "rules"
RECEIVERS: Final = "http://receivers.invalid"
"""Placeholder in the routes for the address of the receiver."""

_SCRAPE: Final = "1s"
_ALERTMANAGER: Final = ("alertmanager", "prometheus-alertmanager")
"""Names of the program: upstream and Debian."""

_NOT_RULES: Final = "alertmanager.yml"


@dataclass(frozen=True, slots=True)
class MonitoringUrls:
    """The programs that run."""

    prometheus: str | None = None
    """URL of Prometheus; ``None`` if it is not installed."""
    alertmanager: str | None = None
    """URL of Alertmanager; ``None`` if it or Prometheus is not installed."""


def shortened(seconds: float) -> str:
    """Return a duration divided by ``FASTER``, in the notation of Prometheus."""
    return f"{seconds / FASTER:.0f}s"


@contextmanager
def running(folder: Path, *, exporter: str, pages: str) -> Iterator[MonitoringUrls]:
    """Run what is installed until the end of the block.

    Prometheus scrapes the URL ``exporter``; Alertmanager sends notifications to the URL ``pages``.
    Raises ``NotReadyError``.
    """
    with ExitStack() as stack:
        yield _start(stack, folder, exporter, pages)


def _start(stack: ExitStack, folder: Path, exporter: str, pages: str) -> MonitoringUrls:
    prometheus = shutil.which("prometheus")
    if prometheus is None:
        return MonitoringUrls()
    alertmanager = next(filter(None, map(shutil.which, _ALERTMANAGER)), None)
    notified = alertmanager and _alertmanager(stack, alertmanager, folder, pages)
    return MonitoringUrls(_prometheus(stack, prometheus, folder, exporter, notified), notified)


def _alertmanager(stack: ExitStack, program: str, folder: Path, pages: str) -> str:
    config = folder / "alertmanager.yml"
    config.write_text((RULES / _NOT_RULES).read_text("utf-8").replace(RECEIVERS, pages), "utf-8")
    flags = (
        f"--config.file={config}",
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
        # Alertmanager takes an alert for resolved after four times this without a new message.
        "--rules.alert.resend-delay=5s",
    )
    return _started(stack, program, folder, flags, name="prometheus", port=9090)


def _configuration(exporter: str, alertmanager: str | None) -> dict[str, Any]:
    """Return Prometheus's configuration. It is written as JSON, which is YAML too."""
    jobs = {"esim-exporter": ["exporter", "fleet"], "esim-exporter-esims": ["esims"]}
    notified = [{"static_configs": [_targets(alertmanager)]}] if alertmanager else []
    return {
        "global": {"scrape_interval": _SCRAPE, "scrape_timeout": _SCRAPE},
        "rule_files": [str(RULES / "*.rules.yml")],
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
