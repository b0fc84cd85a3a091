"""The exposition: text made when something changes, joined when somebody asks.

Of each block of records and each family one *piece* is kept, its lines deflated, and
nothing else of the text: see :mod:`exporter.pieces`.

Formats: Prometheus text 0.0.4 and OpenMetrics 1.0. They differ in the metadata lines only.
"""

from __future__ import annotations

from enum import StrEnum
from operator import is_
from typing import TYPE_CHECKING, Generic, TypeVar

from exporter.families import PACKAGE_FAMILIES, VENDOR_FAMILIES, Identity, VendorView, esim_families
from exporter.packed import unpacked
from exporter.pieces import Deflater, Row, Run, Scrape
from exporter.records import Balance, PartnerNotice
from exporter.rendering import metadata, render_esims, render_packages, render_vendors

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from exporter.blocks import Block, Blocks
    from exporter.families import Family
    from exporter.fleet import Fleet

K = TypeVar("K")
R = TypeVar("R")

_RUN = 256
"""Blocks whose pieces are joined: what a scrape sends goes out in parts of some 400 kB."""


class Group(StrEnum):
    """What a scrape may choose from with ``collect[]`` and ``exclude[]``."""

    ESIMS = "esims"
    FLEET = "fleet"
    EXPORTER = "exporter"


class Format(StrEnum):
    """Exposition formats by content type."""

    TEXT = "text/plain; version=0.0.4; charset=utf-8"
    OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


class Sheet(Generic[K, R]):
    """The pieces of some families over blocks of records: a column a family, a row a block."""

    def __init__(
        self,
        blocks: Blocks[K, R],
        families: tuple[Family, ...],
        render: Callable[[Block[K, R], tuple[Family, ...]], list[str]],
        deflater: Deflater,
    ) -> None:
        self.families = families
        self._blocks = blocks
        self._render = render
        self._deflater = deflater
        self._runs: list[tuple[list[Row], tuple[Run, ...]]] = []
        """The rows of a run of blocks, and of each column of them the run of pieces."""

    @property
    def pending(self) -> int:
        """Return how many blocks have changed since they were last rendered."""
        return len(self._blocks.dirty)

    def refresh(self) -> Iterator[None]:
        """Render what has changed until now, pausing after each block and each run."""
        for block in list(self._blocks.dirty):
            if block in self._blocks.dirty:
                self._refresh(block)
                yield
        yield from self._sum_up()

    def capture(self) -> list[tuple[Family, list[Run]]]:
        """Return each family with its runs, as rendered at this moment."""
        for _ in self._sum_up():
            pass
        rows = [runs for _, runs in self._runs]
        return [(family, [row[at] for row in rows]) for at, family in enumerate(self.families)]

    def _sum_up(self) -> Iterator[None]:
        """Bring the runs up to date, pausing after each column of each that was not."""
        at = 0
        while blocks := self._blocks.blocks[at * _RUN : (at + 1) * _RUN]:
            rows = [self._row(block) for block in blocks]
            if at == len(self._runs):
                self._runs.append(([], ()))
            if not _same(self._runs[at][0], rows):
                runs: list[Run] = []
                starts: list[list[int]] = []
                for family in range(len(self.families)):
                    run, begins = Run.of(rows, family)
                    runs.append(run)
                    starts.append(begins)
                    yield
                if at < len(self._runs) and not _same(self._runs[at][0], map(_rendered, blocks)):
                    self._runs[at] = (_moved(blocks, rows, runs, starts), tuple(runs))
            at += 1
        del self._runs[at:]

    def _row(self, block: Block[K, R]) -> Row:
        if block.rendered is None:  # split or merged since the refresh
            self._refresh(block)
        row = _rendered(block)
        assert row
        return row

    def _refresh(self, block: Block[K, R]) -> None:
        self._blocks.dirty.pop(block, None)
        block.rendered = self._deflater.row(self._render(block, self.families))


def _rendered(block: Block[K, R]) -> Row | None:
    row: Row | None = block.rendered
    return row


def _same(before: list[Row], now: Iterable[Row | None]) -> bool:
    """Return whether nothing was rendered since."""
    rows = list(now)
    return len(before) == len(rows) and all(map(is_, before, rows))


def _moved(
    blocks: list[Block[K, R]], rows: list[Row], runs: list[Run], starts: list[list[int]]
) -> list[Row]:
    """Let blocks refer to the runs, so that what was deflated for each can go; return the rows."""
    joined = tuple([run.deflated for run in runs])
    moved = []
    for block, row, places in zip(blocks, rows, zip(*starts, strict=True), strict=True):
        moved.append(row.moved(joined, places))
        if block.rendered is row:  # and was not rendered again meanwhile
            block.rendered = moved[-1]
    return moved


class Exposition:
    """The text of a fleet, kept up to date by :meth:`refresh`."""

    def __init__(self, fleet: Fleet, identity: Identity, stale_after: float) -> None:
        self._fleet = fleet
        self._deflater = Deflater()
        self.stale_after = stale_after
        """Seconds after which an ACTIVATED eSIM counts as stale."""
        families = esim_families(identity)
        self._esims = Sheet(
            fleet.esims.blocks,
            families,
            lambda block, families: render_esims(unpacked(block), families),
            self._deflater,
        )
        self._packages = Sheet(
            fleet.totals.packages,
            PACKAGE_FAMILIES,
            lambda block, families: render_packages(block.records, families),
            self._deflater,
        )
        self._metadata: dict[tuple[str, Format], Run] = {}

    @property
    def pending(self) -> int:
        """Return how many blocks have changed since they were last rendered."""
        return self._esims.pending + self._packages.pending

    def refresh(self, groups: Collection[Group] = frozenset(Group)) -> Iterator[None]:
        """Render what has changed until now in these groups, pausing after each block."""
        if Group.ESIMS in groups:
            yield from self._esims.refresh()
        if Group.FLEET in groups:
            yield from self._packages.refresh()

    def scrape(
        self, groups: Collection[Group], format_: Format, now: float, exporter: str = ""
    ) -> Scrape:
        """Capture these groups at ``now`` (unix seconds).

        ``exporter`` is the text of the group of that name in the same format.
        """
        runs: list[Run] = []
        if Group.ESIMS in groups:
            runs += self._join(self._esims.capture(), format_)
        if Group.FLEET in groups:
            fleet = [*self._packages.capture(), *self._vendor_columns(now)]
            runs += self._join(sorted(fleet, key=lambda column: column[0].name), format_)
        runs.append(closing(exporter if Group.EXPORTER in groups else "", format_, self._deflater))
        return Scrape(runs)

    def _vendor_columns(self, now: float) -> Iterator[tuple[Family, list[Run]]]:
        texts = render_vendors(vendor_views(self._fleet, now, self.stale_after), VENDOR_FAMILIES)
        for family, text in zip(VENDOR_FAMILIES, texts, strict=True):
            yield family, [self._deflater.run(text)]

    def _join(self, columns: Iterable[tuple[Family, list[Run]]], format_: Format) -> list[Run]:
        runs: list[Run] = []
        for family, column in columns:
            runs.append(self._header(family, format_))
            runs += column
        return runs

    def _header(self, family: Family, format_: Format) -> Run:
        key = (family.name, format_)
        if key not in self._metadata:
            text = metadata(family, openmetrics=format_ is Format.OPENMETRICS)
            self._metadata[key] = self._deflater.run(text)
        return self._metadata[key]


def own_text(text: str, format_: Format) -> Scrape:
    """Return an exposition of the exporter's own text alone."""
    return Scrape([closing(text, format_, Deflater())])


def closing(exporter: str, format_: Format, deflater: Deflater) -> Run:
    """Return what ends an exposition: the exporter's own text and, in OpenMetrics, the EOF."""
    return deflater.run(exporter + ("# EOF\n" if format_ is Format.OPENMETRICS else ""))


def vendor_views(fleet: Fleet, now: float, stale_after: float) -> list[tuple[str, VendorView]]:
    """Return what the vendors' families are read from, sorted by vendor."""
    registers = fleet.registers.values()
    balances = sorted((r for r in registers if isinstance(r, Balance)), key=lambda b: b.key)
    notices = sorted((r for r in registers if isinstance(r, PartnerNotice)), key=lambda n: n.key)
    locations = sorted(fleet.totals.locations.items())
    return [
        (
            vendor,
            VendorView(
                totals=totals,
                locations=tuple((place, n) for (v, place), n in locations if v == vendor),
                balances=tuple(b for b in balances if b.vendor == vendor),
                notices=tuple(n for n in notices if n.vendor == vendor),
                stale=totals.stale(now, stale_after),
            ),
        )
        for vendor, totals in sorted(fleet.totals.vendors.items())
    ]
