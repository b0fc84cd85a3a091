"""The note beside the database file that names the last acknowledged commit.

The file ``<database>-end`` holds a :class:`CommitId`. It stays for as long as the database file
exists. So a start notices that the database and its log lack a commit that was acknowledged.

The note never names a commit that was not durable:

- It is written after the commit was synced.
- It is not synced itself by each commit. A power cut may bring back an older note. That one names
  an older commit of the same start, or the last one before it.
"""

from __future__ import annotations

import os
import struct
import zlib
from contextlib import suppress
from typing import TYPE_CHECKING

from exporter.storage.sqlite.stamp import CommitId

if TYPE_CHECKING:
    from pathlib import Path

_NOTE = struct.Struct(">8sQ")
_CHECKSUM = struct.Struct(">I")


def note_path(database: Path) -> Path:
    """Return the path of the note for a database."""
    return database.with_name(f"{database.name}-end")


def last_acknowledged(database: Path) -> CommitId | None:
    """Return the commit in the note, or ``None`` if it cannot be read. Raises ``OSError``."""
    try:
        raw = note_path(database).read_bytes()
    except FileNotFoundError:
        return None
    note, checksum = raw[: _NOTE.size], raw[_NOTE.size :]
    if len(note) != _NOTE.size or checksum != _CHECKSUM.pack(zlib.crc32(note)):
        return None
    identity, number = _NOTE.unpack(note)
    return CommitId(identity, number)


class AcknowledgedNote:
    """Keeps the note of one database."""

    def __init__(self, database: Path) -> None:
        self._path = note_path(database)
        self._file = -1
        self._written: CommitId | None = None

    def start(self, commit: CommitId) -> None:
        """Write the note, sync it, and keep the file open. Raises ``OSError``."""
        self.close()
        # 0600 like the database, though the note holds no secret.
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._write(commit)
        os.ftruncate(self._file, _NOTE.size + _CHECKSUM.size)
        os.fsync(self._file)

    def record(self, commit: CommitId) -> None:
        """Name a newer commit. If that fails, the note still names an older one."""
        if self._file >= 0:
            with suppress(OSError):
                if os.fstat(self._file).st_nlink:
                    self._write(commit)
                else:  # somebody removed or replaced it
                    self.start(commit)

    def finish(self) -> None:
        """Write the note again, under its name, and sync it. Raises ``OSError``."""
        if self._written:
            self.start(self._written)
        self.close()

    def close(self) -> None:
        """Record no more commits. The note stays."""
        if self._file >= 0:
            os.close(self._file)
        self._file = -1

    def _write(self, commit: CommitId) -> None:
        note = _NOTE.pack(*commit)
        os.pwrite(self._file, note + _CHECKSUM.pack(zlib.crc32(note)), 0)
        self._written = commit
