"""Backups that people asked for. They are made between two commits, one at a time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from exporter.errors import StorageError, StorageUnavailable

if TYPE_CHECKING:
    from pathlib import Path

    from exporter.storage.contract import Storage


class Backups:
    """Backups that wait to be made, the one asked for first in front."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._waiting: list[tuple[Path, asyncio.Future[None]]] = []

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def ask_for(self, path: Path) -> asyncio.Future[None]:
        """Return a future that is done once a copy is at ``path``, or has failed.

        It fails with ``StorageError``.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((path, future))
        return future

    async def make_next(self) -> None:
        """Make the backup that waits longest, even if nobody waits for its end any more."""
        path, future = self._waiting[0]
        try:
            await self._storage.backup(path)
        except StorageError as error:
            if not future.done():
                future.set_exception(error)
        else:
            if not future.done():
                future.set_result(None)
        del self._waiting[0]

    def refuse_all(self, reason: str) -> None:
        """Let every backup that is not finished fail with ``StorageUnavailable``."""
        for _, future in self._waiting:
            if not future.done():
                future.set_exception(StorageUnavailable(reason))
        self._waiting.clear()
