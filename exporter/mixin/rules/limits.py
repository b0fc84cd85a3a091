"""An alert about limits of series that the limits on eSIMs do not cover."""

from __future__ import annotations

from exporter.mixin.rules.rule_types import Alert, Group, Scope, Severity
from exporter.mixin.rules.shards import by

LIMITS = Group(
    "esim-limits",
    "1m",
    (
        Alert(
            "EsimLabelLimitReached",
            Severity.WARNING,
            Scope.EXPORTER,
            f"max {by('label')} (esim_exporter_label_values_over_limit) > 0",
            "There are more packages or locations than the exporter may show.",
            '{{ $value | printf "%.0f" }} or more values of the label {{ $labels.label }} of job '
            '{{ $labels.job }} are above the limit. The fleet metrics sum them as "other".',
            for_="15m",
            why="The greatest value, not a sum: shards know the same packages.",
        ),
        Alert(
            "EsimLabelLimitReached",
            Severity.WARNING,
            Scope.EXPORTER,
            f"max {by()} (esim_exporter_allowances_over_location_limit) > 0",
            "There are more packages or locations than the exporter may show.",
            '{{ $value | printf "%.0f" }} allowances of job {{ $labels.job }} were used in more '
            'locations than an eSIM may have. The further ones are summed as "other".',
            for_="15m",
            labels={"label": "location_of_esim"},
        ),
    ),
)
