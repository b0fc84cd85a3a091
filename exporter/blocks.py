"""Records in the order of their keys, in blocks: the leaves of a B-tree of two levels.

A block is what is rendered at once when one of its records changes, so it is small; it is
what a scrape joins, so it is not too small. Concatenated, the blocks are the sorted fleet,
whatever the order of arrival.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from math import inf
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

FULL = 64
"""Records in a block that was filled in order, or after a split."""

MOST = 2 * FULL
"""Records in a block before it is split."""

FEWEST = FULL // 4
"""Records in a block before it is merged into a neighbour."""


class Keyed(Protocol):
    """Anything with a sortable key."""

    @property
    def key(self) -> tuple[str, ...]:
        """Return what the records are sorted by."""
        ...


R = TypeVar("R", bound=Keyed)

_key = attrgetter("key")


class Block(Generic[R]):
    """A run of records in the order of their keys, with what was last rendered of it."""

    __slots__ = ("due", "records", "rendered")

    def __init__(self, records: list[R], due: float) -> None:
        self.records = records
        self.due = due
        """No record in the block is due before this time; it may be too early, never late."""
        self.rendered: tuple[Any, ...] | None = None
        """Whatever the exposition keeps of a block, replaced as a whole."""

    @property
    def first(self) -> tuple[str, ...]:
        """Return the least key in the block."""
        return self.records[0].key


class Blocks(Generic[R]):
    """Sorted records by key, and which blocks changed since they were last rendered.

    ``deadline`` says when a record is next due for a look (unix seconds).
    """

    def __init__(self, deadline: Callable[[R], float] = lambda _: inf) -> None:
        self._deadline = deadline
        self._blocks: list[Block[R]] = []
        self._firsts: list[tuple[str, ...]] = []
        self._count = 0
        self.dirty: dict[Block[R], None] = {}
        """Blocks to be rendered again, in the order in which they changed."""

    def fill(self, ordered: Iterable[R]) -> None:
        """Put records that come in the order of their keys; there must be none yet."""
        records = list(ordered)
        for at in range(0, len(records), FULL):
            run = records[at : at + FULL]
            block = Block(run, min(map(self._deadline, run)))
            self._blocks.append(block)
            self._firsts.append(block.first)
            self.dirty[block] = None
        self._count = len(records)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[R]:
        for block in self._blocks:
            yield from block.records

    @property
    def blocks(self) -> list[Block[R]]:
        """Return all blocks in order. Not to be changed."""
        return self._blocks

    def get(self, key: tuple[str, ...]) -> R | None:
        """Return the record with this key, or ``None``."""
        if not self._blocks:
            return None
        records = self._blocks[self._index(key)].records
        at = bisect_left(records, key, key=_key)
        if at < len(records) and records[at].key == key:
            return records[at]
        return None

    def put(self, record: R) -> None:
        """Insert a record, or replace the one with its key."""
        key = record.key
        if not self._blocks:
            self._blocks.append(Block([], inf))
            self._firsts.append(key)
        index = self._index(key)
        block = self._blocks[index]
        at = bisect_left(block.records, key, key=_key)
        if at < len(block.records) and block.records[at].key == key:
            block.records[at] = record
        else:
            block.records.insert(at, record)
            self._count += 1
            self._firsts[index] = block.first
        block.due = min(block.due, self._deadline(record))
        self.dirty[block] = None
        if len(block.records) > MOST:
            self._split(index)

    def remove(self, key: tuple[str, ...]) -> None:
        """Remove the record with this key. Raises ``KeyError`` when there is none."""
        if self.get(key) is None:
            raise KeyError(key)
        index = self._index(key)
        block = self._blocks[index]
        del block.records[bisect_left(block.records, key, key=_key)]
        self._count -= 1
        self.dirty[block] = None
        if not block.records:
            self._drop(index)
        else:
            self._firsts[index] = block.first
            if len(block.records) < FEWEST:
                self._merge(index)

    def due(self, now: float) -> Iterator[R]:
        """Yield the records whose deadline has come, in the order of their keys."""
        for block in [block for block in self._blocks if block.due <= now]:
            deadlines = [self._deadline(record) for record in block.records]
            block.due = min(deadlines, default=inf)
            if block.due <= now:
                yield from [r for r, d in zip(block.records, deadlines, strict=True) if d <= now]

    def reschedule(self, deadline: Callable[[R], float]) -> None:
        """Let another function say when a record is due."""
        self._deadline = deadline
        for block in self._blocks:
            block.due = -inf  # to be looked at

    def touch(self, key: tuple[str, ...]) -> None:
        """Note that the record with this key changed in place."""
        self.dirty[self._blocks[self._index(key)]] = None

    def _index(self, key: tuple[str, ...]) -> int:
        return max(0, bisect_right(self._firsts, key) - 1)

    def _split(self, index: int) -> None:
        block = self._blocks[index]
        half = len(block.records) // 2
        upper = Block(block.records[half:], block.due)
        block.records = block.records[:half]
        block.rendered = None
        self._blocks.insert(index + 1, upper)
        self._firsts.insert(index + 1, upper.first)
        self.dirty[upper] = None

    def _merge(self, index: int) -> None:
        if len(self._blocks) == 1:
            return
        lower = max(0, index - 1)
        block, upper = self._blocks[lower], self._blocks[lower + 1]
        if len(block.records) + len(upper.records) > MOST:
            return
        block.records = block.records + upper.records
        block.due = min(block.due, upper.due)
        block.rendered = None
        self.dirty[block] = None
        self._drop(lower + 1)

    def _drop(self, index: int) -> None:
        self.dirty.pop(self._blocks[index], None)
        del self._blocks[index]
        del self._firsts[index]
