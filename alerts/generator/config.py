"""Every threshold, duration and name of the rules and routes, in one table."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import Final

from exporter.settings.field_types import parse_duration

_TOKEN: Final = re.compile(
    r"""
    (?P<text>"[^"]*")
    | (?P<window>\[[^]]+\]|\boffset\s+\w+)
    | (?P<number>(?<![\w.:])[0-9]+(?:ms|[smhdwy])\b)
    """,
    re.VERBOSE,
)
_DURATION: Final = re.compile(r"[0-9]+(?:ms|[smhdwy])")
_NAME: Final = re.compile(r"@([a-z_0-9]+)(%?)")


@dataclass(frozen=True, slots=True)
class Config:
    """Values that users may change. Durations are written as in Prometheus."""

    job: str = "esim-exporter"
    """Scrape job of the metric groups ``exporter`` and ``fleet``."""
    esims_job: str = "esim-exporter-esims"
    """Scrape job of the metric group ``esims``. No rule joins across the two."""
    runbooks_url: str = "https://example.com/esim-exporter/alerts/runbooks"
    dashboards_url: str = "https://grafana.example.com/d"
    receivers_url: str = "http://127.0.0.1:5001"
    """Address of the placeholder receivers; nothing listens there."""

    usage_info: float = 0.75
    usage_warning: float = 0.9
    usage_critical: float = 1
    """The used shares at which the three bands begin. The vendor sends an event at each."""
    missed_reports: str = "9h"
    """Two reports, four hours apart, and an hour of grace. After it, an eSIM is stale, and the page
    for its used-up allowance becomes a ticket."""
    restart: str = "10m"
    """How long an alert fires after its condition is gone, so that a restart does not end it."""

    forecast_horizon: str = "2d"
    """How far a forecast looks ahead if the vendor's end of the package is not plausible."""
    forecast_min_share: float = 0.5
    expiry_horizon: str = "2d"
    unused_share: float = 0.5
    fair_use_bytes: int = 5 * 1024**3
    """Bytes that an eSIM with an unlimited package may use in a day."""
    spike_factor: float = 5
    spike_bytes: int = 1024**3
    spike_base_bytes: int = 50 * 1024**2

    package_min_esims: int = 10
    package_usage_high: float = 0.2
    package_exhausted: float = 0.1
    fleet_min_esims: int = 20
    mass_share: float = 0.05
    mass_min_esims: int = 10
    mass_factor: float = 3
    """The alert needs this many times the number of the same four hours yesterday."""
    fleet_kept: float = 0.7
    fleet_stale: float = 0.2

    feed_silent: str = "5h"
    """One report interval and an hour of grace."""
    feed_low: float = 0.5
    feed_min_events: int = 20
    clock_skew: str = "5m"
    failures_few: int = 5
    signature_share: float = 0.05
    rejected_most: float = 0.5
    crash_loop: int = 3
    replica_lag: str = "30s"
    """It must exceed half a second, the normal delay between replicas."""
    slow_share: float = 0.01
    error_budget: float = 0.001
    """Share of webhook requests that may be answered with 5xx."""
    budget_min_requests: int = 100

    faster: float = 1
    """Every duration is divided by this factor, so that tests take seconds instead of hours."""

    def duration(self, text: str) -> str:
        """Return a duration divided by ``faster``, as Prometheus writes it."""
        milliseconds = round(parse_duration(text) * 1000 / self.faster)
        return text if self.faster == 1 else f"{milliseconds}ms"

    def expression(self, source: str) -> str:
        """Return PromQL from a source in which ``@name`` stands for a value of this table.

        Sources always write durations. Prometheus before version 3 needs a number in some places,
        such as ``> 5h``. There the duration becomes seconds.
        """
        return _TOKEN.sub(self._token, self.text(source))

    def text(self, source: str) -> str:
        """Return a text in which values replace ``@name``, and percentages replace ``@name%``."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}

        def value(match: re.Match[str]) -> str:
            found = values[match[1]]
            return f"{found * 100:g} %" if match[2] else str(found)

        return _NAME.sub(value, source)

    def _token(self, match: re.Match[str]) -> str:
        if match["text"]:
            return match[0]
        if match["window"]:
            return _DURATION.sub(lambda each: self.duration(each[0]), match[0])
        return f"{parse_duration(match[0]) / self.faster:g}"
