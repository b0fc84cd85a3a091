"""What a storage holds, in a form in which two storages can be compared."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from exporter.exposition.exposition import Exposition, Format, Group
from exporter.exposition.families import InfoLabels
from exporter.fleet.aggregates import without_slots
from exporter.fleet.fleet import Policy
from exporter.fleet.loading import FleetLoader
from exporter.storage.contract import Chunk, Table
from exporter.vendors import registry

if TYPE_CHECKING:
    from exporter.storage.contract import Key

_MODULUS = 2**256
"""Sums of SHA-256 digests are taken modulo this."""

_STALE_AFTER = 9 * 3600.0
"""Seconds. Any value would do, because both texts are made with the same."""

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
    """Pairs of a name and the number of such rows or sums."""
    fingerprint: str
    """Hash of all rows and sums, in hex. Their order, versions and slots do not change it."""
    text: str
    """SHA-256 of the metrics of the groups ``esims`` and ``fleet``, in hex."""

    def __str__(self) -> str:
        """Return the counts as a line for people."""
        return ", ".join(f"{count} {name}" for name, count in self.counts)


class ContentsReader:
    """Collects the contents of a storage while it is loaded, chunk by chunk."""

    def __init__(self, now: float) -> None:
        """``now`` is the moment for which the metrics are made, unix seconds."""
        self._now = now
        # Without a cap, so that every stored eSIM is in the text.
        self._loader = FleetLoader(Policy(), registry.NAMES)
        self._counts = Counter[Table]()
        self._bases: dict[Key, int] = {}
        self._sum = 0

    @property
    def rows(self) -> int:
        """Return the number of rows taken so far."""
        return self._counts.total()

    def take(self, chunk: Chunk) -> None:
        """Add a chunk. Raises ``StorageDamaged`` for a row that this version cannot read."""
        for row in chunk.rows:
            self._counts[row.table] += 1
            self._add(row.table, *row.key, data=row.data)
        for key, amount in without_slots(chunk.bases).items():
            self._bases[key] = self._bases.get(key, 0) + amount
        self._loader.take(chunk)

    async def contents(self) -> Contents:
        """Return the contents. Call it once, after the last chunk."""
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
        self._sum = (self._sum + int.from_bytes(digest, "big")) % _MODULUS

    async def _text(self) -> str:
        exposition = Exposition(self._loader.finish(), InfoLabels(), _STALE_AFTER)
        for _ in exposition.refresh():
            await asyncio.sleep(0)  # lets a signal stop the copy
        scrape = exposition.scrape((Group.ESIMS, Group.FLEET), Format.TEXT, self._now)
        text = hashlib.sha256()
        for part in scrape.identity():
            text.update(part)
        return text.hexdigest()
