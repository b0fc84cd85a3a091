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

from array import array
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from isal import isal_zlib

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

CHUNK = 128 * 1024
"""Bytes to send at a time, at least; through the server, smaller chunks are several times
slower."""

PLAIN_CHUNK = 2 * CHUNK
"""The same of a text that is inflated or unpacked as it goes: there is five times as much of it."""

_GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
_LAST_BLOCK = b"\x03\x00"
"""An empty deflate block that says it is the last."""

_SPARE = 64
"""Bytes of room more than the text needs: with none left, isal allocates and copies again."""


class Piece(NamedTuple):
    """Some lines of text, deflated."""

    deflated: bytes
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
        return Run(*self.piece(text))

    def row(self, texts: Iterable[str]) -> BlockText:
        """Return the row of the texts of one block."""
        return BlockText.of([self.piece(text) for text in texts])


class BlockText:
    """The pieces of one block, one for each family.

    In few objects, since there are many rows: what Python has to look through for garbage
    stops everything else.
    """

    __slots__ = ("_crcs", "_deflated", "_lengths", "_sizes", "_starts")

    def __init__(
        self,
        deflated: tuple[bytes, ...],
        starts: array[int],
        lengths: array[int],
        sizes: array[int],
        crcs: array[int],
    ) -> None:
        """``deflated`` holds each piece from its start on, for its length."""
        self._deflated = deflated
        self._starts = starts
        self._lengths = lengths
        self._sizes = sizes
        self._crcs = crcs

    @classmethod
    def of(cls, pieces: Sequence[Piece]) -> BlockText:
        """Return a row of pieces, joined: the fewer holes they will leave behind."""
        parts = [piece.deflated for piece in pieces]
        lengths = array("I", map(len, parts))
        return cls(
            (b"".join(parts),) * len(parts),
            array("I", accumulate(lengths, initial=0)),
            lengths,
            array("I", [piece.size for piece in pieces]),
            array("I", [piece.crc for piece in pieces]),
        )

    def move(self, runs: tuple[bytes, ...], starts: Iterable[int]) -> None:
        """Let the pieces be parts of runs, so that those they were made as can go."""
        self._deflated = runs
        self._starts = array("I", starts)

    def piece(self, at: int) -> tuple[memoryview, int, int]:
        """Return what a piece is deflated to, the bytes of its text, and their CRC-32."""
        start = self._starts[at]
        view = memoryview(self._deflated[at])[start : start + self._lengths[at]]
        return view, self._sizes[at], self._crcs[at]


class Run(NamedTuple):
    """Pieces that follow one another, joined."""

    deflated: bytes
    size: int
    """Bytes of the text."""
    crc: int
    """Of the text."""
    rows: tuple[BlockText, ...] = ()
    """Whose pieces they are; none where it is one piece of its own."""
    at: int = 0
    """Which one of each row."""

    @classmethod
    def of(cls, rows: tuple[BlockText, ...], at: int) -> tuple[Run, list[int]]:
        """Return the run of a family's pieces, and where in it each begins."""
        parts, starts = [], []
        start = size = crc = 0
        for row in rows:
            part, more, its_crc = row.piece(at)
            parts.append(part)
            starts.append(start)
            start += len(part)
            size += more
            crc = isal_zlib.crc32_combine(crc, its_crc, more)
        return cls(b"".join(parts), size, crc, rows, at), starts


def _inflated(deflated: bytes, size: int) -> bytes:
    text: bytes = isal_zlib.decompress(deflated + _LAST_BLOCK, -15, size + _SPARE)
    return text


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
        return _chunks((_inflated(run.deflated, run.size) for run in self._runs), PLAIN_CHUNK)

    def gzip(self) -> Iterator[bytes]:
        """Yield one gzip member in chunks."""
        return _chunks(self._member(), CHUNK)

    def _member(self) -> Iterator[bytes]:
        yield _GZIP_HEADER
        crc = size = 0
        for run in self._runs:
            yield run.deflated
            crc = isal_zlib.crc32_combine(crc, run.crc, run.size)
            size += run.size
        yield _LAST_BLOCK + crc.to_bytes(4, "little") + (size & 0xFFFFFFFF).to_bytes(4, "little")


def _chunks(parts: Iterable[bytes], least: int) -> Iterator[bytes]:
    """Join what is small; a large part after another goes as it is, without a copy."""
    waiting: list[bytes] = []
    size = 0
    for part in parts:
        waiting.append(part)
        size += len(part)
        if size >= least:
            yield b"".join(waiting)
            waiting, size = [], 0
    if size:
        yield b"".join(waiting)
