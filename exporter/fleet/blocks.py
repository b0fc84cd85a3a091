"""Records in the order of their keys, in blocks: the leaves of a B-tree of two levels.

A block is what is rendered at once when one of its records changes, so it is small; it is
what a scrape joins, so it is not too small. Concatenated, the blocks are the sorted fleet,
whatever the order of arrival.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import chain
from math import inf
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, MutableSequence

FULL = 64
"""Records in a block that was filled in order, or after a split."""

MOST = 2 * FULL
"""Records in a block before it is split."""

FEWEST = FULL // 4
"""Records in a block before it is merged into a neighbour."""

K = TypeVar("K", bound=Any)  # anything that sorts
R = TypeVar("R")


class Block(Generic[K, R]):
    """A run of records in the order of their keys, with what was last rendered of it."""

    __slots__ = ("due", "keys", "records", "rendered")

    def __init__(self, keys: list[K], records: MutableSequence[R], due: float) -> None:
        self.keys = keys
        self.records = records
        self.due = due
        """No record in the block is due before this time; it may be too early, never late."""
        self.rendered: Any = None
        """Whatever the exposition keeps of a block, replaced as a whole."""


class Blocks(Generic[K, R]):
    """Sorted records by key, and which blocks changed since they were last rendered."""

    def __init__(self, kept: Callable[[Iterable[R]], MutableSequence[R]] = list) -> None:
        """``kept`` makes what holds the records of a block."""
        self._kept = kept
        self._blocks: list[Block[K, R]] = []
        self._firsts: list[K] = []
        self._count = 0
        self.layout = 0
        """Rises whenever records may have come to lie in other blocks."""
        self._looked = 0
        """Place of the block that was found due last."""
        self.dirty: dict[Block[K, R], None] = {}
        """Blocks to be rendered again, in the order in which they changed."""

    def extend(self, blocks: Iterable[Block[K, R]]) -> None:
        """Put blocks behind all there are; none is empty."""
        for block in blocks:
            self._blocks.append(block)
            self._firsts.append(block.keys[0])
            self._count += len(block.keys)
            self.dirty[block] = None
        self.layout += 1

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[R]:
        for block in self._blocks:
            yield from block.records

    @property
    def blocks(self) -> list[Block[K, R]]:
        """Return all blocks in order. Not to be changed."""
        return self._blocks

    def get(self, key: K) -> R | None:
        """Return the record with this key, or ``None``."""
        if not self._blocks:
            return None
        block = self._blocks[self._index(key)]
        at = bisect_left(block.keys, key)
        if at < len(block.keys) and block.keys[at] == key:
            return block.records[at]
        return None

    def slice_from(self, start: K) -> list[tuple[K, R]]:
        """Return some records from ``start`` on, to the end of a block; none where none is left."""
        if not self._blocks:
            return []
        index = self._index(start)
        at = bisect_left(self._blocks[index].keys, start)
        if at == len(self._blocks[index].keys):
            index, at = index + 1, 0
        if index == len(self._blocks):
            return []
        block = self._blocks[index]
        return list(zip(block.keys[at:], block.records[at:], strict=True))

    def put(self, key: K, record: R, due: float = inf) -> None:
        """Insert a record that is due at ``due`` (unix seconds), or replace that of its key."""
        if not self._blocks:
            self._blocks.append(Block([], self._kept(()), inf))
            self._firsts.append(key)
            self.layout += 1
        index = self._index(key)
        block = self._blocks[index]
        at = bisect_left(block.keys, key)
        if at < len(block.keys) and block.keys[at] == key:
            block.records[at] = record
        else:
            block.keys.insert(at, key)
            block.records.insert(at, record)
            self._count += 1
            self._firsts[index] = block.keys[0]
        block.due = min(block.due, due)
        self.dirty[block] = None
        if len(block.keys) > MOST:
            self._split(index)

    def remove(self, key: K) -> None:
        """Remove the record with this key. Raises ``KeyError`` when there is none."""
        if self.get(key) is None:
            raise KeyError(key)
        index = self._index(key)
        block = self._blocks[index]
        at = bisect_left(block.keys, key)
        del block.keys[at], block.records[at]
        self._count -= 1
        self.dirty[block] = None
        if not block.keys:
            self._drop(index)
        else:
            self._firsts[index] = block.keys[0]
            if len(block.keys) < FEWEST:
                self._merge(index)

    def due(self, now: float) -> Iterator[Block[K, R]]:
        """Yield the blocks in which something may be due; who looks sets their ``due`` anew.

        The next look goes on where this one stops, so that few at a time are found without
        passing by all others each time.
        """
        blocks = self._blocks
        start = min(self._looked, len(blocks))
        for at in chain(range(start, len(blocks)), range(start)):
            if blocks[at].due <= now:
                self._looked = at
                yield blocks[at]
        self._looked = 0

    def touch(self, key: K) -> None:
        """Note that the record with this key changed in place."""
        self.dirty[self._blocks[self._index(key)]] = None

    def _index(self, key: K) -> int:
        return max(0, bisect_right(self._firsts, key) - 1)

    def _split(self, index: int) -> None:
        self.layout += 1
        block = self._blocks[index]
        half = len(block.keys) // 2
        upper = Block(block.keys[half:], block.records[half:], block.due)
        del block.keys[half:], block.records[half:]
        block.rendered = None
        self._blocks.insert(index + 1, upper)
        self._firsts.insert(index + 1, upper.keys[0])
        self.dirty[upper] = None

    def _merge(self, index: int) -> None:
        if len(self._blocks) == 1:
            return
        lower = max(0, index - 1)
        block, upper = self._blocks[lower], self._blocks[lower + 1]
        if len(block.keys) + len(upper.keys) > MOST:
            return
        block.keys += upper.keys
        block.records += upper.records
        block.due = min(block.due, upper.due)
        block.rendered = None
        self.dirty[block] = None
        self._drop(lower + 1)

    def _drop(self, index: int) -> None:
        self.layout += 1
        self.dirty.pop(self._blocks[index], None)
        del self._blocks[index]
        del self._firsts[index]
