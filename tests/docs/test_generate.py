from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks import report
from benchmarks.report import Comparison, Results, Size
from exporter.settings.loading import OPTIONS

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def generate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return docs/generate.py as a module that works on a copy of the folder."""
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs/generate.py")
    assert spec
    assert spec.loader
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name in (*module.pages(), "openapi.json", "performance.json"):
        (tmp_path / name).write_bytes((ROOT / "docs" / name).read_bytes())
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    monkeypatch.setattr(module, "OPENAPI", tmp_path / "openapi.json")
    monkeypatch.setattr(module, "PERFORMANCE", tmp_path / "performance.json")
    return module  # type: ignore[no-any-return]  # Any above lets attributes be read


def _results(revision: str, *rows: Comparison) -> Results:
    return Results(
        machine="a machine",
        others=0.0,
        date="2026-11-24",
        command="python -m benchmarks S7",
        revision=revision,
        profile="full",
        seconds=1.0,
        rows=rows,
        sizes=(Size(10, series=160),),
    )


def test_what_is_committed_is_up_to_date(
    generate: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert generate.main(["--check"]) == 0
    assert capsys.readouterr().err == ""


def test_a_page_that_is_not_up_to_date_is_named_and_left_as_it_is(
    generate: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "configuration.md"
    page.write_text(page.read_text().replace("| `--log.level` |", "| `--log.bevel` |"))
    before = page.read_bytes()

    assert generate.main(["--check"]) == 1
    assert "docs/configuration.md" in capsys.readouterr().err
    assert page.read_bytes() == before

    assert generate.main([]) == 0
    assert page.read_bytes() == (ROOT / "docs/configuration.md").read_bytes()


def test_new_figures_are_put_in_by_one_command(generate: ModuleType, tmp_path: Path) -> None:
    rate = Comparison("S7", "durable events", "events/s", (5000.0,), "bare Quart", (2500.0,))
    parts = (_results("abc", rate), _results("abc", Comparison("S11", "start", "s", (1.5,))))
    for name, part in zip(("one", "two"), parts, strict=True):
        report.write_json(part, tmp_path / f"{name}.json")

    generate.main(["--figures", str(tmp_path / "one.json"), str(tmp_path / "two.json")])

    text = (tmp_path / "performance.md").read_text()
    assert "One core takes 5000 events/s" in text
    assert "with `python -m benchmarks` at commit abc, on a machine" in text
    assert "| S11 | start | 1.5 s |" in text
    assert generate.main(["--check"]) == 0


def test_figures_of_different_commits_are_refused(generate: ModuleType, tmp_path: Path) -> None:
    for name in ("abc", "def"):
        report.write_json(_results(name), tmp_path / f"{name}.json")
    with pytest.raises(ValueError, match="do not belong together"):
        generate.main(["--figures", str(tmp_path / "abc.json"), str(tmp_path / "def.json")])


def test_a_figure_that_was_measured_twice_is_taken_from_the_later_run(
    generate: ModuleType,
) -> None:
    first = _results("abc", Comparison("S7", "a", "", (1.0,)), Comparison("S8", "b", "", (2.0,)))
    second = replace(first, rows=(Comparison("S7", "a", "", (3.0,)),), sizes=(Size(10, memory=5),))
    merged = generate.documentation.merged([first, second])
    assert [(row.figure, row.values) for row in merged.rows] == [("S7", (3.0,)), ("S8", (2.0,))]
    assert merged.sizes == (Size(10, series=160, memory=5),)


def test_table_has_a_line_for_every_setting(generate: ModuleType) -> None:
    lines = generate._settings_table().splitlines()

    assert len(lines) == len(OPTIONS) + 2
    assert lines[0] == "| Flag | Environment variable | Default | Description |"
    assert (
        "| `--retention.terminal` | `ESIM_EXPORTER_RETENTION_TERMINAL` | `24h` | Time for which "
        "an eSIM stays in the metrics after it became DELETED, REVOKED or EXPIRED. Applied on "
        "reload. |"
    ) in lines
    assert any(line.startswith("|  | `ESIM_EXPORTER_WEBHOOK_SECRET` |  |") for line in lines)
