"""Copies a fleet from one storage to another, and compares what both hold."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from exporter.errors import StorageDamaged, StorageError, StorageUnavailable
from exporter.exposition.exposition import Exposition, Format, Group
from exporter.exposition.families import InfoLabels
from exporter.fleet import process_memory
from exporter.fleet.aggregates import without_slots
from exporter.fleet.fleet import Policy
from exporter.fleet.loading import FleetLoader
from exporter.storage.contract import Chunk, Table
from exporter.vendors import registry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from exporter.storage.contract import Key

_STALE_AFTER = 9 * 3600.0
"""Seconds. Any value is right, because both texts are made with the same one."""

_NAMES = {
    Table.ESIM: "eSIMs",
    Table.TOMBSTONE: "tombstones",
    Table.PACKAGE: "packages",
    Table.PARTNER: "partner records",
    Table.FEED: "feeds",
    Table.REJECTED: "rejected deliveries",
}


class CopySource(Protocol):
    """The storage to copy from. It is only read."""

    def load(self) -> AsyncIterator[Chunk]:
        """Read everything, as it was at one moment. Damaged rows are reported and left out.

        Raises ``StorageUnavailable`` and ``StorageDamaged``.
        """
        ...

    async def changed_since_load(self) -> bool:
        """Return whether another process committed something since the load."""
        ...

    async def close(self) -> None:
        """Release the storage."""
        ...


class CopyTarget(Protocol):
    """The storage to copy to. It is empty at first.

    It is empty again after :meth:`close` if :meth:`keep` was not called or did not succeed.
    """

    keeps_slots: bool
    """Whether it stores the sums of expired eSIMs by slot, as shards need them."""

    async def write(self, chunk: Chunk) -> None:
        """Write rows that are all new, and add bases. Raises ``StorageUnavailable``."""
        ...

    def load(self) -> AsyncIterator[Chunk]:
        """Read back what was written. Raises ``StorageUnavailable`` and ``StorageDamaged``."""
        ...

    async def keep(self) -> None:
        """Make the copy visible to others, durably. Raises ``StorageUnavailable``."""
        ...

    async def close(self) -> None:
        """Release the storage. A second call does nothing."""
        ...


async def copy_fleet(
    source: CopySource,
    target: CopyTarget,
    now: float,
    *,
    without_damaged: bool,
    damage: Callable[[str], None],
    progress: Callable[[str, int], None],
) -> Contents:
    """Copy everything, read it back, compare both, and keep the copy; return its contents.

    The metrics of both are compared as of ``now``, unix seconds. ``damage`` is called with a line
    for each damaged row, ``progress`` with a word and the number of rows copied or compared.
    ``without_damaged`` leaves damaged rows out; without it they fail the copy.

    Raises ``StorageDamaged``, ``StorageUnavailable`` and ``StorageError``. The copy is then not
    kept. There is one exception: a PostgreSQL target whose final commit is cut off may keep it,
    and the message says so.
    """
    damaged = 0
    with process_memory.collector_paused():
        reader = ContentsReader(now)
        async for chunk in source.load():
            for line in chunk.damaged:
                damage(line)
                damaged += 1
            written = (
                chunk if target.keeps_slots else replace(chunk, bases=without_slots(chunk.bases))
            )
            await target.write(written)
            reader.take(chunk)
            progress("copied", reader.rows)
        if damaged and not without_damaged:
            raise StorageDamaged(
                "the source is damaged, nothing was copied: start the exporter on it once, which "
                "sets damaged rows aside, or use --without-damaged to leave them out"
            )
        expected = await reader.contents()
        reader = ContentsReader(now)  # frees the first: one fleet in memory at a time
        async for chunk in target.load():
            reader.take(chunk)
            progress("compared", reader.rows)
        found = await reader.contents()
    if found != expected:
        raise StorageError(f"the copy differs from the source and was discarded: it held {found}")
    if await source.changed_since_load():
        raise StorageUnavailable(
            "another process changed the source during the copy, so the copy was discarded: "
            "stop all exporters on the source first"
        )
    await target.keep()
    return found


@dataclass(frozen=True, slots=True)
class Contents:
    """What a storage holds."""

    counts: tuple[tuple[str, int], ...]
    """Names of kinds of rows and sums, each with its number."""
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
        self._sum = (self._sum + int.from_bytes(digest, "big")) % 2**256

    async def _text(self) -> str:
        exposition = Exposition(self._loader.finish(), InfoLabels(), _STALE_AFTER)
        for _ in exposition.refresh():
            await asyncio.sleep(0)  # lets a signal stop the copy
        scrape = exposition.scrape((Group.ESIMS, Group.FLEET), Format.TEXT, self._now)
        text = hashlib.sha256()
        for part in scrape.identity():
            text.update(part)
        return text.hexdigest()
