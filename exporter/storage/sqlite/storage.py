"""Durable storage in one SQLite file, for one process.

One thread, the writer, owns the only connection. A commit is synced before it returns. After a
failed commit, all commits are refused until a probe has written something durably.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from exporter.errors import StorageDamaged, StorageError, StorageUnavailable
from exporter.storage.contract import Chunk, Sizes
from exporter.storage.shutdown import close_or_abandon
from exporter.storage.sqlite import wal
from exporter.storage.sqlite.backup import write_backup
from exporter.storage.sqlite.connection import (
    LOG_LIMIT,
    checkpoint,
    connect,
    storage_error,
    sync,
    write_durably,
    write_stamp,
)
from exporter.storage.sqlite.last_acknowledged import AcknowledgedNote
from exporter.storage.sqlite.open_files import OpenFiles
from exporter.storage.sqlite.reading import read
from exporter.storage.sqlite.stamp import NO_COMMIT
from exporter.storage.sqlite.writing import write

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator
    from concurrent.futures import Future

    from exporter.storage.contract import Changes, Row
    from exporter.storage.sqlite.connection import StampedConnection

T = TypeVar("T")

_MANY_ROWS = 8
_LOOP_WAIT = 0.002
"""Seconds for which the event loop waits, at most, while a commit of many rows is handed to SQLite.
Without the wait, the loop and the writer would exchange the interpreter's lock at each row, which
takes longer than the row itself."""


class SqliteStorage:
    """Implements :class:`exporter.storage.contract.Storage`. Created by :meth:`open`."""

    def __init__(self, path: Path) -> None:
        # SQLite resolves links too: the log is beside the file that a link points to.
        self._path = Path(os.path.realpath(path))
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="storage")
        self._closing: asyncio.Future[None] | None = None
        # Only the writer thread uses the fields below.
        self._connection: StampedConnection | None = None
        self._files: OpenFiles
        """Those of the connection, or of the last one."""
        self._acknowledged = NO_COMMIT
        """The last acknowledged commit when the connection was opened."""
        self._reader: Generator[Chunk, None, None] | None = None
        self._note = AcknowledgedNote(self._path)
        self._notes: tuple[str, ...] = ()
        self._damage: tuple[str, ...] = ()
        self._fault: str | None = None
        """Why commits are refused; ``None`` when they are accepted."""
        self._suspect = False
        """Whether the files may differ from what SQLite holds in memory."""

    @classmethod
    async def open(cls, path: Path) -> SqliteStorage:
        """Open the file at ``path`` and lock it; create it if it does not exist.

        Raises ``StorageLocked`` when another process uses the file, ``StorageDamaged`` when a
        person must repair it, and ``StorageUnavailable`` when it cannot be opened. A file that can
        be read but not written, for example on a full disk, is opened: commits then fail until a
        probe succeeds. The process must not have the same file open already.
        """
        storage = cls(path)
        try:
            await storage._run(storage._start)
        except BaseException:
            await close_or_abandon(storage)
            raise
        return storage

    async def load(self) -> AsyncIterator[Chunk]:
        """Read everything, in chunks. A new load ends a load that still runs."""
        await self._run(self._start_reading)
        try:
            while chunk := await self._run(self._next_chunk):
                yield chunk
        finally:
            if self._closing is None:
                await self._run(self._stop_reading)

    async def commit(self, changes: Changes) -> tuple[Row, ...]:
        """Write all changes and sync them, or return the rows that have another version.

        The commit goes on when the caller is cancelled.
        """
        handed_over = threading.Event()
        done = self._submit(self._commit, changes, handed_over)
        if len(changes.rows) >= _MANY_ROWS:
            handed_over.wait(_LOOP_WAIT)
        return await asyncio.shield(asyncio.wrap_future(done))

    async def probe(self) -> bool:
        """Try to write again; return whether all rows must be loaded again."""
        return await self._run(self._probe)

    async def backup(self, path: Path) -> None:
        """Write a synced copy to ``path``, which opens without a log. Commits wait for it.

        Raises ``StorageUnavailable``, also when ``path`` exists. Nothing is left behind then.
        """
        await self._run(self._backup, path)

    def sizes(self) -> Sizes:
        """Return bytes on disk now, or zeros if they cannot be read."""
        return Sizes(_size(self._path), _size(wal.log_path(self._path)))

    async def close(self) -> None:
        """Finish the running commit, write the log back, and unlock the file.

        A second call only waits for the first.
        """
        if self._closing is None:
            self._closing = asyncio.wrap_future(self._writer.submit(self._close))
        await asyncio.shield(self._closing)

    async def _run(self, function: Callable[..., T], *args: object) -> T:
        """Run in the writer thread, to the end, even if the caller is cancelled."""
        return await asyncio.shield(asyncio.wrap_future(self._submit(function, *args)))

    def _submit(self, function: Callable[..., T], *args: object) -> Future[T]:
        if self._closing is not None:
            raise StorageUnavailable(f"{self._path} is closed")
        return self._writer.submit(function, *args)

    def _start(self) -> None:
        self._connect()
        try:
            self._begin()
        except (sqlite3.Error, OSError) as error:
            self._raise_damage(error)
            self._fail(error)
            self._suspect = True  # a probe must begin again

    def _connect(self) -> None:
        opened = connect(self._path)
        self._connection, self._acknowledged = opened.connection, opened.acknowledged
        self._files = OpenFiles(self._path, opened)
        self._notes += opened.findings.notes
        self._damage += opened.findings.damaged

    def _begin(self) -> None:
        """Empty the log, and give the file a new identity that no older log or copy has."""
        connection = self._connected()
        checkpoint(connection, "TRUNCATE")
        self._note.start(self._acknowledged)
        # SQLite syncs the folder for a new log too, but ignores errors. A power cut could then
        # bring back the previous log, and all commits in the new one would be lost.
        sync(self._path.parent)
        write_stamp(connection, connection.stamp.started())
        checkpoint(connection, "TRUNCATE")
        self._files.remember()

    def _connected(self) -> StampedConnection:
        if self._connection is None:
            raise StorageUnavailable(self._fault or f"{self._path} is not open")
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
            self._files.close()
        self._note.close()

    def _close(self) -> None:
        self._stop_reading()
        if self._connection is not None:
            # If the log cannot be written back, the next start reads it.
            with contextlib.suppress(sqlite3.Error, OSError):
                self._write_back(self._connection)
        self._disconnect()
        self._writer.shutdown(wait=False)

    def _write_back(self, connection: StampedConnection) -> None:
        try:
            self._files.check()
        except StorageUnavailable:
            self._files.keep_during(connection.close)
            return
        if self._suspect:
            wal.rewrite(wal.log_path(self._path))
        if not self._fault:
            write_stamp(connection, connection.stamp.closed())
        checkpoint(connection, "TRUNCATE")
        self._note.finish()

    def _start_reading(self) -> None:
        self._stop_reading()
        self._reader = self._chunks(self._connected())

    def _chunks(self, connection: StampedConnection) -> Generator[Chunk, None, None]:
        if self._notes or self._damage:
            yield Chunk(notes=self._notes, damaged=self._damage)
            self._notes = self._damage = ()
        yield from read(connection)

    def _next_chunk(self) -> Chunk | None:
        if self._reader is None:
            return None
        try:
            chunk = next(self._reader, None)
        except sqlite3.Error as error:
            self._raise_damage(error)
            raise self._fail(error) from error
        self._check_files(self._files.check_commit)  # damaged rows may have been set aside
        return chunk

    def _stop_reading(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _commit(self, changes: Changes, handed_over: threading.Event) -> tuple[Row, ...]:
        try:
            if self._fault:
                raise StorageUnavailable(self._fault)
            connection = self._connected()
            self._check_files(self._files.check)
            conflicts = write(connection, changes, handed_over.set)
            self._check_files(self._files.check_commit)
        except (sqlite3.Error, MemoryError, StorageDamaged) as error:
            raise self._fail(error) from error
        finally:
            handed_over.set()
        self._note.record(connection.stamp.newest)
        if self._files.log_size > LOG_LIMIT:
            # A separate job, so that the commit returns first.
            self._writer.submit(self._shrink_log)
        return conflicts

    def _shrink_log(self) -> None:
        if self._connection is None or self._fault:
            return
        try:
            self._check_files(self._files.check)
            checkpoint(self._connection, "PASSIVE")
            self._files.remember()
        except sqlite3.Error as error:
            self._fail(error)
        except StorageUnavailable:
            pass  # the next commit says it

    def _raise_damage(self, error: Exception) -> None:
        raised = storage_error(error, self._path)
        if isinstance(raised, StorageDamaged):
            raise raised from error

    def _fail(self, error: Exception) -> StorageUnavailable:
        """Refuse commits from now on, and decide whether the files can still be trusted.

        A full disk stops a transaction before its last frame. If SQLite rolled it back, nothing
        has happened. After any other error the outcome is unknown: the memory of SQLite may
        differ from the files, and the files from the disk.
        """
        full = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL
        if not full or self._connected().in_transaction:
            self._suspect = True
        self._files.remember()  # a part may have been written
        self._fault = f"{self._path} cannot be written: {error or type(error).__name__}"
        if isinstance(raised := storage_error(error, self._path), StorageDamaged):
            self._fault = str(raised)
        return StorageUnavailable(self._fault)

    def _check_files(self, check: Callable[[], None]) -> None:
        try:
            check()
        except StorageUnavailable as error:
            self._suspect, self._fault = True, str(error)
            raise

    def _probe(self) -> bool:
        try:
            if self._connection is not None:
                self._check_files(self._files.check)
            if self._suspect:
                # After a failed sync, the log may be in the kernel's memory only. It must be on
                # the disk before closing writes it back. Once the log is empty again, everything
                # that can be read is in the database file, and synced.
                wal.rewrite(wal.log_path(self._path))
                self._stop_reading()
                self._disconnect()
                self._connect()
                self._begin()
            else:
                checkpoint(self._connected(), "PASSIVE")
            write_durably(self._connected())
            self._files.remember()
        except StorageError as error:
            self._fault = str(error)
            raise StorageUnavailable(self._fault) from error
        except (sqlite3.Error, MemoryError, OSError) as error:
            raise self._fail(error) from error
        reload, self._suspect, self._fault = self._suspect, False, None
        return reload

    def _backup(self, path: Path) -> None:
        connection = self._connected()
        self._check_files(self._files.check)
        write_backup(connection, path)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
