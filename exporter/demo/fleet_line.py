"""The line about the simulated fleet that the demo prints from time to time."""

from __future__ import annotations

import json
from typing import Any

from exporter.demo import processes
from exporter.endpoints.status.formatting import size, span


def read_fleet_line(web: str, passed: float) -> str:
    """Return the line from the API of the exporter at the URL ``web``.

    ``passed`` are the seconds of the fleet's life since the demo began. If the API does not answer,
    the line says so.
    """
    try:
        status, packages = _asked(f"{web}/api/v1/status"), _asked(f"{web}/api/v1/packages")
    except OSError as error:
        return f"{'fleet':>8}  the exporter does not answer: {error}"
    return fleet_line(status, packages, passed)


def fleet_line(status: dict[str, Any], packages: dict[str, Any], passed: float) -> str:
    """Return the line for the data of ``/api/v1/status`` and ``/api/v1/packages``."""
    vendors = status["vendors"]
    activated = sum(each["esims"]["ACTIVATED"] for each in vendors)
    empty = sum(each["out_of_data"] for each in packages["packages"])
    used = sum(each["data_consumed"] for each in packages["packages"])
    received = [each["last_received"] for each in vendors if each["last_received"]]
    last = f"last event {span(status['time'] - max(received))} ago" if received else "no event yet"
    return (
        f"{'fleet':>8}  after {_hours(passed)}: {status['esims']} eSIMs, {activated} activated, "
        f"{empty} out of data, {size(used)} used; {last}"
    )


def _asked(url: str) -> dict[str, Any]:
    with processes.OPENER.open(url, timeout=10) as answer:
        data: dict[str, Any] = json.load(answer)["data"]
        return data


def _hours(seconds: float) -> str:
    hours, minutes = divmod(int(seconds) // 60, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
