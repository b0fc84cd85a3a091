"""A backup of the SQLite file, which another process or machine can open without its log."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
from typing import TYPE_CHECKING

from exporter.errors import StorageUnavailable
from exporter.storage.sqlite.connection import StampedConnection, sync, write_stamp

if TYPE_CHECKING:
    from pathlib import Path

_SIDE_FILES = ("-journal", "-wal", "-shm")
"""Suffixes of the files that SQLite may leave beside a database."""


def write_backup(source: StampedConnection, path: Path) -> None:
    """Copy the database to ``path`` and sync it. Until it is complete, its name ends in ``.part``.

    Raises ``StorageUnavailable``, also when ``path`` or the ``.part`` file exists. Then no new
    file is left behind, if the disk permits its removal.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except OSError as error:
        raise StorageUnavailable(f"no backup to {path}: {error.strerror}") from error
    written = part
    try:
        _copy(source, part)
        written = part.rename(path)
        sync(path.parent)
    except (sqlite3.Error, OSError) as error:
        for suffix in ("", *_SIDE_FILES):
            with contextlib.suppress(OSError):
                written.with_name(written.name + suffix).unlink(missing_ok=True)
        raise StorageUnavailable(f"the backup to {path} failed: {error}") from error


def _copy(source: StampedConnection, path: Path) -> None:
    with contextlib.closing(
        sqlite3.connect(path, isolation_level=None, factory=StampedConnection)
    ) as target:
        source.backup(target)
        # Without an identity, no log of the source is ever taken for a log of the backup.
        write_stamp(target, source.stamp.closed())
        # The copied header says that the file has a log. A backup must open without one.
        target.execute("PRAGMA journal_mode = DELETE")
    sync(path)
