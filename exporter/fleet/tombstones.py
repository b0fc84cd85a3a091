"""A store of packed tombstones. They need less than a third of the memory of Python objects.

They are kept in blocks, as packed eSIMs are (see :mod:`exporter.fleet.compact_store`). A block
knows when the oldest of its tombstones expired, so the oldest of all are found without reading
every tombstone. No second list keeps their order.
"""

from __future__ import annotations

from heapq import nsmallest
from math import inf
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from exporter.fleet.blocks import Block, Blocks
from exporter.fleet.compact_store import pack_key
from exporter.fleet.packed_records import RecordList, pack_fields, unpacker
from exporter.model.records import Tombstone
from exporter.storage.stored_records import field_types

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from exporter.storage.contract import Key

_FULL: Final = 64
"""Tombstones in a block that was filled in order."""

_SEARCHED: Final = 64
"""Blocks that one search for the oldest reads: few, so that webhooks do not wait."""

_AGE: Final = 6
"""Bytes at the end of a record that say when the tombstone expired. A search reads only these."""

_by_due = attrgetter("due")


class CompactTombstones:
    """Tombstones in the order of their keys, packed."""

    def __init__(self) -> None:
        self._blocks: Blocks[bytes, bytes] = Blocks(RecordList, most=2 * _FULL, fewest=_FULL // 4)

    def __len__(self) -> int:
        return len(self._blocks)

    def __iter__(self) -> Iterator[Tombstone]:
        for block in self._blocks.blocks:
            yield from map(_unpack, block.keys, block.records)

    def get(self, key: Key) -> Tombstone | None:
        """Return the tombstone of (vendor, esim_id, package_id), or ``None``."""
        packed = pack_key(key)
        record = self._blocks.get(packed)
        return None if record is None else _unpack(packed, record)

    def put(self, tombstone: Tombstone) -> None:
        """Insert a tombstone, or replace the one with its key."""
        self._blocks.put(pack_key(tombstone.key), _pack(tombstone), tombstone.expired)
        self._blocks.dirty.clear()  # nothing renders tombstones

    def discard(self, key: Key) -> None:
        """Remove the tombstone with this key, if there is one."""
        packed = pack_key(key)
        if self._blocks.get(packed) is not None:
            self._blocks.remove(packed)
            self._blocks.dirty.clear()

    def extend(self, tombstones: Sequence[Tombstone]) -> None:
        """Add tombstones in the order of their keys. All keys are greater than the present ones."""
        for start in range(0, len(tombstones), _FULL):
            part = tombstones[start : start + _FULL]
            keys, records = [pack_key(each.key) for each in part], map(_pack, part)
            oldest = min([each.expired for each in part])
            self._blocks.extend([Block(keys, RecordList(records), oldest)])
        self._blocks.dirty.clear()

    def oldest(self, most: int) -> list[Tombstone]:
        """Return up to ``most`` of the tombstones that expired first, the oldest first.

        There are fewer, or none, if more blocks would have to be searched. The next call then
        searches those: call again while :meth:`any_due` is true. Tombstones that expired in the
        same second have no order.
        """
        blocks = nsmallest(_SEARCHED + 1, self._blocks.blocks, key=_by_due)
        searched, others = blocks[:_SEARCHED], blocks[_SEARCHED:]
        younger = others[0].due if others else inf  # those of all other blocks are no older
        found: list[tuple[int, bytes, bytes]] = []
        for block in searched:
            aged = [*zip(map(_expired, block.records), block.keys, block.records, strict=True)]
            block.due, _, _ = min(aged)
            found += [each for each in aged if each[0] <= younger]
        return [_unpack(key, record) for _, key, record in sorted(found)[:most]]

    def any_due(self, time: float) -> bool:
        """Return whether some may have expired at or before ``time`` (unix seconds)."""
        return any(block.due <= time for block in self._blocks.blocks)


_time, _, *_others = field_types(Tombstone, 3)
_unpack_fields = unpacker([_time, *_others, int])


def _pack(tombstone: Tombstone) -> bytes:
    """Return all fields of a tombstone except its key, packed."""
    _, _, _, time, expired, *others = tombstone
    return pack_fields((time, *others)) + expired.to_bytes(_AGE)


def _unpack(key: bytes, record: bytes) -> Tombstone:
    """Return the tombstone of a packed key and a packed record."""
    vendor, esim_id, package_id = key.decode().split("\0")
    time, *others = _unpack_fields(record[:-_AGE])
    return Tombstone(vendor, esim_id, package_id, time, _expired(record), *others)


def _expired(record: bytes) -> int:
    """Return when a packed tombstone expired, unix seconds."""
    return int.from_bytes(record[-_AGE:])
