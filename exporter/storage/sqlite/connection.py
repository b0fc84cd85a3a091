"""Opening the SQLite file so that a commit is durable and no other process writes."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING

from exporter.errors import StorageDamaged, StorageError, StorageLocked, StorageUnavailable
from exporter.storage.sqlite import acknowledged_frames, wal
from exporter.storage.sqlite.schema import APPLICATION_ID, CREATE_ALL, SCHEMA_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOG_LIMIT = 8 << 20
"""Bytes. A log that is larger is written back to the database file."""
LOCK_START, LOCK_LENGTH = 0x40000000, 512
"""The bytes of the file that SQLite locks: pending, reserved and shared. The SQLite file format
document describes them in "The Lock-Byte Page"."""
HEADER_SIZE = 100
MAGIC = b"SQLite format 3\0"
JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")

REQUIRED = {"locking_mode": "exclusive", "journal_mode": "wal", "synchronous": 2}
"""Settings of the connection. If one of them were different, a commit could be lost."""

SCHEMA_ERRORS = (sqlite3.Error, UnicodeDecodeError)
"""Errors of reading the tables' definitions. Python raises the second if SQLite's message quotes
damaged text."""

_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR}
"""SQLITE_ERROR means that a statement does not fit the tables. The statements never change, so the
tables are not as this program created them."""


@dataclass(frozen=True, slots=True)
class Findings:
    """Facts for a person about the files that were opened."""

    notes: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()


def connect(path: Path) -> tuple[sqlite3.Connection, Findings]:
    """Open and lock the storage at ``path``, an absolute path. A new file gets its tables.

    The connection returns text as bytes. The process must not have the file open already: that
    connection would lose its lock. Raises ``StorageLocked``, ``StorageDamaged`` or
    ``StorageUnavailable``.
    """
    try:
        findings = _inspect(path)
        # The file exists by now. If it disappears, SQLite must not create another one (mode=rw).
        connection = sqlite3.connect(
            f"{path.as_uri()}?mode=rw", uri=True, isolation_level=None, timeout=0
        )
        try:
            _set_up(connection, path)
        except BaseException:
            connection.close()
            raise
    except (OSError, *SCHEMA_ERRORS) as error:
        raise storage_error(error, path) from error
    return connection, findings


def storage_error(error: Exception, path: Path) -> StorageError:
    """Return the error to raise for an error of SQLite or the system about the file ``path``."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return in_use(path)
    if code in _DAMAGED or isinstance(error, UnicodeDecodeError):
        reason = "text that is not UTF-8" if isinstance(error, UnicodeDecodeError) else error
        return StorageDamaged(
            f"{path} is damaged ({reason}): keep a copy of it; then restore a backup, or "
            f"save what can be saved with sqlite3 {path.name} .recover (some builds lack it)"
        )
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


def write_durably(connection: sqlite3.Connection) -> None:
    """Commit a row that differs each time, because SQLite does not write an unchanged row."""
    with transaction(connection):
        connection.execute(
            "INSERT INTO probe VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET writes = writes + 1"
        )


def _inspect(path: Path) -> Findings:
    """Check the files before SQLite opens them, because SQLite might change them.

    Until the file is closed, it holds the same lock that SQLite takes. So no other process can
    write.
    """
    existed = path.exists()
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    # 0600: the rows hold ICCIDs. SQLite gives the log the same mode.
    with os.fdopen(os.open(path, flags, 0o600), "r+b", buffering=0) as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, LOCK_LENGTH, LOCK_START)
        except BlockingIOError:
            raise in_use(path) from None
        log = wal.log_path(path)
        head = file.read(HEADER_SIZE)
        require_own_file(path, head, log)
        found = wal.check(log)
        missing = acknowledged_frames.missing_frames(path, found)
        wal.rewrite(log)
        if missing:
            return Findings(damaged=(missing,))
        if existed and not head:
            return Findings((f"{path} was an empty file; a new storage was created in it",))
        return Findings((found.note,) if found.note else ())


def require_own_file(path: Path, head: bytes, log: Path) -> None:
    """Raise ``StorageDamaged`` if a file that starts with ``head`` is not one of this program."""
    if not head:
        if log.exists() and log.stat().st_size:
            raise StorageDamaged(
                f"{path} is missing or empty, but its log {log.name} is not: put the database "
                "file back beside it, or move the log away to start empty"
            )
        return
    ours = APPLICATION_ID.to_bytes(4, "big")
    if _creation_was_interrupted(path):
        return  # SQLite rolls back what was written
    if len(head) < HEADER_SIZE or not head.startswith(MAGIC) or head[68:72] != ours:
        raise StorageDamaged(
            f"{path} is not a database of this program, or its first page is damaged: "
            "give another --storage.url, or move the file away"
        )


def _creation_was_interrupted(path: Path) -> bool:
    """Return whether a crash left the journal of a transaction that began with an empty database.

    The file held nothing then, and its first page may be half written. The journal's header is
    described in "The Rollback Journal" of the SQLite file format document.
    """
    try:
        with path.with_name(f"{path.name}-journal").open("rb") as journal:
            head = journal.read(20)
    except FileNotFoundError:
        return False
    return head.startswith(JOURNAL_MAGIC) and head[16:] == bytes(4)


def _set_up(connection: sqlite3.Connection, path: Path) -> None:
    # EXCLUSIVE must come before WAL: then the index of the log is in the memory of this process.
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA page_size = 8192")
    # Pages of a transaction that is rolled back must not reach the log. They would look like
    # damage at the next start.
    connection.execute("PRAGMA cache_spill = OFF")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute(f"PRAGMA journal_size_limit = {LOG_LIMIT}")
    with transaction(connection):
        if not _value(connection, "SELECT count(*) FROM sqlite_schema"):
            for statement in CREATE_ALL:
                connection.execute(statement)
    require_known_schema(connection, path)
    # fetchall: SQLite commits the change when the result is read to its end, and can fail there.
    connection.execute("PRAGMA journal_mode = WAL").fetchall()
    _require_durability(connection, path)
    connection.text_factory = bytes


def require_known_schema(connection: sqlite3.Connection, path: Path) -> None:
    """Raise ``StorageUnavailable`` for a file that a newer version of this program wrote."""
    version = _value(connection, "PRAGMA user_version")
    if version > SCHEMA_VERSION:
        raise StorageUnavailable(
            f"{path} was written by a newer version (schema {version}, this one knows "
            f"{SCHEMA_VERSION}): upgrade, or give another --storage.url"
        )


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


def in_use(path: Path) -> StorageLocked:
    """Return the error for a file that another process uses."""
    return StorageLocked(
        f"{path} is in use by another process; stop it, or give this one another --storage.url"
    )
