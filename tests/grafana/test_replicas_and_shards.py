"""Rules and dashboards give the same results for a fleet in every layout of processes.

The layouts are one process, two replicas, four shards, and four shards with two replicas each.
Every recording rule, every alert and every query of a panel is compared.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import backfilling
import pytest
import sharded_fleet as sharded
from committed_dashboards import CHOSEN, Target, targets
from looping import for_every
from prerequisites import exclusive
from sharded_events import END, HOUR, SHOWN_ESIM, SHOWN_PACKAGE

from exporter.mixin.rules.rule_files import groups
from exporter.mixin.rules.rule_types import Alert
from exporter.mixin.value_groups import JobValues
from exporter.mixin.values import MixinValues

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx
    from sharded_fleet import Layout

    from exporter.mixin.rules.rule_types import Recording

pytestmark = pytest.mark.slow

LOOKBACK = "--query.lookback-delta=65m"
"""Longer than the hour between most samples."""

RECORDED = backfilling.Times(END - 28 * HOUR, END, HOUR)
"""When rules are evaluated. No rule reads recorded series that are older."""
NOW = backfilling.Times(END, END, 1)
DAY = backfilling.Times(END - 24 * HOUR, END, 4 * HOUR)

QUIET = {
    "EsimExporterDown": "all are up",
    "EsimExporterRequestsFailing": "no request fails unexpectedly",
    "EsimExpositionOld": "a scrape shows every event at once",
    "EsimLabelLimitReached": "there are few packages and locations",
    "EsimReplicaDown": "all are up",
    "EsimReplicaLagging": "the storage is down, which is another alert",
    "EsimRuleEvaluationFailing": "about Prometheus",
    "EsimShardMissing": "none is",
    "EsimShardsDisagree": "they agree",
    "EsimWebhookErrorBudgetBurn": "the storage is down, which is another alert",
    "EsimWebhookFeedLow": "as much is sent as a day ago",
}
"""Alerts that do not fire, with the reason."""

PER_PROCESS = {
    "Failed commits": "by instance",
    "Memory": "by instance",
    "CPU": "by instance",
    "Batches merged again": "by instance",
    "Lag behind other replicas": "by instance, and of none that is alone",
    "Replicas by shard": "of none that is alone",
    "Shards missing": "of none that is alone",
    "Cap used": "of the fullest process",
}
"""Panels about the processes themselves, with the reason."""

PER_LAYOUT = {"vendor:esim_fleet_shards:count", "job:esim_exporter_shards_missing:count"}
"""Recording rules about the layout itself."""

LAYOUT_LABELS = {"job", "instance", "pod", "shard", "zone"}
"""Replicas differ in ``zone``. An expression that keeps it gives two results where one is asked
for."""

Found = dict[frozenset[tuple[str, str]], dict[float, float]]
"""MixinValues by time, for each set of labels."""


@dataclass(frozen=True)
class Evaluated:
    """A Prometheus with the samples of all layouts."""

    prometheus: httpx.Client

    def ask(self, expr: str, layout: Layout, times: backfilling.Times) -> Found:
        """Return the result of an expression for a layout, without the labels of processes."""
        found: Found = {}
        for series in backfilling.query_range(self.prometheus, expr, times):
            if series.labels.get("job", layout.name) not in {layout.name, layout.esims_job}:
                continue
            kept = {item for item in series.labels.items() if item[0] not in LAYOUT_LABELS}
            assert frozenset(kept) not in found, (layout.name, series.labels)
            found[frozenset(kept)] = {at: float(value) for at, value in series.values}
        return found

    def rule(self, rule: Recording | Alert, layout: Layout) -> Found:
        """Return the result of a rule for a layout at the end."""
        values = MixinValues(jobs=JobValues(exporter=layout.name, esims=layout.esims_job))
        return self.ask(rule.document(values)["expr"], layout, NOW)


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[Evaluated]:
    """Run Prometheus on a database that all test processes together make only once."""
    folder, base = tmp_path_factory.mktemp("sharded"), tmp_path_factory.getbasetemp()
    kept = (base if worker_id == "master" else base.parent) / "sharded-database"
    with exclusive(kept.with_suffix(".lock")):
        if not kept.exists():
            made(folder).rename(kept)
    database = shutil.copytree(kept, folder / "copy")
    with backfilling.prometheus(folder, database, LOOKBACK) as client:
        yield Evaluated(client)


def made(folder: Path) -> Path:
    """Return a database of samples and of the results of the rules."""
    file, database = folder / "samples.om", folder / "database"
    with file.open("w", encoding="utf-8") as written:
        written.writelines(sharded.samples())
        written.write("# EOF\n")
    backfilling.import_samples([file], database)
    exporters = "|".join(layout.name for layout in sharded.LAYOUTS)
    jobs = {f'job="{JobValues().exporter}"': f'job=~"{exporters}"'}
    backfilling.evaluate_rules(folder, database, RECORDED, LOOKBACK, jobs=jobs)
    return database


def assert_equal(found: Found, expected: Found, layout: Layout) -> None:
    assert found.keys() == expected.keys(), layout.name
    for labels, values in expected.items():
        assert found[labels] == pytest.approx(values, rel=1e-6, abs=1e-9), (layout.name, labels)


RULES = [
    rule
    for group in groups()
    for rule in group.rules
    if isinstance(rule, Alert) or rule.record not in PER_LAYOUT
]
each_rule = for_every("rule", RULES, lambda rule: str(getattr(rule, "name", "") or rule.record))


@each_rule
def test_a_rule_gives_the_same_result_in_every_layout(
    rule: Recording | Alert, evaluated: Evaluated
) -> None:
    alone = evaluated.rule(rule, sharded.ALONE)
    assert alone or isinstance(rule, Alert)
    for layout in sharded.LAYOUTS:
        assert_equal(evaluated.rule(rule, layout), alone, layout)


def test_every_alert_fires_except_those_that_cannot(evaluated: Evaluated) -> None:
    """An alert that fires in no layout would show nothing about layouts."""
    alerts = [rule for rule in RULES if isinstance(rule, Alert)]
    there = {a.name for a in alerts if evaluated.rule(a, sharded.ALONE)}
    assert there == {alert.name for alert in alerts} - QUIET.keys()


TARGETS = [each for each in targets() if each.panel not in PER_PROCESS]


@for_every("target", TARGETS, lambda target: " ".join(target.place))
def test_a_panel_shows_the_same_in_every_layout(target: Target, evaluated: Evaluated) -> None:
    def of(layout: Layout) -> Found:
        chosen = {
            **CHOSEN,
            "job": f"{layout.name}|{layout.esims_job}",
            "esim": SHOWN_ESIM,
        }
        return evaluated.ask(target.filled(chosen), layout, NOW if target.instant else DAY)

    alone = of(sharded.ALONE)
    assert alone
    for layout in sharded.LAYOUTS:
        assert_equal(of(layout), alone, layout)


def test_a_choice_of_packages_shows_the_same_in_every_layout(evaluated: Evaluated) -> None:
    expr = next(t for t in targets() if t.place == ("eSIM / Package", "Packages", "C")).expr
    target = Target("", "", "", expr, "", instant=True)

    def of(layout: Layout) -> Found:
        chosen = {**CHOSEN, "job": layout.name, "package": SHOWN_PACKAGE}
        return evaluated.ask(target.filled(chosen), layout, NOW)

    alone = of(sharded.ALONE)
    assert [dict(labels)["package_id"] for labels in alone] == [SHOWN_PACKAGE]
    for layout in sharded.LAYOUTS:
        assert_equal(of(layout), alone, layout)


def test_no_shard_alone_would_have_fired_what_all_together_do(evaluated: Evaluated) -> None:
    """Otherwise the comparison above would not show that shards are added up."""
    shards = sharded.LAYOUTS[2]
    most = {
        'esim_fleet_allowances_over_threshold{threshold="1", resource="data"}': 10,
        'esim_fleet_esims{status="REVOKED"}': 10,
        "esim_fleet_esims_stale": 10,
        'esim_fleet_esims{vendor="idle", status="ACTIVATED"}': 20,
    }
    for series, threshold in most.items():
        expr = series.replace("}", f', job="{shards.name}"}}')
        expr = expr if "{" in series else f'{series}{{job="{shards.name}"}}'
        found = backfilling.query_range(evaluated.prometheus, expr, NOW)
        values = [float(value) for each in found for _, value in each.values]
        assert 0 < max(values) < threshold, series
