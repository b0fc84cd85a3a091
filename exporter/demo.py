"""Serve and simulate together, to look around: what ``make run`` starts."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

from exporter.vendors import roamify

if TYPE_CHECKING:
    import argparse

_READY = 20.0
"""Seconds the exporter gets to become ready."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the subcommand to its parser."""
    parser.add_argument("--web-port", type=int, default=10877, help="default: %(default)s")
    parser.add_argument("--webhook-port", type=int, default=10878, help="default: %(default)s")
    parser.add_argument("--esims", type=int, default=200, help="default: %(default)s")
    parser.add_argument(
        "--speed",
        type=float,
        default=3600,
        help="simulated seconds per second, until the present is reached (default: %(default)s)",
    )


def main(args: argparse.Namespace) -> int:
    """Run until Ctrl-C or SIGTERM; return the exit status."""
    signal.signal(signal.SIGTERM, _interrupt)
    with tempfile.TemporaryDirectory(prefix="esim-exporter-demo-") as folder:
        try:
            return _run(args, Path(folder))
        except KeyboardInterrupt:
            return 0


def _run(args: argparse.Namespace, folder: Path) -> int:
    web = f"http://127.0.0.1:{args.web_port}"
    webhook = f"http://127.0.0.1:{args.webhook_port}/webhooks/{roamify.VENDOR}"
    secret = secrets.token_hex(32)
    (folder / "secret").write_text(secret)
    exporter = _start(
        "serve",
        f"--web.listen-address=127.0.0.1:{args.web_port}",
        f"--webhook.listen-address=127.0.0.1:{args.webhook_port}",
        f"--webhook.secret-file={folder / 'secret'}",
        f"--storage.url=sqlite:///{folder / 'demo.db'}",
    )
    try:
        if not _ready(exporter, f"{web}/-/ready"):
            return exporter.poll() or 1
        print(_welcome(web, webhook, folder, secret), flush=True)  # noqa: T201  # the table
        simulator = _start(
            "simulate",
            f"--url={webhook}",
            f"--secret-file={folder / 'secret'}",
            f"--esims={args.esims}",
            f"--speed={args.speed}",
        )
        try:
            return exporter.wait()
        finally:
            _end(simulator)
    finally:
        _end(exporter)


def _start(*arguments: str) -> subprocess.Popen[bytes]:
    """Start a subcommand out of reach of the terminal's Ctrl-C: they are ended in order."""
    environ = {k: v for k, v in os.environ.items() if not k.startswith("ESIM_EXPORTER_")}
    return subprocess.Popen(  # noqa: S603  # our own command
        [sys.executable, "-m", "exporter", *arguments], env=environ, start_new_session=True
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _ready(process: subprocess.Popen[bytes], url: str) -> bool:
    deadline = time.monotonic() + _READY
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=1):  # noqa: S310  # our own URL
                return True
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    return False


def _welcome(web: str, webhook: str, folder: Path, secret: str) -> str:
    event = folder / "event.json"
    body = json.dumps(_sample_event(int(time.time()))).encode()
    event.write_bytes(body)
    signature = roamify.sign(body, secret.encode())
    return f"""
  metrics          {web}/metrics
  start page       {web}/
  webhook          {webhook}

The fleet, as Prometheus would see it:

  curl -s '{web}/metrics?collect[]=fleet' -g

Send a signed event yourself, and look at what becomes of it:

  curl -s {webhook} -H '{roamify.SIGNATURE_HEADER}: {signature}' --data-binary @{event}
  curl -s {web}/metrics | grep demo-esim

Ctrl-C ends everything; what it stored is then removed.
"""


def _sample_event(now: int) -> dict[str, object]:
    return {
        "event_category": "esim",
        "event_type": "usage",
        "data": {
            "timestamp": now,
            "iccid": "8991234567890123456",
            "esim_id": "demo-esim",
            "reference_id": "booking-4711",
            "start": now - 86400,
            "end": now + 6 * 86400,
            "status": "ACTIVATED",
            "package_id": "esim-iceland-7days-1gb-all",
            "package_name": "1 GB - 7 Days",
            "data_units": "MB",
            "usage_data": {
                "isUnlimited": False,
                "allowed_data": 1024,
                "remaining_data": 128,
            },
        },
    }


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
