"""Every query of the dashboards returns data about several simulated days, and the right data."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import backfilling
import pytest
import simulated_exporter as simulated
from committed_dashboards import (
    BOARDS,
    CHOSEN,
    EMPTY,
    Target,
    interpolated,
    parsed,
    targets,
)
from filled_prometheus import TIMES, filled_prometheus
from looping import for_every

from exporter.mixin.rules.rule_files import groups
from exporter.mixin.rules.rule_types import Recording
from exporter.selfmetrics import descriptions
from exporter.vendors.registry import SIMULATED

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

pytestmark = pytest.mark.slow

MADE_BY_PROMETHEUS = {"ALERTS", "up"}
RECORDED = {
    rule.record for group in groups() for rule in group.rules if isinstance(rule, Recording)
}
TARGET = {"job", "instance"}
SHARED_ONLY = {each.name for each in descriptions() if "of PostgreSQL only" in each.help}
ABSENT = SHARED_ONLY | {"esim_exporter_tls_certificate_expiry_timestamp_seconds"}
every_target = for_every("target", targets(), lambda target: " ".join(target.place))

_DAY = backfilling.Times(TIMES.end - simulated.DAY, TIMES.end, TIMES.step)


@pytest.fixture(scope="module")
def prometheus() -> Iterator[httpx.Client]:
    with filled_prometheus() as client:
        yield client


def ask(prometheus: httpx.Client, path: str, **parameters: Any) -> Any:
    document = prometheus.get(f"/api/v1/{path}", params=parameters).json()
    assert document["status"] == "success", document
    return document["data"]


def value(prometheus: httpx.Client, expr: str) -> float:
    (sample,) = ask(prometheus, "query", query=expr, time=TIMES.end)["result"]
    return float(sample["value"][1])


def shown(prometheus: httpx.Client, board: str, panel: str, ref: str = "A") -> float:
    (target,) = (each for each in targets() if each.place == (board, panel, ref))
    return value(prometheus, target.filled())


@every_target
def test_a_query_returns_data(target: Target, prometheus: httpx.Client) -> None:
    if target.instant:
        found = ask(prometheus, "query", query=target.filled(), time=TIMES.end)["result"]
    else:
        found = backfilling.query_range(prometheus, target.filled(), _DAY)
    assert bool(found) == (target.place not in EMPTY)


def test_what_may_be_empty_is_there_and_has_a_reason() -> None:
    assert EMPTY.keys() <= {each.place for each in targets()}
    assert all(EMPTY.values())


@pytest.fixture(scope="module")
def labels(prometheus: httpx.Client) -> dict[str, set[str]]:
    """Return every metric name with its labels."""
    found: dict[str, set[str]] = {}
    every = ask(
        prometheus, "series", **{"match[]": '{job=~".+"}', "start": TIMES.start, "end": TIMES.end}
    )
    for series in every:
        found.setdefault(series["__name__"], set()).update(series)
    return found


@every_target
def test_every_metric_and_label_named_is_exposed_or_recorded(
    target: Target, labels: dict[str, set[str]]
) -> None:
    expression = parsed(target.expr)
    for selector in expression.selectors:
        if target.place in EMPTY:
            assert selector.name in ABSENT
            continue
        assert selector.name in labels
        assert (selector.name in RECORDED) == (":" in selector.name)
        assert {label for label, _, _ in selector.matchers} <= labels[selector.name]
    # These come from label_replace and count_values, buckets, Kubernetes and shards.
    made = {"rank", "days", "le", "pod", "shard", "state", "runbook", "reference_id"}
    there = {label for each in expression.selectors for label in labels.get(each.name, TARGET)}
    assert expression.labels - made <= there
    assert set(re.findall(r"\{\{(\w+)\}\}", target.legend)) <= expression.labels | there | made


@for_every("board", BOARDS.values(), lambda board: str(board["title"]))
def test_every_variable_has_the_values_there_are(
    board: dict[str, Any], prometheus: httpx.Client
) -> None:
    expected = {
        "job": {simulated.JOB, simulated.ESIMS_JOB},
        "instance": {simulated.INSTANCE},
        "vendor": {vendor.name for vendor in SIMULATED},
    }
    for variable in board["templating"]["list"]:
        if variable["type"] != "query":
            continue
        match = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["definition"])
        assert match
        selector = interpolated(match[1])
        range_ = {"start": TIMES.start, "end": TIMES.end}
        found = set(ask(prometheus, f"label/{match[2]}/values", **{"match[]": selector}, **range_))
        if variable["name"] in expected:
            assert found == expected[variable["name"]]
        else:
            assert simulated.SHOWN_PACKAGE in found


def test_a_choice_of_package_narrows_what_is_shown(prometheus: httpx.Client) -> None:
    (target,) = (t for t in targets() if t.place == ("eSIM / Package", "Packages", "B"))
    chosen = {**CHOSEN, "package": simulated.SHOWN_PACKAGE}
    found = ask(prometheus, "query", query=target.filled(chosen), time=TIMES.end)["result"]
    assert [each["metric"]["package_id"] for each in found] == [simulated.SHOWN_PACKAGE]


def test_an_unknown_esim_shows_nothing(prometheus: httpx.Client) -> None:
    chosen = {**CHOSEN, "esim": "no such eSIM"}
    for target in targets():
        if target.board == "eSIM / eSIM":
            query = target.filled(chosen)
            assert ask(prometheus, "query", query=query, time=TIMES.end)["result"] == []


def test_figures_of_the_fleet_are_those_of_its_esims(prometheus: httpx.Client) -> None:
    fleet = "eSIM / Fleet"
    active = 'count(esim_status{status="ACTIVATED"})'
    assert shown(prometheus, fleet, "Activated eSIMs") == value(prometheus, active)
    ended = 'on (esim_id) esim_status{status=~"DELETED|EXPIRED|REVOKED"}'
    ratio = "1 - esim_data_remaining_bytes / esim_data_allowed_bytes"
    # In the simulated fleet, each eSIM has one package.
    for panel, ref, band in (
        ("Out of data now", "A", "== 1"),
        ("About to run out", "B", ">= 0.75 < 0.9"),
    ):
        single = value(prometheus, f"count({ratio} {band} unless {ended})")
        assert shown(prometheus, fleet, panel, ref) == single > 0


def rows(prometheus: httpx.Client, board: str, panel: str, ref: str = "A") -> list[dict[str, str]]:
    """Return the labels of the rows of a table."""
    (target,) = (each for each in targets() if each.place == (board, panel, ref))
    found = ask(prometheus, "query", query=target.filled(), time=TIMES.end)["result"]
    return [each["metric"] for each in found]


def test_the_number_out_of_data_the_lists_and_the_packages_are_about_the_same_esims(
    prometheus: httpx.Client,
) -> None:
    number = shown(prometheus, "eSIM / Fleet", "Out of data now")
    assert number == simulated.OUT_OF_DATA
    listed = rows(prometheus, "eSIM / Fleet", "Which eSIMs are out of data")
    assert len({row["esim_id"] for row in listed}) == number
    assert rows(prometheus, "eSIM / Package", "Which eSIMs are out of data") == listed
    assert all(row["reference_id"] for row in listed)
    packages = Counter(row["package_id"] for row in listed)
    for package, count in packages.items():
        assert value(prometheus, _OF_PACKAGE % package) == count
    assert packages[simulated.STORM_PACKAGE] == number - simulated.OUT_ELSEWHERE


def test_an_alert_fires_about_every_esim_out_of_data_and_about_no_other(
    prometheus: httpx.Client,
) -> None:
    listed = rows(prometheus, "eSIM / Fleet", "Which eSIMs are out of data")
    firing = 'ALERTS{alertstate="firing", alertname="%s"}'

    def alerts(name: str, label: str) -> set[str]:
        found = ask(prometheus, "query", query=firing % name, time=TIMES.end)["result"]
        return {each["metric"][label] for each in found}

    singly = alerts("EsimOutOfData", "esim_id")
    assert singly < {row["esim_id"] for row in listed}
    together = alerts("EsimPackageOutOfData", "package_id")
    assert together == {simulated.STORM_PACKAGE}
    assert all(row["esim_id"] in singly or row["package_id"] in together for row in listed)


_OF_PACKAGE = 'sum(esim_fleet_esims_out_of_data{package_id="%s"})'


def test_a_balance_is_said_to_be_too_low_while_it_is_below_its_threshold(
    prometheus: httpx.Client,
) -> None:
    (target,) = (each for each in targets() if each.place == ("eSIM / Fleet", "Balance", "A"))

    def times(expr: str) -> set[float]:
        return {
            at for each in backfilling.query_range(prometheus, expr, TIMES) for at, _ in each.values
        }

    low, known = times("esim_partner_balance < esim_partner_balance_threshold"), set[float]()
    for each in backfilling.query_range(prometheus, target.filled(), TIMES):
        shown_at = {at for at, _ in each.values}
        assert ("state" in each.labels) == bool(shown_at & low) == (shown_at <= low)
        known |= shown_at
    assert low < known == times("esim_partner_balance")


def test_figures_of_an_esim_are_those_of_its_newest_report(prometheus: httpx.Client) -> None:
    share = shown(prometheus, "eSIM / eSIM", "Data used")
    assert 0.75 < share < 0.9, "in the band that is a notice"
    assert 0 < shown(prometheus, "eSIM / eSIM", "Last report") < 4 * 3600
    remaining = value(prometheus, f'esim_data_remaining_bytes{{esim_id="{simulated.SHOWN_ESIM}"}}')
    consumed = (4 * 1.6 + 2 * 0.3) * 330 * 2**20  # in four reports by day and two by night
    left = shown(prometheus, "eSIM / eSIM", "Time left")
    assert left == pytest.approx(remaining / consumed * 86400, rel=0.01)


def test_limits_of_reports_are_drawn_only_where_the_vendor_reports_at_intervals(
    prometheus: httpx.Client,
) -> None:
    def series(ref: str, esim: str) -> list[dict[str, str]]:
        place = ("eSIM / eSIM", "Age of the last report", ref)
        (target,) = (each for each in targets() if each.place == place)
        query = target.filled({**CHOSEN, "esim": esim})
        return [each["metric"] for each in query_at_end(prometheus, query)]

    for vendor in SIMULATED:
        reported = f'esim_last_event_timestamp_seconds{{vendor="{vendor.name}"}}'
        esim = query_at_end(prometheus, reported)[0]["metric"]["esim_id"]
        assert series("A", esim) == [{"vendor": vendor.name}]
        limits = [{"vendor": vendor.name}] if vendor.report_interval else []
        assert series("B", esim) == series("C", esim) == limits


def query_at_end(prometheus: httpx.Client, query: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ask(prometheus, "query", query=query, time=TIMES.end)["result"]
    return found


def test_what_no_vendor_at_thresholds_owes_is_not_told(prometheus: httpx.Client) -> None:
    at_thresholds = "|".join(each.name for each in SIMULATED if not each.report_interval)
    told = f'max_over_time(ALERTS{{alertstate="firing", vendor=~"{at_thresholds}"}}[3d])'
    names = {each["metric"]["alertname"] for each in query_at_end(prometheus, told)}
    assert names, "of what they do tell"
    assert names <= {
        *("EsimOutOfData", "EsimDataUsageHigh", "EsimSmsUsageHigh", "EsimVoiceUsageHigh"),
        "EsimWebhookSignatureFailures",  # one of the incidents
    }


def test_no_failure_yet_is_no_burnt_budget(prometheus: httpx.Client) -> None:
    for panel in ("Error budget used", "Error budget burn"):
        (target,) = (t for t in targets() if t.place == ("eSIM / Exporter", panel, "A"))
        before = simulated.START + simulated.DAY
        (found,) = ask(prometheus, "query", query=target.filled(), time=before)["result"]
        assert float(found["value"][1]) == 0


def test_a_top_up_is_a_step_of_what_is_allowed(prometheus: httpx.Client) -> None:
    series = f'esim_data_allowed_bytes{{esim_id="{simulated.SHOWN_ESIM}"}}'
    assert value(prometheus, f"changes({series}[3d])") == 1


def test_each_incident_is_seen(prometheus: httpx.Client) -> None:
    def at_its_end(board: str, panel: str, incident: simulated.Incident) -> float:
        (target,) = (each for each in targets() if each.place == (board, panel, "A"))
        found = ask(prometheus, "query", query=target.filled(), time=incident.ends - 1)["result"]
        return sum(float(each["value"][1]) for each in found)

    exporter = "eSIM / Exporter"
    assert at_its_end(exporter, "Feed age", simulated.SILENCE) > 5 * 3600
    assert at_its_end(exporter, "Up", simulated.DOWN) == 0
    assert value(prometheus, "max_over_time(esim_exporter_storage_commit_errors_total[1d])") >= 1
    (wrong,) = backfilling.query_range(
        prometheus,
        'sum(increase(esim_exporter_webhook_rejected_total{reason="signature"}[1h]))',
        backfilling.Times(simulated.WRONG_SECRET.ends, simulated.WRONG_SECRET.ends, 60),
    )
    assert float(wrong.values[0][1]) > 5


def test_annotations_are_at_the_starts_of_the_exporter(prometheus: httpx.Client) -> None:
    annotations = {each["name"]: each for each in BOARDS["esim-fleet.json"]["annotations"]["list"]}

    def starts(name: str) -> set[float]:
        expr = interpolated(annotations[name]["expr"])
        found = backfilling.query_range(prometheus, expr, TIMES)
        return {float(at) / 1000 for each in found for _, at in each.values}

    assert starts("Restarts") == {simulated.START, simulated.DOWN.ends}
    assert starts("Versions") == {simulated.START}, "the same version starts again"


def test_the_simulated_vendor_does_all_there_is_to_see(prometheus: httpx.Client) -> None:
    for there in (
        "esim_data_unlimited == 1",
        'max_over_time(esim_fleet_esims{status="EXPIRED"}[3d]) > 0',
        "esim_sms_remaining < esim_sms_allowed",
        "increase(esim_exporter_expired_total[1d]) > 0",
        'ALERTS{alertname="EsimOutOfData", alertstate="firing"}',
        'max_over_time(ALERTS{alertname="EsimWebhookFeedSilent", alertstate="firing"}[2d])',
        'max_over_time(ALERTS{alertname="EsimExporterDown", alertstate="firing"}[2d])',
    ):
        assert ask(prometheus, "query", query=there, time=TIMES.end)["result"], there


def test_rules_of_all_shipped_files_were_evaluated(labels: dict[str, set[str]]) -> None:
    without_shards = {"job:esim_exporter_shards_missing:count"}
    assert labels.keys() >= RECORDED - without_shards
