"""Builds a fleet from stored rows, chunk by chunk, so that other tasks can run in between."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from exporter.fleet.blocks import FULL
from exporter.fleet.compact_store import pack_key, unpack_block
from exporter.fleet.fleet import Fleet
from exporter.model.records import Esim, Tombstone
from exporter.storage.contract import Table
from exporter.storage.stored_records import decode, decode_esims

if TYPE_CHECKING:
    from collections.abc import Iterator

    from exporter.fleet.admission import Admission
    from exporter.fleet.compact_store import CompactEsims
    from exporter.fleet.fleet import Policy
    from exporter.model.shards import Shard
    from exporter.storage.contract import Chunk, Row


class FleetLoader:
    """Builds a fleet. Most of a start is spent on reading eSIMs, so each is read only once."""

    def __init__(
        self, policy: Policy, vendors: tuple[str, ...], shard: Shard | None = None
    ) -> None:
        self._fleet = Fleet(policy, vendors, shard)
        self._admitted = array("Q")
        """The ``admitted`` number of each eSIM, in the order of the eSIMs' keys."""
        self._all_tracked = True
        """Whether all eSIMs are stored as eSIMs with series."""

    def take(self, chunk: Chunk) -> None:
        """Take over the rows and bases of a chunk. Chunks come in the order of their keys.

        Rejected deliveries are skipped. Raises ``StorageDamaged`` if a row has a layout that this
        version does not know.
        """
        fleet = self._fleet
        esims: list[Row] = []
        tombstones: list[Tombstone] = []
        for row in chunk.rows:
            if row.table is Table.ESIM:
                esims.append(row)
            elif row.table is not Table.REJECTED:
                record = decode(row)
                if isinstance(record, Tombstone):
                    tombstones.append(record)
                elif not isinstance(record, Esim):
                    fleet.put_register((row.table, *record.key), record)
        fleet.tombstones.extend(tombstones)
        fleet.totals.add_bases(chunk.bases)
        if esims:
            self._add(decode_esims(esims))

    def finish(self) -> Fleet:
        """Return the fleet. Up to the cap, eSIMs have series in the order of their admission.

        The stored flags are not used. An eSIM that loses its series to a lower cap keeps its flag
        in the storage. With that flag it would overtake others when the cap rises again.
        """
        fleet = self._fleet
        fleet.totals.begin(fleet.policy.max_packages, fleet.policy.max_locations)
        fleet.admission.last = max(self._admitted, default=0)
        cap = fleet.policy.max_esims or len(self._admitted)
        waiting = fleet.admission.begin(self._places, len(self._admitted), cap)
        if waiting or not self._all_tracked:
            self._separate(waiting)
        fleet.attention.begin()
        return fleet

    def _add(self, esims: list[Esim]) -> None:
        """Add eSIMs after those that were loaded before."""
        self._fleet.totals.add_many(esims)
        self._fleet.totals.count_out_of_data(self._fleet.attention.add_all(esims))
        self._fleet.esims.extend(esims)
        self._admitted.extend([esim.admitted for esim in esims])
        # A list takes half the time of a generator.
        self._all_tracked &= all([esim.tracked for esim in esims])  # noqa: C419  # see above

    def _places(self) -> Iterator[Admission]:
        """Yield each eSIM's place in the order of admission, sorted by the eSIMs' keys."""
        keys = (key for block in self._fleet.esims.blocks.blocks for key in block.keys)
        return zip(self._admitted, keys, strict=True)

    def _separate(self, waiting: set[bytes]) -> None:
        """Move the eSIMs that wait to those over the cap, and set the flag of every eSIM."""
        fleet = self._fleet
        shown: list[Esim] = []
        over_cap: list[Esim] = []
        for block in fleet.esims.take_all():
            for esim in unpack_block(block):
                tracked = pack_key(esim.key) not in waiting
                (shown if tracked else over_cap).append(esim._replace(tracked=tracked))
            _move(shown, fleet.esims, FULL)
            _move(over_cap, fleet.over_cap, FULL)
        _move(shown, fleet.esims, 1)
        _move(over_cap, fleet.over_cap, 1)


def _move(esims: list[Esim], to: CompactEsims, least: int) -> None:
    """Move eSIMs from the front of the list: the greatest multiple of ``least``."""
    count = len(esims) // least * least
    to.extend(esims[:count])
    del esims[:count]
