from __future__ import annotations

import programs
import pytest
from boards import BOARDS, panels

from benchmarks import dashboards

pytestmark = pytest.mark.slow


def test_a_tiny_run_measures_every_panel_of_the_fleet(capsys: pytest.CaptureFixture[str]) -> None:
    programs.require("prometheus")
    programs.require("promtool")
    assert dashboards.main(["--esims=200", "--hours=1", "--runs=1"]) == 0
    printed = capsys.readouterr().out
    for panel in panels(BOARDS["esim-fleet.json"]):
        assert f"| {panel['title']} | {len(panel['targets'])} |" in printed
