"""A storage in memory that keeps the promises of the interface, and breaks on demand."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from exporter.errors import StorageError, StorageUnavailable
from exporter.storage.contract import Changes, Chunk, Key, Row, Sizes, Table

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path


class MemoryStorage:
    def __init__(self) -> None:
        self.rows: dict[tuple[Table, Key], Row] = {}
        self.bases: dict[Key, int] = {}
        self.calls: list[str] = []
        self.gate = asyncio.Event()
        """Commits and backups wait until it is set."""
        self.gate.set()
        self.entered = asyncio.Event()
        """Set when a commit begins."""
        self.probed = asyncio.Event()
        """Set when a probe is made."""
        self.broken = False
        """Commits, probes and backups fail."""
        self.commits_all_the_same = False
        """A commit that fails has written its changes all the same, so its outcome is unknown."""
        self.load_faults: list[StorageError] = []
        """Raised by the next loads."""
        self.probe_says_reload = False
        self._failed = False

    def apply(self, changes: Changes) -> tuple[Row, ...]:
        """Write the changes, or return the rows that are not as expected."""
        found = {(c.table, c.key): self.rows.get((c.table, c.key)) for c in changes.rows}
        if len(found) != len(changes.rows):
            raise ValueError("a key is changed twice")
        conflicts = [
            row or Row(change.table, change.key, 0, b"")
            for change, row in zip(changes.rows, found.values(), strict=True)
            if (row.version if row else 0) != change.expected
        ]
        if conflicts:
            return tuple(conflicts)
        for change in changes.rows:
            at = (change.table, change.key)
            if change.data is None:
                del self.rows[at]
            else:
                self.rows[at] = Row(*at, change.expected + 1, change.data)
        for key, amount in changes.bases.items():
            self.bases[key] = self.bases.get(key, 0) + amount
        return ()

    def chunks(self) -> Iterator[Chunk]:
        """Yield the stored rows in the order of tables and keys, then the bases."""
        order = list(Table)
        at = sorted(self.rows, key=lambda at: (order.index(at[0]), at[1]))
        for start in range(0, len(at), 3):
            yield Chunk(tuple(self.rows[key] for key in at[start : start + 3]))
        yield Chunk(bases=dict(sorted(self.bases.items())))

    async def load(self) -> AsyncIterator[Chunk]:
        self.calls.append("load")
        if self.load_faults:
            raise self.load_faults.pop(0)
        for chunk in self.chunks():
            yield chunk

    async def commit(self, changes: Changes) -> tuple[Row, ...]:
        if self._failed:
            raise AssertionError("a commit was tried before a probe succeeded")
        self.calls.append("commit")
        self.entered.set()
        await self.gate.wait()
        if self.broken:
            self._failed = True
            if self.commits_all_the_same:
                self.apply(changes)
            raise StorageUnavailable("the disk is full")
        return self.apply(changes)

    async def probe(self) -> bool:
        self.calls.append("probe")
        self.probed.set()
        if self.broken:
            raise StorageUnavailable("the disk is still full")
        self._failed = False
        reload, self.probe_says_reload = self.probe_says_reload, False
        return reload

    async def backup(self, path: Path) -> None:
        self.calls.append("backup")
        await self.gate.wait()
        if self.broken:
            raise StorageUnavailable(f"cannot write {path.name}")

    def sizes(self) -> Sizes:
        return Sizes(0, 0)

    async def close(self) -> None:
        self.calls.append("close")
