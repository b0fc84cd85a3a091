"""The benchmarks of rules, pages and dashboards, at their smallest."""

from __future__ import annotations

import programs
import pytest
from committed_dashboards import BOARDS, panels

from benchmarks import dashboards, paging, rules
from exporter.mixin.rules.rule_files import groups

pytestmark = pytest.mark.slow


def test_a_tiny_run_measures_every_group(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    programs.require("prometheus")
    monkeypatch.setenv("ESIM_EXPORTER_WEBHOOK_SECRET", "of another exporter, as the README says")
    assert rules.main(["--esims=200", "--seconds=1", "--every=500ms", "--scrape=500ms"]) == 0
    printed = capsys.readouterr().out
    assert all(f"| {group.name} | {len(group.rules)} |" in printed for group in groups())
    assert "of them pages about single eSIMs" in printed


def test_a_short_run_measures_how_soon_somebody_is_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert paging.main(["--silence=0", "--no-storms"]) == 0
    printed = capsys.readouterr().out
    assert "A page about one eSIM: 135 s;" in printed
    assert "| an eSIM again after a top-up | " in printed


def test_a_tiny_run_measures_every_panel_of_the_fleet(capsys: pytest.CaptureFixture[str]) -> None:
    programs.require("prometheus")
    programs.require("promtool")
    assert dashboards.main(["--esims=200", "--hours=1", "--runs=1"]) == 0
    printed = capsys.readouterr().out
    for panel in panels(BOARDS["esim-fleet.json"]):
        assert f"| {panel['title']} | {len(panel['targets'])} |" in printed
