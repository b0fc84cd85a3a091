"""Records of a block in one piece of memory.

As objects of their own, records that grow with each event leave holes of every size behind,
which nothing fits into any more: the process would take twice the memory that they need.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, MutableSequence
from typing import overload


class Shelf(MutableSequence[bytes]):
    """A list of byte strings that lie behind one another."""

    __slots__ = ("_bytes", "_sizes")

    def __init__(self, records: Iterable[bytes] = ()) -> None:
        records = list(records)
        self._bytes = bytearray().join(records)
        self._sizes = array("I", map(len, records))

    def __len__(self) -> int:
        return len(self._sizes)

    @overload
    def __getitem__(self, at: int) -> bytes: ...
    @overload
    def __getitem__(self, at: slice) -> Shelf: ...
    def __getitem__(self, at: int | slice) -> bytes | Shelf:
        if isinstance(at, slice):
            return Shelf(list(self)[at])
        start = sum(self._sizes[:at])
        return bytes(self._bytes[start : start + self._sizes[at]])

    @overload
    def __setitem__(self, at: int, record: bytes) -> None: ...
    @overload
    def __setitem__(self, at: slice, record: Iterable[bytes]) -> None: ...
    def __setitem__(self, at: int | slice, record: bytes | Iterable[bytes]) -> None:
        if isinstance(at, slice):
            kept = list(self)
            kept[at] = record  # type: ignore[assignment]  # an iterable, by the overload
            self._replace(kept)
            return
        assert isinstance(record, bytes)
        start = sum(self._sizes[:at])
        self._bytes[start : start + self._sizes[at]] = record
        self._sizes[at] = len(record)

    def __delitem__(self, at: int | slice) -> None:
        kept = list(self)
        del kept[at]
        self._replace(kept)

    def insert(self, at: int, record: bytes) -> None:
        """Insert a record before the one at ``at``."""
        start = sum(self._sizes[:at])
        self._bytes[start:start] = record
        self._sizes.insert(at, len(record))

    def __iter__(self) -> Iterator[bytes]:
        kept = bytes(self._bytes)  # what changes meanwhile is not seen
        start = 0
        for size in self._sizes[:]:
            yield kept[start : start + size]
            start += size

    def _replace(self, records: list[bytes]) -> None:
        self._bytes = bytearray().join(records)
        self._sizes = array("I", map(len, records))
