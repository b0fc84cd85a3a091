"""Write what the Helm chart takes from the program: ``make mixin``.

These are values.yaml, values.schema.json and the table in README.md, from chart_values.py and the
values of the mixin, the facts of vendors in vendors.json, and the rules and dashboards in mixin/.
``--check`` writes nothing; the exit status says whether all files are up to date.
"""

from __future__ import annotations

import json
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import yaml
from chart_values import ChartValues, vendor_facts
from mixin_marks import marked_files, used_paths
from pydantic import BaseModel, TypeAdapter

from exporter.mixin.value_groups import Duration, HttpUrl, JobName, OptionalUrl, Wait
from exporter.mixin.values import _TAKEN, MixinValues

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo

CHART: Final = Path(__file__).resolve().parents[1] / "helm"
_MIXIN: Final = """\
Values of rules and dashboards: the same as those of esim-exporter mixin --values. Durations are \
written as in Prometheus."""
_HEADER: Final = (
    "# Written by `make mixin` from deploy/helm_sources. README.md is the same as a table.\n"
)
_WIDTH: Final = 98
_DURATION: Final = r"^([0-9]+y)?([0-9]+w)?([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$"
_URL: Final = r"https?://[^\s{}\"'<>|\\]+[^\s{}\"'<>|\\/]"
_PATTERNS: Final[list[tuple[Any, dict[str, Any]]]] = [
    (Duration, {"pattern": _DURATION, "not": {"pattern": "^[0a-z]*$"}}),
    (Wait, {"pattern": _DURATION, "minLength": 2}),
    (HttpUrl, {"pattern": f"^{_URL}$"}),
    (OptionalUrl, {"pattern": f"^({_URL})?$"}),
    (JobName, {"pattern": "^[a-zA-Z0-9_./:-]+$"}),
]
"""The schemas of types that the mixin checks in Python, as far as a schema can say it."""


class Entry:
    """A value or a group of values: its path, what it is, its default and its schema."""

    def __init__(self, path: str, field: FieldInfo, default: Any, members: list[Entry]) -> None:
        self.path = path
        self.name = path.rpartition(".")[2]
        self.members = members
        self.default = list(default) if isinstance(default, tuple) else default
        self.description = field.description or " ".join((type(default).__doc__ or "").split())
        self.schema = self._of_group() if members else self._of_value(field)

    def _of_group(self) -> dict[str, Any]:
        return _object(self.description, self.members)

    def _of_value(self, field: FieldInfo) -> dict[str, Any]:
        annotated: Any = Annotated[field.annotation, *field.metadata, self.path]
        schema: dict[str, Any] = TypeAdapter(annotated).json_schema()
        for known, more in _PATTERNS:
            if known.__metadata__[0] in field.metadata:
                schema |= more
        if self.path == "mixin.target_labels":
            schema["items"] |= {
                "pattern": "^[a-zA-Z_][a-zA-Z0-9_]*$",
                "not": {"enum": sorted(_TAKEN)},
            }
        if self.path == "mixin.pending":
            schema["additionalProperties"] |= _PATTERNS[0][1]
        return {"description": self.description, **schema, "default": self.default}


def _object(description: str, members: list[Entry]) -> dict[str, Any]:
    return {
        "description": description,
        "type": "object",
        "additionalProperties": False,
        "properties": {entry.name: entry.schema for entry in members},
    }


def _entries(group: BaseModel, used: set[str] | None, prefix: str = "") -> Iterator[Entry]:
    """Yield the entries of a group; of the mixin, only those whose paths are used."""
    for name, field in type(group).model_fields.items():
        path, default = f"{prefix}{name}", getattr(group, name)
        if isinstance(default, BaseModel):
            if members := list(_entries(default, used, f"{path}.")):
                yield Entry(path, field, default, members)
        elif used is None or path.removeprefix("mixin.") in used:
            yield Entry(path, field, default, [])


def entries(used: set[str]) -> list[Entry]:
    """Return the values of the chart: its own and those ``used`` of the mixin."""
    own = list(_entries(ChartValues(), None))
    field = ChartValues.model_fields["settings"]
    mixin = Entry("mixin", field, {}, list(_entries(MixinValues(), used, "mixin.")))
    mixin.description = mixin.schema["description"] = _MIXIN
    return [*own, mixin]


def _values_yaml(chosen: list[Entry]) -> str:
    return _HEADER + "".join(f"\n{_yaml(entry)}\n" for entry in chosen)


def _yaml(entry: Entry) -> str:
    comment = "".join(
        f"# {line}\n"
        for line in textwrap.wrap(entry.description, _WIDTH - 2, break_on_hyphens=False)
    )
    if entry.members:
        inner = "\n".join(map(_yaml, entry.members))
        return f"{comment}{entry.name}:\n{textwrap.indent(inner, '  ')}"
    text = yaml.safe_dump({entry.name: _plain(entry.default)}, sort_keys=False, width=1000)
    return comment + text.rstrip()


def _plain(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _schema(chosen: list[Entry]) -> str:
    document: dict[str, Any] = {"$schema": "http://json-schema.org/draft-07/schema#"}
    document |= _object("Values of the chart esim-exporter.", chosen)
    document["properties"]["global"] = {
        "description": "What a chart that contains this one gives to all charts. It is not used.",
        "type": "object",
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _table(chosen: list[Entry]) -> str:
    lines = ["| Value | Default | |", "|---|---|---|"]
    lines += [row for entry in chosen for row in _rows(entry)]
    return "\n".join(lines) + "\n"


def _rows(entry: Entry) -> Iterator[str]:
    if entry.members:
        yield f"| **{entry.path}** | | {entry.description} |"
        for member in entry.members:
            yield from _rows(member)
    else:
        default = json.dumps(_plain(entry.default), ensure_ascii=False)
        yield f"| `{entry.path}` | `{default}` | {entry.description.replace('|', chr(92) + '|')} |"


def _filled(readme: str, table: str) -> str:
    before, opening, rest = readme.partition("<!-- values -->")
    _, closing, after = rest.partition("<!-- /values -->")
    assert opening, "deploy/helm/README.md has no line <!-- values -->"
    assert closing, "deploy/helm/README.md has no line <!-- /values -->"
    return f"{before}{opening}\n\n{table}\n{closing}{after}"


def chart_files() -> dict[Path, str]:
    """Return the text of each generated file of the chart by its path."""
    marked = marked_files()
    chosen = entries(used_paths(marked.values()) | {"pending"})
    readme = CHART / "README.md"
    texts = {CHART / "mixin" / Path(name).name: text for name, text in marked.items()}
    return texts | {
        CHART / "values.yaml": _values_yaml(chosen),
        CHART / "values.schema.json": _schema(chosen),
        CHART / "vendors.json": json.dumps(vendor_facts(), indent=2) + "\n",
        readme: _filled(readme.read_text(encoding="utf-8"), _table(chosen)),
    }


def main() -> int:
    """Write or compare the files. Return the exit status."""
    check = "--check" in sys.argv[1:]
    stale = 0
    for path, text in chart_files().items():
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        if check:
            sys.stderr.write(
                f"{path.relative_to(CHART.parents[1])} is out of date; run make mixin\n"
            )
            stale = 1
        else:
            path.write_text(text, encoding="utf-8")
    return stale


if __name__ == "__main__":
    sys.exit(main())
