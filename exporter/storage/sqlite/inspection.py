"""Checking the files before SQLite opens them, because SQLite changes them or loses what they say.

SQLite replays any log whose checksums are right. It does not know whether the log belongs to the
database file beside it.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import shutil
from dataclasses import dataclass
from io import FileIO
from typing import TYPE_CHECKING

from exporter.errors import StorageDamaged, StorageLocked
from exporter.storage.sqlite import journal, wal
from exporter.storage.sqlite.last_acknowledged import last_acknowledged, note_path
from exporter.storage.sqlite.schema import APPLICATION_ID, FIRST_STAMPED_VERSION
from exporter.storage.sqlite.stamp import stamp_in_page

if TYPE_CHECKING:
    from pathlib import Path

    from exporter.storage.sqlite.stamp import CommitId, Stamp, StampedLog

LOCK_START, LOCK_LENGTH = 0x40000000, 512
"""The bytes of the file that SQLite locks: pending, reserved and shared. The SQLite file format
document describes them in "The Lock-Byte Page"."""
HEADER_SIZE = 100
MAGIC = b"SQLite format 3\0"
FORMATS = tuple(bytes((mode, mode, 0, 64, 32, 32)) for mode in (1, 2))
"""Bytes 18 to 23 of the header of a file without and with a log. With others, SQLite reads a file,
but cannot write it."""


@dataclass(frozen=True, slots=True)
class Inspected:
    """The files of a storage, locked and found usable."""

    file: FileIO
    """The database file. The lock lasts until it is closed."""
    acknowledged: CommitId | None
    """The last acknowledged commit, or ``None`` if nothing says which it was."""
    kept_log: Path | None
    """A copy of the log, if the log does not hold the last acknowledged commit. The database file
    may hold it."""
    note: str | None
    """A fact for a person."""


def inspect(path: Path) -> Inspected:
    """Check and lock the files of the storage at ``path``; create the file if there is none.

    Raises ``StorageLocked``, ``StorageDamaged`` and ``OSError``. Then nothing is changed.
    """
    existed = path.exists()
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    # 0600: the rows hold ICCIDs. SQLite gives the log the same mode.
    file = FileIO(os.open(path, flags, 0o600), "r+")
    try:
        return _inspected(path, file, existed=existed)
    except BaseException:
        file.close()
        raise


def _inspected(path: Path, file: FileIO, *, existed: bool) -> Inspected:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, LOCK_LENGTH, LOCK_START)
    except BlockingIOError:
        raise in_use(path) from None
    log = wal.log_path(path)
    head = require_own_file(path, file)
    found = wal.check(log)
    acknowledged = last_acknowledged(path)
    if found.transactions:
        if not _is_own_log(file, head, found.stamps, acknowledged):
            raise StorageDamaged(
                f"{path} and its log {log.name} do not belong together, one of them was replaced "
                "by another or an older one: put the right one back; if you restored a backup, "
                f"move {log.name} away"
            )
        _require_whole_file(path, file, found)
    kept = _kept_log(log, found.stamps, acknowledged)
    wal.rewrite(log)
    note = found.note
    if existed and not head:
        note = f"{path} was an empty file; a new storage was created in it"
    return Inspected(file, acknowledged, kept, note)


def require_own_file(path: Path, file: FileIO) -> bytes:
    """Return the header of a file of this program; empty for an empty file.

    Raises ``StorageDamaged`` if another program wrote it, or if the files beside it do not fit.
    """
    head = file.read(HEADER_SIZE)
    interrupted = journal.require_own(path, file)
    if not head:
        _require_no_commits(path)
        return head
    if interrupted and not interrupted.pages_before:
        return head  # the file is new and half written, and SQLite will empty it
    ours = APPLICATION_ID.to_bytes(4, "big")
    if (
        len(head) < HEADER_SIZE
        or not head.startswith(MAGIC)
        or head[18:24] not in FORMATS
        or head[68:72] != ours
    ):
        raise StorageDamaged(
            f"{path} is not a database of this program, or its first page is damaged: "
            "give another --storage.url, or move the file away and restore a backup"
        )
    return head


def _require_no_commits(path: Path) -> None:
    """Raise ``StorageDamaged`` if the files beside an empty file say that it had commits."""
    log = wal.log_path(path)
    if log.exists() and log.stat().st_size:
        raise StorageDamaged(
            f"{path} is missing or empty, but its log {log.name} is not: put the database "
            "file back beside it, or move the log away to start empty"
        )
    acknowledged = last_acknowledged(path)
    if acknowledged and acknowledged.number:
        note = note_path(path).name
        raise StorageDamaged(
            f"{path} is missing or empty, but {note} says that it held {acknowledged.number} "
            f"commits: put the database file back, restore a backup, or move {note} away to "
            "start empty"
        )


def in_use(path: Path) -> StorageLocked:
    """Return the error for a file that another process uses."""
    return StorageLocked(
        f"{path} is in use by another process; stop it, or give this one another --storage.url"
    )


def damaged(path: Path, reason: str) -> StorageDamaged:
    """Return the error for a file that cannot be read."""
    return StorageDamaged(
        f"{path} is damaged ({reason}): keep a copy of it; then restore a backup, or "
        f"save what can be saved with sqlite3 {path.name} .recover (some builds lack it)"
    )


def _is_own_log(
    file: FileIO, head: bytes, log: StampedLog | None, acknowledged: CommitId | None
) -> bool:
    """Return whether the log continues the database file, whose header is ``head``."""
    if int.from_bytes(head[60:64], "big") < FIRST_STAMPED_VERSION:
        return log is None  # older versions wrote no stamps
    if log is None:
        return False
    stamp = _stamp_in_file(file, log)
    if stamp:
        return log.continues(stamp)
    # A power cut during a checkpoint can leave the page of the stamp half written. The log holds
    # that page again.
    return acknowledged is not None and log.last.includes(acknowledged)


def _stamp_in_file(file: FileIO, log: StampedLog) -> Stamp | None:
    file.seek((log.page_number - 1) * log.page_size)
    return stamp_in_page(file.read(log.page_size))


def _require_whole_file(path: Path, file: FileIO, log: wal.Log) -> None:
    """Raise ``StorageDamaged`` if a page is in neither of the files: the database was cut off."""
    first = os.fstat(file.fileno()).st_size // log.page_size + 1
    # SQLite never uses the page of its locks.
    unused = LOCK_START // log.page_size + 1
    for page in range(first, log.pages_after + 1):
        if page not in log.pages and page != unused:
            raise damaged(path, f"it is cut off before page {page} of {log.pages_after}")


def _kept_log(log: Path, stamps: StampedLog | None, acknowledged: CommitId | None) -> Path | None:
    """Copy a log that does not hold the last acknowledged commit, because SQLite will remove it."""
    if acknowledged is None or not log.exists() or not log.stat().st_size:
        return None
    if stamps and stamps.last.includes(acknowledged):
        return None
    names = (log.with_name(f"{log.name}-damaged-{number}") for number in itertools.count(1))
    copy = next(name for name in names if not name.exists())
    shutil.copyfile(log, copy)
    copy.chmod(0o600)
    return copy
