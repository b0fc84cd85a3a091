"""The subcommand ``esim-exporter demo``, which ``make run`` starts.

It runs the exporter and a simulated fleet whose time passes ``FASTER`` times faster. If Prometheus
and Alertmanager are installed, it runs them too, with the shipped rules and routes. The durations
in the rules are divided by ``FASTER``.
"""

from __future__ import annotations

import secrets
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from exporter.demo import monitoring, processes, receiver, welcome
from exporter.model.expiry import DEFAULT_STALE_HOURS, DEFAULT_TERMINAL_HOURS
from exporter.settings.field_types import WEB_PORT, WEBHOOK_PORT
from exporter.vendors.registry import SIMULATED

if TYPE_CHECKING:
    import argparse

_START = monitoring.shortened(4 * 3600)
"""How far in the past the simulation begins: one interval between reports. So every eSIM has
reported once when the simulation reaches the present."""

_SPEED = 240
"""Simulated seconds per second until the present is reached, which takes two seconds."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the subcommand to its parser."""
    add = parser.add_argument
    add(
        "--web-port",
        type=int,
        default=WEB_PORT,
        help="port of the status page and the metrics (default: %(default)s)",
    )
    add(
        "--webhook-port",
        type=int,
        default=WEBHOOK_PORT,
        help="port of the webhook (default: %(default)s)",
    )
    add("--esims", type=int, default=200, help="size of the fleet (default: %(default)s)")


def main(args: argparse.Namespace) -> int:
    """Run until Ctrl-C or SIGTERM; return the exit status."""
    signal.signal(signal.SIGTERM, _interrupt)
    with tempfile.TemporaryDirectory(prefix="esim-exporter-demo-") as folder, ExitStack() as stack:
        try:
            return _run(args, Path(folder), stack)
        except KeyboardInterrupt:
            return 0
        except processes.NotReadyError as error:
            print(f"esim-exporter demo: {error}", file=sys.stderr)  # noqa: T201  # for the terminal
            return 1


def _run(args: argparse.Namespace, folder: Path, stack: ExitStack) -> int:
    """Start one program after the other; ``stack`` ends them in the opposite order."""
    web = f"http://127.0.0.1:{args.web_port}"
    webhook = f"http://127.0.0.1:{args.webhook_port}{SIMULATED.webhook_path}"
    secret = secrets.token_hex(32)
    (folder / "secret").write_text(secret)
    exporter = stack.enter_context(
        processes.run_exporter(
            "serve",
            f"--web.listen-address=127.0.0.1:{args.web_port}",
            f"--webhook.listen-address=127.0.0.1:{args.webhook_port}",
            f"--webhook.secret-file={folder / 'secret'}",
            f"--storage.url=sqlite:///{folder / 'demo.db'}",
            f"--fleet.stale-after={monitoring.shortened(DEFAULT_STALE_HOURS * 3600)}",
            f"--retention.terminal={monitoring.shortened(DEFAULT_TERMINAL_HOURS * 3600)}",
            "--web.enable-admin-api",
        )
    )
    if not processes.wait_until_ready(exporter, f"{web}/-/ready"):
        return exporter.poll() or 1
    pages = stack.enter_context(receiver.receiving(sys.stdout))
    monitored = stack.enter_context(monitoring.running(folder, exporter=web, pages=pages))
    print(welcome.text(web, webhook, monitored, folder, secret), flush=True)  # noqa: T201  # for the terminal
    stack.enter_context(
        processes.run_exporter(
            "simulate",
            f"--url={webhook}",
            f"--secret-file={folder / 'secret'}",
            f"--esims={args.esims}",
            f"--start={_START}",
            f"--faster={monitoring.FASTER}",
            f"--speed={_SPEED}",
        )
    )
    return exporter.wait()


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
