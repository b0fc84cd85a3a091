"""A fleet from what is stored, chunk by chunk, so that others may run in between."""

from __future__ import annotations

from array import array
from heapq import nsmallest
from typing import TYPE_CHECKING

from exporter.fleet.blocks import FULL
from exporter.fleet.compact_store import Packer, key_of, packed, unpacked
from exporter.fleet.fleet import Fleet
from exporter.model.records import Esim, Package, Tombstone
from exporter.storage.contract import Table
from exporter.storage.stored_records import decode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from exporter.fleet.admission import Admission
    from exporter.fleet.compact_store import CompactEsims, Packed
    from exporter.fleet.fleet import Policy
    from exporter.model.shards import Shard
    from exporter.storage.contract import Chunk, Row


class FleetLoader:
    """Builds a fleet, in which each eSIM is looked at once: that is what a start takes."""

    def __init__(
        self, policy: Policy, vendors: tuple[str, ...], shard: Shard | None = None
    ) -> None:
        self._fleet = Fleet(policy, vendors, shard)
        self._packer = Packer(self._fleet.esims.deadline, self._fleet.totals)
        self._admitted = array("Q")
        """Of all eSIMs, in the order of their keys."""
        self._tracked = True
        """Whether all of them are stored as eSIMs with series."""

    def take(self, chunk: Chunk) -> None:
        """Take over the rows and bases of a chunk; chunks come in the order of their keys.

        Rejected deliveries are passed by. Raises ``StorageDamaged`` when a row is of a layout
        this version does not know.
        """
        if rows := self._all_but_esims(chunk):
            self._put(self._packer.pack(rows))

    def finish(self) -> Fleet:
        """Return the fleet. Up to the cap, eSIMs have series in the order of their admission.

        Stored flags are not asked: those that a lower cap takes series from are not written, so
        that one of them would pass by others that wait when the cap is raised again.
        """
        fleet = self._fleet
        fleet.admissions = max(self._admitted, default=0)
        shown, waiting = self._places(), []
        if 0 < fleet.policy.max_esims < len(self._admitted):
            last = nsmallest(fleet.policy.max_esims, self._places())[-1]
            shown = (place for place in self._places() if place <= last)
            waiting = [place for place in self._places() if place > last]
        fleet.line_up(shown, waiting)
        if waiting or not self._tracked:
            self._mark({key for _, key in waiting})
        oldest_first = sorted(fleet.tombstones.items(), key=lambda item: item[1].expired)
        fleet.tombstones = dict(oldest_first)
        return fleet

    def _all_but_esims(self, chunk: Chunk) -> list[Row]:
        """Take over all of a chunk but eSIMs, and return their rows."""
        fleet = self._fleet
        esims: list[Row] = []
        for row in chunk.rows:
            if row.table is Table.ESIM:
                esims.append(row)
            elif row.table is not Table.REJECTED:
                record = decode(row)
                if isinstance(record, Tombstone):
                    fleet.tombstones[record.key] = record
                elif not isinstance(record, Esim):
                    fleet.registers[row.table, *record.key] = record
                if isinstance(record, Package):
                    fleet.totals.name(record)
        fleet.totals.add_bases(chunk.bases)
        return esims

    def _put(self, some: Packed) -> None:
        """Put eSIMs behind all there are."""
        self._fleet.esims.blocks.extend(some.blocks)
        self._admitted.extend(some.admitted)
        self._tracked &= some.tracked

    def _places(self) -> Iterator[Admission]:
        """Yield the places of all eSIMs in the order of admission, by their keys."""
        keys = (key for block in self._fleet.esims.blocks.blocks for key in block.keys)
        return zip(self._admitted, keys, strict=True)

    def _mark(self, waiting: set[bytes]) -> None:
        """Put those that wait beside the others, and mark each as what it is."""
        fleet = self._fleet
        shown: list[Esim] = []
        over: list[Esim] = []
        for block in fleet.esims.taken_out():
            for esim in unpacked(block):
                tracked = key_of(esim.key) not in waiting
                (shown if tracked else over).append(esim._replace(tracked=tracked))
            _move(shown, fleet.esims, FULL)
            _move(over, fleet.over, FULL)
        _move(shown, fleet.esims, 1)
        _move(over, fleet.over, 1)


def _move(esims: list[Esim], to: CompactEsims, least: int) -> None:
    """Move eSIMs to their place, a multiple of ``least``."""
    count = len(esims) // least * least
    to.blocks.extend(packed(esims[:count], to.deadline).blocks)
    del esims[:count]
