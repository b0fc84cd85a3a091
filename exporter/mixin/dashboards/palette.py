"""Colours that mean the same on every dashboard. Both themes can show these shades."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models import dashboard as models

from exporter.settings.field_types import parse_duration

if TYPE_CHECKING:
    from collections.abc import Mapping

    from exporter.mixin.values import MixinValues

GOOD: Final = "semi-dark-green"
NOTICE: Final = "dark-yellow"
WARNING: Final = "dark-orange"
CRITICAL: Final = "semi-dark-red"
NEUTRAL: Final = "semi-dark-blue"
IDLE: Final = "#8e8e8e"

USED: Final = ((None, GOOD), (0.75, NOTICE), (0.9, WARNING), (1.0, CRITICAL))
"""The used share of an allowance: the vendor sends an event at each of these steps."""

BANDS: Final = {
    "0.25": ("25 %", NEUTRAL),
    "0.5": ("50 %", GOOD),
    "0.75": ("75 %", NOTICE),
    "0.9": ("90 %", WARNING),
    "1": ("100 %", CRITICAL),
}
"""Names and colours of the fleet's thresholds."""

SEVERITIES: Final = {"critical": CRITICAL, "warning": WARNING, "info": NEUTRAL}

STATUSES: Final = {
    "ACTIVATED": GOOD,
    "INSTALLED": "light-blue",
    "NEW": NEUTRAL,
    "INACTIVE": NOTICE,
    "EXPIRED": IDLE,
    "DELETED": "dark-purple",
    "REVOKED": CRITICAL,
    "UNKNOWN": "#bfae87",
    "OTHER": "light-purple",
}

Steps = tuple[tuple[float | None, str], ...]
"""Lower bounds and the colours above them. The first step has no bound."""

PLAIN: Final[Steps] = ((None, NEUTRAL),)


def above(*bounds: tuple[float, str]) -> Steps:
    """Return steps in which values below the first bound are good."""
    return ((None, GOOD), *bounds)


def silence(values: MixinValues) -> Steps:
    """Return the steps of seconds without events: the last one is where the alert begins."""
    most = parse_duration(values.feed.silent)
    return above((0.8 * most, NOTICE), (most, CRITICAL))


def thresholds(steps: Steps) -> builders.ThresholdsConfig:
    """Return the steps in Grafana's form."""
    return (
        builders.ThresholdsConfig()
        .mode(models.ThresholdsMode.ABSOLUTE)
        .steps([models.Threshold(value=value, color=colour) for value, colour in steps])
    )


def coloured(colours: Mapping[str, str], names: Mapping[str, str] | None = None) -> models.ValueMap:
    """Return a mapping that gives values their colours, and perhaps other names."""
    return models.ValueMap(
        options={
            value: models.ValueMappingResult(
                color=colour, index=index, text=(names or {}).get(value)
            )
            for index, (value, colour) in enumerate(colours.items())
        }
    )


def only(colour: str) -> builders.FieldColor:
    """Return one colour for all series."""
    return builders.FieldColor().mode(models.FieldColorModeId.FIXED).fixed_color(colour)


def empty(text: str) -> models.SpecialValueMap:
    """Return a mapping for a missing value, so that it does not get the lowest step's colour."""
    return models.SpecialValueMap(
        options=models.DashboardSpecialValueMapOptions(
            match=models.SpecialValueMatch.NULL_AND_NAN,
            result=models.ValueMappingResult(text=text, color=IDLE, index=0),
        )
    )
