"""The rules and dashboards of the chart are those that the mixin writes for the same values."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import helm
import pytest
import yaml

from exporter.mixin.command import files
from exporter.mixin.values_file import read_values

if TYPE_CHECKING:
    from pathlib import Path

SEVERE = {
    resource: dict.fromkeys(("low", "high", "full"), "critical")
    for resource in ("data", "sms", "voice")
}
OTHERS = {
    "jobs": {"exporter": "yes", "esims": "1"},
    "target_labels": ["cluster", "region"],
    "links": {
        "runbooks": "https://wiki.test/runbooks",
        "grafana": "https://grafana.test/monitoring",
        "status_page": "http://esim.test",
    },
    "keep_firing_for": "1h30m",
    "pending": {"EsimReplicaDown": "30m", "EsimOutOfData": "2m"},
    "usage": {"low": 0.0712345, "high": 0.29, "full": 0.9},
    "severity": {"data": {"low": "warning"}, "sms": {"full": "critical"}},
    "page_for": "1d12h",
    "storm": {"package_esims": 3, "fleet_esims": 1_000_000, "packages": 7, "window": "90m"},
    "esims": {"missed_reports": "1500ms"},
    "forecast": {"horizon": "1w", "min_share": 0.123},
    "expiry": {"horizon": "36h", "unused_share": 0.55},
    "fair_use": {"bytes_per_day": 123_456_789_012},
    "spike": {"factor": 2.5, "min_bytes": 1, "base_bytes": 2},
    "packages": {"min_esims": 1, "usage_high": 0.333},
    "fleet": {"min_esims": 2, "kept": 0.01, "stale": 0},
    "mass": {"share": 0.00001, "min_esims": 4, "factor": 3.0},
    "feed": {
        "silent": "1h",
        "never": "2h",
        "never_at_thresholds": "2d",
        "quiet": "4d",
        "quiet_esims": 50,
        "low": 1,
        "min_events": 5,
        "clock_skew": "1m1s",
        "failures_few": 0,
        "signature_share": 0.1,
        "rejected_most": 0.2,
        "too_old_share": 0.3,
    },
    "exporter": {
        "certificate_ends": "3w",
        "certificate_ends_soon": "1w",
        "replica_lag": "1m",
        "exposition_age": "2m",
        "crash_loop": 4,
        "up_share": 0.6,
        "connections_refused": 0,
    },
    "webhook": {"slow_share": 0.02, "error_budget": 0.0005, "budget_min_requests": 7},
    "routing": {"esim_pages": {"group_wait": "2m"}, "storms": {"group_interval": "2m"}},
}
VALUES: dict[str, dict[str, Any]] = {
    "default": {},
    "others": OTHERS,
    "severe": {"severity": SEVERE},
    "status page": {"links": {"status_page": "http://esim.test"}},
}


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("version", ["v3", "v4"])
def test_the_chart_and_the_mixin_write_the_same_for_the_same_values(
    name: str, version: str, tmp_path: Path
) -> None:
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump(VALUES[name]))
    written = files(read_values(file))

    objects = helm.running().render({"mixin": VALUES[name]}, version=version)

    (rule,) = (each for each in objects if each["kind"] == "PrometheusRule")
    assert rule["spec"] == yaml.safe_load(written["prometheusrule.yaml"])["spec"]
    boards = [each["data"] for each in objects if each["kind"] == "ConfigMap"]
    assert {key: json.loads(text) for board in boards for key, text in board.items()} == {
        path.removeprefix("dashboards/"): json.loads(text)
        for path, text in written.items()
        if path.startswith("dashboards/")
    }


def test_the_values_above_are_all_that_the_chart_has() -> None:
    values = yaml.safe_load((helm.CHART / "values.yaml").read_text())["mixin"]

    def paths(group: dict[str, Any], prefix: str = "") -> set[str]:
        return {
            path
            for name, value in group.items()
            for path in (
                paths(value, f"{prefix}{name}.")
                if isinstance(value, dict) and name != "pending"
                else [f"{prefix}{name}"]
            )
        }

    assert paths(values) == paths(OTHERS) | paths({"severity": SEVERE})


def test_the_values_of_the_chart_are_values_of_the_mixin(tmp_path: Path) -> None:
    values = yaml.safe_load((helm.CHART / "values.yaml").read_text())["mixin"]
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump(values))
    defaults = files(read_values(file))
    file.write_text("")
    assert files(read_values(file)) == defaults
