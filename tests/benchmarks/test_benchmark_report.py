from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks import documentation, report
from benchmarks.report import Comparison, Goal, Measure, Results, Size

if TYPE_CHECKING:
    from pathlib import Path

TIMES = Comparison("S1", "scrape", "s", (0.03, 0.02, 0.04), "nginx", (0.01, 0.02, 0.02))


def _results(*rows: Comparison, sizes: tuple[Size, ...] = (), others: float = 0.0) -> Results:
    return Results(
        machine="a machine",
        others=others,
        date="2026-11-24",
        command="python -m benchmarks",
        revision="abc",
        profile="full",
        seconds=12.3,
        rows=rows,
        sizes=sizes,
    )


def test_a_ratio_is_that_of_the_medians_with_the_spread_of_the_rounds() -> None:
    assert TIMES.ratio == pytest.approx((1.5, 1.0, 3.0))


def test_a_gain_is_the_ratio_the_other_way_round() -> None:
    goal = Goal(Measure.GAIN, 50, at_most=False)
    row = Comparison("S3", "scrape", "s", (0.1,), "peer", (9.0,), goal)
    assert row.ratio == pytest.approx((90, 90, 90))
    assert row.met is True


@pytest.mark.parametrize(
    ("goal", "met"),
    [
        (None, None),
        (Goal(Measure.VALUE, 0.03), True),
        (Goal(Measure.VALUE, 0.029), False),
        (Goal(Measure.RATIO, 1.6), True),
        (Goal(Measure.RATIO, 1.4), False),
        (Goal(Measure.RATIO, 1.4, at_most=False), True),
    ],
)
def test_a_goal_is_judged_by_medians(goal: Goal | None, met: bool | None) -> None:
    row = Comparison("S1", "scrape", "s", TIMES.values, "nginx", TIMES.peer_values, goal)
    assert row.met is met


@pytest.mark.parametrize("peer_values", [(), (0.0,)])
def test_without_a_peer_there_is_no_ratio_to_judge(peer_values: tuple[float, ...]) -> None:
    row = Comparison("S1", "scrape", "s", (1.0,), "nginx", peer_values, Goal(Measure.RATIO, 1))
    assert row.ratio is None
    assert row.met is None


def test_what_is_written_reads_back_the_same(tmp_path: Path) -> None:
    judged = Comparison("S1", "a", "s", (1.0,), "nginx", (2.0,), Goal(Measure.RATIO, 1.5), "a note")
    skipped = Comparison("S8", "b", skipped="it is not installed")
    results = _results(judged, skipped, sizes=(Size(10, series=160, memory=5),))
    report.write(results, tmp_path / "new", "latest")
    assert report.read(tmp_path / "new" / "latest.json") == results
    assert (tmp_path / "new" / "latest.md").read_text() == report.markdown(results)


def test_the_table_shows_medians_spread_ratio_and_goal() -> None:
    row = Comparison(
        "S1", "scrape", "s", TIMES.values, "nginx", TIMES.peer_values, Goal(Measure.RATIO, 1.4)
    )
    assert report.table([row]).splitlines()[2] == (
        "| S1 | scrape | 30 ms (20 ms..40 ms) | nginx: 20 ms (10 ms..20 ms) | 1.5 (1..3) "
        "| at most 1.4 x | no |"
    )


def test_the_table_says_why_something_was_not_measured() -> None:
    line = report.table([Comparison("S8", "events", skipped="it is not installed")]).splitlines()[2]
    assert line == "| S8 | events | not measured: it is not installed |  |  |  |  |"


def test_values_are_shown_in_the_unit_that_reads_best() -> None:
    rows = [
        Comparison("S10", "memory", "B", (1600.0,), goal=Goal(Measure.VALUE, 2200)),
        Comparison("S7", "rate", "events/s", (12345.6,)),
        Comparison("S4", "series", "s", (2.5e-7,)),
        Comparison("S9", "errors", "", (0.0,), goal=Goal(Measure.VALUE, 0)),
    ]
    cells = [line.split(" | ")[2] for line in report.table(rows).splitlines()[2:]]
    assert cells == ["1.6 kB", "12346 events/s", "250 ns", "0"]


def test_the_report_warns_when_others_used_the_machine() -> None:
    assert "Other processes used 40% of the machine" in report.markdown(_results(others=0.4))
    assert "Other processes" not in report.markdown(_results())


def test_the_report_ends_with_the_notes_and_the_sizes() -> None:
    results = _results(
        Comparison("S1", "scrape", "s", (1.0,), note="after a pause"),
        sizes=(Size(1000, series=16000), Size(10, gzip_bytes=1000, gzip_seconds=0.5)),
    )
    assert report.markdown(results).endswith(
        "- S1, scrape: after a pause\n\n## Sizes\n\n"
        "| eSIMs | series | memory | on disk | scrape, gzip | scrape, identity | start "
        "| first whole scrape |\n"
        "| --: | --: | --: | --: | --: | --: | --: | --: |\n"
        "| 10 |  |  |  | 1 kB in 500 ms |  |  |  |\n"
        "| 1,000 | 16,000 |  |  |  |  |  |  |\n"
    )


def test_turnover_adds_tombstones_to_the_memory_of_each_fleet() -> None:
    results = _results(
        Comparison("S17", "memory per tombstone, 20 while they came", "B", (200.0,)),
        Comparison("S17", "memory per tombstone, 20 in SQLite, after a start", "B", (100.0, 110.0)),
        Comparison("S17", "start, time per tombstone, SQLite", "s", (1e-6,)),
        Comparison("S17", "disk per tombstone, SQLite", "B", (150.0,)),
        sizes=(Size(1000, memory=50_000_000), Size(10)),
    )
    head, _, *rows = documentation.turnover(results).splitlines()
    assert head.endswith("| start, longer by | memory with 1,000 eSIMs |")
    assert rows[0] == "| 1,000 | 25,714 | 90 days | 5.14 MB | 3.86 MB | 25.7 ms | 55.1 MB |"
    assert rows[-1] == "| 100,000 | 1,000,000 | 35 days | 200 MB | 150 MB | 1 s | 250 MB |"


def test_turnover_that_was_not_measured_is_not_made_up() -> None:
    assert "did not measure" in documentation.turnover(_results(sizes=(Size(10, memory=1),)))
