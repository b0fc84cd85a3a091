"""The note beside the log that says how many of the log's frames were acknowledged.

SQLite does not notice when the end of its log is cut off. So after each commit the file
``<database>-end`` records which log the commit went to (the salts in the log's header) and how
many frames that log holds now. A log that holds fewer frames has lost commits.

The note never promises frames that the log did not hold:

- It is written after the commit was synced. It is not synced itself: a power cut may bring back
  an older note, which promises less.
- Before the log is emptied, the note is cleared, and that is synced.
"""

from __future__ import annotations

import itertools
import os
import shutil
import struct
import zlib
from contextlib import suppress
from io import FileIO
from typing import TYPE_CHECKING

from exporter.storage.sqlite import wal

if TYPE_CHECKING:
    from pathlib import Path

_NOTE = struct.Struct(">8sI")
"""Salts of the log and number of frames. A CRC-32 of both follows."""
_CHECKSUM = struct.Struct(">I")


def note_path(database: Path) -> Path:
    """Return the path of the note for a database."""
    return database.with_name(f"{database.name}-end")


def missing_frames(database: Path, log: wal.Log) -> str | None:
    """Return a line about the acknowledged frames that the log lacks, or ``None`` if it has all.

    Missing frames cannot be recovered, so the storage may be used without them. What is left of
    the log is copied first. Raises ``OSError`` if that fails.
    """
    salts, frames = read_note(database)
    if log.frames >= frames or (log.salts and log.salts != salts):
        return None
    path = wal.log_path(database)
    missing = f"{path} holds {log.frames} of {frames} acknowledged frames: the rest is lost"
    if not path.exists() or not path.stat().st_size:
        return missing
    copy = _unused_copy_path(path)
    shutil.copyfile(path, copy)
    copy.chmod(0o600)
    return f"{missing}, what is left of the log is kept as {copy.name}"


def read_note(database: Path) -> tuple[bytes, int]:
    """Return the salts and the number of frames in the note; 0 frames if it cannot be read."""
    try:
        raw = note_path(database).read_bytes()
    except FileNotFoundError:
        return b"", 0
    note, checksum = raw[: _NOTE.size], raw[_NOTE.size :]
    if len(note) != _NOTE.size or checksum != _CHECKSUM.pack(zlib.crc32(note)):
        return b"", 0
    salts, frames = _NOTE.unpack(note)
    return salts, frames


def write_note(file: FileIO, salts: bytes, frames: int) -> None:
    """Write the note. Raises ``OSError``."""
    note = _NOTE.pack(salts, frames)
    file.seek(0)
    file.write(note + _CHECKSUM.pack(zlib.crc32(note)))


def _unused_copy_path(log: Path) -> Path:
    names = (log.with_name(f"{log.name}-damaged-{number}") for number in itertools.count(1))
    return next(name for name in names if not name.exists())


class FrameNote:
    """Keeps the note of one database up to date, starting with an empty log."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._note: FileIO | None = None
        self._log: FileIO | None = None
        self._salts = b""
        self._frames = 0
        self._page_size = 0

    def clear(self) -> None:
        """Write a synced note of no frames, before the log is emptied. Raises ``OSError``."""
        self.close()
        # 0600 like the database, though the note holds no secret.
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        with FileIO(os.open(note_path(self._database), flags, 0o600), "r+") as note:
            write_note(note, b"", 0)
            os.fsync(note.fileno())

    def remove(self) -> None:
        """Clear the note and remove its file. Disk errors are ignored."""
        with suppress(OSError):
            self.clear()
        with suppress(OSError):
            note_path(self._database).unlink(missing_ok=True)

    def start(self) -> None:
        """Start to record commits to the log, which is empty now.

        If a file cannot be opened, nothing is recorded, and the note still says 0 frames.
        """
        with suppress(OSError):
            self._note = FileIO(note_path(self._database), "r+")
            self._log = FileIO(wal.log_path(self._database))

    def record_commit(self) -> None:
        """Record the frames of one more commit. If that fails, the note stays as it is."""
        if self._log is None or self._note is None:
            return
        with suppress(OSError):
            if self._advance(self._log.fileno()):
                write_note(self._note, self._salts, self._frames)

    def close(self) -> None:
        """Record no more commits. The note stays."""
        for file in (self._log, self._note):
            if file is not None:
                file.close()
        self._log = self._note = None
        self._salts, self._frames = b"", 0

    def _advance(self, log: int) -> bool:
        """Count the frames of the next transaction in the log; return whether it is complete."""
        head = os.pread(log, wal.HEADER.size, 0)
        if len(head) < wal.HEADER.size:
            return False
        if head[16:24] != self._salts:
            self._salts, self._frames = head[16:24], 0
            self._page_size = wal.HEADER.unpack(head)[2]
        frames = self._frames
        while True:
            at = wal.HEADER.size + frames * (wal.FRAME.size + self._page_size)
            frame = os.pread(log, wal.FRAME.size, at)
            if len(frame) < wal.FRAME.size or frame[8:16] != self._salts:
                return False
            frames += 1
            if any(frame[4:8]):  # the last frame of a transaction holds the size of the database
                self._frames = frames
                return True
