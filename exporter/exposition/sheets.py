"""What is kept of the text: for each block a row of pieces, for many blocks a run of them.

Both are made in small steps, since they are made on the event loop, and by two at a time where
a scrape comes while the background is at it.
"""

from __future__ import annotations

from operator import is_
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from exporter.exposition.pieces import Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from exporter.exposition.families import Family
    from exporter.exposition.pieces import BlockText, Deflater
    from exporter.fleet.blocks import Block, Blocks

K = TypeVar("K")
R = TypeVar("R")

RUN = 512
"""Blocks whose pieces are joined: what a scrape sends goes out in parts of some 900 kB."""


class _Joined(NamedTuple):
    """Runs of the pieces of some blocks."""

    turn: int
    """Which of two that were made at the same time has the newer rows."""
    shape: int
    """Of the blocks, when the rows were taken."""
    rows: tuple[BlockText, ...]
    runs: tuple[Run, ...]
    """One for each family."""


class FamilyTexts(Generic[K, R]):
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
        self._joined: dict[Block[K, R], _Joined] = {}
        """By the first of the blocks."""
        self._turn = 0

    @property
    def pending(self) -> int:
        """Return how many blocks have changed since they were last rendered."""
        return len(self._blocks.dirty)

    def refresh(self) -> Iterator[None]:
        """Render and join what has changed until now, pausing after each step."""
        for block in list(self._blocks.dirty):
            if block in self._blocks.dirty:
                self._render_again(block)
                yield
        start = 0
        while part := self._blocks.blocks[start : start + RUN]:
            joined = self._joined.get(part[0])
            if joined and self._holds(joined, part, newest=True):
                self._joined[part[0]] = joined._replace(shape=self._blocks.shape)
            else:
                yield from self._join(part)
            start += RUN
        self._forget()

    def capture(self) -> list[tuple[Family, list[Run]]]:
        """Return each family with its runs, as of the last refresh or later.

        Only where blocks were split or merged since is there something to join: no record may
        be in two runs, or in none.
        """
        captured: list[tuple[Run, ...]] = []
        blocks = self._blocks.blocks
        for start in range(0, len(blocks), RUN):
            part = blocks[start : start + RUN]
            joined = self._joined.get(part[0])
            if joined is None or not self._holds(joined, part, newest=False):
                for _ in self._join(part):
                    pass
                joined = self._joined[part[0]]
            captured.append(joined.runs)
        self._forget()
        return [
            (family, [runs[at] for runs in captured]) for at, family in enumerate(self.families)
        ]

    def _forget(self) -> None:
        """Let go of the runs of what was split or merged."""
        firsts = self._blocks.blocks[::RUN]
        self._joined = {first: self._joined[first] for first in firsts if first in self._joined}

    def _holds(self, joined: _Joined, part: list[Block[K, R]], *, newest: bool) -> bool:
        """Return whether the runs are those of these blocks; all of their rows, if ``newest``."""
        if joined.shape == self._blocks.shape and not newest:
            return True
        rows = [block.rendered for block in part]
        return len(rows) == len(joined.rows) and all(map(is_, rows, joined.rows))

    def _join(self, part: list[Block[K, R]]) -> Iterator[None]:
        """Join the pieces of these blocks, pausing after each family."""
        self._turn += 1
        turn, shape = self._turn, self._blocks.shape
        rows = tuple([self._row(block) for block in part])
        runs: list[Run] = []
        starts: list[list[int]] = []
        for at in range(len(self.families)):
            run, begins = Run.of(rows, at)
            runs.append(run)
            starts.append(begins)
            yield
        known = self._joined.get(part[0])
        if known is None or known.turn < turn:
            joined = tuple([run.deflated for run in runs])
            for row, places in zip(rows, zip(*starts, strict=True), strict=True):
                row.move(joined, places)
            self._joined[part[0]] = _Joined(turn, shape, rows, tuple(runs))

    def _row(self, block: Block[K, R]) -> BlockText:
        if block.rendered is None:  # split or merged since it was rendered
            self._render_again(block)
        row: BlockText = block.rendered
        return row

    def _render_again(self, block: Block[K, R]) -> None:
        self._blocks.dirty.pop(block, None)
        block.rendered = self._deflater.row(self._render(block, self.families))
