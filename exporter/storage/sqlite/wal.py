"""Checking a write-ahead log for damage before SQLite opens it.

SQLite takes the first frame that does not verify for the end of the log and silently
drops everything behind it. That is right for a transaction torn by a power cut, which
was never acknowledged, and wrong for a flipped bit in the middle, behind which there
are transactions that were. The format is described in "The Write-Ahead Log" of the
SQLite file format document: a header of 32 bytes, then frames, each a header of 24
bytes and one page; the header of a transaction's last frame holds the size of the
database, that of all others 0. Frames left over from before the log was last started
afresh carry other salts.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from exporter.errors import StorageDamaged

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HEADER = struct.Struct(">8I")
"""Magic, version, page size, checkpoint sequence, two salts, two checksums."""
FRAME = struct.Struct(">6I")
"""Page number, database size in pages after a commit or 0, two salts, two checksums."""
MAGIC = {0x377F0682: "<", 0x377F0683: ">"}
"""The byte order of the words that the checksums are made of, by magic."""
VERSION = 3007000
LEAST_PAGE, GREATEST_PAGE = 512, 65536
_WORD = 0xFFFFFFFF
_PIECE = 1 << 20

Sums = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Header:
    """What the header of a log says."""

    order: str
    page_size: int
    salts: bytes
    sums: Sums


def beside(database: Path) -> Path:
    """Return where the log of a database is."""
    return database.with_name(f"{database.name}-wal")


@dataclass(frozen=True, slots=True)
class Log:
    """What a log holds."""

    salts: bytes = b""
    """What tells it from the one before; empty where there is none."""
    frames: int = 0
    """How many verify, from the first on."""
    note: str | None = None
    """What is wrong with its end."""


def check(path: Path) -> Log:
    """Say what the log at ``path`` holds.

    It may be used: where something is wrong with its end at most one transaction is lost
    there, as a power cut or a kill leaves one that was never acknowledged. Raises
    ``StorageDamaged`` where more would be lost, and ``OSError`` when the log cannot be read.
    Changes nothing.
    """
    try:
        with path.open("rb") as log:
            return _check(log, path)
    except FileNotFoundError:
        return Log()


def rewrite(path: Path) -> None:
    """Put what can be read of the log at ``path`` on the disk, whatever was there.

    After a failed sync the kernel may call pages clean that never reached the disk: they
    are read back, and a later sync succeeds, until they leave the cache. A checkpoint made
    from such a log could be torn by a power cut with no log to repair it. Writing the same
    bytes again makes the pages dirty, so that the sync means something. Raises ``OSError``.
    """
    try:
        log = path.open("r+b", buffering=0)
    except FileNotFoundError:
        return
    with log:
        while piece := log.read(_PIECE):
            log.seek(-len(piece), os.SEEK_CUR)
            log.write(piece)
        os.fsync(log.fileno())


def _check(log: BinaryIO, path: Path) -> Log:
    raw = log.read(HEADER.size)
    header = _header(raw)
    if header is None:
        if _may_hold_a_frame(log, raw):
            raise StorageDamaged(f"{path} is damaged in its header: {_way_out(path)}")
        return Log()
    broken = _first_broken(log, header)
    log.seek(HEADER.size + broken * (FRAME.size + header.page_size))
    behind = list(_current(log, header))
    if not behind:
        return Log(header.salts, broken)
    # The broken frame counts as well: if it ends a transaction and another one follows, it
    # was synced and acknowledged before that one was written.
    commits = sum(commit for _, commit in behind)
    where = f"{path} is damaged at frame {broken + 1} of {broken + 1 + behind[-1][0]}"
    if commits > 1:
        raise StorageDamaged(
            f"{where}, {commits - 1} or more committed transactions would be lost: {_way_out(path)}"
        )
    note = f"{where}: the transaction there was not finished and was left out"
    return Log(header.salts, broken, note)


def _way_out(path: Path) -> str:
    return (
        "keep a copy of it and of the database file; restore a backup, or move "
        f"{path.name} away to start from the last checkpoint and lose what came after it"
    )


def _header(raw: bytes) -> Header | None:
    if len(raw) < HEADER.size:
        return None
    magic, version, page_size, _, _, _, *sums = HEADER.unpack(raw)
    order = MAGIC.get(magic)
    if order is None or version != VERSION or _sums((0, 0), raw[:24], order) != tuple(sums):
        return None
    if page_size & (page_size - 1) or not LEAST_PAGE <= page_size <= GREATEST_PAGE:
        return None
    return Header(order, page_size, raw[16:24], (sums[0], sums[1]))


def _may_hold_a_frame(log: BinaryIO, raw: bytes) -> bool:
    """Tell whether more was written than a header, of which zeros are no sign."""
    size = os.fstat(log.fileno()).st_size
    if size < HEADER.size + FRAME.size + LEAST_PAGE:
        return False
    return any(raw) or any(any(piece) for piece in iter(lambda: log.read(_PIECE), b""))


def _first_broken(log: BinaryIO, header: Header) -> int:
    """Return the index of the first frame that is not there or does not verify."""
    sums, index = header.sums, 0
    while len(frame := log.read(FRAME.size + header.page_size)) == FRAME.size + header.page_size:
        *_, first, second = FRAME.unpack_from(frame)
        sums = _sums(_sums(sums, frame[:8], header.order), frame[FRAME.size :], header.order)
        if frame[8:16] != header.salts or sums != (first, second):
            break
        index += 1
    return index


def _current(log: BinaryIO, header: Header) -> Iterator[tuple[int, bool]]:
    """Yield the frames from here on that carry the header's salts: offset and whether it commits.

    A frame cut off by the end of the file counts.
    """
    index = 0
    while len(frame := log.read(FRAME.size + header.page_size)) >= FRAME.size:
        if frame[8:16] == header.salts:
            yield index, any(frame[4:8])
        index += 1


def _sums(sums: Sums, data: bytes, order: str) -> Sums:
    """Carry the two cumulative checksums on over ``data``, a multiple of 8 bytes."""
    first, second = sums
    words = iter(struct.unpack(f"{order}{len(data) // 4}I", data))
    for one, other in zip(words, words, strict=True):
        first = (first + one + second) & _WORD
        second = (second + other + first) & _WORD
    return first, second
