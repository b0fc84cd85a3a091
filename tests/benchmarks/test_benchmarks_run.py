from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from running import WAIT

from benchmarks import report
from benchmarks.run import FIGURES

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


def _started(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start the smallest form of the benchmark, without measuring its coverage."""
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("COV", "PYTHONPATH"))}
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "benchmarks", *arguments, "--profile=tiny"),
            *(f"--results={folder / 'results'}", f"--cache={folder / 'cache'}"),
        ],
        cwd=ROOT,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _left_behind(folder: Path) -> list[str]:
    """Return the working folders of processes that the benchmark has left running."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            found.append(str((process / "cwd").readlink()))
        except OSError:
            continue  # the process has ended, or belongs to another user
    return [each for each in found if each.startswith(str(folder / "cache"))]


def test_every_figure_has_a_row_with_values_or_the_reason_why_not(tmp_path: Path) -> None:
    with _started(tmp_path) as process:
        printed, said = process.communicate(timeout=4 * WAIT)
    assert process.returncode == 0, said
    results = report.read(tmp_path / "results" / "latest.json")
    assert {row.figure for row in results.rows} == set(FIGURES)
    assert all(row.values or row.skipped for row in results.rows)
    missing = [row.skipped for row in results.rows if row.skipped]
    allowed = ("is not installed", "there is no --web.server")
    assert [why for why in missing if not any(each in why for each in allowed)] == []
    markdown = (tmp_path / "results" / "latest.md").read_text()
    assert markdown == report.markdown(results)
    assert markdown.strip() in printed
    assert list((tmp_path / "cache").iterdir()) == []
    assert _left_behind(tmp_path) == []


def test_an_interrupt_leaves_no_processes_and_no_files(tmp_path: Path) -> None:
    with _started(tmp_path, "S11", "S10") as process:
        assert process.stderr
        assert "done" in process.stderr.readline()  # one figure is measured, the next begins
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=WAIT)
    assert process.returncode == 130, said
    assert list((tmp_path / "cache").iterdir()) == []
    assert not (tmp_path / "results").exists()
    assert _left_behind(tmp_path) == []
