"""Alerts about single eSIMs: forecasts, expiry and unusual use. Job ``esim-exporter-esims``."""

from __future__ import annotations

from exporter.mixin.rules.rule_types import Alert, Group, Recording, Scope, Severity
from exporter.mixin.rules.usage import NOT_TERMINAL

_DELTA = "esim_package:esim_data_consumed_bytes:delta1d"
_FORECAST = "esim_package:esim_data_left_seconds:forecast1d"
_LEFT = "esim_package:esim_package_left_seconds:plausible"
_NAMED = "eSIM {{ $labels.esim_id }} with package {{ $labels.package_id }}"
_UNLIMITED = """
and on (job, vendor, esim_id, package_id) esim_data_unlimited == 1
"""

FORECAST = Group(
    "esim-forecast",
    "5m",
    (
        Recording(
            _DELTA,
            """
max without (instance, pod) (esim_data_consumed_bytes_total)
  - max without (instance, pod) (esim_data_consumed_bytes_total offset 1d)
""",
            "A day has six reports and one night. The counter outlives restarts and never falls, "
            "so a difference is exact. increase() costs three times as much, and mistakes a "
            "replica that lags for a reset.",
        ),
        Recording(
            _FORECAST,
            f"min without (instance, pod) (esim_data_remaining_bytes) / ({_DELTA} > 0) * 1d",
        ),
        Recording(
            _LEFT,
            """
(max without (instance, pod) (esim_package_end_timestamp_seconds) - time() > 0)
and
  max without (instance, pod) (esim_package_end_timestamp_seconds)
    - max without (instance, pod) (esim_package_start_timestamp_seconds) >= 1d
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
and esim_package:esim_data_used:ratio >= @forecast.min_share
{NOT_TERMINAL}
""",
            "An eSIM is forecast to run out of data early.",
            f"At the consumption of the last day, {_NAMED} runs out of data in "
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
and esim_package:esim_data_used:ratio <= 1 - @expiry.unused_share
unless on (job, vendor, esim_id) esim_status{{status!="ACTIVATED"}}
""",
            "An eSIM expires soon with much of its data unused.",
            f"{_NAMED} ends in {{{{ $value | humanizeDuration }}}} with @expiry.unused_share% or "
            "more of its data unused.",
            for_="1h",
            keep="@keep_firing_for",
        ),
        Alert(
            "EsimFairUseExceeded",
            Severity.WARNING,
            Scope.ESIM,
            f"{_DELTA} > @fair_use.bytes_per_day{_UNLIMITED}{NOT_TERMINAL}",
            "An eSIM with unlimited data used more than the fair-use amount of a day.",
            f"{_NAMED} used {{{{ $value | humanize1024 }}}}B within the last day.",
            for_="15m",
            keep="@keep_firing_for",
        ),
        Alert(
            "EsimUsageSpike",
            Severity.INFO,
            Scope.ESIM,
            f"""
{_DELTA} > @spike.min_bytes > @spike.factor * ({_DELTA} offset 1d > @spike.base_bytes)
{_UNLIMITED.strip()}
{NOT_TERMINAL}
""",
            "An eSIM with unlimited data uses far more than the day before.",
            f"{_NAMED} used {{{{ $value | humanize1024 }}}}B within the last day, more than "
            "@spike.factor times as much as the day before.",
            for_="15m",
            keep="@keep_firing_for",
        ),
    ),
)
