"""Opening the SQLite file so that a commit is durable and no other process writes."""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
from dataclasses import dataclass
from io import FileIO
from typing import TYPE_CHECKING

from exporter.errors import StorageError, StorageUnavailable
from exporter.storage.newer_schema import FIND_NEEDED, describe_newer
from exporter.storage.sqlite import wal
from exporter.storage.sqlite.history import compare
from exporter.storage.sqlite.inspection import damaged, in_use, inspect
from exporter.storage.sqlite.migrations import migrate
from exporter.storage.sqlite.schema import (
    CREATE_ALL,
    DEFINITIONS,
    FIND_STRANGE_ROWS,
    FORGET_STARTS,
    INSERT_STAMP,
    INSERT_START,
    OLDEST_SCHEMA_VERSION,
    SCHEMA_VERSION,
    UPDATE_STAMP,
)
from exporter.storage.sqlite.stamp import FIRST, CommitId, Stamp

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from exporter.storage.sqlite.inspection import Inspected

LOG_LIMIT = 8 << 20
"""Bytes. A log that is larger is written back to the database file."""
REQUIRED = {"locking_mode": "exclusive", "journal_mode": "wal", "synchronous": 2}
"""Settings of the connection. If one of them were different, a commit could be lost."""

SCHEMA_ERRORS = (sqlite3.Error, UnicodeDecodeError)
"""Errors of reading the tables' definitions. Python raises the second if SQLite's message quotes
damaged text."""

_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR}
"""SQLITE_ERROR means that a statement does not fit the tables. The statements never change, so the
tables are not as this program created them."""


class StampedConnection(sqlite3.Connection):
    """A connection that knows the stamp of the newest commit."""

    stamp: Stamp = FIRST


@dataclass(frozen=True, slots=True)
class Findings:
    """Facts for a person about the files that were opened."""

    notes: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Opened:
    """An open storage."""

    connection: StampedConnection
    file: FileIO
    """The database file. It must stay open for as long as the connection, which would otherwise
    lose its locks."""
    log_file: FileIO
    stamp_page: tuple[int, int]
    """Offset and size in bytes of the page that holds the stamp."""
    acknowledged: CommitId
    """The last acknowledged commit that the storage holds."""
    findings: Findings


def connect(path: Path) -> Opened:
    """Open and lock the storage at ``path``, an absolute path. A new file gets its tables.

    The connection returns text as bytes. The process must not have the file open already: that
    connection would lose its lock. Raises ``StorageLocked``, ``StorageDamaged`` or
    ``StorageUnavailable``.
    """
    try:
        inspected = inspect(path)
        try:
            return _connected(path, inspected)
        except BaseException:
            inspected.file.close()
            raise
    except (OSError, *SCHEMA_ERRORS) as error:
        raise storage_error(error, path) from error


def _connected(path: Path, inspected: Inspected) -> Opened:
    # The file exists by now. If it disappears, SQLite must not create another one (mode=rw).
    connection = sqlite3.connect(
        f"{path.as_uri()}?mode=rw",
        uri=True,
        isolation_level=None,
        timeout=0,
        factory=StampedConnection,
    )
    try:
        stamp_page = _set_up(connection, path)
        history = compare(connection, path, inspected.acknowledged, inspected.kept_log)
        connection.stamp = history.stamp
        # SQLite has made the log by now, and keeps it until it closes the file.
        log_file = FileIO(os.open(wal.log_path(path), os.O_RDWR | os.O_CLOEXEC), "r+")
    except BaseException:
        connection.close()
        raise
    notes = (inspected.note,) if inspected.note and not history.damaged else ()
    findings = Findings(notes, history.damaged)
    return Opened(connection, inspected.file, log_file, stamp_page, history.acknowledged, findings)


def storage_error(error: Exception, path: Path) -> StorageError:
    """Return the error to raise for an error of SQLite or the system about the file ``path``."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return in_use(path)
    if code in _DAMAGED or isinstance(error, UnicodeDecodeError):
        if isinstance(error, UnicodeDecodeError):
            return damaged(path, "text that is not UTF-8")
        # In parentheses and after a colon, SQLite quotes what it read, which may hold line ends.
        return damaged(path, re.split(r" \(|:", str(error))[0])
    reason = getattr(error, "strerror", None) or error
    return StorageUnavailable(
        f"{path} cannot be used ({reason}): check that its folder exists, that this user may "
        "write there and that there is space, or give another --storage.url"
    )


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Commit everything done in the block, or nothing if it raises."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("COMMIT")
    except BaseException:
        # After some errors SQLite rolls back by itself. If the rollback fails here, in_transaction
        # stays true, and the caller sees it.
        if connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
        raise


@contextlib.contextmanager
def commit(connection: StampedConnection, *, for_caller: bool = False) -> Iterator[None]:
    """Commit everything done in the block under the next number, or nothing if it raises."""
    following = connection.stamp.next(for_caller=for_caller)
    with transaction(connection):
        yield
        connection.execute(UPDATE_STAMP, (following.pack(),))
    connection.stamp = following


def write_stamp(connection: StampedConnection, stamp: Stamp) -> None:
    """Replace the stamp in a transaction of its own, which has no number.

    The newest commit is kept for the time when the stamp does not name it any more.
    """
    with transaction(connection):
        connection.execute(INSERT_STAMP, (stamp.pack(),))
        if stamp.newest.number:
            connection.execute(INSERT_START, stamp.newest)
            connection.execute(FORGET_STARTS)
    connection.stamp = stamp


def checkpoint(connection: sqlite3.Connection, mode: str) -> None:
    """Write the log back to the database file and sync that. TRUNCATE also empties the log.

    No other connection reads the file. So PASSIVE is complete too, and the next commit starts the
    log again from its beginning.
    """
    connection.execute(f"PRAGMA wal_checkpoint({mode})")


def sync(path: Path) -> None:
    """Sync a file, or the names of the files in a folder, to the disk. Raises ``OSError``."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_durably(connection: StampedConnection) -> None:
    """Commit a row that differs each time, because SQLite does not write an unchanged row."""
    with commit(connection):
        connection.execute(
            "INSERT INTO probe VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET writes = writes + 1"
        )


def _set_up(connection: sqlite3.Connection, path: Path) -> tuple[int, int]:
    """Return the offset and the size of the page that holds the stamp."""
    # EXCLUSIVE must come before WAL: then the index of the log is in the memory of this process.
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA page_size = 8192")
    # Pages of a transaction that is rolled back must not reach the log. They would look like
    # damage at the next start.
    connection.execute("PRAGMA cache_spill = OFF")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute(f"PRAGMA journal_size_limit = {LOG_LIMIT}")
    version = require_known_schema(connection, path)
    if version < OLDEST_SCHEMA_VERSION and _has_tables(connection):
        raise damaged(path, f"it has schema {version}, which never existed")
    if version < SCHEMA_VERSION:
        # The change of the schema is not in a log, because its commits have no stamps.
        connection.execute("PRAGMA journal_mode = DELETE").fetchall()
    with transaction(connection):
        if not _has_tables(connection):
            _create(connection)
        elif version < SCHEMA_VERSION:
            migrate(connection, version)
        root = require_own_tables(connection, path)
    # fetchall: SQLite commits the change when the result is read to its end, and can fail there.
    connection.execute("PRAGMA journal_mode = WAL").fetchall()
    _require_durability(connection, path)
    connection.text_factory = bytes
    page_size = _value(connection, "PRAGMA page_size")
    return (root - 1) * page_size, page_size


def _has_tables(connection: sqlite3.Connection) -> bool:
    return _value(connection, "SELECT count(*) FROM sqlite_schema") > 0


def _create(connection: sqlite3.Connection) -> None:
    for statement in CREATE_ALL:
        connection.execute(statement)
    connection.execute(INSERT_STAMP, (FIRST.pack(),))


def require_known_schema(connection: sqlite3.Connection, path: Path) -> int:
    """Return the version of the schema.

    Raises ``StorageUnavailable`` for a file that a newer version of this program wrote.
    """
    version = _value(connection, "PRAGMA user_version")
    if version > SCHEMA_VERSION:
        needed = None
        with contextlib.suppress(*SCHEMA_ERRORS):
            needed, *_ = connection.execute(FIND_NEEDED).fetchone() or (None,)
        newer = describe_newer(str(path), found=version, known=SCHEMA_VERSION, needed=needed)
        raise StorageUnavailable(
            f"{newer}, or give another --storage.url; if no newer version ever used it, it is "
            "damaged: restore a backup"
        )
    return version


def require_own_tables(connection: sqlite3.Connection, path: Path) -> int:
    """Return the number of the page that holds the table ``seal``.

    Raises ``StorageDamaged`` if the definition of a table differs from the one that made it, or if
    a table that is written before the rows are read has rows of another one.
    """
    # As bytes, because damaged text may not be UTF-8.
    query = (
        "SELECT CAST(name AS BLOB), CAST(sql AS BLOB), rootpage FROM sqlite_schema "
        "WHERE typeof(name) = 'text'"
    )
    found = {name: (sql, root) for name, sql, root in connection.execute(query)}
    roots = {}
    for name, definition in DEFINITIONS.items():
        sql, roots[name] = found.get(name.encode(), (None, None))
        if sql != definition.encode():
            raise damaged(path, f"the definition of table {name} is not the one that made it")
    strange = any(connection.execute(query).fetchone() for query in FIND_STRANGE_ROWS)
    if strange or len(set(roots.values())) != len(roots):
        raise damaged(path, "a table begins at a page of another one")
    return int(roots["seal"])


def _require_durability(connection: sqlite3.Connection, path: Path) -> None:
    found = {name: _value(connection, f"PRAGMA {name}") for name in REQUIRED}
    if found != REQUIRED:
        raise StorageUnavailable(
            f"{path} cannot be made durable (needs {REQUIRED}, has {found}): "
            "give a --storage.url on a local disk"
        )


def _value(connection: sqlite3.Connection, query: str) -> int:
    value: int = connection.execute(query).fetchone()[0]
    return value
