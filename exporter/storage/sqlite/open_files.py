"""Noticing that somebody changes the database file or its log while they are in use.

SQLite notices none of this. It goes on in a file that was removed, and writes to the place in a
file that was truncated where its old end was.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from exporter.errors import StorageDamaged, StorageUnavailable
from exporter.storage.sqlite import wal
from exporter.storage.sqlite.connection import LOG_LIMIT
from exporter.storage.sqlite.inspection import HEADER_SIZE
from exporter.storage.sqlite.stamp import Stamp, stamp_in_page

if TYPE_CHECKING:
    from collections.abc import Callable

    from exporter.storage.sqlite.connection import Opened


class _State(NamedTuple):
    """What tells one state of a file from another."""

    device: int
    inode: int
    size: int
    modified: int
    """Nanoseconds since 1970."""


_MISSING = _State(0, 0, 0, 0)


class OpenFiles:
    """The database file and its log, as this process last wrote them.

    A file that has the same size but another time may have been touched only. So its content is
    looked at: the header and the stamp of the database file, and all of the log.
    """

    def __init__(self, database: Path, opened: Opened) -> None:
        self._database = str(database)
        self._log = str(wal.log_path(database))
        self._file = opened.file
        self._log_file = opened.log_file
        self._connection = opened.connection
        self._stamp_page = opened.stamp_page
        self.remember()

    def remember(self) -> None:
        """Take both files as they are now. Call it after each write to the database file.

        A file that was replaced stays so: what counts is the one that is open.
        """
        self._database_state = _state(self._file.fileno())
        self._database_content = self._content()
        self._log_state = _state(self._log_file.fileno())

    def check(self) -> None:
        """Raise ``StorageUnavailable`` if one of them is not as it was remembered."""
        self._check_database()
        now, before = _state(self._log), self._log_state
        if now == before:
            return
        if now[:3] != before[:3] or not self._log_is_own():
            raise _changed(self._log)
        self._log_state = now

    def check_commit(self) -> None:
        """Do the same after a commit, which makes the log longer, and remember the log.

        SQLite cuts a log that is longer than its limit when it starts again from the beginning.
        """
        self._check_database()
        before, now = self._log_state, _state(self._log)
        if now[:2] != before[:2] or now.size < min(before.size, LOG_LIMIT):
            raise _changed(self._log)
        self._log_state = now

    @property
    def log_size(self) -> int:
        """Return the bytes of the log when it was last looked at."""
        return self._log_state.size

    def close(self) -> None:
        """Close them. Call it after SQLite closed them, because all locks are dropped."""
        self._file.close()
        self._log_file.close()

    def keep_during(self, close: Callable[[], None]) -> None:
        """Close SQLite's connection without a change to files that somebody else has changed.

        SQLite writes the log back when it closes, which would ruin the other file. It cannot do
        that while the log is empty. SQLite also removes what has the name of the log. So the log
        is empty and has another name meanwhile. Raises ``OSError``.
        """
        log, aside = Path(self._log), Path(f"{self._log}-aside")
        moved = log.exists()
        if moved:
            log.rename(aside)
        self._log_file.seek(0)
        content = self._log_file.readall()
        self._log_file.truncate(0)
        close()
        self._log_file.seek(0)
        self._log_file.write(content)
        os.fsync(self._log_file.fileno())
        if moved:
            aside.rename(log)

    def _check_database(self) -> None:
        now, before = _state(self._database), self._database_state
        if now == before:
            return
        if now[:3] != before[:3]:
            raise _changed(self._database)
        content = self._content()
        if content is None or content != self._database_content:
            raise _changed(self._database)
        self._database_state = now

    def _content(self) -> tuple[bytes, Stamp] | None:
        """Return the header and the stamp of the database file, or ``None`` without a stamp."""
        offset, size = self._stamp_page
        try:
            header = os.pread(self._file.fileno(), HEADER_SIZE, 0)
            stamp = stamp_in_page(os.pread(self._file.fileno(), size, offset))
        except OSError:
            return None
        return (header, stamp) if stamp else None

    def _log_is_own(self) -> bool:
        """Return whether the log is whole and ends with the last commit."""
        try:
            stamps = wal.check(Path(self._log)).stamps
        except (StorageDamaged, OSError):
            return False
        return stamps is not None and stamps.last == self._connection.stamp


def _changed(path: str) -> StorageUnavailable:
    return StorageUnavailable(
        f"{path} was removed, replaced or changed while in use: put it back as it was, or restart "
        "to use what is there now"
    )


def _state(file: str | int) -> _State:
    """Return the state of a file at a path, or of an open file."""
    try:
        status = os.stat(file)  # noqa: PTH116  # once for each commit, and pathlib is slower
    except OSError:
        return _MISSING
    return _State(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
