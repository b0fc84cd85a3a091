"""The text that the demo prints: addresses to open and commands to try."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from exporter.demo.monitoring import FASTER
from exporter.vendors.registry import SIMULATED

if TYPE_CHECKING:
    from pathlib import Path

    from exporter.demo.monitoring import MonitoringUrls

_MISSING = "not installed; to try alerts, install it, on Debian with: apt-get install"


def text(web: str, webhook: str, monitored: MonitoringUrls, folder: Path, secret: str) -> str:
    """Return the text, and write the sample event to ``folder``."""
    event = folder / "event.json"
    body = json.dumps(_sample_event(int(time.time()))).encode()
    event.write_bytes(body)
    signature = SIMULATED.sign(body, secret.encode())
    prometheus = monitored.prometheus
    alerts = f"{prometheus}/alerts" if prometheus else f"{_MISSING} prometheus"
    pages = monitored.alertmanager or f"{_MISSING} prometheus-alertmanager"
    printed = " Pages and tickets are printed below." if monitored.alertmanager else ""
    return f"""
  start page       {web}/
  metrics          {web}/metrics
  webhook          {webhook}
  Prometheus       {alerts}
  Alertmanager     {pages}

Time passes {FASTER} times faster in this demo, for the fleet and for the alerting rules: an hour
takes {60 / FASTER:g} minutes.{printed}

Show the metrics of the fleet:

  curl -s '{web}/metrics?collect[]=fleet' -g

Send a signed event, and show its metrics:

  curl -s {webhook} -H '{SIMULATED.signature_header}: {signature}' --data-binary @{event}
  curl -s {web}/metrics | grep demo-esim

Press Ctrl-C to end the demo. It then removes {folder}, where it stores everything.
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
