"""The subcommand ``esim-exporter demo``, which ``make run`` starts.

It runs the exporter and a simulated fleet of all vendors. Time passes ``FASTER`` times faster for
the fleet. If Prometheus and Alertmanager are installed, it runs them too, with the shipped rules
and routes. The durations in the rules are divided by ``FASTER``.
"""

from __future__ import annotations

import argparse
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from exporter.demo import monitoring, processes
from exporter.demo.fleet_line import read_fleet_line
from exporter.demo.monitoring import FASTER, shortened
from exporter.model.expiry import DEFAULT_SILENT_DAYS, DEFAULT_STALE_HOURS, DEFAULT_TERMINAL_HOURS
from exporter.settings.field_types import WEB_PORT, WEBHOOK_PORT
from exporter.settings.vendor_settings import RAW
from exporter.vendors.registry import FIRST, SIMULATED, sample_event

if TYPE_CHECKING:
    from collections.abc import Sequence

    from exporter.demo.monitoring import MonitoringUrls
    from exporter.vendors.vendor import Vendor

_START = shortened(4 * 3600)
"""How far in the past the simulation begins: one interval between reports. So every eSIM has
reported once when the simulation reaches the present."""

_SPEED = 240
"""Simulated seconds per second until the present is reached, which takes two seconds."""


_INTERVAL = 30
"""Seconds between two lines about the fleet: a quarter of an hour of its life."""

_SIMULATOR_LOG = "simulate.log"

_MISSING = "not installed; to try alerts, install it, on Debian with: apt-get install"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "esim-exporter demo",
        description="Serve on this machine and send simulated events to it, until Ctrl-C.",
    )
    add = parser.add_argument
    add(
        "--web-port",
        type=int,
        help=f"port of the status page and the metrics (default: {WEB_PORT} if it is free, else "
        "another one)",
    )
    add(
        "--webhook-port",
        type=int,
        help=f"port of the webhook (default: {WEBHOOK_PORT} if it is free, else another one)",
    )
    add("--esims", type=int, default=200, help="size of the fleet (default: %(default)s)")
    return parser


def main(argv: Sequence[str]) -> int:
    """Run until Ctrl-C or SIGTERM; return the exit status."""
    args = _parser().parse_args(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
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
    web_port = _port(args.web_port, "--web-port", WEB_PORT)
    webhook_port = _port(args.webhook_port, "--webhook-port", WEBHOOK_PORT)
    web = f"http://127.0.0.1:{web_port}"
    webhooks = f"http://127.0.0.1:{webhook_port}"
    secret_files = [_write_secret(folder, vendor) for vendor in SIMULATED]
    exporter = stack.enter_context(
        processes.run_exporter(
            "serve",
            f"--web.listen-address=127.0.0.1:{web_port}",
            f"--webhook.listen-address=127.0.0.1:{webhook_port}",
            *secret_files,
            # The ICCIDs are made up, so that nothing is lost if they are shown.
            *(f"--{vendor.name}.esim-id={RAW}" for vendor in SIMULATED if vendor.named_by_iccid),
            f"--storage.url=sqlite:///{folder / 'demo.db'}",
            f"--fleet.stale-after={shortened(DEFAULT_STALE_HOURS * 3600)}",
            f"--retention.terminal={shortened(DEFAULT_TERMINAL_HOURS * 3600)}",
            f"--retention.silent={shortened(DEFAULT_SILENT_DAYS * 86400)}",
            "--web.enable-admin-api",
        )
    )
    if not processes.wait_until_ready(exporter, f"{web}/-/ready"):
        return exporter.poll() or 1
    pages = stack.enter_context(monitoring.receiving(sys.stdout))
    monitored = monitoring.start(stack, folder, exporter=web, pages=pages)
    print(_welcome(web, webhooks, monitored, folder), flush=True)  # noqa: T201  # for the terminal
    log = stack.enter_context((folder / _SIMULATOR_LOG).open("wb"))
    simulator = stack.enter_context(
        processes.run_exporter(
            "simulate",
            *(f"--vendor={vendor.name}" for vendor in SIMULATED),
            f"--url={webhooks}",
            *secret_files,
            f"--esims={args.esims}",
            f"--start={_START}",
            f"--faster={FASTER}",
            f"--speed={_SPEED}",
            log=log,
        )
    )
    return _report(exporter, simulator, web, folder)


def _report(
    exporter: processes.Process, simulator: processes.Process, web: str, folder: Path
) -> int:
    """Print a line about the fleet from time to time; return the exporter's exit status."""
    began = time.monotonic()
    while True:
        try:
            return exporter.wait(_INTERVAL)
        except subprocess.TimeoutExpired:
            _check(simulator, folder)
            line = read_fleet_line(web, (time.monotonic() - began) * FASTER)
            print(line, flush=True)  # noqa: T201  # for the terminal


def _check(simulator: processes.Process, folder: Path) -> None:
    """Raise ``NotReadyError``, with what the simulator wrote, if it ended."""
    if simulator.poll() is not None:
        said = (folder / _SIMULATOR_LOG).read_text("utf-8", "replace").strip()
        raise processes.NotReadyError(f"the simulated fleet ended. Its output:\n{said}")


def _secret_file(folder: Path, vendor: Vendor) -> Path:
    return folder / f"{vendor.name}-secret"


def _write_secret(folder: Path, vendor: Vendor) -> str:
    """Write a new secret of a vendor to ``folder``; return the flag that names the file."""
    path = _secret_file(folder, vendor)
    path.write_text(secrets.token_hex(32))
    return f"--{vendor.name}.secret-file={path}"


def _port(given: int | None, flag: str, usual: int) -> int:
    """Return the port to listen on. Raises ``NotReadyError`` if the user's own is taken."""
    return processes.free_port(usual) if given is None else processes.asked_port(given, flag)


def _welcome(web: str, webhooks: str, urls: MonitoringUrls, folder: Path) -> str:
    """Return addresses to open and commands to try. Write the sample event to ``folder``."""
    event = folder / "event.json"
    body = sample_event(int(time.time()))
    event.write_bytes(body)
    proof = FIRST.authentication.prove(body, _secret_file(folder, FIRST).read_bytes())
    signed = " ".join(f"-H '{name}: {value}'" for name, value in proof.headers.items())
    alerts = urls.alerts or f"{_MISSING} prometheus"
    pages = urls.alertmanager or f"{_MISSING} prometheus-alertmanager"
    if urls.alertmanager and not urls.alertmanager_has_pages:
        pages = f"has no web pages; try: amtool alert --alertmanager.url={urls.alertmanager}"
    printed = " Pages and tickets are printed below." if urls.alertmanager else ""
    webhook = f"{webhooks}{FIRST.webhook_path}"
    fleet = ", ".join(vendor.title for vendor in SIMULATED)
    hour, week = 60 / FASTER, 7 * 24 / FASTER
    return f"""
  status page      {web}/
  metrics          {web}/metrics
  webhook          {webhook}
  simulated fleet  {fleet}
  Prometheus       {alerts}
  Alertmanager     {pages}

Time passes {FASTER} times faster in this demo: an hour of the fleet takes {hour:g} minutes. So do
events, expiry, and all durations in the rules and in Alertmanager. Texts keep their durations:
"the last 1h" in an alert means {hour:g} minutes here, and "7 Days" of a package are {week:g} hours.

A line about the fleet follows every {_INTERVAL} seconds.{printed}

Show the metrics of the fleet:

  curl -s '{web}/metrics?collect[]=fleet' -g

Send an event of {FIRST.title}, and show its metrics:

  curl -s {webhook} {signed} --data-binary @{event}
  curl -s {web}/metrics | grep demo-esim

Press Ctrl-C to end the demo. It then removes {folder}, where it stores everything.
"""
