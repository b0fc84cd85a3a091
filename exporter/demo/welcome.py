"""What the demonstration prints: where to look, and what to try."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from exporter.demo.monitoring import FASTER
from exporter.vendors.registry import SIMULATED

if TYPE_CHECKING:
    from pathlib import Path

    from exporter.demo.monitoring import Watching

_MISSING = "not started; install it to be paged, on Debian: apt-get install"


def text(web: str, webhook: str, watching: Watching, folder: Path, secret: str) -> str:
    """Return the table of addresses and commands; leaves the sample event in ``folder``."""
    event = folder / "event.json"
    body = json.dumps(_sample_event(int(time.time()))).encode()
    event.write_bytes(body)
    signature = SIMULATED.sign(body, secret.encode())
    prometheus = watching.prometheus
    alerts = f"{prometheus}/alerts" if prometheus else f"{_MISSING} prometheus"
    pages = watching.alertmanager or f"{_MISSING} prometheus-alertmanager"
    told = " Pages and tickets are printed below as they are sent." if watching.alertmanager else ""
    return f"""
  start page       {web}/
  metrics          {web}/metrics
  webhook          {webhook}
  Prometheus       {alerts}
  Alertmanager     {pages}

Time passes {FASTER} times faster here: an hour of the fleet's life, and of the rules, takes
{60 / FASTER:g} minutes.{told}

The fleet, as Prometheus sees it:

  curl -s '{web}/metrics?collect[]=fleet' -g

Send a signed event yourself, and look at what becomes of it:

  curl -s {webhook} -H '{SIMULATED.signature_header}: {signature}' --data-binary @{event}
  curl -s {web}/metrics | grep demo-esim

Ctrl-C ends everything; what it stored, below {folder}, is then removed.
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
