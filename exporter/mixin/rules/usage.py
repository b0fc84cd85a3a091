"""Alerts about single eSIMs: used shares and missing reports. Job ``esim-exporter-esims``."""

from __future__ import annotations

from exporter.mixin.rules.rule_types import TERMINAL, Alert, Group, Recording, Scope, Severity

_RESOURCES = {
    "data": ("Data", "_bytes", "data"),
    "sms": ("Sms", "", "SMS"),
    "voice": ("Voice", "_seconds", "voice minutes"),
}
"""Per resource: its name in alerts, the unit in metric names, and its name in texts."""

NOT_TERMINAL = f'unless on (job, vendor, esim_id) esim_status{{status=~"{TERMINAL}"}}'
"""End of an expression that leaves out eSIMs with a terminal status."""

_STALE = "esim_package:esim_last_event_age_seconds:stale"
_ESIM_STALE = "esim:esim_last_event_age_seconds:stale"
_NEWEST = "vendor:esim_last_event_timestamp_seconds:max"


def _high(resource: str) -> str:
    return f"esim_package:esim_{resource}_used:ratio_high"


def _share(resource: str) -> str:
    """Return the used share.

    The share is computed in each replica first, so that numbers of two replicas are never mixed.
    """
    _, unit, _ = _RESOURCES[resource]
    return f"""
max without (instance, pod) (
  1 - esim_{resource}_remaining{unit} / (esim_{resource}_allowed{unit} > 0)
)
""".strip()


def _bands(resource: str) -> tuple[Alert, ...]:
    title, _, noun = _RESOURCES[resource]
    ratio = _high(resource)
    described = (
        "eSIM {{ $labels.esim_id }} with package {{ $labels.package_id }} has used "
        f"{{{{ $value | humanizePercentage }}}} of its {noun}"
    )

    def band(severity: Severity, step: str, expr: str, summary: str, more: str = "") -> Alert:
        return Alert(
            f"Esim{title}UsageHigh",
            severity,
            Scope.ESIM,
            f"{expr}\n{NOT_TERMINAL}",
            summary,
            f"{described}{more}.",
            for_="2m",
            keep="@keep_firing_for",
            labels={"resource": resource, "threshold": f"@{step}"},
        )

    used_up = f"An eSIM has used all of its {noun}."
    return (
        band(
            Severity.CRITICAL,
            "usage.full",
            f"{ratio} >= @usage.full\nunless {_STALE}",
            used_up,
        ),
        band(
            Severity.WARNING,
            "usage.full",
            f"{ratio} >= @usage.full\nand {_STALE}",
            f"An eSIM that no longer reports has used all of its {noun}.",
            ", and has not reported for more than @esims.missed_reports",
        ),
        band(
            Severity.WARNING,
            "usage.high",
            f"{ratio} >= @usage.high < @usage.full",
            f"An eSIM has used @usage.high% of its {noun}.",
        ),
        band(
            Severity.INFO,
            "usage.low",
            f"{ratio} >= @usage.low < @usage.high",
            f"An eSIM has used @usage.low% of its {noun}.",
        ),
    )


USAGE = Group(
    "esim-usage",
    "2m",
    (
        Recording("esim_package:esim_data_used:ratio", _share("data")),
        Recording(
            _high("data"),
            "esim_package:esim_data_used:ratio >= @usage.low",
            "It holds the few eSIMs that can alert, so that twelve rules need not read every eSIM.",
        ),
        Recording(_high("sms"), f"{_share('sms')} >= @usage.low"),
        Recording(_high("voice"), f"{_share('voice')} >= @usage.low"),
        Recording(
            _STALE,
            """
time() - max without (instance, pod) (esim_last_event_timestamp_seconds) >= @esims.missed_reports
""",
        ),
        Recording(
            _ESIM_STALE,
            """
time() - max without (instance, pod, package_id) (esim_last_event_timestamp_seconds)
  >= @esims.missed_reports
""",
        ),
        Recording(
            _NEWEST,
            """
max without (instance, pod, esim_id, package_id) (esim_last_event_timestamp_seconds)
""",
        ),
        *(alert for resource in _RESOURCES for alert in _bands(resource)),
        Alert(
            "EsimReportingStale",
            Severity.INFO,
            Scope.ESIM,
            f'{_ESIM_STALE} unless on (job, vendor, esim_id) esim_status{{status!="ACTIVATED"}}',
            "An activated eSIM has missed two usage reports.",
            "eSIM {{ $labels.esim_id }} is activated and last reported "
            "{{ $value | humanizeDuration }} ago.",
            for_="10m",
            keep="@keep_firing_for",
        ),
        Alert(
            "EsimEventsSilent",
            Severity.NONE,
            Scope.ESIM,
            f"time() - {_NEWEST} > @feed.silent",
            "No eSIM of a vendor reports.",
            "The newest usage report of any eSIM of {{ $labels.vendor }} is "
            "{{ $value | humanizeDuration }} old.",
            keep="5m",
            why="It notifies nobody. It mutes alerts of single eSIMs that only fire because no "
            "events arrive. EsimWebhookFeedSilent cannot, because it belongs to the other job.",
        ),
        Alert(
            "EsimClockSkew",
            Severity.WARNING,
            Scope.EXPORTER,
            f"{_NEWEST} - time() > @feed.clock_skew",
            "Clocks disagree, so events look older or newer than they are.",
            "The newest usage report of {{ $labels.vendor }} has a time "
            "{{ $value | humanizeDuration }} in the future.",
            for_="15m",
            labels={"clock": "vendor"},
        ),
    ),
    "Series of single eSIMs are scraped every two minutes, so a shorter interval shows nothing "
    "new. The group has no limit, because above a limit Prometheus drops all alerts of a rule.",
)
