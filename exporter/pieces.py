"""Text that was deflated when it was made, joined when somebody asks.

A *piece* is some lines as raw deflate data (RFC 1951) that ends in a full flush, so that it
stands alone and ends on a byte, with the length and the CRC-32 of the text. A gzip scrape
puts pieces behind one another into a single gzip member (RFC 1952: several members would be
allowed, but some clients stop after the first); an identity scrape inflates them as it goes.

Pieces that follow one another are held in *runs*, joined and with the CRC-32 of all: to join
pieces one by one when somebody asks would take as long as to send them, and as many small
ones would leave holes in memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from isal import isal_zlib

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

CHUNK = 128 * 1024
"""Bytes to send at a time, at least; through the server, smaller chunks are several times
slower."""

_GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
_LAST_BLOCK = b"\x03\x00"
"""An empty deflate block that says it is the last."""

_SPARE = 64
"""Bytes of room more than the text needs: with none left, isal allocates and copies again."""


class Piece(NamedTuple):
    """Some lines of text, deflated."""

    deflated: bytes | memoryview
    size: int
    """Bytes of the text."""
    crc: int


_NOTHING = Piece(b"", 0, 0)


class Deflater:
    """Makes pieces; one compressor serves for all, since a full flush forgets what was before."""

    def __init__(self) -> None:
        self._compressor = isal_zlib.compressobj(1, wbits=-15)

    def piece(self, text: str) -> Piece:
        """Return the piece of a text."""
        if not text:
            return _NOTHING
        data = text.encode()
        deflated = self._compressor.compress(data)
        deflated += self._compressor.flush(isal_zlib.Z_FULL_FLUSH)
        return Piece(deflated, len(data), isal_zlib.crc32(data))

    def run(self, text: str) -> Run:
        """Return a run of one piece."""
        return Run.of([self.piece(text)])[0]


class Run(NamedTuple):
    """Pieces that follow one another, joined."""

    deflated: bytes
    size: int
    """Bytes of the text."""
    crc: int
    """Of the text."""

    @classmethod
    def of(cls, pieces: Sequence[Piece]) -> tuple[Run, list[Piece]]:
        """Return the run of these pieces, and the pieces as views of it."""
        deflated = b"".join([piece.deflated for piece in pieces])
        joined = memoryview(deflated)
        views = []
        at = size = crc = 0
        for piece in pieces:
            end = at + len(piece.deflated)
            views.append(Piece(joined[at:end], piece.size, piece.crc))
            at = end
            size += piece.size
            crc = isal_zlib.crc32_combine(crc, piece.crc, piece.size)
        return cls(deflated, size, crc), views

    @property
    def text(self) -> bytes:
        """Return the text, inflated."""
        return isal_zlib.decompress(self.deflated + _LAST_BLOCK, -15, self.size + _SPARE)


class Scrape:
    """One exposition, captured; what happens to the fleet meanwhile does not change it."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self._runs = runs

    @property
    def size(self) -> int:
        """Return the bytes of the text."""
        return sum([run.size for run in self._runs])

    @property
    def gzip_size(self) -> int:
        """Return the bytes of the gzip member."""
        framing = len(_GZIP_HEADER) + len(_LAST_BLOCK) + 8
        return framing + sum([len(run.deflated) for run in self._runs])

    def identity(self) -> Iterator[bytes]:
        """Yield the text in chunks."""
        return _chunks(run.text for run in self._runs)

    def gzip(self) -> Iterator[bytes]:
        """Yield one gzip member in chunks."""
        return _chunks(self._member())

    def _member(self) -> Iterator[bytes]:
        yield _GZIP_HEADER
        crc = size = 0
        for run in self._runs:
            yield run.deflated
            crc = isal_zlib.crc32_combine(crc, run.crc, run.size)
            size += run.size
        yield _LAST_BLOCK + crc.to_bytes(4, "little") + (size & 0xFFFFFFFF).to_bytes(4, "little")


def _chunks(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Join what is small; a large part after another goes as it is, without a copy."""
    waiting: list[bytes] = []
    size = 0
    for part in parts:
        waiting.append(part)
        size += len(part)
        if size >= CHUNK:
            yield b"".join(waiting)
            waiting, size = [], 0
    if size:
        yield b"".join(waiting)
