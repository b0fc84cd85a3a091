"""Tells rules a story: events reach real fleets, and promtool evaluates what their metrics show.

Each target is scraped every 30 seconds. The scrapes are what its exposition writes, so metrics,
labels and values are those of the exporter.
"""

from __future__ import annotations

import subprocess
from collections import Counter
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Self

import programs
import yaml
from running_fleet import RunningFleet

from exporter.exposition.exposition import Group
from exporter.mixin.documents import documents
from exporter.mixin.values import MixinValues
from exporter.model.events import Snapshot, Status, StatusEvent, UsageEvent
from exporter.settings.field_types import parse_duration

if TYPE_CHECKING:
    from collections.abc import Collection

    from exporter.model.events import Event

STEP = 30
"""Seconds between two scrapes, and between two evaluations."""

PACKAGE = "p"
_FILE = "esim-usage.rules.yml"
_KEPT = ("esim_attention_", "esim_fleet_esims", "esim_exporter_total_shards")
_FIRING = """
count by (alertname, severity, package_id, esim_id, threshold) (
  ALERTS{alertstate="firing", alertname=~"Esim.*OutOfData|Esim.+UsageHigh"}
)
"""


class Story:
    """Targets, what they showed so far, and the alerts that are expected."""

    def __init__(
        self,
        values: MixinValues | None = None,
        targets: dict[str, RunningFleet] | None = None,
        start: str = "1m",
    ) -> None:
        """``targets`` are fleets by further labels of their target, such as ``zone="a"``."""
        self.values = values or MixinValues()
        self.targets = targets or {'instance="a"': RunningFleet()}
        self.now = int(parse_duration(start))
        self.extra = ""
        """Metrics of the group ``exporter``, which every target shows."""
        self._scrapes = self.now // STEP
        self._series: dict[str, list[str]] = {}
        self._expected: list[dict[str, Any]] = []
        self._texts: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._check()

    def take(self, *events: Event, targets: Collection[str] = ()) -> None:
        """Let targets receive events now."""
        for name in targets or self.targets:
            self.targets[name].now = self.now
            self.targets[name].take(*events)

    def run(self, duration: str, down: Collection[str] = ()) -> None:
        """Let time pass, with scrapes. The targets in ``down`` show nothing."""
        for _ in range(int(parse_duration(duration)) // STEP):
            shown: dict[str, str] = {}
            for name, fleet in self.targets.items():
                fleet.now = self.now
                if name not in down:
                    shown |= _samples(fleet, name, self.extra)
            for series in self._series.keys() | shown.keys():
                values = self._series.setdefault(series, ["_"] * self._scrapes)
                ended = "_" if not values or values[-1] in {"_", "stale"} else "stale"
                values.append(shown.get(series, ended))
            self._scrapes += 1
            self.now += STEP

    def expect(self, *alerts: str) -> None:
        """Expect exactly these alerts at the last scrape, by name and labels as in a selector."""
        samples = [
            {"labels": labels, "value": count} for labels, count in sorted(Counter(alerts).items())
        ]
        self._expected.append(
            {"expr": _FIRING, "eval_time": f"{self.now - STEP}s", "exp_samples": samples}
        )

    def expect_text(self, esim_id: str, description: str) -> None:
        """Expect a page about one eSIM, and no other, at the last scrape, with a description."""
        rules = yaml.safe_load(documents(self.values)[_FILE])["groups"][0]["rules"]
        rule = next(each for each in rules if each.get("alert") == "EsimOutOfData")
        target = {"job": "esim-exporter", "vendor": "roamify"}
        alert = {
            "exp_labels": rule["labels"] | target | {"esim_id": esim_id, "package_id": PACKAGE},
            "exp_annotations": rule["annotations"] | {"description": description},
        }
        self._texts.append(
            {
                "eval_time": f"{self.now - STEP}s",
                "alertname": "EsimOutOfData",
                "exp_alerts": [alert],
            }
        )

    def _check(self) -> None:
        assert self._expected or self._texts
        with TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "rules.yml").write_text(documents(self.values)[_FILE])
            test = {
                "interval": f"{STEP}s",
                "input_series": [
                    {"series": series, "values": _written(values)}
                    for series, values in self._series.items()
                ],
                "promql_expr_test": self._expected,
                "alert_rule_test": self._texts,
            }
            document = {
                "rule_files": ["rules.yml"],
                "evaluation_interval": f"{STEP}s",
                "group_eval_order": ["esim-out-of-data", "esim-out-of-data-tickets", "esim-usage"],
                "tests": [test],
            }
            (folder / "test.yml").write_text(yaml.safe_dump(document))
            done = subprocess.run(
                [programs.require("promtool"), "test", "rules", folder / "test.yml"],
                capture_output=True,
                text=True,
                check=False,
            )
        assert done.returncode == 0, done.stdout + done.stderr


def _samples(fleet: RunningFleet, target: str, extra: str) -> dict[str, str]:
    found = {}
    for line in (fleet.text(Group.ATTENTION, Group.FLEET) + extra).splitlines():
        if line.startswith(_KEPT):
            series, _, value = line.rpartition(" ")
            name, _, labels = series.partition("{")
            found[f'{name}{{job="esim-exporter",{target},{labels or "}"}'] = value
    return found


def _written(values: list[str]) -> str:
    """Return values as promtool reads them."""
    written = []
    for value, same in groupby(values):
        count = len(list(same))
        written.append(f"_x{count}" if value == "_" else " ".join([value] * count))
    return " ".join(written)


def report(esim_id: str, time: int, left: int, package_id: str = PACKAGE) -> UsageEvent:
    """Return a report: what is left of 100 bytes at a time."""
    snapshot = Snapshot(data_allowed=100, data_remaining=left)
    return UsageEvent("roamify", time, esim_id, package_id, snapshot, reference_id=f"ref-{esim_id}")


def ended(esim_id: str, time: int) -> StatusEvent:
    return StatusEvent("roamify", time, esim_id, Status.EXPIRED)


def page(esim_id: str, package_id: str = PACKAGE, severity: str = "critical") -> str:
    """Return the labels of an alert about an eSIM without data."""
    return (
        f'{{alertname="EsimOutOfData", severity="{severity}", esim_id="{esim_id}", '
        f'package_id="{package_id}"}}'
    )


def ticket(esim_id: str) -> str:
    return page(esim_id, severity="warning")


def high(esim_id: str, package_id: str, threshold: str, severity: str = "info") -> str:
    return (
        f'{{alertname="EsimDataUsageHigh", severity="{severity}", threshold="{threshold}", '
        f'esim_id="{esim_id}", package_id="{package_id}"}}'
    )


def of_package(package_id: str = PACKAGE) -> str:
    return f'{{alertname="EsimPackageOutOfData", severity="critical", package_id="{package_id}"}}'


OF_FLEET = '{alertname="EsimFleetOutOfData", severity="critical"}'
