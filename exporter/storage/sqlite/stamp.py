"""The stamp: which file it is and how many commits it has, written by every commit.

Everything that tells one state of the files from another rests on two facts:

- A file gets a new **identity**, which is random, at each start, and none when it is closed. So a
  copy that was made before the start is another file, even if it goes on to the same number of
  commits.
- Every commit gets the next **number**, and writes the stamp in the same transaction. So the
  database file says up to where it is complete, and the log says which commits it holds.

The stamp is in the table ``seal``, which every commit changes anyway, so it costs no further page.
"""

from __future__ import annotations

import secrets
import struct
import zlib
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

_IDENTITY_SIZE = 8
_MAGIC = b"\xffSt\xfe"
"""No text contains these bytes, because they are not UTF-8."""
_STAMP = struct.Struct(">4s8sQ8sQ8sQ")
_CHECKSUM = struct.Struct(">I")
_SIZE = _STAMP.size + _CHECKSUM.size

_LEAF_OF_INDEX = 0x0A
"""The first byte of a page of ``seal``: see "B-tree Pages" in the SQLite file format document."""
_LEAF_HEADER = struct.Struct(">BHHHB")
_POINTER = struct.Struct(">H")
_LEAST_LONG_CELL = 0x80
"""The size of a cell is one byte if it is less."""


class CommitId(NamedTuple):
    """A commit: the identity of its file, and how many commits the file had with it."""

    identity: bytes
    number: int


AT_REST = bytes(_IDENTITY_SIZE)
"""The identity of a file that is complete without its log: a new or closed one, or a backup."""

NO_COMMIT = CommitId(AT_REST, 0)
"""What the history of a new file starts from."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a state of a file says of itself and of its history."""

    identity: bytes
    number: int
    """Number of commits, those included that store nothing for a caller."""
    newest: CommitId
    """The newest commit that stored something for a caller."""
    before: CommitId
    """The newest such commit at the last start."""

    def next(self, *, for_caller: bool) -> Stamp:
        """Return the stamp of the next commit."""
        number = self.number + 1
        newest = CommitId(self.identity, number) if for_caller else self.newest
        return Stamp(self.identity, number, newest, self.before)

    def started(self) -> Stamp:
        """Return the stamp with a new identity."""
        return replace(self, identity=secrets.token_bytes(_IDENTITY_SIZE), before=self.newest)

    def closed(self) -> Stamp:
        """Return the stamp without an identity."""
        return replace(self, identity=AT_REST)

    def includes(self, commit: CommitId) -> bool:
        """Return whether the history certainly includes a commit."""
        return not commit.number or any(
            own.identity == commit.identity and own.number >= commit.number
            for own in (self.newest, self.before)
        )

    def pack(self) -> bytes:
        """Return the stored form. :meth:`unpack` reads it."""
        packed = _STAMP.pack(_MAGIC, self.identity, self.number, *self.newest, *self.before)
        return packed + _CHECKSUM.pack(zlib.crc32(packed))

    @classmethod
    def unpack(cls, raw: object) -> Self | None:
        """Return what :meth:`pack` stored, or ``None`` if it is damaged."""
        if not isinstance(raw, bytes) or len(raw) != _SIZE:
            return None
        packed, checksum = raw[: _STAMP.size], raw[_STAMP.size :]
        if checksum != _CHECKSUM.pack(zlib.crc32(packed)):
            return None
        _, identity, number, *commits = _STAMP.unpack(packed)
        return cls(identity, number, CommitId(*commits[:2]), CommitId(*commits[2:]))


FIRST = Stamp(AT_REST, 0, NO_COMMIT, NO_COMMIT)
"""The stamp of a new file, before its first start."""


def stamp_in_page(page: bytes) -> Stamp | None:
    """Return the stamp that a page of a database file holds.

    Only cells in use are looked at: the free space of a page can hold older stamps.
    """
    if _MAGIC not in page or page[0] != _LEAF_OF_INDEX:
        return None
    _, _, cells, _, _ = _LEAF_HEADER.unpack_from(page)
    for (start,) in _POINTER.iter_unpack(page[_LEAF_HEADER.size :][: cells * _POINTER.size]):
        if start >= len(page) or page[start] >= _LEAST_LONG_CELL:
            continue
        # The stamp is the last column, so it ends where the cell ends.
        end = start + 1 + page[start]
        if stamp := Stamp.unpack(page[end - _SIZE : end]):
            return stamp
    return None


@dataclass(frozen=True, slots=True)
class StampedLog:
    """The stamps of the first and the last transaction of a log, and the page that holds them."""

    first: Stamp
    last: Stamp
    page_number: int
    page_size: int

    def continues(self, file: Stamp) -> bool:
        """Return whether this is the log of a database file that ends with the stamp ``file``.

        An interrupted checkpoint leaves a file that has some of the log's commits already.
        """
        if file == self.last:
            return True
        first = self.first
        if file.identity == first.identity != AT_REST:
            return first.number - 1 <= file.number <= self.last.number
        # A crash can leave a log that begins with the transaction that changed the identity.
        changes = first.newest.identity != first.identity
        return changes and (file.number, file.newest) == (first.number, first.newest)
