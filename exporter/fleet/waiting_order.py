"""eSIMs in the order in which they began to need somebody."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from itertools import chain
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Waiting = tuple[int, bytes]
"""Since when an eSIM needs somebody (event time of the newest reason), and its packed key."""

_FULL = 256
"""Entries in a list that was filled in order, and in each half of a split list."""


class WaitingOrder:
    """Entries, the longest waiting first. They are in short lists, so that a change moves few."""

    def __init__(self, entries: Sequence[Waiting] = ()) -> None:
        """``entries`` are sorted."""
        self._lists = [[*entries[at : at + _FULL]] for at in range(0, len(entries), _FULL)]
        self._firsts = [each[0] for each in self._lists]
        self._count = len(entries)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Waiting]:
        return chain.from_iterable(self._lists)

    def __reversed__(self) -> Iterator[Waiting]:
        return chain.from_iterable(map(reversed, reversed(self._lists)))

    @property
    def first(self) -> Waiting:
        """Return the entry that waits longest. Raises ``IndexError`` if there is none."""
        return self._lists[0][0]

    @property
    def last(self) -> Waiting:
        """Return the entry that waits shortest. Raises ``IndexError`` if there is none."""
        return self._lists[-1][-1]

    def add(self, entry: Waiting) -> None:
        """Add an entry that is not there."""
        self._count += 1
        if not self._lists:
            self._lists.append([entry])
            self._firsts.append(entry)
            return
        index = self._index(entry)
        entries = self._lists[index]
        insort(entries, entry)
        self._firsts[index] = entries[0]
        if len(entries) > 2 * _FULL:
            self._lists.insert(index + 1, entries[_FULL:])
            self._firsts.insert(index + 1, entries[_FULL])
            del entries[_FULL:]

    def remove(self, entry: Waiting) -> None:
        """Remove an entry that is there."""
        self._count -= 1
        index = self._index(entry)
        entries = self._lists[index]
        del entries[bisect_left(entries, entry)]
        if entries:
            self._firsts[index] = entries[0]
        else:
            del self._lists[index], self._firsts[index]

    def _index(self, entry: Waiting) -> int:
        return max(0, bisect_right(self._firsts, entry) - 1)
