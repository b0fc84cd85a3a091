"""A SQLite file as the source, and as the target, of ``esim-exporter storage copy``."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Self

from exporter.errors import StorageUnavailable
from exporter.storage.contract import Change, Changes, Chunk
from exporter.storage.sqlite import wal
from exporter.storage.sqlite.connection import (
    SCHEMA_ERRORS,
    StampedConnection,
    require_known_schema,
    require_own_tables,
    storage_error,
    sync,
)
from exporter.storage.sqlite.history import compare
from exporter.storage.sqlite.inspection import (
    LOCK_LENGTH,
    LOCK_START,
    in_use,
    require_own_file,
)
from exporter.storage.sqlite.journal import journal_path
from exporter.storage.sqlite.last_acknowledged import last_acknowledged, note_path
from exporter.storage.sqlite.reading import read
from exporter.storage.sqlite.schema import SCHEMA_VERSION
from exporter.storage.sqlite.storage import SqliteStorage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from io import FileIO


class SqliteSource:
    """A ``CopySource``: a file that is locked and only read."""

    def __init__(self, path: Path) -> None:
        """Open the file and lock it, so that no exporter can use it.

        Raises ``StorageLocked`` if an exporter uses it. Raises ``StorageUnavailable`` if there is
        no file or its log is not written back, and ``StorageDamaged`` if another program wrote
        the file.
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
        """Read everything. Damaged rows are reported and stay where they are."""
        try:
            acknowledged = last_acknowledged(self._path)
            history = compare(self._connection, self._path, acknowledged, None)
            if history.damaged:
                yield Chunk(damaged=history.damaged)
            for chunk in read(self._connection, set_aside=False):
                yield chunk
        except SCHEMA_ERRORS as error:
            raise storage_error(error, self._path) from error

    async def changed_since_load(self) -> bool:
        """Return ``False``: nothing can change in a locked file."""
        return False

    async def close(self) -> None:
        """Close the file, which also unlocks it."""
        self._connection.close()
        self._file.close()


def _opened(path: Path, file: FileIO) -> StampedConnection:
    """Lock the file and return a connection that writes to no file."""
    try:
        # The lock of SQLite's readers. It excludes writers and needs no permission to write.
        fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB, LOCK_LENGTH, LOCK_START)
    except BlockingIOError:
        raise in_use(path) from None
    log = wal.log_path(path)
    if not require_own_file(path, file):
        raise StorageUnavailable(f"{path} is empty: it holds no fleet")
    if any(_size(file) for file in (log, journal_path(path))):
        raise StorageUnavailable(
            f"{path} was not closed properly, {log.name} holds changes that are not in it: start "
            "the exporter on it and stop it, then copy again"
        )
    # Without immutable, SQLite would create a log and an index for it.
    uri = f"{path.as_uri()}?mode=ro&immutable=1"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, factory=StampedConnection)
    try:
        _require_current_schema(connection, path)
    except SCHEMA_ERRORS as error:
        connection.close()
        raise storage_error(error, path) from error
    except BaseException:
        connection.close()
        raise
    connection.text_factory = bytes
    return connection


def _require_current_schema(connection: StampedConnection, path: Path) -> None:
    if require_known_schema(connection, path) < SCHEMA_VERSION:
        raise StorageUnavailable(
            f"{path} was written by an older version: start the exporter on it and stop it, then "
            "copy again"
        )
    require_own_tables(connection, path)


class SqliteTarget:
    """A ``CopyTarget``: a file that gets its name when the copy is complete."""

    keeps_slots = False

    def __init__(self, path: Path, partial: Path, storage: SqliteStorage) -> None:
        self._path = path
        self._partial = partial
        self._storage = storage

    @classmethod
    async def open(cls, path: Path) -> Self:
        """Create the file. Raises ``StorageUnavailable``, also if it exists already."""
        path, partial = _new_file(path)
        try:
            storage = await SqliteStorage.open(partial)
        except BaseException:
            _remove(partial)
            raise
        return cls(path, partial, storage)

    async def write(self, chunk: Chunk) -> None:
        """Write rows, all of them new, and add bases."""
        changes = [Change(row.table, row.key, 0, row.data) for row in chunk.rows]
        await self._storage.commit(Changes(tuple(changes), chunk.bases))

    def load(self) -> AsyncIterator[Chunk]:
        """Read everything that was written."""
        return self._storage.load()

    async def keep(self) -> None:
        """Give the file its final name, durably. Raises ``StorageUnavailable``."""
        await self._storage.close()
        if _size(wal.log_path(self._partial)):
            raise StorageUnavailable(
                f"{self._partial} cannot be completed: its log was not written back"
            )
        try:
            self._partial.rename(self._path)
            try:
                sync(self._path.parent)
            except OSError:
                self._path.rename(self._partial)  # so that close() removes it
                raise
        except OSError as error:
            raise StorageUnavailable(f"{self._path}: {error.strerror}") from error

    async def close(self) -> None:
        """Close the file, and remove it unless :meth:`keep` succeeded."""
        await self._storage.close()
        _remove(self._partial)


def _new_file(path: Path) -> tuple[Path, Path]:
    """Return the full path of a new file, and the path under which it is written."""
    path = Path(os.path.realpath(path))
    partial = path.with_name(f"{path.name}-copying")
    for file in (path, *_side_files(path), journal_path(path)):
        if file.exists():
            raise StorageUnavailable(f"{file} exists already: copy to a new file")
    if partial.exists():
        raise StorageUnavailable(
            f"{partial} exists: another copy is running, or one was killed; if none is running, "
            "remove the file"
        )
    return path, partial


def _remove(path: Path) -> None:
    for file in (path, *_side_files(path)):
        file.unlink(missing_ok=True)


def _side_files(path: Path) -> tuple[Path, Path]:
    return wal.log_path(path), note_path(path)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
