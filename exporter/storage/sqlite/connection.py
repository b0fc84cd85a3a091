"""Opening the SQLite file so that a commit is durable and nobody else writes."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING

from exporter.errors import StorageDamaged, StorageError, StorageLocked, StorageUnavailable
from exporter.storage.sqlite import acknowledged, wal
from exporter.storage.sqlite.schema import APPLICATION_ID, SCHEMA_VERSION, STATEMENTS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOG_LIMIT = 8 << 20
"""Bytes of log above which it is written back to the database file."""
LOCK_START, LOCK_LENGTH = 0x40000000, 512
"""The bytes that SQLite locks: pending, reserved and shared (the file format's lock page)."""
HEADER_SIZE = 100
MAGIC = b"SQLite format 3\0"
JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")

REQUIRED = {"locking_mode": "exclusive", "journal_mode": "wal", "synchronous": 2}
"""Without any of these a commit that returned could be lost."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What a person should know of the files that were opened."""

    notes: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()


def connect(path: Path) -> tuple[sqlite3.Connection, Findings]:
    """Open and lock the storage at ``path``, an absolute path; a new one is laid out.

    The connection returns text as bytes. The process must not hold the file already: it would
    lose its lock. Raises ``StorageLocked``, ``StorageDamaged`` or ``StorageUnavailable``.
    """
    try:
        findings = _inspect(path)
        # The file is there by now; SQLite shall not make a new one should it vanish.
        connection = sqlite3.connect(
            f"{path.as_uri()}?mode=rw", uri=True, isolation_level=None, timeout=0
        )
        try:
            _set_up(connection, path)
        except BaseException:
            connection.close()
            raise
    except (OSError, sqlite3.Error) as error:
        raise told(error, path) from error
    return connection, findings


def told(error: Exception, path: Path) -> StorageError:
    """Return the error to raise for one of SQLite or the system at work on ``path``."""
    match getattr(error, "sqlite_errorcode", 0) & 0xFF:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return in_use(path)
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return StorageDamaged(
                f"{path} is damaged ({error}): keep a copy of it; restore a backup, or save what "
                f"can be saved with sqlite3 {path.name} .recover (not every build has that)"
            )
    reason = getattr(error, "strerror", None) or error
    return StorageUnavailable(
        f"{path} cannot be used ({reason}): check that its folder exists, that this user may "
        "write there and that there is space, or give another --storage.url"
    )


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Commit what is done inside, or nothing where that raises."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("COMMIT")
    except BaseException:
        # Some errors make SQLite roll back by itself; the caller sees by in_transaction
        # whether it is done.
        if connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
        raise


def checkpoint(connection: sqlite3.Connection, mode: str) -> None:
    """Write the log back to the database file, synced; TRUNCATE also empties the log.

    Without readers, as here, PASSIVE is complete and the next commit starts the log afresh.
    """
    connection.execute(f"PRAGMA wal_checkpoint({mode})")


def sync(path: Path) -> None:
    """Put a file, or the names of the files in a folder, on the disk. Raises ``OSError``."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_durably(connection: sqlite3.Connection) -> None:
    """Make a commit that SQLite cannot leave out because nothing has changed."""
    with transaction(connection):
        connection.execute(
            "INSERT INTO probe VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET writes = writes + 1"
        )


def _inspect(path: Path) -> Findings:
    """Look at the files before SQLite does, which might change them.

    The lock SQLite itself takes keeps another process from writing meanwhile; closing the
    file lets go of it.
    """
    existed = path.exists()
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    # 0600: the rows hold ICCIDs. SQLite gives the log the same mode.
    with os.fdopen(os.open(path, flags, 0o600), "r+b", buffering=0) as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, LOCK_LENGTH, LOCK_START)
        except BlockingIOError:
            raise in_use(path) from None
        log = wal.beside(path)
        head = file.read(HEADER_SIZE)
        identify(path, head, log)
        found = wal.check(log)
        missing = acknowledged.lost(path, found)
        wal.rewrite(log)
        if missing:
            return Findings(damaged=(missing,))
        if existed and not head:
            return Findings((f"{path} was an empty file: a new storage begins in it",))
        return Findings((found.note,) if found.note else ())


def identify(path: Path, head: bytes, log: Path) -> None:
    """Raise ``StorageDamaged`` where a file that begins with ``head`` is none of ours."""
    if not head:
        if log.exists() and log.stat().st_size:
            raise StorageDamaged(
                f"{path} is missing or empty, but its log {log.name} is not: put the database "
                "file back beside it, or move the log away to start empty"
            )
        return
    ours = APPLICATION_ID.to_bytes(4, "big")
    if _was_being_made(path):
        return  # SQLite takes back what there is of it
    if len(head) < HEADER_SIZE or not head.startswith(MAGIC) or head[68:72] != ours:
        raise StorageDamaged(
            f"{path} is not a database of this program, or its first page is damaged: "
            "give another --storage.url, or move it away"
        )


def _was_being_made(path: Path) -> bool:
    """Tell whether a crash left the journal of a transaction that began with an empty database.

    The first page may then be torn, and nothing was in the file. The journal's header is
    described in "The Rollback Journal" of the SQLite file format document.
    """
    try:
        with path.with_name(f"{path.name}-journal").open("rb") as journal:
            head = journal.read(20)
    except FileNotFoundError:
        return False
    return head.startswith(JOURNAL_MAGIC) and head[16:] == bytes(4)


def _set_up(connection: sqlite3.Connection, path: Path) -> None:
    # EXCLUSIVE comes before WAL: the index of the log then lives in this process's memory.
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA page_size = 8192")
    # Pages of a transaction that is rolled back shall not reach the log, where they would
    # look like damage later.
    connection.execute("PRAGMA cache_spill = OFF")
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute(f"PRAGMA journal_size_limit = {LOG_LIMIT}")
    with transaction(connection):
        if not _value(connection, "SELECT count(*) FROM sqlite_schema"):
            for statement in STATEMENTS:
                connection.execute(statement)
    require_known_schema(connection, path)
    # Read to its end: that is where the change is committed and can fail.
    connection.execute("PRAGMA journal_mode = WAL").fetchall()
    _require_durability(connection, path)
    connection.text_factory = bytes


def require_known_schema(connection: sqlite3.Connection, path: Path) -> None:
    """Raise ``StorageUnavailable`` for a file that a newer version made."""
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
    """Return the error for a storage that another process holds."""
    return StorageLocked(
        f"{path} is in use by another process; stop it, or give this one another --storage.url"
    )
