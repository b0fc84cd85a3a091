"""eSIMs in memory as what is stored of them: their rows.

As Python objects they would take three times the memory. An eSIM is unpacked when an event
changes it and when its block is rendered; what is put back was encoded for its commit anyway.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from exporter.blocks import Blocks
from exporter.rows import decode_esim, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from exporter.blocks import Block
    from exporter.records import Esim, EsimKey

_VERSION = 5
"""Bytes for a row's version, in front of the row."""


class Packed(NamedTuple):
    """An eSIM, packed."""

    key: bytes
    record: bytes
    due: float
    """When something of it is next due, unix seconds."""
    admitted: int
    tracked: bool

    @classmethod
    def of(cls, esim: Esim, row: bytes, due: float) -> Packed:
        """Return an eSIM packed, given what is stored of it."""
        return cls(_key(esim.key), _record(esim, row), due, esim.admitted, esim.tracked)

    def marked(self, *, tracked: bool) -> Packed:
        """Return it with or without series of its own."""
        if self.tracked is tracked:
            return self
        esim = self.esim._replace(tracked=tracked)
        return Packed.of(esim, encode(esim), self.due)

    @property
    def esim(self) -> Esim:
        """Return it unpacked."""
        return _esim(self.key, self.record)


class PackedEsims:
    """eSIMs in the order of their keys."""

    def __init__(self, deadline: Callable[[Esim], float]) -> None:
        """``deadline`` says when something of an eSIM is next due (unix seconds)."""
        self.blocks: Blocks[bytes, bytes] = Blocks()
        self.deadline = deadline

    def __len__(self) -> int:
        return len(self.blocks)

    def __iter__(self) -> Iterator[Esim]:
        for block in self.blocks.blocks:
            yield from unpacked(block)

    def fill(self, ordered: Iterable[Packed]) -> None:
        """Put eSIMs that come in the order of their keys; there must be none yet."""
        self.blocks.fill((esim.key, esim.record, esim.due) for esim in ordered)

    def get(self, key: EsimKey) -> Esim | None:
        """Return an eSIM, or ``None``."""
        packed = _key(key)
        record = self.blocks.get(packed)
        return None if record is None else _esim(packed, record)

    def put(self, esim: Esim, row: bytes) -> None:
        """Insert an eSIM, or replace the one of its key; ``row`` is what is stored of it."""
        self.blocks.put(_key(esim.key), _record(esim, row), self.deadline(esim))

    def remove(self, key: EsimKey) -> None:
        """Remove an eSIM. Raises ``KeyError`` when there is none."""
        self.blocks.remove(_key(key))

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
    return map(_esim, block.keys, block.records)


def _key(key: EsimKey) -> bytes:
    """Return a key that sorts as the texts do: UTF-8 does, and no identifier holds a NUL."""
    return "\0".join(key).encode()


def _record(esim: Esim, row: bytes) -> bytes:
    return esim.version.to_bytes(_VERSION, "big") + row


def _esim(key: bytes, record: bytes) -> Esim:
    vendor, _, esim_id = key.decode().partition("\0")
    version = int.from_bytes(record[:_VERSION], "big")
    return decode_esim(vendor, esim_id, version, record[_VERSION:])
