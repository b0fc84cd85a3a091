"""Packed records, and lists of them in one piece of memory.

The packed form exists only in memory; :mod:`exporter.storage.stored_records` defines the stored
form.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, MutableSequence
from typing import TYPE_CHECKING, Any, overload

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable


class RecordList(MutableSequence[bytes]):
    """A list of byte strings in one piece of memory. Slices can be read and deleted, not set."""

    __slots__ = ("_bytes", "_sizes")

    def __init__(self, records: Iterable[bytes] = ()) -> None:
        self._replace(list(records))

    def __len__(self) -> int:
        return len(self._sizes)

    @overload
    def __getitem__(self, at: int) -> bytes: ...
    @overload
    def __getitem__(self, at: slice) -> RecordList: ...
    def __getitem__(self, at: int | slice) -> bytes | RecordList:
        if isinstance(at, slice):
            return RecordList(list(self)[at])
        start = sum(self._sizes[:at])
        return bytes(self._bytes[start : start + self._sizes[at]])

    def __setitem__(self, at: int, record: bytes) -> None:  # type: ignore[override]  # no slices
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
        """Yield the records as they are now; changes made during the iteration are not seen."""
        kept = bytes(self._bytes)
        start = 0
        for size in self._sizes[:]:
            yield kept[start : start + size]
            start += size

    def may_contain(self, text: bytes) -> bool:
        """Return whether a record may have this text in a field.

        ``True`` is only a guess. ``False`` is certain for the records that are transparent, and
        saves looking at each of them.
        """
        return text in self._bytes

    def _replace(self, records: list[bytes]) -> None:
        self._bytes = bytearray().join(records)
        self._sizes = array("I", map(len, records))


_pack = msgspec.msgpack.Encoder().encode

# MessagePack holds no integer above 64 bits. A record with such a counter is packed as JSON.
_pack_json = msgspec.json.Encoder().encode
_JSON = ord("[")
"""The first byte of a record that is JSON."""


def pack_fields(fields: tuple[Any, ...]) -> bytes:
    """Return the fields of a record, packed."""
    try:
        return _pack(fields)
    except OverflowError:
        return _pack_json(fields)


def unpacker(types: Iterable[Any]) -> Callable[[bytes], tuple[Any, ...]]:
    """Return a function that reads packed fields of these types."""
    fields: Any = tuple.__class_getitem__((*types,))
    read = msgspec.msgpack.Decoder(fields).decode
    read_json = msgspec.json.Decoder(fields).decode

    def unpack(record: bytes) -> tuple[Any, ...]:
        unpacked: tuple[Any, ...] = (read_json if record[0] == _JSON else read)(record)
        return unpacked

    return unpack


def is_transparent(record: bytes) -> bool:
    """Return whether a packed record contains the texts of its fields as they are, in UTF-8."""
    return record[0] != _JSON
