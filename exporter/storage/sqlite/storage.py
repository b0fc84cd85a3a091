"""Durable storage in one SQLite file, for one process.

One thread owns the only connection. A commit is synced before it returns; after one that
failed nothing is tried until a probe has written something durably again.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from exporter.errors import StorageDamaged, StorageError, StorageUnavailable
from exporter.storage.contract import Chunk, Sizes
from exporter.storage.shutdown import close_in_time
from exporter.storage.sqlite import wal
from exporter.storage.sqlite.acknowledged import AcknowledgedEnd
from exporter.storage.sqlite.connection import (
    LOG_LIMIT,
    checkpoint,
    connect,
    sync,
    told,
    write_durably,
)
from exporter.storage.sqlite.reading import read
from exporter.storage.sqlite.writing import write

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator
    from concurrent.futures import Future

    from exporter.storage.contract import Changes, Row

T = TypeVar("T")

_MANY = 8
_STANDSTILL = 0.002
"""Seconds that the event loop stands still, at most, while so many rows are given to SQLite, before
they are written to the disk. Else it and the thread would hand the interpreter to each other with
each row, which takes longer than the row."""


class SqliteStorage:
    """A :class:`exporter.storage.Storage`; :meth:`open` makes one."""

    def __init__(self, path: Path) -> None:
        # Resolved, as SQLite does to find the log of a link's target.
        self._path = Path(os.path.realpath(path))
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="storage")
        self._closing: asyncio.Future[None] | None = None
        # From here on, all belongs to the writer thread.
        self._connection: sqlite3.Connection | None = None
        self._reader: Generator[Chunk, None, None] | None = None
        self._mark = AcknowledgedEnd(self._path)
        self._notes: tuple[str, ...] = ()
        self._damage: tuple[str, ...] = ()
        self._fault: str | None = None
        self._suspect = False
        self._identities: dict[Path, tuple[int, int]] = {}
        """Device and inode of the files that are open."""

    @classmethod
    async def open(cls, path: Path) -> SqliteStorage:
        """Open the storage at ``path``, made if it is not there, and lock it.

        Raises ``StorageLocked`` when another process holds it, ``StorageDamaged`` when a person
        has to look at it, and ``StorageUnavailable`` when it cannot be opened. Where it can be
        read but not written, say on a full disk, it opens, and commits fail until a probe
        succeeds. The process must not hold the same file already.
        """
        storage = cls(path)
        try:
            await storage._run(storage._start)
        except BaseException:
            await close_in_time(storage)
            raise
        return storage

    async def load(self) -> AsyncIterator[Chunk]:
        """Read everything: see :meth:`exporter.storage.Storage.load`."""
        await self._run(self._start_reading)
        try:
            while chunk := await self._run(self._next_chunk):
                yield chunk
        finally:
            if self._closing is None:
                await self._run(self._stop_reading)

    async def commit(self, changes: Changes) -> tuple[Row, ...]:
        """Write all changes or none: see :meth:`exporter.storage.Storage.commit`.

        A caller that is cancelled does not stop it. Raises ``ValueError`` for a key that is
        changed twice or does not fit its table.
        """
        prepared = threading.Event()
        done = self._submitted(self._commit, changes, prepared)
        if len(changes.rows) >= _MANY:
            prepared.wait(_STANDSTILL)
        return await asyncio.shield(asyncio.wrap_future(done))

    async def probe(self) -> bool:
        """Try to write again: see :meth:`exporter.storage.Storage.probe`."""
        return await self._run(self._probe)

    async def backup(self, path: Path) -> None:
        """Write a copy to ``path``, synced, that opens by itself; commits wait meanwhile.

        It has another name, with ``.part``, until it is whole. Raises ``StorageUnavailable``,
        also when ``path`` exists; nothing is left there.
        """
        await self._run(self._backup, path)

    def sizes(self) -> Sizes:
        """Return bytes on disk now; zeros where they cannot be read."""
        return Sizes(_size(self._path), _size(wal.beside(self._path)))

    async def close(self) -> None:
        """Finish what is under way, write the log back, and let go; once more does nothing."""
        if self._closing is None:
            self._closing = asyncio.wrap_future(self._writer.submit(self._close))
        await asyncio.shield(self._closing)

    async def _run(self, function: Callable[..., T], *args: object) -> T:
        """Run in the writer thread, to the end even if the caller is cancelled."""
        return await asyncio.shield(asyncio.wrap_future(self._submitted(function, *args)))

    def _submitted(self, function: Callable[..., T], *args: object) -> Future[T]:
        if self._closing is not None:
            raise StorageUnavailable(f"{self._path} is closed")
        return self._writer.submit(function, *args)

    def _start(self) -> None:
        self._connect()
        try:
            self._empty_log()
        except (sqlite3.Error, OSError) as error:
            self._fail(error)

    def _connect(self) -> None:
        self._connection, found = connect(self._path)
        self._learn_files()
        self._notes += found.notes
        self._damage += found.damaged

    def _empty_log(self) -> None:
        self._mark.take_back()
        checkpoint(self._connected(), "TRUNCATE")
        # SQLite does that too for a new log, but does not look whether it worked: a power cut
        # would bring back the log before, and lose all that was written to this one.
        sync(self._path.parent)
        self._mark.follow()

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            raise StorageUnavailable(self._fault or f"{self._path} is not open")
        return self._connection

    def _disconnect(self) -> None:
        self._stop_reading()
        if self._connection is not None:
            self._mark.remove()  # SQLite empties the log where it can
            self._connection.close()
            self._connection = None
            self._identities.pop(wal.beside(self._path), None)  # SQLite removes an empty log

    def _close(self) -> None:
        if self._connection is not None:
            self._stop_reading()
            # What cannot be written back stays in the log, which the next start reads.
            with contextlib.suppress(sqlite3.Error, OSError):
                if self._suspect:
                    wal.rewrite(wal.beside(self._path))
                self._empty_log()
        self._disconnect()
        self._writer.shutdown(wait=False)

    def _start_reading(self) -> None:
        self._stop_reading()
        self._reader = self._chunks(self._connected())

    def _chunks(self, connection: sqlite3.Connection) -> Generator[Chunk, None, None]:
        if self._notes or self._damage:
            yield Chunk(notes=self._notes, damaged=self._damage)
            self._notes = self._damage = ()
        yield from read(connection)

    def _next_chunk(self) -> Chunk | None:
        if self._reader is None:
            return None
        try:
            return next(self._reader, None)
        except sqlite3.Error as error:
            raised = told(error, self._path)
            if isinstance(raised, StorageDamaged):
                raise raised from error
            raise self._fail(error) from error

    def _stop_reading(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _commit(self, changes: Changes, prepared: threading.Event) -> tuple[Row, ...]:
        try:
            if self._fault:
                raise StorageUnavailable(self._fault)
            self._check_files()
            conflicts = write(self._connected(), changes, prepared.set)
        except (sqlite3.Error, MemoryError, StorageDamaged) as error:
            raise self._fail(error) from error
        finally:
            prepared.set()
        self._mark.advance()
        self._learn_files()
        if _size(wal.beside(self._path)) > LOG_LIMIT:
            # After the answer, which need not wait for it.
            self._writer.submit(self._shrink_log)
        return conflicts

    def _shrink_log(self) -> None:
        if self._connection is None or self._fault:
            return
        try:
            checkpoint(self._connection, "PASSIVE")
        except sqlite3.Error as error:
            self._fail(error)

    def _fail(self, error: Exception) -> StorageUnavailable:
        """Refuse commits from now on; decide how much is to be mistrusted.

        A full disk stops a write before the frame that would commit it, so where it was rolled
        back nothing has happened. After any other error the outcome is unknown: what SQLite
        holds in memory may differ from its files, and the files from the disk.
        """
        full = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL
        if not full or self._connected().in_transaction:
            self._suspect = True
        self._fault = f"{self._path} cannot be written: {error or type(error).__name__}"
        return StorageUnavailable(self._fault)

    def _check_files(self) -> None:
        """Raise ``StorageUnavailable`` where the files are no longer those that are open.

        SQLite would go on writing to files that nobody can find any more.
        """
        for path in (self._path, wal.beside(self._path)):
            identity = _identity(path)
            if self._identities.get(path, identity) != identity:
                self._suspect = True
                self._fault = (
                    f"{path} was removed or replaced while in use: put it back, or restart to "
                    "begin with what is there now"
                )
                raise StorageUnavailable(self._fault)

    def _learn_files(self) -> None:
        for path in (self._path, wal.beside(self._path)):
            if path not in self._identities and (identity := _identity(path)):
                self._identities[path] = identity

    def _probe(self) -> bool:
        try:
            self._check_files()
            if self._suspect:
                # An empty log is the proof: all that can be read is in the database file and
                # synced. After a failed sync the log alone may be in memory only, and must be
                # on the disk before it is written back, which closing does.
                wal.rewrite(wal.beside(self._path))
                self._disconnect()
                self._connect()
                self._empty_log()
            else:
                checkpoint(self._connected(), "PASSIVE")
            write_durably(self._connected())
            self._mark.advance()
        except StorageError as error:
            self._fault = str(error)
            raise StorageUnavailable(self._fault) from error
        except (sqlite3.Error, MemoryError, OSError) as error:
            raise self._fail(error) from error
        reload, self._suspect, self._fault = self._suspect, False, None
        return reload

    def _backup(self, path: Path) -> None:
        source = self._connected()
        part = path.with_name(f"{path.name}.part")
        try:
            if os.path.lexists(path):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
            os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        except OSError as error:
            raise StorageUnavailable(f"no backup to {path}: {error.strerror}") from error
        place = part
        try:
            _copy(source, part)
            place = part.rename(path)
            sync(path.parent)
        except (sqlite3.Error, OSError) as error:
            for suffix in ("", "-journal", "-wal", "-shm"):
                place.with_name(place.name + suffix).unlink(missing_ok=True)
            raise StorageUnavailable(f"the backup to {path} failed: {error}") from error


def _copy(source: sqlite3.Connection, path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as target:
        source.backup(target)
        # The copy says that it has a log, which one that is kept or moved must not need.
        target.execute("PRAGMA journal_mode = DELETE")
    sync(path)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
