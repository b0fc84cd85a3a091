"""Alerts about single eSIMs: forecasts, expiry, unusual use, silence.

They read the group ``esims``, so the job ``esim-exporter-esims``. No page depends on them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.mixin.rules.rule_types import TERMINAL, Alert, Group, Recording, Scope, Severity
from exporter.vendors.registry import VENDORS

if TYPE_CHECKING:
    from collections.abc import Sequence

_AT_THRESHOLDS = sorted(vendor.name for vendor in VENDORS if not vendor.report_interval)


def without(vendors: Sequence[str]) -> str:
    """Return the matcher of all other vendors."""
    match vendors:
        case []:
            return ""
        case [vendor]:
            return f'{{vendor!="{vendor}"}}'
        case _:
            return f'{{vendor!~"{"|".join(vendors)}"}}'


_REPORTING = without(_AT_THRESHOLDS)
"""Vendors that report at intervals.

Days may pass between two reports at thresholds, and what was used in them would look like the
consumption of one day. The interval that the exporter shows belongs to the other job, which another
Prometheus may scrape. So these rules name the vendors.
"""

_ALLOWANCE = "by (job, vendor, esim_id, package_id)"
_RATIO = "esim_package:esim_data_used:ratio"
_DELTA = "esim_package:esim_data_consumed_bytes:delta1d"
_FORECAST = "esim_package:esim_data_left_seconds:forecast1d"
_LEFT = "esim_package:esim_package_left_seconds:plausible"
_CONSUMED = f"max {_ALLOWANCE} (esim_data_consumed_bytes_total{_REPORTING}"
_END = f"max {_ALLOWANCE} (esim_package_end_timestamp_seconds)"
_NAMED = "eSIM {{ $labels.esim_id }} with package {{ $labels.package_id }}"
_UNLIMITED = "and on (job, vendor, esim_id, package_id) esim_data_unlimited == 1"
_NOT_TERMINAL = f'unless on (job, vendor, esim_id) esim_status{{status=~"{TERMINAL}"}}'
_ACTIVATED = 'unless on (job, vendor, esim_id) esim_status{status!="ACTIVATED"}'

FORECAST = Group(
    "esim-forecast",
    "5m",
    (
        Recording(
            _RATIO,
            f"""
max {_ALLOWANCE} (
  1 - esim_data_remaining_bytes / (esim_data_allowed_bytes > 0)
)
""",
            "The share is computed in each replica first, so that numbers of two replicas are "
            "never mixed.",
        ),
        Recording(
            _DELTA,
            f"""
{_CONSUMED})
  - {_CONSUMED} offset 1d)
""",
            "A day has six reports and one night. The counter outlives restarts and never falls, "
            "so a difference is exact. increase() costs three times as much, and mistakes a "
            "replica that lags for a reset.",
        ),
        Recording(
            _FORECAST,
            f"min {_ALLOWANCE} (esim_data_remaining_bytes) / ({_DELTA} > 0) * 1d",
        ),
        Recording(
            _LEFT,
            f"""
({_END} - time() > 0)
and
  {_END}
    - max {_ALLOWANCE} (esim_package_start_timestamp_seconds) >= 1d
""",
            "The vendor's end may be the end of the reporting window. It is then in the past, or "
            "an hour after the start.",
        ),
        Alert(
            "EsimDataExhaustionForecast",
            Severity.INFO,
            Scope.ESIM,
            f"""
(
    {_FORECAST} > 0 < {_LEFT}
  or
    ({_FORECAST} > 0 < @forecast.horizon unless {_LEFT})
)
and {_RATIO} >= @forecast.min_share
{_NOT_TERMINAL}
""",
            "The data of a package of an eSIM is forecast to run out early.",
            f"At the consumption of the last day, the data of {_NAMED} lasts for "
            "{{ $value | humanizeDuration }}.",
            for_="30m",
            keep="@keep_firing_for",
        ),
        Alert(
            "EsimPackageExpiring",
            Severity.INFO,
            Scope.ESIM,
            f"""
{_LEFT} < @expiry.horizon
and {_RATIO}{_REPORTING} <= 1 - @expiry.unused_share
{_ACTIVATED}
""",
            "A package of an eSIM ends soon with much of its data unused.",
            f"{_NAMED} ends in {{{{ $value | humanizeDuration }}}} with @expiry.unused_share% or "
            "more of its data unused.",
            for_="1h",
            keep="@keep_firing_for",
        ),
        Alert(
            "EsimFairUseExceeded",
            Severity.WARNING,
            Scope.ESIM,
            f"""
(
    {_DELTA}
  or
    {_CONSUMED})
    and on (job) max by (job) (up offset 1d) == 1
) > @fair_use.bytes_per_day
{_UNLIMITED}
{_NOT_TERMINAL}
""",
            "An eSIM with unlimited data used more than the fair-use amount of a day.",
            f"{_NAMED} used {{{{ $value | humanize1024 }}}}B within the last day.",
            for_="15m",
            keep="@keep_firing_for",
            why="A package that was not there a day ago, while the exporter was, has used "
            "everything since then.",
        ),
        Alert(
            "EsimUsageSpike",
            Severity.INFO,
            Scope.ESIM,
            f"""
{_DELTA} > @spike.min_bytes > @spike.factor * ({_DELTA} offset 1d > @spike.base_bytes)
{_UNLIMITED}
{_NOT_TERMINAL}
""",
            "An eSIM with unlimited data uses far more than the day before.",
            f"{_NAMED} used {{{{ $value | humanize1024 }}}}B within the last day, more than "
            "@spike.factor times as much as the day before.",
            for_="15m",
            keep="@keep_firing_for",
        ),
        Alert(
            "EsimReportingStale",
            Severity.INFO,
            Scope.ESIM,
            f"""
time() - max by (job, vendor, esim_id) (esim_last_event_timestamp_seconds{_REPORTING})
  >= @esims.missed_reports
{_ACTIVATED}
""",
            "An activated eSIM has missed two usage reports.",
            "eSIM {{ $labels.esim_id }} is activated and last reported "
            "{{ $value | humanizeDuration }} ago.",
            for_="10m",
            keep="@keep_firing_for",
        ),
    ),
)
