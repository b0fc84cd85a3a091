"""Runbooks name only what there is, and begin with a command. Their calls are tried elsewhere.

``tests/endpoints/test_documented_addresses.py`` fetches their addresses, and
``test_rule_contract.py`` compares their queries with real metrics.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from looping import for_every
from monitoring_stack import ALERTS
from test_rule_lints import RECORDINGS, TYPES

from exporter.mixin.rules.rule_files import groups
from exporter.mixin.values import MixinValues
from exporter.settings.loading import OPTIONS

ROOT = Path(__file__).resolve().parents[2]
NAMES = sorted({alert.name for group in groups() for alert in group.alerts})
RUNBOOKS = sorted((ALERTS / "runbooks").glob("*.md"))
SECTIONS = ["## Meaning", "## Impact", "## Diagnosis", "## Mitigation"]
FIRST_STEP = re.compile(
    r"""
    \n(?:\S.*\n)+ \n                              # a sentence or two
    (?: [ ]{4}curl\ .*http://localhost:(10877|9090)/.*\n
      | ```promql\n(?:.+\n)+```\n )
    """,
    re.VERBOSE,
)
"""What is to be seen, and the command or query that shows it."""

each_runbook = for_every("path", RUNBOOKS, lambda path: path.stem)


def section(path: Path, heading: str) -> str:
    """Return the text of a section, without its heading."""
    return re.split(r"^## \w+\n", path.read_text(), flags=re.MULTILINE)[SECTIONS.index(heading) + 1]


def test_every_alert_has_a_runbook_and_every_runbook_is_of_an_alert() -> None:
    assert [path.stem for path in RUNBOOKS] == NAMES


@each_runbook
def test_a_runbook_has_its_four_sections(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert lines[0] == f"# {path.stem}"
    assert [line for line in lines if line.startswith("## ")] == SECTIONS
    assert all(section(path, heading).strip() for heading in SECTIONS)


@each_runbook
def test_the_first_step_is_a_command_or_a_query_that_shows_it(path: Path) -> None:
    assert FIRST_STEP.match(section(path, "## Diagnosis"))


@each_runbook
def test_a_runbook_says_at_its_end_when_the_alert_ends(path: Path) -> None:
    last = section(path, "## Mitigation").strip().split("\n\n")[-1]
    assert re.search(r"\b(alert|page) (also )?ends\b|must never end", last.replace("\n", " "))


def spans(path: Path, pattern: str) -> set[str]:
    """Return what fits a pattern in the sentences and commands of a runbook."""
    return set(re.findall(pattern, path.read_text()))


@each_runbook
def test_alerts_and_metrics_that_a_runbook_names_are_there(path: Path) -> None:
    assert spans(path, r"\bEsim[A-Z]\w+") <= set(NAMES)
    written = {
        re.sub(r"_(bucket|count|sum)$", "", name)
        for name in spans(path, r"(?<![\w:])esim_\w+(?![\w:])")
    }
    assert written - {"esim_id"} <= TYPES.keys()
    assert spans(path, r"\b[a-z_]+:[a-z_]+:[a-z0-9_]+") <= RECORDINGS.keys()


@each_runbook
def test_settings_that_a_runbook_names_are_there(path: Path) -> None:
    written = spans(path, r"(?<!\S)`?(--(?:[a-z]+\.[a-z.-]+[a-z]|shard|total-shards))\b")
    assert written <= {option.flag for option in OPTIONS}
    assert spans(path, r"\bESIM_EXPORTER_[A-Z_]+") <= {option.variable for option in OPTIONS}


def dotted(values: dict[str, Any], prefix: str = "") -> set[str]:
    """Return the names of all values, with those of their groups before them."""
    found = {prefix + name for name in values}
    for name, value in values.items():
        if isinstance(value, dict):
            found |= dotted(value, f"{prefix}{name}.")
    return found


@each_runbook
def test_values_that_a_runbook_names_are_there(path: Path) -> None:
    top = "|".join(MixinValues.model_fields)
    written = spans(path, rf"`((?:{top})(?:\.[a-z_]+)+)[`:]")
    assert written <= dotted(MixinValues().model_dump())


@each_runbook
def test_log_lines_that_a_runbook_quotes_are_written(path: Path) -> None:
    source = "".join(p.read_text() for p in sorted((ROOT / "exporter").rglob("*.py")))
    assert all(f'"{message}"' in source for message in spans(path, r'msg="([^"]+)"'))
