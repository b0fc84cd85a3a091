"""How often the fault tests repeat their faults, with which seed, and what they measured.

``FAULTS_SHARE`` is a percentage of the repetitions of the long form. Without it, the short form
runs. ``FAULTS_SEED`` repeats a run. Each measured line shows the seed, and so does the output of a
failed test.
"""

from __future__ import annotations

import os
import random
import re
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import pytest

SHARE = float(os.environ.get("FAULTS_SHARE", "0")) / 100
"""The part of the long form that is run; 0 for the short form."""

SUMMARY = Path(__file__).resolve().parents[2] / ".cache" / "faults.md"
"""The file to which the long form writes what it measured."""

_PROPERTY = "measured"


class Chance(random.Random):
    """A random generator that prints its seed."""

    def __init__(self) -> None:
        self.number = int(os.environ.get("FAULTS_SEED") or secrets.randbelow(1_000_000))
        super().__init__(self.number)
        sys.stdout.write(f"FAULTS_SEED={self.number}\n")  # pytest shows it if the test fails


class Measured:
    """Records what a test measured, as one line of a name and a result."""

    def __init__(self, note: Callable[[str, object], None]) -> None:
        self._note = note

    def __call__(self, name: str, found: str) -> None:
        sys.stdout.write(f"{name}: {found}\n")
        self._note(_PROPERTY, f"{name}: {found}")


def times(short: int, long: int) -> int:
    """Return the number of repetitions: ``long`` in the long form, at least ``short``."""
    return max(short, round(long * SHARE))


def grouped(number: int) -> str:
    """Write a number with thin groups of three digits, as in 48 312."""
    return f"{number:,}".replace(",", " ")


def private_memory(pid: int) -> int:
    """Return the memory of a process that it shares with no other, in bytes."""
    found = re.search(r"Private_Dirty: +(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text())
    assert found
    return int(found[1]) * 1024


def percentile(values: Iterable[float], share: float) -> float:
    """Return the least value that this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -int(-len(ordered) * share // 1) - 1)]


def summarise(reporter: pytest.TerminalReporter) -> None:
    """Print what was measured at the end of a run. After a long one, write it to a file too."""
    lines = _lines(reporter)
    if not lines:
        return
    reporter.section("faults: what was measured")
    for _, line in lines:
        reporter.line(line)
    if SHARE:
        SUMMARY.parent.mkdir(exist_ok=True)
        SUMMARY.write_text(_markdown(lines))
        reporter.line(f"written to {SUMMARY.name} in {SUMMARY.parent.name}/")


def _lines(reporter: pytest.TerminalReporter) -> list[tuple[bool, str]]:
    """Return what each test measured, and whether it passed."""
    return [
        (report.passed, str(line))
        for outcome in ("passed", "failed")
        for report in reporter.stats.get(outcome, ())
        for name, line in getattr(report, "user_properties", ())
        if name == _PROPERTY and report.when == "call"
    ]


def _markdown(lines: Iterable[tuple[bool, str]]) -> str:
    rows = []
    for passed, line in lines:
        name, _, found = line.partition(": ")
        rows.append(f"| {name} | {found} | {'yes' if passed else '**no**'} |")
    head = (
        f"# Faults, {SHARE:.0%} of the long form\n\n| fault | measured | passed |\n|---|---|---|\n"
    )
    return head + "\n".join(rows) + "\n"
