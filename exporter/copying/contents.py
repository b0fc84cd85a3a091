"""What a storage holds, in a form that two of them can be compared by."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from exporter.exposition.exposition import Exposition, Format, Group
from exporter.exposition.info_labels import InfoLabels
from exporter.fleet.aggregates import without_slots
from exporter.fleet.fleet import Policy
from exporter.fleet.loading import FleetLoader
from exporter.storage.contract import Chunk, Table
from exporter.vendors import registry

if TYPE_CHECKING:
    from exporter.storage.contract import Key

_SIZE = 2**256
"""Of the sums of SHA-256 digests."""

_STALE_AFTER = 9 * 3600.0
"""Seconds; any would do, as long as both texts are made with it."""

_NAMES = {
    Table.ESIM: "eSIMs",
    Table.TOMBSTONE: "tombstones",
    Table.PACKAGE: "packages",
    Table.PARTNER: "partner registers",
    Table.FEED: "feeds",
    Table.REJECTED: "rejected deliveries",
}


@dataclass(frozen=True, slots=True)
class Contents:
    """What a storage holds."""

    counts: tuple[tuple[str, int], ...]
    """How much of what."""
    fingerprint: str
    """Of all rows and sums, whatever their order, versions and slots: the same for every storage
    that holds the same."""
    text: str
    """SHA-256 of the groups ``esims`` and ``fleet``, in hex."""

    def __str__(self) -> str:
        """Return how much it is in words."""
        return ", ".join(f"{count} {name}" for name, count in self.counts)


class Reading:
    """Takes in what is loaded of a storage, chunk by chunk."""

    def __init__(self, now: float) -> None:
        """``now`` is the moment of the text, unix seconds."""
        self._now = now
        # Without a cap: all that is stored has a text.
        self._restoration = FleetLoader(Policy(), registry.NAMES)
        self._counts = Counter[Table]()
        self._bases: dict[Key, int] = {}
        self._sum = 0

    @property
    def rows(self) -> int:
        """Return how many rows there were so far."""
        return self._counts.total()

    def take(self, chunk: Chunk) -> None:
        """Take a chunk. Raises ``StorageDamaged`` for a row that this version cannot read."""
        for row in chunk.rows:
            self._counts[row.table] += 1
            self._add(row.table, *row.key, data=row.data)
        for key, amount in without_slots(chunk.bases).items():
            self._bases[key] = self._bases.get(key, 0) + amount
        self._restoration.take(chunk)

    async def contents(self) -> Contents:
        """Return what it all was, once there is no more."""
        for key, amount in self._bases.items():
            self._add("base", *key, data=str(amount).encode())
        counts = [(name, self._counts[table]) for table, name in _NAMES.items()]
        return Contents(
            (*counts, ("sums of what has expired", len(self._bases))),
            f"{self._sum:064x}",
            await self._text(),
        )

    def _add(self, *parts: str, data: bytes) -> None:
        framed = "".join([f"{len(part)}:{part}" for part in parts])
        digest = hashlib.sha256(f"{framed}\n".encode() + data).digest()
        self._sum = (self._sum + int.from_bytes(digest, "big")) % _SIZE

    async def _text(self) -> str:
        exposition = Exposition(self._restoration.finish(), InfoLabels(), _STALE_AFTER)
        for _ in exposition.refresh():
            await asyncio.sleep(0)  # whoever wants to stop it can
        scrape = exposition.scrape((Group.ESIMS, Group.FLEET), Format.TEXT, self._now)
        text = hashlib.sha256()
        for part in scrape.identity():
            text.update(part)
        return text.hexdigest()
