"""Rules, runbooks and tests of rules name only metrics and labels that really exist.

The metrics come from two running exporters with a simulated fleet: one alone, and one with a
shard. A running Prometheus adds the metrics about its own rules.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import mixed_fleet
import monitoring_stack
import promql
import pytest
import yaml
from issuing import issue, tls_section
from looping import for_every
from monitoring_stack import ALERTS
from prometheus_client.parser import text_string_to_metric_families
from running import serving, until
from test_rule_lints import RECORDINGS, RULES, each_rule, family_type, sources

from exporter.mixin.values import MixinValues
from exporter.simulate.deliveries import Faults, Simulation
from exporter.vendors.registry import FIRST, SIMULATED

if TYPE_CHECKING:
    from pathlib import Path

    from postgres import Postgres
    from test_rule_lints import Rule

TARGET = {"job", "instance"}
"""Labels that a scrape adds."""

SYNTHETIC = {
    "up": frozenset[str](),
    "scrape_duration_seconds": frozenset[str](),
    "scrape_samples_scraped": frozenset[str](),
    "ALERTS": frozenset({"alertname"}),
}
"""Series that Prometheus makes itself."""

FOREIGN = {"pod"}
"""Labels that a scrape adds on Kubernetes."""

MADE = {"shard"}
"""Labels that ``count_values`` makes."""

FAULTS = Faults(bad_signature=0.01, malformed=0.01)

START = 1_790_000_000
"""When the simulated fleet begins, unix seconds. It is fixed, so the events are always the same."""

KEPT = ("--retention.terminal=36500d", "--retention.silent=36500d")
"""Flags with which an exporter keeps eSIMs, however old their last event is."""

_FEWER = 40
"""The shard gets one of so many usage events, which is enough for a series of each family."""


@dataclass
class Exposed:
    """Exposed metrics: the label sets of each sample name, and the values of each label."""

    labels: dict[str, set[frozenset[str]]] = field(default_factory=dict)
    values: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    at_first: dict[tuple[str, frozenset[tuple[str, str]]], float] = field(default_factory=dict)
    """Samples by name and labels, before anything has happened."""

    def begin(self, text: str) -> None:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                self.at_first[sample.name, frozenset(sample.labels.items())] = sample.value

    def add(self, text: str) -> None:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                self.labels.setdefault(sample.name, set()).add(frozenset(sample.labels))
                for label, value in sample.labels.items():
                    self.values.setdefault((sample.name, label), set()).add(value)

    def labels_of(self, names: set[str]) -> set[str]:
        return {label for name in names for each in self.labels[name] for label in each}


@pytest.fixture(scope="module")
def exposed(tmp_path_factory: pytest.TempPathFactory, postgres: Postgres) -> Exposed:
    folder = tmp_path_factory.mktemp("exposed")
    found = Exposed({name: {labels} for name, labels in SYNTHETIC.items()})
    with serving(folder, *KEPT, *mixed_fleet.flags(), environ=mixed_fleet.environ()) as exporter:
        found.begin(exporter.get("/metrics").text)
        simulation = Simulation(start=START, esims=150, seed=4, faults=FAULTS, vendors=SIMULATED)
        deliveries = list(simulation.advance(START + 3 * 86400))
        for delivery in deliveries:
            mixed_fleet.deliver(exporter, delivery)
        for _ in range(2):  # the second scrape shows what the first one measured
            found.add(exporter.get("/metrics").text)
        with monitoring_stack.prometheus(
            folder, MixinValues(), exporter=exporter.internal
        ) as prometheus:
            rules = 'rule_group="'
            until(lambda: rules in prometheus.get("/metrics").text)
            found.add(prometheus.get("/metrics").text)
    (folder / "webhook.yml").write_text(tls_section(issue(folder, "server")))
    with serving(folder, f"--webhook.config.file={folder / 'webhook.yml'}") as secure:
        found.add(secure.get("/metrics").text)
    sharded = (*KEPT, f"--storage.url={postgres.new_database()}", "--shard=1", "--total-shards=2")
    with serving(folder, *sharded) as replica:
        signed = [delivery for delivery in deliveries if delivery.vendor is FIRST]
        partner = [delivery for delivery in signed if b"balance" in delivery.body]
        for delivery in [*partner, *signed[::_FEWER]]:
            replica.post(delivery.body)
        found.add(replica.get("/metrics").text)
    return found


def wrong_selectors(expression: promql.Expression, exposed: Exposed) -> list[str]:
    """Return the selectors of an expression that never match anything."""
    wrong = []
    for selector in expression.selectors:
        recording = RECORDINGS.get(selector.name)
        names = sources(recording) if recording else {selector.name}
        if unknown := names - exposed.labels.keys():
            wrong += [f"no metric {name}" for name in unknown]
            continue
        wrong += [
            f"no {selector.name}{{{label}{operator}{value}}}"
            for label, operator, value in selector.matchers
            if not matches(names, label, operator, value, exposed)
        ]
    return wrong


def matches(names: set[str], label: str, operator: str, value: str, exposed: Exposed) -> bool:
    """Return whether a metric has the label with a value that the matcher names."""
    if label == "job":
        return value in {MixinValues().jobs.exporter, MixinValues().jobs.esims}
    present = {v for name in names for v in exposed.values.get((name, label), ())}
    if label == "alertname":
        return value in {rule.name for rule in RULES}
    if value.startswith("<") or label in {"code", "method"}:
        # A runbook has placeholders, and a code or method may not have occurred yet.
        return bool(present)
    if label == "resource" and present:
        # The simulated eSIMs use up only their data.
        present = exposed.values["esim_fleet_allowances_over_threshold", "resource"]
    if label == "status" and present:
        # An eSIM has only its current status, but the sums of the fleet have every status.
        present = exposed.values["esim_fleet_esims", "status"]
    pattern = value if operator in {"=~", "!~"} else re.escape(value)
    alternatives = [pattern] if "(" in pattern else pattern.split("|")
    return all(any(re.fullmatch(each, found) for found in present) for each in alternatives)


def known_labels(rule_sources: set[str], exposed: Exposed) -> set[str]:
    return exposed.labels_of(rule_sources) | TARGET | FOREIGN | MADE


@each_rule
def test_a_rule_names_only_what_the_exporter_exposes(rule: Rule, exposed: Exposed) -> None:
    assert wrong_selectors(rule.expression, exposed) == []
    assert rule.expression.labels <= known_labels(sources(rule), exposed)


@each_rule
def test_an_annotation_names_only_labels_that_the_alert_has(rule: Rule, exposed: Exposed) -> None:
    texts = rule.document.get("annotations", {}).values()
    named = {label for text in texts for label in re.findall(r"\$labels\.(\w+)", text)}
    own = set(rule.document.get("labels", {}))
    assert named <= known_labels(sources(rule), exposed) | own


def queries() -> list[tuple[str, str]]:
    """Return the queries of runbooks and of the README, each with the name of its page."""
    pages = [ALERTS / "README.md", *sorted((ALERTS / "runbooks").glob("*.md"))]
    found = []
    for page in pages:
        blocks = re.findall(r"```promql\n(.*?)```", page.read_text(), re.DOTALL)
        found += [(page.stem, block.strip()) for block in blocks]
    return found


@for_every("page_and_query", queries(), ": ".join)
def test_a_query_of_a_runbook_names_only_what_the_exporter_exposes(
    page_and_query: tuple[str, str], exposed: Exposed
) -> None:
    expression = promql.parse(page_and_query[1])
    assert wrong_selectors(expression, exposed) == []
    used: set[str] = set()
    for selector in expression.selectors:
        recording = RECORDINGS.get(selector.name)
        used |= sources(recording) if recording else {selector.name}
    assert expression.labels <= known_labels(used, exposed)


def test_every_runbook_has_a_query() -> None:
    with_queries = {page for page, _ in queries()}
    assert {path.stem for path in (ALERTS / "runbooks").glob("*.md")} <= with_queries


@for_every("path", sorted((ALERTS / "tests").glob("*.yml")), lambda path: path.stem)
def test_the_input_of_rule_tests_is_as_the_exporter_exposes_it(
    path: Path, exposed: Exposed
) -> None:
    document = yaml.safe_load(path.read_text())
    for test in document["tests"]:
        for series in test["input_series"]:
            (selector,) = promql.parse(series["series"]).selectors
            labels = {label for label, _, _ in selector.matchers}
            assert labels >= TARGET
            assert frozenset(labels - TARGET) in exposed.labels[selector.name], series["series"]


def counters_of_tests() -> list[tuple[str, dict[str, str]]]:
    """Return names and labels of the exporter's counters that rule tests begin with a number."""
    found = []
    for path in sorted((ALERTS / "tests").glob("*.yml")):
        document = yaml.load(path.read_text(), yaml.CSafeLoader)
        for series in (each for test in document["tests"] for each in test["input_series"]):
            (selector,) = promql.parse(series["series"]).selectors
            own = selector.name.startswith("esim_exporter_")
            if own and family_type(selector.name) == "counter" and series["values"][0] != "_":
                labels = {label: value for label, _, value in selector.matchers}
                found.append((selector.name, labels))
    return found


@for_every("counter", counters_of_tests(), str)
def test_counters_of_rule_tests_are_there_from_the_start(
    counter: tuple[str, dict[str, str]], exposed: Exposed
) -> None:
    """Prometheus does not see the first increase of a counter that was not there before."""
    name, labels = counter
    shown = {key: value for key, value in labels.items() if key not in TARGET}
    if "vendor" in shown:
        shown["vendor"] = "roamify"
    assert exposed.at_first[name, frozenset(shown.items())] == 0


def test_renamed_metrics_and_labels_are_noticed(exposed: Exposed) -> None:
    """The checks above find the mistakes that they are for."""
    assert wrong_selectors(promql.parse("esim_data_left_bytes > 1"), exposed)
    assert wrong_selectors(promql.parse('esim_status{state="ACTIVATED"}'), exposed)
    assert wrong_selectors(promql.parse('esim_status{status="ACTIVE"}'), exposed)
    assert not wrong_selectors(promql.parse('esim_status{status="ACTIVATED"}'), exposed)
