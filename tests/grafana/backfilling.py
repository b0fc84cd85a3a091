"""Fills a real Prometheus with past samples and with the results of the shipped rules.

Prometheus evaluates every expression over a range of time. This module adds ``for`` and
``keep_firing_for`` of alerts, which depend on earlier evaluations. It evaluates groups whose rules
read their own results step by step. ``promtool tsdb create-blocks-from rules`` does not help: it
leaves out alerts, and rules that read other rules.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import programs
import remote_write
import yaml
from monitoring_stack import ALERTS, free_address, serving_program

from exporter.mixin.rules.rule_files import FILES
from exporter.settings.field_types import parse_duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import httpx

Rules = Sequence[dict[str, Any]]
Labels = frozenset[tuple[str, str]]

_DAY: Final = 24 * 3600
_ONE_BLOCK: Final = "--max-block-duration=168h"
"""Without this, promtool reads its whole input again for every two hours of samples."""


@dataclass(frozen=True, slots=True)
class Times:
    """The times at which rules are evaluated, in unix seconds."""

    start: int
    end: int
    step: int


@dataclass(frozen=True, slots=True)
class Series:
    """A series that a range query returned: labels, and pairs of time and value."""

    labels: Mapping[str, str]
    values: Sequence[tuple[float, str]]


def import_samples(files: Iterable[Path], database: Path) -> None:
    """Turn OpenMetrics files with timestamps into blocks of a database."""
    promtool = programs.require("promtool")
    create = [str(promtool), "tsdb", "create-blocks-from", "openmetrics", _ONE_BLOCK, "--quiet"]
    with ThreadPoolExecutor() as pool:
        for done in pool.map(
            lambda file: subprocess.run(
                [*create, file, database], capture_output=True, text=True, check=False
            ),
            files,
        ):
            assert done.returncode == 0, done.stdout + done.stderr


@contextmanager
def prometheus(folder: Path, database: Path, *more_flags: str) -> Iterator[httpx.Client]:
    """Run Prometheus on a database without scraping; yield a client of its API."""
    config = folder / "prometheus.yml"
    # For what remote_write.py writes.
    config.write_text("storage: {tsdb: {out_of_order_time_window: 100y}}\n", encoding="utf-8")
    address = free_address()
    flags = (
        f"--config.file={config}",
        f"--storage.tsdb.path={database}",
        "--storage.tsdb.retention.time=100y",
        f"--web.listen-address={address}",
        "--web.cors.origin=.*",
        "--log.level=warn",
        *more_flags,
    )
    with serving_program(folder, programs.require("prometheus"), address, flags) as client:
        yield client


def evaluate_rules(
    folder: Path, database: Path, times: Times, *flags: str, jobs: Mapping[str, str] | None = None
) -> None:
    """Add the series that the shipped rules record, and the alerts that fire.

    ``jobs`` maps a matcher of a job in the shipped rules to the one that takes its place.
    """
    groups = [_rules(group) for group in _shipped_groups()]
    for matcher, replacement in (jobs or {}).items():
        for rule in (rule for group in groups for rule in group):
            rule["expr"] = rule["expr"].replace(matcher, replacement)
    recorded = {rule["record"] for group in groups for rule in group if "record" in rule}
    done: set[str] = set()

    def ready(rules: Rules, own: Rules = ()) -> bool:
        known = done | {rule["record"] for rule in own if "record" in rule}
        return all(_reads(rule, recorded) <= known for rule in rules)

    while any(groups):
        rules = [rule for group in groups for rule in group if ready([rule])]
        if rules:
            with prometheus(folder, database, *flags) as client:
                lines = _at_once(rules, client, times)
        else:
            rules = next(group for group in groups if group and ready(group, own=group))
            lines = _step_by_step(rules, folder, database, times, *flags)
        file = folder / "rules.om"
        with file.open("w", encoding="utf-8") as written:
            written.writelines(lines)
            written.write("# EOF\n")
        import_samples([file], database)
        done |= {rule["record"] for rule in rules if "record" in rule}
        groups = [[rule for rule in group if rule not in rules] for group in groups]


def _rules(group: dict[str, Any]) -> list[dict[str, Any]]:
    rules: list[dict[str, Any]] = group["rules"]
    return rules


def _at_once(rules: Rules, client: httpx.Client, times: Times) -> list[str]:
    """Return the lines of rules that do not depend on earlier evaluations."""

    def lines(rule: dict[str, Any]) -> list[str]:
        return list(_lines(rule, query_range(client, rule["expr"], times), times))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return [line for found in pool.map(lines, rules) for line in found]


def _step_by_step(
    rules: Rules, folder: Path, database: Path, times: Times, *flags: str
) -> list[str]:
    """Return the lines of a group whose rules read their own last results.

    Each rule sees the results of the rules above it at the same step, and of the others at the step
    before. Such rules forget within a day, so the last day is enough.
    """
    first = max(times.start, times.end - _DAY // times.step * times.step)
    found: list[list[Series]] = [[] for _ in rules]
    scratch = Path(shutil.copytree(database, folder / "step-by-step"))
    with prometheus(folder, scratch, "--web.enable-remote-write-receiver", *flags) as client:
        for at in range(first, times.end + 1, times.step):
            for rule, results in zip(rules, found, strict=True):
                samples = query_range(client, rule["expr"], Times(at, at, 1))
                results.extend(samples)
                if "record" in rule and samples:
                    named = [
                        ({**each.labels, "__name__": rule["record"]}, float(value), at)
                        for each in samples
                        for _, value in each.values
                    ]
                    remote_write.write(client, named)
    shutil.rmtree(scratch)
    return [
        line
        for rule, results in zip(rules, found, strict=True)
        for line in _lines(rule, results, times)
    ]


def _shipped_groups() -> list[dict[str, Any]]:
    return [
        group
        for name in FILES
        for group in yaml.safe_load((ALERTS / name).read_text(encoding="utf-8"))["groups"]
    ]


def _reads(rule: dict[str, Any], recorded: set[str]) -> set[str]:
    return set(re.findall(r"[a-zA-Z_:][\w:]*", rule["expr"])) & recorded


def _lines(rule: dict[str, Any], series: Iterable[Series], times: Times) -> Iterator[str]:
    """Yield the samples of what a rule records, or of the states of an alert."""
    if "record" in rule:
        for labels, values in _unnamed(series).items():
            for at, value in values:
                yield _line(rule["record"], dict(labels), value, at)
        return
    own = rule["labels"]
    assert "{{" not in str(own), "labels of alerts are constant"
    for without_own, values in _unnamed(series).items():
        all_labels = {**dict(without_own), **own, "alertname": rule["alert"]}
        for at, state in _states(rule, [at for at, _ in values], times):
            yield _line("ALERTS", {**all_labels, "alertstate": state}, "1", at)


def _unnamed(series: Iterable[Series]) -> dict[Labels, list[tuple[float, str]]]:
    """Return the values by labels without the name, which part of the values may have."""
    found: dict[Labels, list[tuple[float, str]]] = {}
    for each in series:
        labels = frozenset(item for item in each.labels.items() if item[0] != "__name__")
        found.setdefault(labels, []).extend(each.values)
    return {labels: sorted(values) for labels, values in found.items()}


def _states(
    rule: dict[str, Any], true_at: Sequence[float], times: Times
) -> Iterator[tuple[float, str]]:
    """Yield times and states of an alert whose condition is true at the given times."""
    hold, keep = (parse_duration(rule.get(name, "0s")) for name in ("for", "keep_firing_for"))
    true = set(true_at)
    since: float | None = None
    fired: float | None = None
    for at in range(times.start, times.end + 1, times.step):
        if at in true:
            since = at if since is None else since
            fired = at if at - since >= hold else None
            yield at, "firing" if fired is not None else "pending"
        elif fired is not None and at - fired < keep:
            yield at, "firing"
        else:
            since = fired = None


def query_range(client: httpx.Client, expression: str, times: Times) -> list[Series]:
    """Return the values of an expression at every step."""
    answer = client.post(
        "/api/v1/query_range",
        data={
            "query": expression,
            "start": str(times.start),
            "end": str(times.end),
            "step": str(times.step),
        },
        timeout=120,
    )
    document = answer.json()
    assert document["status"] == "success", (expression, document.get("error"))
    return [Series(each["metric"], each["values"]) for each in document["data"]["result"]]


def _line(name: str, labels: Mapping[str, str], value: str, at: float) -> str:
    pairs = ",".join(
        f'{label}="{_escaped(text)}"' for label, text in labels.items() if label != "__name__"
    )
    return f"{name}{{{pairs}}} {value} {at:.0f}\n"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
