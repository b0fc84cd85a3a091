"""Static checks of rules, modelled on Cloudflare's pint and on awesome-prometheus-alerts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import monitoring_stack
import promql
import yaml
from looping import for_every

from exporter.exposition.families import (
    PACKAGE_FAMILIES,
    VENDOR_FAMILIES,
    InfoLabels,
    attention_families,
    esim_families,
)
from exporter.selfmetrics import descriptions
from exporter.settings.field_types import parse_duration

ESIMS = {family.name: family.type.value for family in esim_families(InfoLabels())}
FLEET = {family.name: family.type.value for family in (*PACKAGE_FAMILIES, *VENDOR_FAMILIES)}
ATTENTION = {family.name: family.type.value for family in attention_families(InfoLabels())}
OWN = {each.name: each.type for each in descriptions()}
PROCESS = {"process_start_time_seconds": "gauge", "up": "gauge"}
PROMETHEUS = {
    "prometheus_rule_evaluation_failures_total": "counter",
    "prometheus_rule_group_iterations_missed_total": "counter",
}
TYPES = ESIMS | FLEET | ATTENTION | OWN | PROCESS | PROMETHEUS
DURABLE = ESIMS | FLEET
"""Families whose counters outlive the process, so that their differences are exact."""

ACCUMULATING = {"rate", "increase"}
LEVELS = {"max_over_time", "min_over_time", "avg_over_time"}
"""Functions over gauges, whose windows need not fit to when usage is reported."""


@dataclass(frozen=True)
class Rule:
    group: str
    document: dict[str, Any]

    @property
    def name(self) -> str:
        name: str = self.document.get("alert") or self.document["record"]
        return name

    @property
    def expression(self) -> promql.Expression:
        return promql.parse(self.document["expr"])


GROUPS = [
    group
    for path in sorted(monitoring_stack.ALERTS.glob("*.rules.yml"))
    for group in yaml.safe_load(path.read_text())["groups"]
]
RULES = [Rule(group["name"], rule) for group in GROUPS for rule in group["rules"]]
ALERTS = [rule for rule in RULES if "alert" in rule.document]
RECORDINGS = {rule.name: rule for rule in RULES if "record" in rule.document}

each_rule = for_every("rule", RULES, lambda rule: rule.name)
each_alert = for_every("rule", ALERTS, lambda rule: rule.name)
each_group = for_every("group", GROUPS, lambda group: str(group["name"]))


def family_type(name: str) -> str:
    """Return the type of a family; the counting series of a histogram are counters."""
    base = re.sub(r"_(bucket|count|sum)$", "", name)
    return "counter" if TYPES.get(base) == "histogram" else TYPES[name]


def sources(rule: Rule) -> set[str]:
    """Return the families a rule is computed from, through recorded ones but itself."""
    found: set[str] = set()
    for selector in rule.expression.selectors:
        if selector.name == rule.name:
            continue
        recording = RECORDINGS.get(selector.name)
        found |= sources(recording) if recording else {selector.name}
    return found


def raw(rule: Rule) -> list[promql.Selector]:
    return [each for each in rule.expression.selectors if each.name not in RECORDINGS]


@each_rule
def test_no_rule_joins_across_the_two_scrape_jobs(rule: Rule) -> None:
    names = {re.sub(r"_(bucket|count|sum)$", "", name) for name in sources(rule)} - {"up"}
    jobs = [ESIMS, FLEET | ATTENTION | OWN | PROCESS, PROMETHEUS]
    assert sum(bool(names & job.keys()) for job in jobs) <= 1


@each_rule
def test_windows_over_usage_are_multiples_of_its_four_hours(rule: Rule) -> None:
    if not sources(rule) & DURABLE.keys():
        return
    for selector in rule.expression.selectors:
        if LEVELS & set(selector.functions):
            continue
        spans = [selector.offset, *selector.window.split(":")]
        for span in filter(None, spans):
            assert parse_duration(span) % (4 * 3600) == 0


@each_rule
def test_counters_are_only_seen_through_their_increase(rule: Rule) -> None:
    durable: dict[str, set[str]] = {}
    recorded = {
        name
        for each in rule.expression.selectors
        if each.name in RECORDINGS
        for name in sources(RECORDINGS[each.name])
    }
    for selector in raw(rule):
        if family_type(selector.name) == "counter":
            if selector.functions and selector.functions[-1] in ACCUMULATING:
                continue
            assert selector.name in DURABLE
            durable.setdefault(selector.name, set()).add(selector.offset)
    for name, offsets in durable.items():
        assert "" in offsets
        # What is younger than a recorded difference has risen by all that it has.
        assert len(offsets) > 1 or name in recorded


@each_rule
def test_only_counters_are_seen_through_their_increase(rule: Rule) -> None:
    for selector in rule.expression.selectors:
        if selector.functions and selector.functions[-1] in ACCUMULATING:
            assert family_type(selector.name) == "counter"
            assert selector.window


@each_rule
def test_every_division_is_guarded_against_nothing(rule: Rule) -> None:
    for divisor in rule.expression.divisors:
        assert "> 0 )" in divisor or divisor.isdigit(), divisor


def label_lists(rule: Rule, *keywords: str) -> list[list[str]]:
    """Return the lists of labels after each of these keywords."""
    found = promql.tokens(rule.document["expr"])
    starts = [at + 2 for at, token in enumerate(found) if token in keywords]
    return [[token for token in found[at : found.index(")", at)] if token != ","] for at in starts]


@each_rule
def test_aggregations_name_the_labels_that_they_keep(rule: Rule) -> None:
    """Targets of replicas can differ in any label, and must not make two alerts."""
    assert all(labels[:1] == ["job"] for labels in label_lists(rule, "by", "on"))
    inner = {label for labels in label_lists(rule, "without") for label in labels}
    assert inner <= {"status", "vendor", "reason"}
    first = rule.expression.selectors[:1]
    if rule.name != "EsimRuleEvaluationFailing" and any(s.name not in RECORDINGS for s in first):
        assert label_lists(rule, "by")


@each_rule
def test_the_result_names_no_shard(rule: Rule) -> None:
    """Shards are parts of one fleet, and alerts are about the whole fleet."""
    if any(selector.name in FLEET for selector in rule.expression.selectors):
        assert "shard" not in label_lists(rule, "by")[0]


@each_rule
def test_plain_values_are_matched_without_patterns(rule: Rule) -> None:
    for selector in rule.expression.selectors:
        for _, operator, value in selector.matchers:
            if operator in {"=~", "!~"}:
                assert re.search(r"[|.*+?()\[\]]", value)


@each_rule
def test_nothing_is_alerted_on_by_rank(rule: Rule) -> None:
    assert not rule.expression.functions & {"topk", "bottomk"}


@each_alert
def test_an_alert_compares_something(rule: Rule) -> None:
    read = [each for s in rule.expression.selectors if (each := RECORDINGS.get(s.name))]
    operators = {operator for each in [rule, *read] for operator in each.expression.operators}
    assert operators & promql.COMPARISONS or rule.name == "Watchdog"


@each_alert
def test_an_absence_has_to_last(rule: Rule) -> None:
    assert "absent" not in rule.expression.functions or "for" in rule.document


@each_alert
def test_labels_of_alerts_do_not_change_with_the_value(rule: Rule) -> None:
    assert not any("{{" in value for value in rule.document["labels"].values())
    assert rule.document["labels"]["severity"] in {"critical", "warning", "info", "none"}
    assert rule.document["labels"]["scope"] in {"esim", "package", "fleet", "exporter"}


@each_alert
def test_annotations_are_complete(rule: Rule) -> None:
    annotations = rule.document["annotations"]
    assert re.fullmatch(r"[A-Z][^{}]*[^.]\.", annotations["summary"])
    assert annotations["description"].endswith(".")
    assert annotations["runbook_url"].endswith(f"/{rule.name}.md")
    assert len(annotations) == 3


@each_rule
def test_names_have_their_form(rule: Rule) -> None:
    if "alert" in rule.document:
        assert re.fullmatch(r"Esim[A-Z][A-Za-z]+|Watchdog", rule.name)
    else:
        assert re.fullmatch(r"[a-z_]+:[a-z_]+:[a-z0-9_]+", rule.name)


@each_group
def test_groups_stay_within_the_lookback_and_lose_no_alerts_to_a_limit(
    group: dict[str, Any],
) -> None:
    assert parse_duration(group["interval"]) <= 300
    assert group["name"].startswith("esim-")
    assert "limit" not in group


@each_rule
def test_recorded_series_are_recorded_before_they_are_read(rule: Rule) -> None:
    order = [each.name for each in RULES if each.group == rule.group]
    for selector in rule.expression.selectors:
        if selector.name in RECORDINGS and RECORDINGS[selector.name].group == rule.group:
            # A rule that remembers reads its own last result.
            assert order.index(selector.name) <= order.index(rule.name)


@each_alert
def test_only_forecasts_and_fair_use_need_series_of_all_esims(rule: Rule) -> None:
    """The job of all eSIMs may be left out. No page may depend on it."""
    needs = bool(sources(rule) & ESIMS.keys())
    assert needs == (rule.group == "esim-forecast")
    assert not needs or rule.document["labels"]["severity"] != "critical"


@each_alert
def test_pages_about_an_esim_name_it_as_people_know_it_and_tickets_run_no_query(rule: Rule) -> None:
    """Prometheus runs such a query for each alert at each evaluation."""
    if rule.document["labels"]["scope"] == "esim":
        queries = "| query" in rule.document["annotations"]["description"]
        assert queries == (rule.document["labels"]["severity"] == "critical")


def test_one_name_of_an_alert_about_an_esim_pages() -> None:
    pages = [
        rule.name
        for rule in ALERTS
        if (rule.document["labels"]["scope"], rule.document["labels"]["severity"])
        == ("esim", "critical")
    ]
    assert pages == ["EsimOutOfData"]
