"""A SQLite file that a fleet is copied from, and one that it is copied to."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Self

from exporter.errors import StorageUnavailable
from exporter.storage.contract import Change, Changes, Chunk
from exporter.storage.sqlite import acknowledged, wal
from exporter.storage.sqlite.connection import (
    HEADER_SIZE,
    LOCK_LENGTH,
    LOCK_START,
    identify,
    in_use,
    require_known_schema,
    sync,
    told,
)
from exporter.storage.sqlite.reading import read
from exporter.storage.sqlite.storage import SqliteStorage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from io import FileIO


class SqliteSource:
    """A ``CopySource``: a file that nobody writes meanwhile, this one neither."""

    def __init__(self, path: Path) -> None:
        """Open the file, and keep an exporter from using it.

        Raises ``StorageLocked`` where one does, ``StorageUnavailable`` where there is none or its
        log is not written back, and ``StorageDamaged`` where it is no storage.
        """
        self._path = path = Path(os.path.realpath(path))
        try:
            self._file = path.open("rb", buffering=0)
        except OSError as error:
            raise StorageUnavailable(f"{path} cannot be read: {error.strerror}") from None
        try:
            self._connection = _opened(path, self._file)
        except BaseException:
            self._file.close()
            raise

    async def load(self) -> AsyncIterator[Chunk]:
        """Read everything; what is damaged is reported each time, and stays where it is."""
        lost = acknowledged.lost(self._path, wal.Log())
        if lost:
            yield Chunk(damaged=(lost,))
        try:
            for chunk in read(self._connection, set_aside=False):
                yield chunk
        except sqlite3.Error as error:
            raise told(error, self._path) from error

    async def moved(self) -> bool:
        """Return ``False``: it is locked."""
        return False

    async def close(self) -> None:
        """Let go of the file."""
        self._connection.close()
        self._file.close()


def _opened(path: Path, file: FileIO) -> sqlite3.Connection:
    """Lock the file and return a connection that writes nothing, not even beside it."""
    try:
        # As SQLite's readers do: it keeps writers away, and needs no right to write.
        fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB, LOCK_LENGTH, LOCK_START)
    except BlockingIOError:
        raise in_use(path) from None
    log = wal.beside(path)
    head = file.read(HEADER_SIZE)
    identify(path, head, log)
    if not head:
        raise StorageUnavailable(f"{path} is empty: there is no fleet in it")
    if any(_size(beside) for beside in (log, _journal(path))):
        raise StorageUnavailable(
            f"{path} was not closed, and {log.name} holds what it lacks: start the exporter on it "
            "once more and stop it"
        )
    # Immutable: SQLite would make a log and an index of it otherwise.
    uri = f"{path.as_uri()}?mode=ro&immutable=1"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None)
    try:
        require_known_schema(connection, path)
    except sqlite3.Error as error:
        connection.close()
        raise told(error, path) from error
    except BaseException:
        connection.close()
        raise
    connection.text_factory = bytes
    return connection


class SqliteTarget:
    """A ``CopyTarget``: a file that has its name when all is in it."""

    slots = False

    def __init__(self, path: Path, partial: Path, storage: SqliteStorage) -> None:
        self._path = path
        self._partial = partial
        self._storage = storage

    @classmethod
    async def open(cls, path: Path) -> Self:
        """Begin a new file. Raises ``StorageUnavailable``, also where there is one already."""
        path, partial = _unused(path)
        try:
            storage = await SqliteStorage.open(partial)
        except BaseException:
            _remove(partial)
            raise
        return cls(path, partial, storage)

    async def write(self, chunk: Chunk) -> None:
        """Write rows that are not there yet, and add bases."""
        changes = [Change(row.table, row.key, 0, row.data) for row in chunk.rows]
        await self._storage.commit(Changes(tuple(changes), chunk.bases))

    def load(self) -> AsyncIterator[Chunk]:
        """Read everything that was written."""
        return self._storage.load()

    async def keep(self) -> None:
        """Give the file its name, durably. Raises ``StorageUnavailable``."""
        await self._storage.close()
        if _size(wal.beside(self._partial)):
            raise StorageUnavailable(f"{self._partial} cannot be written to its end")
        try:
            self._partial.rename(self._path)
            sync(self._path.parent)
        except OSError as error:
            raise StorageUnavailable(f"{self._path}: {error.strerror}") from error

    async def close(self) -> None:
        """Let go of it, and leave nothing behind that was not kept."""
        await self._storage.close()
        _remove(self._partial)


def _unused(path: Path) -> tuple[Path, Path]:
    """Return the full path of a new file, and of the one that it is made as."""
    path = Path(os.path.realpath(path))
    partial = path.with_name(f"{path.name}-copying")
    for there in (path, wal.beside(path), acknowledged.beside(path), _journal(path)):
        if there.exists():
            raise StorageUnavailable(f"{there} is there already: copy to a file that is not")
    if partial.exists():
        raise StorageUnavailable(
            f"{partial} is there: another copy is under way, or was killed; remove it then"
        )
    return path, partial


def _remove(path: Path) -> None:
    for each in (path, wal.beside(path), acknowledged.beside(path)):
        each.unlink(missing_ok=True)


def _journal(path: Path) -> Path:
    return path.with_name(f"{path.name}-journal")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
