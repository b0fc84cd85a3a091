"""Everything together on this machine, to look around: what ``make run`` starts.

The exporter, a simulated fleet that lives :data:`~exporter.demo.monitoring.FASTER` times faster
than the clock, and, where they are installed, Prometheus and Alertmanager with the shipped rules,
whose durations are divided by as much.
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
from exporter.vendors.registry import SIMULATED

if TYPE_CHECKING:
    import argparse

_PAST = monitoring.faster(4 * 3600)
"""How long before its start the fleet's life begins: an interval between reports, so that each
eSIM has reported when it is caught up with, two seconds later."""

_CATCHING_UP = 240
"""Seconds of it that then pass in one."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the subcommand to its parser."""
    parser.add_argument("--web-port", type=int, default=10877, help="default: %(default)s")
    parser.add_argument("--webhook-port", type=int, default=10878, help="default: %(default)s")
    parser.add_argument("--esims", type=int, default=200, help="default: %(default)s")


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
    """Start one after the other; ``stack`` ends them in the opposite order."""
    web = f"http://127.0.0.1:{args.web_port}"
    webhook = f"http://127.0.0.1:{args.webhook_port}/webhooks/{SIMULATED.name}"
    secret = secrets.token_hex(32)
    (folder / "secret").write_text(secret)
    exporter = stack.enter_context(
        processes.own(
            "serve",
            f"--web.listen-address=127.0.0.1:{args.web_port}",
            f"--webhook.listen-address=127.0.0.1:{args.webhook_port}",
            f"--webhook.secret-file={folder / 'secret'}",
            f"--storage.url=sqlite:///{folder / 'demo.db'}",
            f"--fleet.stale-after={monitoring.faster(9 * 3600)}",
            f"--retention.terminal={monitoring.faster(24 * 3600)}",
            "--web.enable-admin-api",
        )
    )
    if not processes.ready(exporter, f"{web}/-/ready"):
        return exporter.poll() or 1
    pages = stack.enter_context(receiver.receiving(sys.stdout))
    watching = stack.enter_context(monitoring.running(folder, exporter=web, pages=pages))
    print(welcome.text(web, webhook, watching, folder, secret), flush=True)  # noqa: T201  # the table
    stack.enter_context(
        processes.own(
            "simulate",
            f"--url={webhook}",
            f"--secret-file={folder / 'secret'}",
            f"--esims={args.esims}",
            f"--start={_PAST}",
            f"--faster={monitoring.FASTER}",
            f"--speed={_CATCHING_UP}",
        )
    )
    return exporter.wait()


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
