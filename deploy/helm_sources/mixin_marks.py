"""The mixin as the chart needs it: rules and dashboards with marks in the places of values.

Helm cannot run Python. So the mixin runs here with values that occur nowhere else, and marks with
the names of the values replace them. ``templates/_mixin.tpl`` of the chart puts the user's values
there.

- ``<<feed.silent>>`` is the value, ``<<feed.silent seconds>>`` a duration as a number of seconds,
  ``<<feed.silent seconds 0.8>>`` a part of it, ``<<usage.high percent>>`` a share in percent.
- ``<<target_labels list>>``, ``matchers`` and ``values`` are the labels in the forms of the rules.
- Lines from ``<<if links.grafana>>`` to ``<<else>>`` are for a link that is given, those from there
  to ``<<end>>`` for one that is not. ``<<if severity.sms.full critical>>`` compares a value.
"""

from __future__ import annotations

import json
import re
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pydantic import BaseModel

from exporter.mixin.dashboards.dashboards import dashboards
from exporter.mixin.documents import WATCHDOG_FILE
from exporter.mixin.rules.rule_files import FILES
from exporter.mixin.values import MixinValues
from exporter.settings.field_types import parse_duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_Group = TypeVar("_Group", bound=BaseModel)

_LABEL: Final = "zz_mark"
_LABEL_MARKS: Final = {
    f", {_LABEL}": "<<target_labels list>>",
    f",{_LABEL}=%q": "<<target_labels matchers>>",
    f" $labels.{_LABEL}": "<<target_labels values>>",
}
_LINKS: Final = ("links.grafana", "links.status_page")
"""Links that change more than a text: without them there is no annotation or column."""

_ELSEWHERE: Final = ("receivers.", "routing.large_fleet", "faster", "pending", "target_labels")
"""Values that rules and dashboards do not use as a text. The template applies ``pending``."""

_PART: Final = 0.8
"""The share of ``feed.silent`` at which a dashboard turns yellow."""


def leaves(group: BaseModel, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Return the path and value of everything in a group of values."""
    for name, value in group:
        if isinstance(value, BaseModel):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def marked_files() -> dict[str, str]:
    """Return the text of ``rules.json`` and of each dashboard, with marks."""
    replaced: dict[str, Any] = {"target_labels": (_LABEL,)}
    marks: dict[str, str] = dict(_LABEL_MARKS)
    for number, (path, value) in enumerate(leaves(MixinValues())):
        if path.startswith("severity."):
            replaced[path] = f"<<{path}>>"
        elif not path.startswith(_ELSEWHERE):
            replaced[path], forms = _sentinel(path, value, number)
            marks |= forms
    links = {path: replaced.pop(path) for path in _LINKS}
    base = _with(MixinValues(), replaced | dict.fromkeys(_LINKS, ""))
    linked = {path: _with(base, {path: link}) for path, link in links.items()}
    severe = {
        f"{path} critical": _with(base, {path: "critical"})
        for path in replaced
        if path.startswith("severity.")
    }
    rules = {condition: _rules(values) for condition, values in (linked | severe).items()}
    boards = {condition: dashboards(values) for condition, values in linked.items()}
    texts = {"rules.json": _combined(_rules(base), rules)}
    for name, text in dashboards(base).items():
        texts[name] = _combined(text, {path: board[name] for path, board in boards.items()})
    return {name: _marked(text, marks) for name, text in texts.items()}


def used_paths(texts: Iterable[str]) -> set[str]:
    """Return the paths of the values that are marked in texts."""
    found = (re.findall(r"<<(?:if )?([a-z_.]+)[^>]*>>", text) for text in texts)
    return {path for paths in found for path in paths} - {"else", "end"}


def _sentinel(path: str, value: Any, number: int) -> tuple[Any, dict[str, str]]:
    """Return a value that occurs nowhere else, and the mark for each form in which it may occur."""
    mark = f"<<{path}>>"
    if isinstance(value, int):
        return 7_110_000 + number, {str(7_110_000 + number): mark}
    if isinstance(value, float):
        share = round(0.71 + number / 100_000, 5)
        return share, {f"{share * 100:g} %": f"<<{path} percent>>", str(share): mark}
    if not _is_duration(value):
        text = f"https://mark-{number}.test" if path.startswith("links.") else f"mark-{number}."
        return text, {text: mark}
    seconds = 9_110_000 + number
    part = _PART * seconds
    return f"{seconds}s", {
        f"{seconds}s": mark,
        f"{seconds}.0": f"<<{path} seconds>>",
        f"{seconds}": f"<<{path} seconds>>",
        f"{part}": f"<<{path} seconds {_PART}>>",
    }


def _is_duration(text: str) -> bool:
    try:
        parse_duration(text)
    except ValueError:
        return False
    return True


def _with(group: _Group, replaced: dict[str, Any]) -> _Group:
    """Return a group with other values, by their paths. The values are not validated."""
    update: dict[str, Any] = {}
    for path, value in replaced.items():
        name, _, rest = path.partition(".")
        holder = update.get(name, getattr(group, name))
        update[name] = _with(holder, {rest: value}) if rest else value
    return group.model_copy(update=update)


def _rules(values: MixinValues) -> str:
    """Return the rules as JSON, in which no value can change the type of another."""
    groups = [
        group.document(values)
        for name, in_file in FILES.items()
        if name != WATCHDOG_FILE
        for group in in_file
    ]
    for rule in (rule for group in groups for rule in group["rules"]):
        rule["expr"] = rule["expr"].strip()
    document = {"groups": groups}
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _combined(text: str, alternatives: dict[str, str]) -> str:
    """Return a text with the lines that differ in alternatives, by the conditions for them."""
    lines = text.splitlines(keepends=True)
    changes = [
        (start, end, condition, new)
        for condition, other in alternatives.items()
        for start, end, new in _changes(lines, other.splitlines(keepends=True))
    ]
    combined: list[str] = []
    at = 0
    for start, end, condition, new in sorted(changes, key=lambda change: change[:3]):
        assert start >= at, f"two conditions change line {start}: {''.join(lines[start:end])}"
        combined += lines[at:start]
        combined += [f"<<if {condition}>>\n", *new, "<<else>>\n", *lines[start:end], "<<end>>\n"]
        at = end
    return "".join(combined + lines[at:])


def _changes(old: Sequence[str], new: Sequence[str]) -> Iterator[tuple[int, int, Sequence[str]]]:
    if old != new:
        for tag, start, end, begin, stop in SequenceMatcher(
            None, old, new, autojunk=False
        ).get_opcodes():
            if tag != "equal":
                yield start, end, new[begin:stop]


def _marked(text: str, marks: dict[str, str]) -> str:
    longest_first = sorted(marks, key=len, reverse=True)
    forms = re.compile("|".join(map(re.escape, longest_first)))
    return forms.sub(lambda match: marks[match[0]], text)
