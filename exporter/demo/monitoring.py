"""Prometheus and Alertmanager with the shipped rules and routes, where they are installed.

``rules/`` holds them with every duration divided by :data:`FASTER`; ``make alerts`` writes it.
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
"""An hour of the fleet's life, and of the rules', is two minutes. Much faster, and the few seconds
until Prometheus first scrapes would be an outage."""

RULES: Final = Path(__file__).resolve().parent / "rules"
RECEIVERS: Final = "http://receivers.invalid"
"""Stands in the routes where the address of the receiver goes."""

_SCRAPE: Final = "1s"
_ALERTMANAGER: Final = ("alertmanager", "prometheus-alertmanager")
"""Its own name, and Debian's."""

_NOT_RULES: Final = "alertmanager.yml"


@dataclass(frozen=True, slots=True)
class Watching:
    """Where to look at alerts."""

    prometheus: str | None = None
    """URL; ``None`` where it is not installed."""
    alertmanager: str | None = None
    """Likewise; it is not started without Prometheus."""


def faster(seconds: float) -> str:
    """Return a duration divided by :data:`FASTER`, as Prometheus writes it."""
    return f"{seconds / FASTER:.0f}s"


@contextmanager
def running(folder: Path, *, exporter: str, pages: str) -> Iterator[Watching]:
    """Run what is installed until the end of the block.

    ``exporter`` is the URL to scrape, ``pages`` the one to notify. Raises ``NotReadyError``.
    """
    with ExitStack() as stack:
        yield _start(stack, folder, exporter, pages)


def _start(stack: ExitStack, folder: Path, exporter: str, pages: str) -> Watching:
    prometheus = shutil.which("prometheus")
    if prometheus is None:
        return Watching()
    alertmanager = next(filter(None, map(shutil.which, _ALERTMANAGER)), None)
    notified = alertmanager and _alertmanager(stack, alertmanager, folder, pages)
    return Watching(_prometheus(stack, prometheus, folder, exporter, notified), notified)


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
        # An alert that is not sent again for four times as long counts as resolved.
        "--rules.alert.resend-delay=5s",
    )
    return _started(stack, program, folder, flags, name="prometheus", port=9090)


def _configuration(exporter: str, alertmanager: str | None) -> dict[str, Any]:
    """Return Prometheus's configuration; JSON is YAML."""
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
    """Return the URL of a program once it is ready."""
    address = f"127.0.0.1:{processes.free_port(port)}"
    arguments = (*flags, f"--web.listen-address={address}", "--log.level=warn")
    process = stack.enter_context(processes.other(program, arguments, folder, name))
    url = f"http://{address}"
    if not processes.ready(process, f"{url}/-/ready"):
        said = (folder / f"{name}.log").read_text("utf-8", "replace").strip()
        raise processes.NotReadyError(f"{program} does not get ready. It says:\n{said}")
    return url
