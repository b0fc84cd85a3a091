"""The results of a run, and the report: medians, ratios and spread, as Markdown and JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from statistics import median
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path


class Measure(StrEnum):
    """What a goal limits."""

    VALUE = "value"
    """The exporter's own median."""
    RATIO = "ratio"
    """The exporter's median divided by the peer's."""
    GAIN = "gain"
    """The peer's median divided by the exporter's."""


@dataclass(frozen=True, slots=True)
class Goal:
    """A limit for a figure."""

    measure: Measure
    limit: float
    at_most: bool = True

    def met(self, value: float) -> bool:
        """Return whether a value is within the limit."""
        return value <= self.limit if self.at_most else value >= self.limit


@dataclass(frozen=True, slots=True)
class Comparison:
    """One comparison. The values of the exporter and of the peer were measured in turns."""

    figure: str
    what: str
    unit: str = ""
    values: tuple[float, ...] = ()
    peer: str = ""
    peer_values: tuple[float, ...] = ()
    goal: Goal | None = None
    note: str = ""
    skipped: str = ""
    """Why it could not be measured. Then there are no values."""

    @property
    def ratio(self) -> tuple[float, float, float] | None:
        """Return the ratio of the medians, and the least and greatest ratio of a round.

        It is the exporter's value divided by the peer's. For a gain it is the reverse.
        """
        if not self.values or not self.peer_values:
            return None
        gain = self.goal is not None and self.goal.measure is Measure.GAIN
        over, under = (self.peer_values, self.values) if gain else (self.values, self.peer_values)
        if not all(under):
            return None
        pairs = [a / b for a, b in zip(over, under, strict=False)]
        return median(over) / median(under), min(pairs), max(pairs)

    @property
    def met(self) -> bool | None:
        """Return whether the goal is met; ``None`` without a goal or without values."""
        if self.goal is None or not self.values:
            return None
        if self.goal.measure is Measure.VALUE:
            return self.goal.met(median(self.values))
        return None if self.ratio is None else self.goal.met(self.ratio[0])


@dataclass(slots=True)
class Size:
    """What a fleet of one size needs. A value that was not measured is ``None``."""

    esims: int
    series: int | None = None
    memory: int | None = None
    """Resident memory of the process after a scrape in both encodings, bytes."""
    storage: int | None = None
    """Bytes on disk."""
    gzip_bytes: int | None = None
    identity_bytes: int | None = None
    gzip_seconds: float | None = None
    identity_seconds: float | None = None
    start_seconds: float | None = None
    first_scrape_seconds: float | None = None
    """From the start of the process to the end of the first whole scrape."""


@dataclass(frozen=True, slots=True)
class Results:
    """Everything that one run measured."""

    machine: str
    others: float
    """Share of the machine that other processes used when the run began."""
    date: str
    command: str
    revision: str
    """The commit of the exporter."""
    profile: str
    seconds: float
    """Time of the whole run."""
    rows: tuple[Comparison, ...]
    sizes: tuple[Size, ...] = field(default=())


def read(path: Path) -> Results:
    """Return the results that a JSON file holds."""
    document = json.loads(path.read_text(encoding="utf-8"))
    rows = tuple(_row(row) for row in document.pop("rows"))
    sizes = tuple(Size(**size) for size in document.pop("sizes"))
    return Results(**document, rows=rows, sizes=sizes)


def _row(fields: dict[str, Any]) -> Comparison:
    goal = fields.pop("goal")
    for derived in ("median", "peer_median", "ratio", "met"):
        fields.pop(derived)
    for name in ("values", "peer_values"):
        fields[name] = tuple(fields[name])
    return Comparison(**fields, goal=goal and Goal(**goal | {"measure": Measure(goal["measure"])}))


def write(results: Results, folder: Path, name: str) -> None:
    """Write the results as ``name.md`` and ``name.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.md").write_text(markdown(results), encoding="utf-8")
    write_json(results, folder / f"{name}.json")


def write_json(results: Results, path: Path) -> None:
    """Write the results as JSON, with their medians and ratios."""
    document = asdict(results)
    for fields, row in zip(document["rows"], results.rows, strict=True):
        fields["median"] = median(row.values) if row.values else None
        fields["peer_median"] = median(row.peer_values) if row.peer_values else None
        fields["ratio"], fields["met"] = row.ratio, row.met
    text = json.dumps(document, indent=2, ensure_ascii=False)
    path.write_text(f"{text}\n", encoding="utf-8")


def markdown(results: Results) -> str:
    """Return a report: where and how the run was made, all figures, and sizes."""
    warning = "" if results.profile == "full" else " The fleets are small: only an indication."
    if results.others > _BUSY:
        warning += f" Other processes used {results.others:.0%} of the machine: repeat it."
    origin = (
        f"{results.date}, {results.machine}; exporter {results.revision}; `{results.command}` "
        f"({results.profile}, {results.seconds:.0f} s).{warning}\n"
    )
    parts = ["# Benchmark\n", origin, _LEGEND, table(results.rows)]
    if notes := [f"- {row.figure}, {row.what}: {row.note}\n" for row in results.rows if row.note]:
        parts.append("".join(notes))
    if results.sizes:
        parts += ["## Sizes\n", sizing_table(results.sizes)]
    return "\n".join(parts)


_BUSY: Final = 0.05
"""Share of the machine that other processes may use. Above it, the report has a warning."""

_LEGEND: Final = """\
Medians, with the least and greatest value in brackets if there are several. A ratio is the
exporter's median over the peer's or, marked with x, the peer's over the exporter's.
"""


def table(rows: Iterable[Comparison]) -> str:
    """Return the figures as a Markdown table."""
    lines = [
        ("", "figure", "exporter", "peer", "ratio", "goal", "met"),
        ("---",) * 7,
        *(_cells(row) for row in rows),
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def sizing_table(sizes: Sequence[Size]) -> str:
    """Return what fleets of each size need, as a Markdown table."""
    head = (
        *("eSIMs", "series", "memory", "on disk", "scrape, gzip", "scrape, identity", "start"),
        "first whole scrape",
    )
    ordered = sorted(sizes, key=lambda size: size.esims)
    lines = [head, ("--:",) * len(head), *map(_size_cells, ordered)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _size_cells(size: Size) -> tuple[str, ...]:
    return (
        f"{size.esims:,}",
        "" if size.series is None else f"{size.series:,}",
        shown(size.memory, "B"),
        shown(size.storage, "B"),
        _scrape(size.gzip_bytes, size.gzip_seconds),
        _scrape(size.identity_bytes, size.identity_seconds),
        shown(size.start_seconds, "s"),
        shown(size.first_scrape_seconds, "s"),
    )


def _cells(row: Comparison) -> tuple[str, ...]:
    if row.skipped:
        return (row.figure, row.what, f"not measured: {row.skipped}", "", "", "", "")
    gain = row.goal is not None and row.goal.measure is Measure.GAIN
    ratio = ""
    if row.ratio:
        middle, least, most = (f"{value:.3g}" for value in row.ratio)
        ratio = f"{middle} ({least}..{most})" + " x" * gain
    peer = f"{row.peer}: {_spread(row.peer_values, row.unit)}" if row.peer_values else ""
    met = {True: "yes", False: "no", None: ""}[row.met]
    goal = _goal(row.goal, row.unit)
    return (row.figure, row.what, _spread(row.values, row.unit), peer, ratio, goal, met)


def _goal(goal: Goal | None, unit: str) -> str:
    if goal is None:
        return ""
    limit = shown(goal.limit, unit) if goal.measure is Measure.VALUE else f"{goal.limit:g} x"
    return ("at most " if goal.at_most else "at least ") + limit


def _spread(values: Sequence[float], unit: str) -> str:
    middle = shown(median(values), unit)
    if len(values) == 1:
        return middle
    return f"{middle} ({shown(min(values), unit)}..{shown(max(values), unit)})"


_SCALES: Final = {
    "s": ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")),
    "B": ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B")),
}


def shown(value: float | None, unit: str) -> str:
    """Return a value with a unit in which it is easy to read; an empty text for ``None``."""
    if value is None:
        return ""
    scales = _SCALES.get(unit, ((1.0, unit),))
    scale, name = next((each for each in scales if abs(value) >= each[0]), scales[-1])
    scaled = value / scale
    number = f"{scaled:.0f}" if scaled >= 100 else f"{scaled:.3g}"  # noqa: PLR2004  # three digits
    return f"{number} {name}".rstrip()


def _scrape(size: float | None, seconds: float | None) -> str:
    return "" if size is None else f"{shown(size, 'B')} in {shown(seconds, 's')}"
