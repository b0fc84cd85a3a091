"""Fills a real Prometheus with past samples and with the results of the shipped rules.

Prometheus evaluates every expression over a range of time. This module adds ``for`` and
``keep_firing_for`` of alerts, which depend on earlier evaluations. ``promtool tsdb
create-blocks-from rules`` does not help: it leaves out alerts, and rules that read other rules.
"""

from __future__ import annotations

import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import programs
import yaml
from monitoring_stack import ALERTS, free_address, serving_program

from exporter.mixin.rules.rule_files import FILES
from exporter.settings.field_types import parse_duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    import httpx

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
    config.write_text("scrape_configs: []\n", encoding="utf-8")
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


def evaluate_rules(folder: Path, database: Path, times: Times, *flags: str) -> None:
    """Add the series that the shipped rules record, and the alerts that fire."""
    rules = [rule for group in _shipped_groups() for rule in group["rules"]]
    recorded = {rule["record"] for rule in rules if "record" in rule}
    done: set[str] = set()
    while rules:
        ready = [rule for rule in rules if not _reads(rule, recorded) - done]
        assert ready, "rules read one another in a circle"
        with (
            prometheus(folder, database, *flags) as client,
            ThreadPoolExecutor(os.cpu_count()) as pool,
        ):
            results = pool.map(lambda rule: _lines(rule, client, times), ready)
            file = folder / "rules.om"
            with file.open("w", encoding="utf-8") as written:
                for lines in results:
                    written.writelines(lines)
                written.write("# EOF\n")
        import_samples([file], database)
        done |= {rule["record"] for rule in ready if "record" in rule}
        rules = [rule for rule in rules if rule not in ready]


def _shipped_groups() -> list[dict[str, Any]]:
    return [
        group
        for name in FILES
        for group in yaml.safe_load((ALERTS / name).read_text(encoding="utf-8"))["groups"]
    ]


def _reads(rule: dict[str, Any], recorded: set[str]) -> set[str]:
    return set(re.findall(r"[a-zA-Z_:][\w:]*", rule["expr"])) & recorded


def _lines(rule: dict[str, Any], client: httpx.Client, times: Times) -> list[str]:
    series = query_range(client, rule["expr"], times)
    if "record" in rule:
        return [
            _line(rule["record"], each.labels, value, at)
            for each in series
            for at, value in each.values
        ]
    own = rule["labels"]
    assert "{{" not in str(own), "labels of alerts are constant"
    lines: list[str] = []
    for each in series:
        labels = {**each.labels, **own, "alertname": rule["alert"]}
        labels.pop("__name__", None)
        lines += [
            _line("ALERTS", {**labels, "alertstate": state}, "1", at)
            for at, state in _states(rule, [at for at, _ in each.values], times)
        ]
    return lines


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
