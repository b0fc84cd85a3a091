"""Copies a fleet from one storage to another, and compares what both hold."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from exporter.copying.contents import ContentsReader
from exporter.errors import StorageDamaged, StorageError, StorageUnavailable
from exporter.fleet import process_memory
from exporter.fleet.aggregates import without_slots

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from exporter.copying.contents import Contents
    from exporter.storage.contract import Chunk


class CopySource(Protocol):
    """The storage to copy from. It is only read."""

    def load(self) -> AsyncIterator[Chunk]:
        """Read everything, as it was at one moment. Damaged rows are reported and left out.

        Raises ``StorageUnavailable`` and ``StorageDamaged``.
        """
        ...

    async def moved(self) -> bool:
        """Return whether another process committed something since the load."""
        ...

    async def close(self) -> None:
        """Release the storage."""
        ...


class CopyTarget(Protocol):
    """The storage to copy to. It is empty before.

    It is empty again after :meth:`close` if :meth:`keep` was not called or did not succeed.
    """

    slots: bool
    """Whether it stores the sums of expired eSIMs by slot, as shards need them."""

    async def write(self, chunk: Chunk) -> None:
        """Write rows that are all new, and add bases. Raises ``StorageUnavailable``."""
        ...

    def load(self) -> AsyncIterator[Chunk]:
        """Read back what was written. Raises as the source does."""
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
            written = chunk if target.slots else replace(chunk, bases=without_slots(chunk.bases))
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
    if await source.moved():
        raise StorageUnavailable(
            "another process changed the source during the copy, so the copy was discarded: "
            "stop all exporters on the source first"
        )
    await target.keep()
    return found
