"""A replica, one of several processes on a shared storage, takes over what the others commit.

Taking over and committing never overlap. So memory always equals the storage at one moment, plus
what this process has committed since.
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

    from exporter.errors import EventError
    from exporter.fleet.drafts import Fetched
    from exporter.fleet.fleet import Fleet
    from exporter.ingest.rejected_deliveries import RejectedDeliveries
    from exporter.model.events import Event
    from exporter.model.records import Record
    from exporter.storage.contract import Key, Row, SharedStorage

POLL_INTERVAL = 0.5
"""Seconds between two polls of the storage for commits of other replicas."""

_MIN_POLL_INTERVAL = 0.05
"""Seconds between two polls when the storage announces a commit of another replica."""

_ROWS_BETWEEN_PAUSES = 200
"""Rows that are decoded before other tasks may run."""


class Replica:
    """Follows a shared storage."""

    def __init__(self, storage: SharedStorage, wake: Callable[[], None]) -> None:
        """``wake`` is called when another replica seems to have committed something."""
        self._storage = storage
        self._wake = wake
        self._announced = False
        self._polled = 0.0
        self.followed = monotonic()
        """When memory was last known to be up to date, in seconds of :func:`time.monotonic`."""
        storage.on_change = self.poll_soon

    @property
    def next_poll(self) -> float:
        """Return when the next poll is due, in seconds of :func:`time.monotonic`."""
        return self._polled + (_MIN_POLL_INTERVAL if self._announced else POLL_INTERVAL)

    @property
    def lag(self) -> float:
        """Return the seconds since memory was last known to be up to date."""
        return monotonic() - self.followed

    def poll_soon(self) -> None:
        """Bring the next poll forward."""
        self._announced = True
        self._wake()

    async def follow(self, fleet: Fleet, rejected: RejectedDeliveries) -> bool:
        """Take over what others committed; return ``False`` if everything must be loaded again.

        Raises ``StorageUnavailable``. Raises ``StorageDamaged`` for rows that a newer version
        of the exporter wrote.
        """
        self._polled = began = monotonic()
        self._announced = False
        chunk = await self._storage.follow()
        if chunk is None:
            return False
        records: list[tuple[Row, Record | None]] = []
        rejected_rows: list[Row] = []
        for at, row in enumerate(chunk.rows, 1):
            if row.table is Table.REJECTED:
                rejected_rows.append(row)
            else:
                records.append((row, decode(row) if row.version else None))
            if not at % _ROWS_BETWEEN_PAUSES:
                await asyncio.sleep(0)
        # In one step without a pause: an allowance that expired leaves the fleet and enters the
        # bases at the same moment, so that no scrape counts it twice or not at all.
        fleet.absorb(records, chunk.bases)
        rejected.absorb(rejected_rows)
        self.followed = began
        return True

    async def fetch(self, wanted: Iterable[tuple[Table, Key]]) -> Fetched:
        """Return records of other shards. Raises ``StorageUnavailable`` and ``StorageDamaged``."""
        keys = list(wanted)
        found = {(row.table, row.key): decode(row) for row in await self._storage.fetch(keys)}
        return {key: found.get(key) for key in keys}


def rows_of_other_shards(
    fleet: Fleet, contents: Iterable[Event | EventError]
) -> list[tuple[Table, Key]]:
    """Return the rows that these deliveries may change and that are not in memory."""
    if fleet.shard is None or fleet.shard.is_only:
        return []
    wanted: list[tuple[Table, Key]] = []
    for event in contents:
        if isinstance(event, (UsageEvent, StatusEvent)):
            key = (event.vendor, event.esim_id)
            if not fleet.keeps(*key):
                wanted += [(Table.ESIM, key), (Table.TOMBSTONE, (*key, ""))]
                if isinstance(event, UsageEvent):
                    wanted.append((Table.TOMBSTONE, (*key, event.package_id)))
    return wanted
