"""eSIMs in memory, packed.

As Python objects they would take five times the memory. An eSIM is unpacked when an event
changes it and when its block is rendered. The layout is of this process alone: what is
stored is told by :mod:`exporter.rows`.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec

from exporter.blocks import Blocks
from exporter.records import Esim
from exporter.rows import field_types
from exporter.shelf import Shelf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from exporter.blocks import Block
    from exporter.records import EsimKey

_NAMED = 2
"""Fields of an eSIM that are in its key."""

_fields: Any = tuple[(*field_types(Esim, _NAMED), int)]  # type: ignore[misc]  # made here
_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(_fields).decode
_pack_long = msgspec.json.Encoder().encode
_unpack_long = msgspec.json.Decoder(_fields).decode
"""Where a counter outgrew 64 bits, which MessagePack does not hold."""

_LONG = ord("[")


class PackedEsims:
    """eSIMs in the order of their keys."""

    def __init__(self, deadline: Callable[[Esim], float]) -> None:
        """``deadline`` says when something of an eSIM is next due (unix seconds)."""
        self.blocks: Blocks[bytes, bytes] = Blocks(Shelf)
        self.deadline = deadline

    def __len__(self) -> int:
        return len(self.blocks)

    def __iter__(self) -> Iterator[Esim]:
        for block in self.blocks.blocks:
            yield from unpacked(block)

    def taken_out(self) -> list[Block[bytes, bytes]]:
        """Take out all there are, and return them in blocks."""
        blocks = self.blocks.blocks
        self.blocks = Blocks(Shelf)
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
