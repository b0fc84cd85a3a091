"""Records in the order of their keys, kept in blocks: the leaves of a B-tree of three levels.

When a record changes, lines of its block are rendered again, so blocks are small. Neighbouring
blocks form a *part*. A scrape joins the texts of all parts, so parts are not too small. In their
order, the blocks hold the sorted fleet, whatever the order of arrival.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import chain
from math import inf
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from weakref import ref

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, MutableSequence

FULL = 64
"""Records in a block that was filled in order, and in each half of a split block."""

MOST = 2 * FULL
"""A block with more records is split."""

FEWEST = FULL // 4
"""A block with fewer records is merged with a neighbour, if both fit into one block."""

MOST_NOTED = FULL // 4
"""Changed records that are noted of a block. If more change, rendering the whole block is faster
than replacing their lines."""

PART = 64
"""Blocks in a part that was filled in order, and in each half of a split part. A part with more
than twice as many is split. In smaller parts, fewer texts are joined after a change, but a scrape
joins more."""

K = TypeVar("K", bound=Any)  # anything that sorts
R = TypeVar("R")


class Block(Generic[K, R]):
    """Some neighbouring records in the order of their keys, with their text as last rendered."""

    __slots__ = ("due", "keys", "part", "records", "rendered")

    def __init__(self, keys: list[K], records: MutableSequence[R], due: float) -> None:
        self.keys = keys
        self.records = records
        self.due = due
        """No record of the block is due before this, in unix seconds. It may be too early."""
        self.rendered: Any = None
        """What the exposition keeps of the block; ``None`` before it was rendered, and after the
        block was split or merged."""
        self.part: Callable[[], Part[K, R] | None]
        """Returns the part that has the block. The reference is weak, so that a fleet that is
        replaced is freed at once."""


class Part(Generic[K, R]):
    """Some neighbouring blocks. A scrape shows all of them as of one moment."""

    __slots__ = ("__weakref__", "blocks", "changed", "rendered", "shown_before")

    def __init__(self, blocks: list[Block[K, R]]) -> None:
        self.blocks: list[Block[K, R]] = []
        self.add(0, blocks)
        self.rendered: Any = ()
        """What the exposition shows of the part; ``None`` while it cannot show anything."""
        self.shown_before = False
        """Whether the records are in the text of the part before this one, because that part was
        split and was not rendered since."""
        self.changed: float | None = None
        """When the oldest change that a scrape does not show was made, as the exposition notes
        it."""

    def add(self, at: int, blocks: Iterable[Block[K, R]]) -> None:
        """Insert blocks before the one at ``at``."""
        self.blocks[at:at] = blocks
        this = ref(self)
        for block in blocks:
            block.part = this


class Blocks(Generic[K, R]):
    """Records by key, sorted, and which of their blocks changed since they were last rendered."""

    def __init__(
        self,
        make_records: Callable[[Iterable[R]], MutableSequence[R]] = list,
        *,
        most: int | None = None,
        fewest: int | None = None,
    ) -> None:
        """``make_records`` makes the sequence that holds the records of a block.

        ``most`` and ``fewest`` take the place of :data:`MOST` and :data:`FEWEST`.
        """
        self._make_records = make_records
        self._most = most or MOST
        self._fewest = fewest or FEWEST
        self.blocks: list[Block[K, R]] = []
        """All blocks in order. Only this class changes the list."""
        self.parts: list[Part[K, R]] = []
        """The same blocks in parts, in order."""
        self._firsts: list[K] = []
        self._count = 0
        self._last_due = 0
        """Index of the block that was found due last."""
        self.dirty: dict[Block[K, R], dict[K, R] | None] = {}
        """Blocks to be rendered again, in the order in which they changed. If records were only
        replaced, and few of them, it has these as they were when the block was rendered."""
        self.changed: dict[Part[K, R], None] = {}
        """Parts to be joined again, in the order in which they changed."""

    def extend(self, blocks: Iterable[Block[K, R]]) -> None:
        """Add blocks after the present ones. None of them may be empty."""
        for block in blocks:
            if not self.parts or len(self.parts[-1].blocks) >= PART:
                self.parts.append(Part([]))
            part = self.parts[-1]
            part.add(len(part.blocks), [block])
            self.blocks.append(block)
            self._firsts.append(block.keys[0])
            self._count += len(block.keys)
            self._note_change(block)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[R]:
        for block in self.blocks:
            yield from block.records

    def find(self, key: K) -> tuple[Block[K, R], int] | None:
        """Return the block of the record with this key and its place there, or ``None``."""
        if not self.blocks:
            return None
        block = self.blocks[self._index(key)]
        at = bisect_left(block.keys, key)
        return (block, at) if at < len(block.keys) and block.keys[at] == key else None

    def get(self, key: K) -> R | None:
        """Return the record with this key, or ``None``."""
        found = self.find(key)
        return None if found is None else found[0].records[found[1]]

    def between(self, start: K, end: K) -> Iterator[tuple[Block[K, R], int, int]]:
        """Yield the blocks that hold keys from ``start`` to before ``end``, in order.

        With each block come the places of its first such key and after its last one.
        """
        if not self.blocks:
            return
        for at in range(self._index(start), bisect_left(self._firsts, end)):
            keys = self.blocks[at].keys
            first, last = bisect_left(keys, start), bisect_left(keys, end)
            if first < last:
                yield self.blocks[at], first, last

    def first_after(self, key: K) -> K | None:
        """Return the least key above ``key`` with which a block begins, or ``None``."""
        at = bisect_right(self._firsts, key)
        return self._firsts[at] if at < len(self._firsts) else None

    def first_before(self, key: K) -> K | None:
        """Return the greatest key below ``key`` with which a block begins, or ``None``."""
        at = bisect_left(self._firsts, key)
        return self._firsts[at - 1] if at else None

    def put(self, key: K, record: R, due: float = inf) -> None:
        """Insert a record, due at ``due`` (unix seconds), or replace the one with its key."""
        if not self.blocks:
            self.blocks.append(Block([], self._make_records(()), inf))
            self._firsts.append(key)
            self.parts.append(Part(self.blocks[:]))
        index = self._index(key)
        block = self.blocks[index]
        at = bisect_left(block.keys, key)
        if at < len(block.keys) and block.keys[at] == key:
            self._note_replaced(block, at)
            block.records[at] = record
        else:
            self._note_change(block)
            block.keys.insert(at, key)
            block.records.insert(at, record)
            self._count += 1
            self._firsts[index] = block.keys[0]
        block.due = min(block.due, due)
        if len(block.keys) > self._most:
            self._split(index)

    def remove(self, key: K) -> None:
        """Remove the record with this key. Raises ``KeyError`` if there is none."""
        if self.find(key) is None:
            raise KeyError(key)
        index = self._index(key)
        block = self.blocks[index]
        at = bisect_left(block.keys, key)
        del block.keys[at], block.records[at]
        self._count -= 1
        self._note_change(block)
        if not block.keys:
            self._drop(index)
        else:
            self._firsts[index] = block.keys[0]
            if len(block.keys) < self._fewest:
                self._merge(index)

    def due(self, now: float) -> Iterator[Block[K, R]]:
        """Yield the blocks in which a record may be due; the caller then sets their ``due``.

        The next call begins at the block that this one yielded last. So a caller that takes a few
        blocks at a time does not check all blocks each time.
        """
        blocks = self.blocks
        start = min(self._last_due, len(blocks))
        for at in chain(range(start, len(blocks)), range(start)):
            if blocks[at].due <= now:
                self._last_due = at
                yield blocks[at]
        self._last_due = 0

    def touch(self, key: K) -> None:
        """Note that the record with this key changed in place."""
        self._note_change(self.blocks[self._index(key)])

    def shown_together(self, part: Part[K, R]) -> list[Part[K, R]]:
        """Return the parts whose records are in one text, because a part was split."""
        first = self.parts.index(part)
        while self.parts[first].shown_before:
            first -= 1
        last = first + 1
        while last < len(self.parts) and self.parts[last].shown_before:
            last += 1
        return self.parts[first:last]

    def _note_change(self, block: Block[K, R]) -> None:
        self.changed[_part(block)] = None
        self.dirty[block] = None

    def _note_replaced(self, block: Block[K, R], at: int) -> None:
        """Note that the record at ``at`` is about to be replaced."""
        noted = self.dirty.get(block)
        if noted is None:
            if block in self.dirty:
                return  # so its part has changed too
            noted = self.dirty[block] = {}
            self.changed[_part(block)] = None
        key = block.keys[at]
        if key not in noted:
            if len(noted) < MOST_NOTED:
                noted[key] = block.records[at]
            else:
                self.dirty[block] = None

    def _index(self, key: K) -> int:
        return max(0, bisect_right(self._firsts, key) - 1)

    def _split(self, index: int) -> None:
        block = self.blocks[index]
        half = len(block.keys) // 2
        upper = Block(block.keys[half:], block.records[half:], block.due)
        del block.keys[half:], block.records[half:]
        block.rendered = None
        self.blocks.insert(index + 1, upper)
        self._firsts.insert(index + 1, upper.keys[0])
        part = _part(block)
        part.add(part.blocks.index(block) + 1, [upper])
        self._note_change(block)
        self._note_change(upper)
        if len(part.blocks) > 2 * PART:
            self._split_part(part)

    def _split_part(self, part: Part[K, R]) -> None:
        upper = Part(part.blocks[PART:])
        if part.rendered is None:
            upper.rendered = None
        else:
            upper.shown_before = True
        del part.blocks[PART:]
        self.parts.insert(self.parts.index(part) + 1, upper)
        self.changed |= {part: None, upper: None}

    def _merge(self, index: int) -> None:
        """Merge a block with the one before it in its part, or with the one behind."""
        part = _part(self.blocks[index])
        if self.blocks[index] is not part.blocks[0]:
            index -= 1
        elif len(part.blocks) == 1:
            return
        block, upper = self.blocks[index], self.blocks[index + 1]
        if len(block.keys) + len(upper.keys) > self._most:
            return
        block.keys += upper.keys
        block.records += upper.records
        block.due = min(block.due, upper.due)
        block.rendered = None
        self._note_change(block)
        self._drop(index + 1)

    def _drop(self, index: int) -> None:
        block = self.blocks[index]
        self.dirty.pop(block, None)
        del self.blocks[index]
        del self._firsts[index]
        part = _part(block)
        part.blocks.remove(block)
        if not part.blocks:
            self._drop_part(part)

    def _drop_part(self, part: Part[K, R]) -> None:
        at = self.parts.index(part)
        del self.parts[at]
        self.changed.pop(part, None)
        if at < len(self.parts) and self.parts[at].shown_before:
            self.parts[at].rendered = part.rendered
            self.parts[at].shown_before = part.shown_before


def _part(block: Block[K, R]) -> Part[K, R]:
    part = block.part()
    assert part, "its parts keep the blocks"
    return part
