"""A fleet from what is stored, chunk by chunk, so that others may run in between."""

from __future__ import annotations

from array import array
from heapq import nsmallest
from typing import TYPE_CHECKING

from exporter.blocks import FULL
from exporter.fleet import Fleet
from exporter.packed import key_of, record_of, unpacked
from exporter.records import Esim, Package, Tombstone
from exporter.rows import decode
from exporter.storage import Table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from exporter.fleet import Policy
    from exporter.newest import Place
    from exporter.packed import PackedEsims
    from exporter.shards import Shard
    from exporter.storage import Chunk


class _Packing:
    """Packs eSIMs that come in the order of their keys, into whole blocks."""

    def __init__(self, esims: PackedEsims) -> None:
        self._esims = esims
        self._keys: list[bytes] = []
        self._records: list[bytes] = []
        self._dues: list[float] = []

    def add(self, esims: list[Esim]) -> None:
        """Pack some."""
        deadline = self._esims.deadline
        self._keys += [key_of(esim.key) for esim in esims]
        self._records += [record_of(esim) for esim in esims]
        self._dues += [deadline(esim) for esim in esims]
        self._put(len(self._keys) // FULL * FULL)

    def finish(self) -> None:
        """Put what fills no block."""
        self._put(len(self._keys))

    def _put(self, count: int) -> None:
        blocks = self._esims.blocks
        blocks.extend(self._keys[:count], self._records[:count], self._dues[:count])
        del self._keys[:count], self._records[:count], self._dues[:count]


class Restoration:
    """Builds a fleet, in which each eSIM is looked at once: that is what a start takes."""

    def __init__(
        self, policy: Policy, vendors: tuple[str, ...], shard: Shard | None = None
    ) -> None:
        self._fleet = Fleet(policy, vendors, shard)
        self._esims = _Packing(self._fleet.esims)
        self._admitted = array("Q")
        """Of all eSIMs, in the order of their keys."""
        self._all_tracked = True
        """Whether all of them are stored as eSIMs with series."""

    def take(self, chunk: Chunk) -> None:
        """Take over the rows and bases of a chunk; chunks come in the order of their keys.

        Rejected deliveries are passed by. Raises ``StorageDamaged`` when a row is of a layout
        this version does not know.
        """
        fleet = self._fleet
        esims: list[Esim] = []
        for row in chunk.rows:
            if row.table is Table.REJECTED:
                continue
            record = decode(row)
            if isinstance(record, Esim):
                esims.append(record)
            elif isinstance(record, Tombstone):
                fleet.tombstones[record.key] = record
            else:
                fleet.registers[row.table, *record.key] = record
                if isinstance(record, Package):
                    fleet.totals.name(record)
        fleet.totals.add(esims)
        fleet.totals.add_bases(chunk.bases)
        self._esims.add(esims)
        self._admitted.extend([esim.admitted for esim in esims])
        self._all_tracked &= all(esim.tracked for esim in esims)

    def finish(self) -> Fleet:
        """Return the fleet. Up to the cap, eSIMs have series in the order of their admission.

        Stored flags are not asked: those that a lower cap takes series from are not written, so
        that one of them would pass by others that wait when the cap is raised again.
        """
        fleet = self._fleet
        self._esims.finish()
        fleet.admissions = max(self._admitted, default=0)
        shown, waiting = self._places(), []
        if 0 < fleet.policy.max_esims < len(self._admitted):
            last = nsmallest(fleet.policy.max_esims, self._places())[-1]
            shown = (place for place in self._places() if place <= last)
            waiting = [place for place in self._places() if place > last]
        fleet.line_up(shown, waiting)
        if waiting or not self._all_tracked:
            self._mark({key for _, key in waiting})
        oldest_first = sorted(fleet.tombstones.items(), key=lambda item: item[1].expired)
        fleet.tombstones = dict(oldest_first)
        return fleet

    def _places(self) -> Iterator[Place]:
        """Yield the places of all eSIMs in the order of admission, by their keys."""
        keys = (key for block in self._fleet.esims.blocks.blocks for key in block.keys)
        return zip(self._admitted, keys, strict=True)

    def _mark(self, waiting: set[bytes]) -> None:
        """Put those that wait beside the others, and mark each as what it is."""
        fleet = self._fleet
        shown, over = _Packing(fleet.esims), _Packing(fleet.over)
        for block in fleet.esims.taken_out():
            for esim in unpacked(block):
                tracked = key_of(esim.key) not in waiting
                (shown if tracked else over).add([esim._replace(tracked=tracked)])
        shown.finish()
        over.finish()
