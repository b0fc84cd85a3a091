"""eSIMs packed in memory: a fifth of what they take as Python objects.

A block keeps the records of its eSIMs behind one another in one piece of memory. An eSIM is
unpacked when an event changes it and when its block is rendered. The layout belongs to this
process alone; :mod:`exporter.storage.stored_records` has the stored form.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, MutableSequence
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import msgspec

from exporter.fleet.blocks import FULL, Block, Blocks
from exporter.model.records import Esim
from exporter.storage.stored_records import esims_of, field_types

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from exporter.fleet.aggregates import Aggregates
    from exporter.model.records import EsimKey
    from exporter.storage.contract import Row


class RecordList(MutableSequence[bytes]):
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
    def __getitem__(self, at: slice) -> RecordList: ...
    def __getitem__(self, at: int | slice) -> bytes | RecordList:
        if isinstance(at, slice):
            return RecordList(list(self)[at])
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


_NAMED = 2
"""Fields of an eSIM that are in its key."""

_fields: Any = tuple[(*field_types(Esim, _NAMED), int)]  # type: ignore[misc]  # made here
_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(_fields).decode
_pack_long = msgspec.json.Encoder().encode
_unpack_long = msgspec.json.Decoder(_fields).decode
"""Where a counter outgrew 64 bits, which MessagePack does not hold."""

_LONG = ord("[")


class CompactEsims:
    """eSIMs in the order of their keys."""

    def __init__(self, deadline: Callable[[Esim], float]) -> None:
        """``deadline`` says when something of an eSIM is next due (unix seconds)."""
        self.blocks: Blocks[bytes, bytes] = Blocks(RecordList)
        self.deadline = deadline

    def __len__(self) -> int:
        return len(self.blocks)

    def __iter__(self) -> Iterator[Esim]:
        for block in self.blocks.blocks:
            yield from unpacked(block)

    def taken_out(self) -> list[Block[bytes, bytes]]:
        """Take out all there are, and return them in blocks."""
        blocks = self.blocks.blocks
        self.blocks = Blocks(RecordList)
        return blocks

    def get(self, key: EsimKey) -> Esim | None:
        """Return an eSIM, or ``None``."""
        return self.at(key_of(key))

    def at(self, key: bytes) -> Esim | None:
        """Return the eSIM of a packed key, or ``None``."""
        record = self.blocks.get(key)
        return None if record is None else unpack(key, record)

    def run(self, start: bytes) -> list[tuple[bytes, bytes]]:
        """Return keys and records from ``start`` on, to the end of a block: see Blocks.run."""
        return self.blocks.run(start)

    def put(self, esim: Esim) -> bytes:
        """Insert an eSIM, or replace the one of its key; return the packed key."""
        key = key_of(esim.key)
        self.blocks.put(key, record_of(esim), self.deadline(esim))
        return key

    def remove(self, key: EsimKey) -> None:
        """Remove an eSIM. Raises ``KeyError`` when there is none."""
        self.blocks.remove(key_of(key))

    def due(self, now: float, most: int) -> list[Esim]:
        """Return eSIMs of which something is due at ``now``, of ``most`` blocks that were due.

        Where nothing more was due in them, these blocks are not looked at again in vain.
        """
        due: list[Esim] = []
        for block in islice(self.blocks.due(now), most):
            esims = list(unpacked(block))
            block.due = min(map(self.deadline, esims))
            due += [esim for esim in esims if self.deadline(esim) <= now]
        return due

    def any_due(self, now: float) -> bool:
        """Return whether :meth:`due` has more to look at."""
        return any(True for _ in self.blocks.due(now))

    def reschedule(self, deadline: Callable[[Esim], float]) -> None:
        """Let another function say when something is due."""
        self.deadline = deadline
        for block in self.blocks.blocks:
            block.due = 0.0  # to be looked at


def unpacked(block: Block[bytes, bytes]) -> Iterator[Esim]:
    """Yield the eSIMs of a block, in order."""
    return map(unpack, block.keys, block.records)


def key_of(key: EsimKey) -> bytes:
    """Return a key that sorts as the texts do: UTF-8 does, and no identifier holds a NUL."""
    vendor, esim_id = key
    return f"{vendor}\0{esim_id}".encode()


def may_hold(record: bytes, texts: Iterable[bytes]) -> bool:
    """Return whether an eSIM may have all of these texts in its fields, without unpacking it."""
    return record[0] == _LONG or all(text in record for text in texts)


def record_of(esim: Esim) -> bytes:
    """Return an eSIM packed, but for its key."""
    try:
        return _pack(esim[_NAMED:])
    except OverflowError:
        return _pack_long(esim[_NAMED:])


def unpack(key: bytes, record: bytes) -> Esim:
    """Return an eSIM."""
    vendor, _, esim_id = key.decode().partition("\0")
    read = _unpack_long if record[0] == _LONG else _unpack
    return Esim(vendor, esim_id, *read(record))


class Packed(NamedTuple):
    """eSIMs whose keys follow one another."""

    blocks: list[Block[bytes, bytes]]
    admitted: array[int]
    """Their places in the order of admission, in the order of their keys."""
    tracked: bool
    """Whether all of them are stored as eSIMs with series."""


class Packer:
    """Packs stored eSIMs, and adds them up."""

    def __init__(self, deadline: Callable[[Esim], float], totals: Aggregates) -> None:
        """``deadline`` says when something of an eSIM is next due (unix seconds)."""
        self._deadline = deadline
        self.totals = totals

    def pack(self, rows: Sequence[Row]) -> Packed:
        """Pack the eSIMs of rows that come in the order of their keys.

        Raises ``StorageDamaged`` when a row is of a layout this version does not know.
        """
        esims = esims_of(rows)
        self.totals.add_many(esims)
        return packed(esims, self._deadline)


def packed(esims: Sequence[Esim], deadline: Callable[[Esim], float]) -> Packed:
    """Pack eSIMs that come in the order of their keys."""
    keys = [key_of(esim.key) for esim in esims]
    records = [record_of(esim) for esim in esims]
    dues = [deadline(esim) for esim in esims]
    return Packed(
        [
            Block(
                keys[at : at + FULL], RecordList(records[at : at + FULL]), min(dues[at : at + FULL])
            )
            for at in range(0, len(keys), FULL)
        ],
        array("Q", [esim.admitted for esim in esims]),
        all([esim.tracked for esim in esims]),  # noqa: C419  # a list takes half the time
    )
