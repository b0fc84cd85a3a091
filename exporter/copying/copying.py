"""Copying a fleet from one storage to another, and showing that it is the same fleet."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from exporter.copying.contents import Reading
from exporter.errors import StorageDamaged, StorageError, StorageUnavailable
from exporter.fleet import process_memory
from exporter.fleet.aggregates import without_slots

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from exporter.copying.contents import Contents
    from exporter.storage.contract import Chunk


class Source(Protocol):
    """What is copied from. It is only read."""

    def load(self) -> AsyncIterator[Chunk]:
        """Read everything as of one moment: see :meth:`exporter.storage.Storage.load`."""
        ...

    async def moved(self) -> bool:
        """Return whether something was committed since the load."""
        ...

    async def close(self) -> None:
        """Let go of it."""
        ...


class Target(Protocol):
    """What is copied to. It was empty, and is again when :meth:`keep` has not succeeded."""

    slots: bool
    """Whether bases are kept by slot."""

    async def write(self, chunk: Chunk) -> None:
        """Write rows, all of which are new, and add bases."""
        ...

    def load(self) -> AsyncIterator[Chunk]:
        """Read what was written."""
        ...

    async def keep(self) -> None:
        """Let it be there for others, durably."""
        ...

    async def close(self) -> None:
        """Let go of it; more than once does nothing."""
        ...


async def copy(
    source: Source,
    target: Target,
    now: float,
    *,
    without_damaged: bool,
    damage: Callable[[str], None],
    progress: Callable[[str, int], None],
) -> Contents:
    """Copy everything, read it back, compare, and keep it; return what it is.

    Both texts are those of ``now``, unix seconds. ``damage`` is told of what is damaged, which is
    left out where ``without_damaged`` says so, and ``progress`` how many rows were copied or
    compared. Raises ``StorageDamaged``, ``StorageUnavailable`` and ``StorageError``; nothing was
    kept then, unless what is raised says that nobody knows.
    """
    damaged = 0
    with process_memory.collector_paused():
        reading = Reading(now)
        async for chunk in source.load():
            for line in chunk.damaged:
                damage(line)
                damaged += 1
            # Slots as they are stored: shards count by them.
            kept = chunk if target.slots else replace(chunk, bases=without_slots(chunk.bases))
            await target.write(kept)
            reading.take(chunk)
            progress("copied", reading.rows)
        if damaged and not without_damaged:
            raise StorageDamaged(
                "the source is damaged, nothing was copied: let the exporter start on it, which "
                "sets aside what is damaged, or leave that out with --without-damaged"
            )
        expected = await reading.contents()
        reading = Reading(now)  # one fleet in memory at a time
        async for chunk in target.load():
            reading.take(chunk)
            progress("compared", reading.rows)
        found = await reading.contents()
    if found != expected:
        raise StorageError(f"the copy differs from the source, and is not kept: {found} is there")
    if await source.moved():
        raise StorageUnavailable(
            "something was committed to the source meanwhile, the copy is not kept: stop all "
            "exporters on it first"
        )
    await target.keep()
    return found
