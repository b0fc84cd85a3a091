"""The sentences and tables that docs/performance.md and docs/replicas.md take from a run.

Every figure in the sentences comes from the results. A sentence whose figure was not measured is
left out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby
from operator import attrgetter
from statistics import median
from typing import TYPE_CHECKING, Final

from benchmarks.report import Size, shown, table
from benchmarks.run import FIGURES
from benchmarks.turnover import DISK, MEMORY, START
from exporter.fleet.drafts import MAX_TOMBSTONES
from exporter.model.expiry import Retention

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.report import Comparison, Results


@dataclass(frozen=True, slots=True)
class Claim:
    """A sentence about one row of the results.

    In it, ``{ours}`` and ``{peer}`` stand for the medians with their unit, and ``{ratio}`` for
    the ratio.
    """

    figure: str
    words: tuple[str, ...]
    """Words that the text of the row must contain."""
    sentence: str


CLAIMS: Final = (
    Claim(
        "S1",
        ("scrape of 100,000",),
        "A gzip scrape of 100,000 eSIMs takes {ours}: {ratio} times as long as nginx takes to send "
        "a file with the same bytes.",
    ),
    Claim(
        "S1",
        ("right after the changes",),
        "A gzip scrape right after 1 % of the eSIMs changed takes {ours}.",
    ),
    Claim(
        "S2",
        ("scrape of 100,000",),
        "A scrape without gzip takes {ours}: {ratio} times as long as nginx takes.",
    ),
    Claim(
        "S3",
        (),
        "`prometheus_client` takes {peer} to write the same series: {ratio} times as long as the "
        "exporter.",
    ),
    Claim(
        "S4",
        (),
        "A scraped series costs {ours}. It costs {peer} in a Pushgateway: {ratio} times as much.",
    ),
    Claim(
        "S5",
        ("beside back-to-back",),
        "99 of 100 webhooks are answered within {ours}, at 500 events per second, while gzip "
        "scrapes follow each other without a pause.",
    ),
    Claim(
        "S6",
        ("from inside",),
        "Meanwhile the longest stall of the event loop takes {ours}.",
    ),
    Claim(
        "S7",
        (),
        "One core takes {ours}, each event durable: {ratio} times as many as a bare Quart endpoint "
        "that only parses JSON.",
    ),
    Claim(
        "S8",
        (),
        "A Pushgateway, which keeps nothing on disk, takes {peer} on one core. The exporter takes "
        "{ratio} times as many.",
    ),
    Claim(
        "S9",
        ("errors",),
        "A burst of 100,000 events over 200 connections gets {ours} errors.",
    ),
    Claim(
        "S9",
        ("slowest",),
        "The slowest answer in this burst takes {ours}.",
    ),
    Claim(
        "S10",
        ("after one event", "100,000"),
        "An eSIM with 16 series takes {ours} of memory after one event.",
    ),
    Claim(
        "S10",
        ("after 20 events",),
        "It takes {ours} after twenty events.",
    ),
    Claim(
        "S11",
        ("100,000 eSIMs in storage",),
        "The exporter starts with 100,000 eSIMs in {ours}.",
    ),
    Claim(
        "S11",
        ("1,000,000 eSIMs in storage",),
        "It starts with 1,000,000 eSIMs in {ours}.",
    ),
    Claim(
        "S12",
        ("event", "1,000,000"),
        "An event with 1,000,000 eSIMs in memory costs {ratio} times as much as with 10,000.",
    ),
    Claim(
        "S13",
        ("whole, p95", "100,000"),
        "While 500 events/s arrive, 95 % of the gzip scrapes of 100,000 eSIMs take up to {ours}.",
    ),
    Claim(
        "S13",
        ("right after", "500,000"),
        "A gzip scrape right after 2 % of 500,000 eSIMs changed takes {ours}.",
    ),
    Claim(
        "S14",
        ("500,000",),
        "Started with 500,000 eSIMs, the exporter has sent its first whole scrape after {ours}.",
    ),
    Claim(
        "S15",
        ("500,000",),
        "While 100 events/s arrive, the text of 500,000 eSIMs is up to {ours} old (p99).",
    ),
    Claim(
        "S16",
        ("list sorted by use, most first", "500,000"),
        "A list of 500,000 eSIMs, sorted by use, takes {ours}.",
    ),
    Claim(
        "S17",
        ("in SQLite",),
        "What stays of an expired package, or of an expired eSIM, takes {ours} of memory for 90 "
        "days.",
    ),
    Claim(
        "R1",
        ("1 replica",),
        "One replica on PostgreSQL takes {ours}: {ratio} times as many as one process on SQLite. "
        "Database and load use the same cores.",
    ),
    Claim(
        "R1",
        ("2 replicas",),
        "Two replicas together take {ours}: {ratio} times as many as one process on SQLite.",
    ),
    Claim(
        "R2",
        ("size of the database",),
        "PostgreSQL needs {ours} of disk for 1,000,000 eSIMs.",
    ),
)


def claims(results: Results) -> str:
    """Return the sentences as a Markdown list."""
    lines = []
    for claim in CLAIMS:
        if row := _row(results.rows, claim.figure, *claim.words):
            text = claim.sentence.format(
                ours=shown(median(row.values), row.unit),
                peer=shown(median(row.peer_values), row.unit) if row.peer_values else "",
                ratio=f"{row.ratio[0]:.3g}" if row.ratio else "",
            )
            missed = " The goal is not met." if row.met is False else ""
            lines.append(f"- {text}{missed} ({claim.figure})\n")
    return "".join(lines)


def figures(results: Results) -> str:
    """Return when and where the figures were measured, and the table of all figures."""
    return (
        f"Measured on {results.date} with `{results.command}` at commit {results.revision}, on "
        f"{results.machine}.\n\n{table(results.rows)}"
    )


_TEN_MILLION: Final = 10_000_000
_REPORT_SECONDS: Final = 4 * 3600
_SHARDS: Final = 20


def ten_million(results: Results) -> str:
    """Return what ten million eSIMs would need, as a Markdown table.

    Most values are those of one million eSIMs, times ten. Memory and start of a shard of 500,000
    are interpolated between the values for 250,000 and for 1,000,000.
    """
    lines = [("", "for ten million eSIMs"), ("---", "---")]
    average = _TEN_MILLION / _REPORT_SECONDS
    events = f"{average:.0f} per second on average."
    if rate := _row(results.rows, "R1", "2 replicas"):
        minutes = _TEN_MILLION / median(rate.values) / 60
        events += (
            f" If the vendor sends all reports at once, two replicas need {minutes:.0f} minutes. "
            "Meanwhile the replicas answer some of them with 503."
        )
    lines.append(("events", events))
    if disk := _row(results.rows, "R2", "size of the database"):
        lines.append(("database", shown(10 * median(disk.values), "B")))
    memory = _for_half_a_million(results.rows, "memory")
    start = _for_half_a_million(results.rows, "start")
    if memory and start:
        shards = (
            f"{_SHARDS} shards of 500,000 eSIMs. Each takes {shown(memory, 'B')} of memory and "
            f"{shown(start, 's')} to start. With two replicas of each shard there are "
            f"{2 * _SHARDS} processes."
        )
        lines.append(("shards", shards))
    lines.append(("job `esim-exporter`", "every 30 s; small, whatever the fleet"))
    million = next((each for each in results.sizes if each.esims == _TEN_MILLION // 10), None)
    if million and million.series:
        series = (
            f"{10 * million.series:,} series, {shown(10 * (million.gzip_bytes or 0), 'B')} with "
            "gzip. Prometheus takes about 4 kB of memory for each series. Use a cluster of "
            "Prometheus servers and scrape every 15 minutes, or set `--limits.max-esims` in each "
            "shard; the status page and the API show the other eSIMs."
        )
        lines.append(("job `esim-exporter-esims`", series))
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


_DAYS_KEPT: Final = Retention().tombstones / 86_400
_GRAVES: Final = 2
"""Tombstones that an eSIM with one package leaves."""

_WEEKLY: Final = (1_000, 10_000, 50_000, 100_000)


def turnover(results: Results) -> str:
    """Return what eSIMs that expire take beside the fleet, as a Markdown table."""
    memory = [
        row
        for words in ("while they came", "in SQLite")
        if (row := _row(results.rows, "S17", MEMORY, words))
    ]
    disk, start = (_row(results.rows, "S17", words, "SQLite") for words in (DISK, START))
    if not memory or not disk or not start:
        return "The run of this page did not measure S17.\n"
    each = max(median(row.values) for row in memory)
    fleets = sorted((s for s in results.sizes if s.memory), key=attrgetter("esims"))
    head = (
        *("eSIMs a week", "tombstones", "kept for", "their memory", "on disk", "start, longer by"),
        *(f"memory with {size.esims:,} eSIMs" for size in fleets),
    )
    lines = [head, ("--:",) * len(head)]
    for weekly in _WEEKLY:
        daily = weekly * _GRAVES / 7
        count = min(daily * _DAYS_KEPT, MAX_TOMBSTONES)
        lines.append(
            (
                f"{weekly:,}",
                f"{count:,.0f}",
                f"{count / daily:.0f} days",
                shown(count * each, "B"),
                shown(count * median(disk.values), "B"),
                shown(count * median(start.values), "s"),
                *(shown((size.memory or 0) + count * each, "B") for size in fleets),
            )
        )
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _for_half_a_million(rows: Iterable[Comparison], words: str) -> float | None:
    """Return the value for 500,000 eSIMs, interpolated from 250,000 and 1,000,000."""
    whole, quarter = _row(rows, "R2", words, "all of it"), _row(rows, "R2", words, "one shard of 4")
    if not whole or not quarter:
        return None
    most, least = median(whole.values), median(quarter.values)
    return least + (most - least) / 3


def _row(rows: Iterable[Comparison], figure: str, *words: str) -> Comparison | None:
    """Return the first measured row of a figure whose text contains all of the words."""
    for row in rows:
        if row.figure == figure and row.values and all(word in row.what for word in words):
            return row
    return None


def merged(runs: Sequence[Results]) -> Results:
    """Return one run that has the figures of several runs.

    If two runs have the same figure, the later one counts. Raises ``ValueError`` for runs of
    different commits or machines.
    """
    first = runs[0]
    for run in runs:
        if (run.revision, run.machine) != (first.revision, first.machine):
            raise ValueError(
                f"runs of {first.revision} on {first.machine} and of {run.revision} on "
                f"{run.machine} do not belong together"
            )
    by_figure: dict[str, list[Comparison]] = {}
    sizes: dict[int, Size] = {}
    for run in runs:
        grouped = sorted(run.rows, key=attrgetter("figure"))
        by_figure |= {name: list(rows) for name, rows in groupby(grouped, attrgetter("figure"))}
        for size in run.sizes:
            sizes[size.esims] = _joined(sizes.get(size.esims), size)
    rows = tuple(row for name in FIGURES for row in by_figure.get(name, ()))
    return replace(
        first,
        date=runs[-1].date,
        command="python -m benchmarks",
        others=max(run.others for run in runs),
        seconds=sum(run.seconds for run in runs),
        rows=rows,
        sizes=tuple(sizes.values()),
    )


def _joined(known: Size | None, size: Size) -> Size:
    """Return the values of both for fleets of one size. If both have a value, the later counts."""
    if known is None:
        return size
    names = [name for name in Size.__slots__ if getattr(size, name) is not None]
    return replace(known, **{name: getattr(size, name) for name in names})
