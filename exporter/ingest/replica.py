"""One of several processes on one storage: following what the others commit.

Following and committing are done one after the other, so that memory is always as the storage
was at one moment, with what was committed here since.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING

from exporter.model.events import StatusEvent, UsageEvent
from exporter.storage.contract import Table
from exporter.storage.stored_records import decode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from exporter.fleet.drafts import Fetched
    from exporter.fleet.fleet import Fleet
    from exporter.ingest.rejected_deliveries import RejectedDeliveries
    from exporter.model.events import Event
    from exporter.model.records import Record
    from exporter.storage.contract import Key, Row, SharedStorage

INTERVAL = 0.5
"""Seconds between looks at what others did, without a hint that they did something."""

_SOONEST = 0.05
"""Seconds between looks, with one."""

_SLICE = 200
"""Rows that are read before others may run."""


class Replica:
    """Follows a shared storage."""

    def __init__(self, storage: SharedStorage, wake: Callable[[], None]) -> None:
        """``wake`` is called when there seems to be something to follow."""
        self._storage = storage
        self._wake = wake
        self._hinted = False
        self._looked = 0.0
        self.followed = monotonic()
        """When memory was last known to have all of it, in seconds of :func:`time.monotonic`."""
        storage.on_change = self.hint

    @property
    def next_look(self) -> float:
        """Return when to look again, in seconds of :func:`time.monotonic`."""
        return self._looked + (_SOONEST if self._hinted else INTERVAL)

    @property
    def lag(self) -> float:
        """Return the seconds since memory was last known to have all of it."""
        return monotonic() - self.followed

    def hint(self) -> None:
        """Look soon."""
        self._hinted = True
        self._wake()

    async def follow(self, fleet: Fleet, rejections: RejectedDeliveries) -> bool:
        """Take over what others committed; return ``False`` where all must be loaded afresh.

        Raises ``StorageUnavailable``, and ``StorageDamaged`` for rows of a newer version.
        """
        self._looked = monotonic()
        self._hinted = False
        began = self._looked
        chunk = await self._storage.follow()
        if chunk is None:
            return False
        records: list[tuple[Row, Record | None]] = []
        rejected: list[Row] = []
        for at, row in enumerate(chunk.rows, 1):
            if row.table is Table.REJECTED:
                rejected.append(row)
            else:
                records.append((row, decode(row) if row.version else None))
            if not at % _SLICE:
                await asyncio.sleep(0)
        # All at once: an eSIM that expired is counted in the bases, or nowhere.
        fleet.absorb(records, chunk.bases)
        rejections.absorb(rejected)
        self.followed = began
        return True

    async def fetch(self, wanted: Iterable[tuple[Table, Key]]) -> Fetched:
        """Return records of other shards. Raises as :meth:`follow` does."""
        keys = list(wanted)
        found = {(row.table, row.key): decode(row) for row in await self._storage.fetch(keys)}
        return {key: found.get(key) for key in keys}


def needed(fleet: Fleet, events: Iterable[Event]) -> list[tuple[Table, Key]]:
    """Return what merging these events takes that is not in memory."""
    if fleet.shard is None or fleet.shard.whole:
        return []
    wanted: list[tuple[Table, Key]] = []
    for event in events:
        if isinstance(event, (UsageEvent, StatusEvent)):
            key = (event.vendor, event.esim_id)
            if not fleet.keeps(*key):
                wanted += [(Table.ESIM, key), (Table.TOMBSTONE, (*key, ""))]
                if isinstance(event, UsageEvent):
                    wanted.append((Table.TOMBSTONE, (*key, event.package_id)))
    return wanted
