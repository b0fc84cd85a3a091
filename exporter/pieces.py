"""Text that was deflated when it was made, joined when somebody asks.

A *piece* is some lines as raw deflate data (RFC 1951) that ends in a full flush, so that it
stands alone and ends on a byte, with the length and the CRC-32 of the text. A gzip scrape
puts pieces behind one another into a single gzip member (RFC 1952: several members would be
allowed, but some clients stop after the first); an identity scrape inflates them as it goes.

Pieces that follow one another are held in *runs*, whose length and CRC-32 are known: to
combine checksums piece by piece would take longer than to send the pieces.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from isal import isal_zlib

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

CHUNK = 512 * 1024
"""Bytes to send at a time; through the server, smaller chunks are several times slower."""

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


def gathered(pieces: Sequence[Piece]) -> tuple[Piece, ...]:
    """Return the pieces as views of one piece of memory.

    Each in its own, they would lie among what is needed to make them, and keep it from being
    given back.
    """
    joined = memoryview(b"".join([piece.deflated for piece in pieces]))
    at = 0
    moved = []
    for piece in pieces:
        end = at + len(piece.deflated)
        moved.append(piece._replace(deflated=joined[at:end]))
        at = end
    return tuple(moved)


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
        return Run.of([self.piece(text)])


class Run(NamedTuple):
    """Pieces that follow one another."""

    parts: list[bytes | memoryview]
    """What the pieces are deflated to."""
    gzip_size: int
    """Bytes of the parts."""
    size: int
    """Bytes of the text."""
    crc: int
    """Of the text."""

    @classmethod
    def of(cls, pieces: Iterable[Piece]) -> Run:
        """Return the run of these pieces."""
        parts: list[bytes | memoryview] = []
        gzip_size = size = crc = 0
        for piece in pieces:
            parts.append(piece.deflated)
            gzip_size += len(piece.deflated)
            size += piece.size
            crc = isal_zlib.crc32_combine(crc, piece.crc, piece.size)
        return cls(parts, gzip_size, size, crc)

    @property
    def text(self) -> bytes:
        """Return the text, inflated."""
        deflated = b"".join([*self.parts, _LAST_BLOCK])
        return isal_zlib.decompress(deflated, -15, self.size + _SPARE)


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
        return framing + sum([run.gzip_size for run in self._runs])

    def identity(self) -> Iterator[bytes]:
        """Yield the text in chunks."""
        return _chunks((run.size, [run.text]) for run in self._runs)

    def gzip(self) -> Iterator[bytes]:
        """Yield one gzip member in chunks."""
        return _chunks(self._member())

    def _member(self) -> Iterator[tuple[int, Sequence[bytes | memoryview]]]:
        yield len(_GZIP_HEADER), [_GZIP_HEADER]
        crc = size = 0
        for run in self._runs:
            yield run.gzip_size, run.parts
            crc = isal_zlib.crc32_combine(crc, run.crc, run.size)
            size += run.size
        trailer = [
            _LAST_BLOCK,
            crc.to_bytes(4, "little"),
            (size & 0xFFFFFFFF).to_bytes(4, "little"),
        ]
        yield len(_LAST_BLOCK) + 8, trailer


def _chunks(parts: Iterable[tuple[int, Sequence[bytes | memoryview]]]) -> Iterator[bytes]:
    waiting: list[bytes | memoryview] = []
    waiting_size = 0
    for size, more in parts:
        waiting += more
        waiting_size += size
        if waiting_size >= CHUNK:
            yield b"".join(waiting)
            waiting, waiting_size = [], 0
    if waiting_size:
        yield b"".join(waiting)
