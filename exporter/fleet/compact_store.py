"""A store of packed eSIMs. They need a fifth of the memory of Python objects.

A block keeps its eSIMs in their packed form: see :mod:`exporter.fleet.packed_esims`. An eSIM is
unpacked when an event changes it, when its block is rendered, and when somebody asks for it.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, cast

from exporter.fleet.blocks import FULL, Block, Blocks
from exporter.fleet.packed_esims import PackedEsim, PackedEsims, pack, unpack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from exporter.model.records import Esim, EsimKey

PackedBlock = Block[bytes, PackedEsim]
"""A block of packed eSIMs by their packed keys."""


class CompactEsims:
    """eSIMs in the order of their keys, packed."""

    def __init__(self, deadline: Callable[[Esim], float]) -> None:
        """``deadline`` returns when something of an eSIM next expires (unix seconds)."""
        self.blocks: Blocks[bytes, PackedEsim] = Blocks(PackedEsims)
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
        found = self.blocks.find(key)
        return found and unpack(key, packed_esims(found[0]).records[found[1]])

    def put(self, esim: Esim) -> bytes:
        """Insert an eSIM, or replace the one with its key; return the packed key."""
        key = pack_key(esim.key)
        self.blocks.put(key, pack(esim), self.deadline(esim))
        return key

    def remove(self, key: EsimKey) -> bytes:
        """Remove an eSIM; return its packed key. Raises ``KeyError`` if there is none."""
        packed = pack_key(key)
        self.blocks.remove(packed)
        return packed

    def extend(self, esims: Sequence[Esim]) -> None:
        """Add eSIMs in the order of their keys. All keys are greater than the present ones."""
        # A block at a time: many packed eSIMs at once would keep the garbage collector busy.
        self.blocks.extend(
            [self._block(esims[at : at + FULL]) for at in range(0, len(esims), FULL)]
        )

    def take_all(self) -> list[PackedBlock]:
        """Remove all eSIMs and return them in their blocks."""
        blocks = self.blocks.blocks
        self.blocks = Blocks(PackedEsims)
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

    def _block(self, esims: Sequence[Esim]) -> PackedBlock:
        keys = [pack_key(esim.key) for esim in esims]
        due = min([self.deadline(esim) for esim in esims])
        return Block(keys, PackedEsims([pack(esim) for esim in esims]), due)


def pack_key(key: tuple[str, ...]) -> bytes:
    """Return a key as bytes that sort as keys do.

    UTF-8 keeps the order of texts, and no identifier holds a NUL.
    """
    return "\0".join(key).encode()


def packed_esims(block: PackedBlock) -> PackedEsims:
    """Return the eSIMs of a block in their packed form."""
    return cast("PackedEsims", block.records)


def unpack_block(block: PackedBlock) -> Iterator[Esim]:
    """Yield the eSIMs of a block, in order."""
    return map(unpack, block.keys, packed_esims(block).records)
