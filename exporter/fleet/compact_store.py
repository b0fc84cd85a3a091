"""A store of packed eSIMs. They need a fifth of the memory of Python objects.

A block keeps its eSIMs one after another in one piece of memory. An eSIM is unpacked when an
event changes it and when its block is rendered. The packed form exists only in memory;
:mod:`exporter.storage.stored_records` defines the stored form.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, MutableSequence
from itertools import islice
from typing import TYPE_CHECKING, Any, overload

import msgspec

from exporter.fleet.blocks import FULL, Block, Blocks
from exporter.model.records import Esim
from exporter.storage.stored_records import field_types

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from exporter.model.records import EsimKey

PackedBlock = Block[bytes, bytes]
"""A block of packed eSIMs by their packed keys."""


class CompactEsims:
    """eSIMs in the order of their keys, packed."""

    def __init__(self, deadline: Callable[[Esim], float]) -> None:
        """``deadline`` returns when something of an eSIM next expires (unix seconds)."""
        self.blocks: Blocks[bytes, bytes] = Blocks(RecordList)
        self.deadline = deadline

    def __len__(self) -> int:
        return len(self.blocks)

    def __iter__(self) -> Iterator[Esim]:
        for block in self.blocks.blocks:
            yield from unpack_block(block)

    def get(self, key: EsimKey) -> Esim | None:
        """Return an eSIM, or ``None``."""
        return self.get_packed(pack_key(key))

    def get_packed(self, key: bytes) -> Esim | None:
        """Return the eSIM of a packed key, or ``None``."""
        record = self.blocks.get(key)
        return None if record is None else unpack(key, record)

    def put(self, esim: Esim) -> bytes:
        """Insert an eSIM, or replace the one with its key; return the packed key."""
        key = pack_key(esim.key)
        self.blocks.put(key, pack(esim), self.deadline(esim))
        return key

    def remove(self, key: EsimKey) -> None:
        """Remove an eSIM. Raises ``KeyError`` if there is none."""
        self.blocks.remove(pack_key(key))

    def extend(self, esims: Sequence[Esim]) -> None:
        """Add eSIMs in the order of their keys. All keys are greater than the present ones."""
        keys = [pack_key(esim.key) for esim in esims]
        records = [pack(esim) for esim in esims]
        deadlines = [self.deadline(esim) for esim in esims]
        parts = [slice(at, at + FULL) for at in range(0, len(keys), FULL)]
        self.blocks.extend(
            [Block(keys[p], RecordList(records[p]), min(deadlines[p])) for p in parts]
        )

    def take_all(self) -> list[PackedBlock]:
        """Remove all eSIMs and return them in their blocks."""
        blocks = self.blocks.blocks
        self.blocks = Blocks(RecordList)
        return blocks

    def due(self, now: float, most: int) -> list[Esim]:
        """Return the eSIMs that have something to expire at ``now``, from up to ``most`` blocks.

        Each of these blocks then has its exact due time, and is not searched again before it.
        """
        due: list[Esim] = []
        for block in islice(self.blocks.due(now), most):
            esims = list(unpack_block(block))
            block.due = min(map(self.deadline, esims))
            due += [esim for esim in esims if self.deadline(esim) <= now]
        return due

    def any_due(self, now: float) -> bool:
        """Return whether :meth:`due` has more blocks to search."""
        return any(True for _ in self.blocks.due(now))

    def reschedule(self, deadline: Callable[[Esim], float]) -> None:
        """Use another deadline from now on, which may be earlier."""
        self.deadline = deadline
        for block in self.blocks.blocks:
            block.due = 0.0  # search each block once to learn its due time


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

    def _replace(self, records: list[bytes]) -> None:
        self._bytes = bytearray().join(records)
        self._sizes = array("I", map(len, records))


_IN_KEY = 2
"""How many fields of an eSIM its key holds; the record holds the others."""

_pack = msgspec.msgpack.Encoder().encode

# MessagePack holds no integer above 64 bits. A record with such a counter is packed as JSON.
_pack_json = msgspec.json.Encoder().encode
_JSON = ord("[")
"""The first byte of a record that is JSON."""


def pack_key(key: tuple[str, ...]) -> bytes:
    """Return a key as bytes that sort as keys do.

    UTF-8 keeps the order of texts, and no identifier holds a NUL.
    """
    return "\0".join(key).encode()


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


_unpack_fields = unpacker([*field_types(Esim, _IN_KEY), int])


def pack(esim: Esim) -> bytes:
    """Return all fields of an eSIM except its key, packed."""
    return pack_fields(esim[_IN_KEY:])


def unpack(key: bytes, record: bytes) -> Esim:
    """Return the eSIM of a packed key and a packed record."""
    vendor, _, esim_id = key.decode().partition("\0")
    return Esim(vendor, esim_id, *_unpack_fields(record))


def unpack_block(block: PackedBlock) -> Iterator[Esim]:
    """Yield the eSIMs of a block, in order."""
    return map(unpack, block.keys, block.records)


def may_contain(record: bytes, texts: Iterable[bytes]) -> bool:
    """Return whether a packed eSIM may have all these texts in its fields.

    ``True`` is only a guess. ``False`` is certain, and saves unpacking the eSIM.
    """
    return record[0] == _JSON or all(text in record for text in texts)
