"""Checking a write-ahead log for damage before SQLite opens it.

At the first frame that does not verify, SQLite ends the log, and silently drops everything after
it. That is right for a transaction that a power cut interrupted: it was never
acknowledged. It is wrong for a flipped bit in the middle: acknowledged transactions follow it.

The format is described in "The Write-Ahead Log" of the SQLite file format document. A header of
32 bytes comes first, then frames. Each frame is a header of 24 bytes and one page. The header of
a transaction's last frame holds the size of the database; all other frames hold 0 there. When
the log starts again from its beginning, it gets other salts, so that old frames do not match.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, BinaryIO

from exporter.errors import StorageDamaged
from exporter.storage.sqlite.stamp import StampedLog, stamp_in_page

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HEADER = struct.Struct(">8I")
"""Magic, version, page size, checkpoint sequence, two salts, two checksums."""
FRAME = struct.Struct(">6I")
"""Page number, database size in pages after a commit or 0, two salts, two checksums."""
MAGIC = {0x377F0682: "<", 0x377F0683: ">"}
"""Byte order of the words in the checksums, for each magic number."""
VERSION = 3007000
LEAST_PAGE, GREATEST_PAGE = 512, 65536
_WORD = 0xFFFFFFFF
_READ_SIZE = 1 << 20

Checksums = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Header:
    """The header of a log."""

    order: str
    page_size: int
    salts: bytes
    checksums: Checksums


@dataclass(frozen=True, slots=True)
class Log:
    """What a log holds."""

    transactions: int = 0
    """Complete ones, which SQLite will read."""
    page_size: int = 0
    pages: frozenset[int] = frozenset()
    """The numbers of the pages in them."""
    pages_after: int = 0
    """The number of pages of the database after the last one."""
    stamps: StampedLog | None = None
    """``None`` if no transaction has a stamp."""
    note: str | None = None
    """What is wrong with the end of the log."""


def log_path(database: Path) -> Path:
    """Return the path of a database's log."""
    return database.with_name(f"{database.name}-wal")


def check(path: Path) -> Log:
    """Return what the log at ``path`` holds. Nothing is changed.

    A returned log may be used. It has lost at most one transaction at its end, as after a power
    cut or a kill, and that one was never acknowledged. Raises ``StorageDamaged`` if it has lost
    more, and ``OSError`` if it cannot be read.
    """
    try:
        with path.open("rb") as log:
            return _check(log, path)
    except FileNotFoundError:
        return Log()


def rewrite(path: Path) -> None:
    """Write the log at ``path`` over itself, and sync it. Raises ``OSError``.

    After a failed sync, the kernel may treat pages as clean that never reached the disk. They
    can be read until the kernel drops them, and a later sync succeeds without writing them. If a
    power cut then interrupted a checkpoint, no log would be left to repair the database. Writing
    the same bytes again makes the pages dirty, so that the sync writes them.
    """
    try:
        log = path.open("r+b", buffering=0)
    except FileNotFoundError:
        return
    with log:
        while piece := log.read(_READ_SIZE):
            log.seek(-len(piece), os.SEEK_CUR)
            log.write(piece)
        os.fsync(log.fileno())


def _check(log: BinaryIO, path: Path) -> Log:
    raw = log.read(HEADER.size)
    header = _header(raw)
    if header is None:
        if _may_hold_a_frame(log, raw):
            raise StorageDamaged(f"{path} is damaged in its header: {_repair_advice(path)}")
        return Log()
    broken, found = _verified(log, header)
    log.seek(HEADER.size + broken * (FRAME.size + header.page_size))
    rest = list(_current_frames(log, header))
    if not rest:
        return found
    # The broken frame is counted too. It may end a transaction. If another transaction follows,
    # the first one was synced and acknowledged before the other was written.
    commits = sum(commit for _, commit in rest)
    where = f"{path} is damaged at frame {broken + 1} of {broken + 1 + rest[-1][0]}"
    if commits > 1:
        raise StorageDamaged(
            f"{where}, {commits - 1} or more committed transactions would be lost: "
            f"{_repair_advice(path)}"
        )
    note = f"{where}: the transaction there was not finished and was left out"
    return replace(found, note=note)


def _repair_advice(path: Path) -> str:
    return (
        "keep a copy of it and of the database file; then restore a backup, or move "
        f"{path.name} away to start from the last checkpoint and lose what came after it"
    )


def _header(raw: bytes) -> Header | None:
    if len(raw) < HEADER.size:
        return None
    magic, version, page_size, _, _, _, *expected = HEADER.unpack(raw)
    order = MAGIC.get(magic)
    if order is None or version != VERSION:
        return None
    if _checksums((0, 0), raw[:24], order) != tuple(expected):
        return None
    if page_size & (page_size - 1) or not LEAST_PAGE <= page_size <= GREATEST_PAGE:
        return None
    return Header(order, page_size, raw[16:24], (expected[0], expected[1]))


def _may_hold_a_frame(log: BinaryIO, raw: bytes) -> bool:
    """Return whether the file is large enough for a frame and holds anything but zeros."""
    size = os.fstat(log.fileno()).st_size
    if size < HEADER.size + FRAME.size + LEAST_PAGE:
        return False
    return any(raw) or any(any(piece) for piece in iter(lambda: log.read(_READ_SIZE), b""))


def _verified(log: BinaryIO, header: Header) -> tuple[int, Log]:
    """Return the index of the first frame that is missing or does not verify, and what precedes."""
    checksums, index = header.checksums, 0
    found = Log(page_size=header.page_size)
    pages, stamp = set[int](), None
    size = FRAME.size + header.page_size
    while len(frame := log.read(size)) == size:
        number, pages_after, _, _, first, second = FRAME.unpack_from(frame)
        page = frame[FRAME.size :]
        checksums = _checksums(checksums, frame[:8], header.order)
        checksums = _checksums(checksums, page, header.order)
        if frame[8:16] != header.salts or checksums != (first, second):
            break
        index += 1
        pages.add(number)
        if stamp_here := stamp_in_page(page):
            stamp = StampedLog(stamp_here, stamp_here, number, header.page_size)
        if pages_after:
            found = _extended(found, pages_after, stamp)
    return index, replace(found, pages=frozenset(pages))


def _extended(log: Log, pages_after: int, stamp: StampedLog | None) -> Log:
    """Return the log with one more transaction, the last stamp of which is ``stamp``."""
    if log.stamps and stamp:
        stamp = replace(stamp, first=log.stamps.first)
    return replace(log, transactions=log.transactions + 1, pages_after=pages_after, stamps=stamp)


def _current_frames(log: BinaryIO, header: Header) -> Iterator[tuple[int, bool]]:
    """Yield the offset of each frame with the header's salts, and whether it ends a transaction.

    Starts at the current position of the file. A frame that the end of the file cuts off counts.
    """
    index = 0
    while len(frame := log.read(FRAME.size + header.page_size)) >= FRAME.size:
        if frame[8:16] == header.salts:
            yield index, any(frame[4:8])
        index += 1


def _checksums(before: Checksums, data: bytes, order: str) -> Checksums:
    """Return the two cumulative checksums after ``data``, whose length is a multiple of 8."""
    first, second = before
    words = iter(struct.unpack(f"{order}{len(data) // 4}I", data))
    for one, other in zip(words, words, strict=True):
        first = (first + one + second) & _WORD
        second = (second + other + first) & _WORD
    return first, second
