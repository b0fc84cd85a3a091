"""Alerts about allowances of single eSIMs that are used up or nearly. Job ``esim-exporter``."""

from __future__ import annotations

from exporter.mixin.rules.out_of_data import ON_ESIM, OUT
from exporter.mixin.rules.rule_types import ESIM_ID, Alert, Group, Recording, Scope

_RESOURCES = {"data": ("Data", "data"), "sms": ("Sms", "SMS"), "voice": ("Voice", "voice minutes")}
"""Per resource: its name in alerts, and its name in texts."""

_FULL = {"data": "An eSIM has used all data of one package, and has some in another."}
"""Per resource: what its last band means, if other allowances matter too."""

_RATIO = "esim_package_resource:esim_attention_used:ratio"


def _bands(resource: str) -> tuple[Alert, ...]:
    title, noun = _RESOURCES[resource]
    ratio = f'{_RATIO}{{resource="{resource}"}}'
    full = f"{ratio} >= @usage.full@severity.{resource}.only_news"
    told_elsewhere = f"\nunless {ON_ESIM} {OUT}" if resource == "data" else ""

    def band(step: str, expr: str, summary: str) -> Alert:
        return Alert(
            f"Esim{title}UsageHigh",
            f"@severity.{resource}.{step}",
            Scope.ESIM,
            expr,
            summary,
            f"{ESIM_ID} has used {{{{ $value | humanizePercentage }}}} of the {noun} of package "
            "{{ $labels.package_id }}.",
            for_="2m",
            keep="@keep_firing_for",
            labels={"threshold": f"@usage.{step}"},
        )

    return (
        band(
            "full",
            full + told_elsewhere,
            _FULL.get(resource, f"An eSIM has used all {noun} of a package."),
        ),
        band(
            "high",
            f"{ratio} >= @usage.high\nunless (\n{full}\n){told_elsewhere}",
            f"An eSIM has used @usage.high% of the {noun} of a package.",
        ),
        band(
            "low",
            f"{ratio} >= @usage.low < @usage.high",
            f"An eSIM has used @usage.low% of the {noun} of a package.",
        ),
    )


USAGE = Group(
    "esim-usage",
    "4m",
    (
        Recording(
            _RATIO,
            """
max by (job, vendor, esim_id, package_id, resource) (esim_attention_used_ratio)
""",
        ),
        *(alert for resource in _RESOURCES for alert in _bands(resource)),
    ),
    "Nobody is paged for these alerts by default, so they are evaluated less often. The group has "
    "no limit, because above a limit Prometheus drops all alerts of a rule.",
)
