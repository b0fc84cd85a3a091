"""How much of the log was acknowledged, noted beside it: a log that was cut off does not tell.

After each commit the file ``<database>-end`` says which log it went to (the salts in its
header) and how many frames that one holds by now. It is not synced, as the commit was: where
a power cut takes a note back, an older one stays, which claims less. Before a log is emptied the
note is taken back, and that is synced. So it never claims what the log did not hold, and where
it claims more than is found something was lost.
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
"""Salts and frames; their CRC-32 follows."""
_SUM = struct.Struct(">I")


def beside(database: Path) -> Path:
    """Return where the note about a database's log is."""
    return database.with_name(f"{database.name}-end")


def lost(database: Path, log: wal.Log) -> str | None:
    """Say what a log lacks of what was acknowledged, ``None`` where it is all there.

    Nothing of it can be got back, so that the storage may go on without; what is left of the log
    is kept in a copy. Raises ``OSError`` where it cannot be.
    """
    salts, frames = _claimed(database)
    if log.frames >= frames or (log.salts and log.salts != salts):
        return None
    path = wal.beside(database)
    missing = f"{path} holds {log.frames} of {frames} acknowledged frames: the rest is lost"
    if not path.exists():
        return missing
    copy = _unused(path)
    shutil.copyfile(path, copy)
    copy.chmod(0o600)
    return f"{missing}, what is left of the log is kept as {copy.name}"


def _unused(path: Path) -> Path:
    """Return a name for a copy of the damaged log that none has yet."""
    names = (path.with_name(f"{path.name}-damaged-{number}") for number in itertools.count(1))
    return next(name for name in names if not name.exists())


def _claimed(database: Path) -> tuple[bytes, int]:
    """Return the salts of the log and the frames that were acknowledged; none where unknown."""
    try:
        raw = beside(database).read_bytes()
    except FileNotFoundError:
        return b"", 0
    note = raw[: _NOTE.size]
    if len(raw) != _NOTE.size + _SUM.size or _SUM.unpack(raw[_NOTE.size :]) != (zlib.crc32(note),):
        return b"", 0
    salts, frames = _NOTE.unpack(note)
    return salts, frames


class AcknowledgedEnd:
    """Notes the end of the log after each commit. Claims nothing until the log was emptied."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._note: FileIO | None = None
        self._log: FileIO | None = None
        self._salts = b""
        self._frames = 0
        self._page_size = 0

    def take_back(self) -> None:
        """Claim nothing, synced, before the log is emptied. Raises ``OSError``."""
        self.close()
        # 0600 as for the database, though nothing in it is secret.
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        with FileIO(os.open(beside(self._database), flags, 0o600), "r+") as note:
            _write(note, b"", 0)
            os.fsync(note.fileno())

    def remove(self) -> None:
        """Claim nothing and leave nothing behind, as far as the disk lets."""
        with suppress(OSError):
            self.take_back()
        with suppress(OSError):
            beside(self._database).unlink(missing_ok=True)

    def follow(self) -> None:
        """Begin to follow the log, which is empty; where it cannot be done, claim nothing."""
        with suppress(OSError):
            self._note = FileIO(beside(self._database), "r+")
            self._log = FileIO(wal.beside(self._database))

    def advance(self) -> None:
        """Follow one commit. Where that fails the note goes on to claim less."""
        if self._log is None or self._note is None:
            return
        with suppress(OSError):
            if self._followed(self._log.fileno()):
                _write(self._note, self._salts, self._frames)

    def close(self) -> None:
        """Follow no longer; the note stays."""
        for file in (self._log, self._note):
            if file is not None:
                file.close()
        self._log = self._note = None
        self._salts, self._frames = b"", 0

    def _followed(self, log: int) -> bool:
        """Find the end of the transaction behind the last known one."""
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
            if any(frame[4:8]):  # the size of the database: the transaction's last frame
                self._frames = frames
                return True


def _write(file: FileIO, salts: bytes, frames: int) -> None:
    note = _NOTE.pack(salts, frames)
    file.seek(0)
    file.write(note + _SUM.pack(zlib.crc32(note)))
