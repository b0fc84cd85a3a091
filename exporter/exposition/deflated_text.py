"""The text of the exposition, kept deflated and joined into one answer for each scrape.

The lines of one family over one block of records are deflated (RFC 1951) when the block
changes. Nothing else of the text is kept. Each deflated text ends in a full flush: it ends on a
whole byte and needs nothing of the text before it. So texts can be joined without inflating them.

A gzip scrape sends them as one gzip member (RFC 1952). Several members would be valid too, but
some clients stop after the first. An identity scrape inflates them while it sends them.
:mod:`exporter.exposition.family_texts` keeps the texts up to date.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from isal import isal_zlib

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

GZIP_CHUNK = 64 * 1024
"""Least bytes of a chunk of a gzip scrape. Smaller chunks are several times slower to send. The
texts of most parts are larger, so they are sent without being copied."""

IDENTITY_CHUNK = 4 * GZIP_CHUNK
"""Least bytes of a chunk of an identity scrape, which sends about five times as many bytes."""

INFLATED_AT_ONCE = 64 * 1024
"""Deflated bytes that are inflated in one step, so that no step holds up the event loop."""

_GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
_LAST_BLOCK = b"\x03\x00"
"""An empty deflate block with the flag that it is the last."""


class DeflatedText(NamedTuple):
    """Some lines of the exposition, deflated."""

    deflated: bytes | memoryview
    size: int
    """Bytes of the text before it was deflated."""
    crc: int
    """CRC-32 of the text before it was deflated."""

    @classmethod
    def joined(cls, texts: Sequence[DeflatedText]) -> DeflatedText:
        """Return the texts, joined."""
        size = crc = 0
        for _, more, its_crc in texts:
            crc = isal_zlib.crc32_combine(crc, its_crc, more)
            size += more
        return cls(b"".join([text.deflated for text in texts]), size, crc)

    def inflated(self) -> bytes:
        """Return the text as it was before it was deflated."""
        return isal_zlib.decompressobj(-15).decompress(self.deflated)


class Deflater:
    """Deflates texts. One compressor serves all: a full flush makes it forget what it read."""

    def __init__(self) -> None:
        self._compressor = isal_zlib.compressobj(1, wbits=-15)

    def deflate(self, data: bytes) -> DeflatedText:
        """Return the text, deflated."""
        if not data:
            return DeflatedText(b"", 0, 0)
        deflated = self._compressor.compress(data)
        deflated += self._compressor.flush(isal_zlib.Z_FULL_FLUSH)
        return DeflatedText(deflated, len(data), isal_zlib.crc32(data))


class ScrapeBody:
    """The answer to one scrape. It does not change when the fleet does."""

    def __init__(self, texts: Sequence[DeflatedText]) -> None:
        self._texts = texts

    @property
    def size(self) -> int:
        """Return the bytes of the text."""
        return sum([text.size for text in self._texts])

    @property
    def gzip_size(self) -> int:
        """Return the bytes of the gzip member."""
        framing = len(_GZIP_HEADER) + len(_LAST_BLOCK) + 8
        return framing + sum([len(text.deflated) for text in self._texts])

    def identity(self) -> Iterator[bytes]:
        """Yield the text in chunks."""
        return _chunks(self._inflated(), IDENTITY_CHUNK)

    def gzip(self) -> Iterator[bytes]:
        """Yield one gzip member in chunks."""
        return _chunks(self._member(), GZIP_CHUNK)

    def _inflated(self) -> Iterator[bytes]:
        inflater = isal_zlib.decompressobj(-15)
        for text in self._texts:
            for start in range(0, len(text.deflated), INFLATED_AT_ONCE):
                yield inflater.decompress(text.deflated[start : start + INFLATED_AT_ONCE])

    def _member(self) -> Iterator[bytes | memoryview]:
        yield _GZIP_HEADER
        crc = size = 0
        for text in self._texts:
            yield text.deflated
            crc = isal_zlib.crc32_combine(crc, text.crc, text.size)
            size += text.size
        # RFC 1952: the size is modulo 2^32.
        yield _LAST_BLOCK + crc.to_bytes(4, "little") + (size & 0xFFFFFFFF).to_bytes(4, "little")


def _chunks(parts: Iterable[bytes | memoryview], least: int) -> Iterator[bytes]:
    """Join parts to chunks of at least ``least`` bytes. A large part alone is not copied."""
    waiting: list[bytes | memoryview] = []
    size = 0
    for part in parts:
        waiting.append(part)
        size += len(part)
        if size >= least:
            yield b"".join(waiting)
            waiting, size = [], 0
    if size:
        yield b"".join(waiting)
