"""The text of the exposition, kept deflated and joined into one answer for each scrape.

The lines of one family over one block of records are deflated (RFC 1951) when the block
changes. Nothing else of the text is kept. Each deflated text ends in a full flush: it ends on a
whole byte and needs nothing of the text before it. So texts can be joined without inflating them.

A gzip scrape sends them as one gzip member (RFC 1952). Several members would be valid too, but
some clients stop after the first. An identity scrape inflates them while it sends them.

Joining the texts of all blocks at scrape time would take as long as sending them. So the texts of
:data:`BLOCKS_JOINED` blocks are joined in advance. That happens on the event loop, in small
steps. The background and a scrape may do it at the same time.
"""

from __future__ import annotations

from array import array
from itertools import accumulate
from operator import is_
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from isal import isal_zlib

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from exporter.exposition.families import Family
    from exporter.fleet.blocks import Block, Blocks

K = TypeVar("K")
R = TypeVar("R")

BLOCKS_JOINED = 512
"""Blocks whose texts are joined in advance; a gzip scrape then sends parts of about 900 kB."""

GZIP_CHUNK = 128 * 1024
"""Least bytes of a chunk of a gzip scrape. Smaller chunks are several times slower to send."""

IDENTITY_CHUNK = 2 * GZIP_CHUNK
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


class Deflater:
    """Deflates texts. One compressor serves all: a full flush makes it forget what it read."""

    def __init__(self) -> None:
        self._compressor = isal_zlib.compressobj(1, wbits=-15)

    def deflate(self, text: str) -> DeflatedText:
        """Return the text, deflated."""
        if not text:
            return DeflatedText(b"", 0, 0)
        data = text.encode()
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


class BlockTexts:
    """The texts of one block of records, one for each family.

    A large fleet has many blocks, so this keeps few objects: the garbage collector visits each
    of them, and everything else waits meanwhile.
    """

    __slots__ = ("_crcs", "_lengths", "_sizes", "_sources", "_starts")

    def __init__(self, texts: Sequence[DeflatedText]) -> None:
        """Copy the texts into one byte string, which leaves fewer holes in memory than many."""
        self._lengths = array("I", [len(text.deflated) for text in texts])
        self._sizes = array("I", [text.size for text in texts])
        self._crcs = array("I", [text.crc for text in texts])
        together = b"".join([text.deflated for text in texts])
        self.move((together,) * len(texts), accumulate(self._lengths[:-1], initial=0))

    def move(self, sources: tuple[bytes | memoryview, ...], starts: Iterable[int]) -> None:
        """From now on, read each family's text from one of ``sources``, beginning at its start.

        The byte string that held the texts before can then be freed.
        """
        self._sources = sources
        self._starts = array("I", starts)

    def text(self, family: int) -> DeflatedText:
        """Return the text of a family, given by its place among the families."""
        start = self._starts[family]
        view = memoryview(self._sources[family])[start : start + self._lengths[family]]
        return DeflatedText(view, self._sizes[family], self._crcs[family])


class _JoinedBlocks(NamedTuple):
    """The joined texts of some neighbouring blocks."""

    turn: int
    """Tells which of two joins of the same blocks began later, and so has newer texts."""
    layout: int
    """The layout of the blocks when their texts were taken."""
    blocks: tuple[BlockTexts, ...]
    families: tuple[DeflatedText, ...]
    """One text for each family."""


class FamilyTexts(Generic[K, R]):
    """The texts of some families over all blocks of records, kept up to date by ``refresh``."""

    def __init__(
        self,
        blocks: Blocks[K, R],
        families: tuple[Family, ...],
        render: Callable[[Block[K, R], tuple[Family, ...]], list[str]],
        deflater: Deflater,
    ) -> None:
        """``render`` returns the lines of each family for one block."""
        self.families = families
        self._blocks = blocks
        self._render = render
        self._deflater = deflater
        self._joined: dict[Block[K, R], _JoinedBlocks] = {}
        """By the first block of those that are joined."""
        self._turn = 0

    @property
    def pending(self) -> int:
        """Return how many blocks have changed since they were last rendered."""
        return len(self._blocks.dirty)

    def refresh(self) -> Iterator[None]:
        """Render and join what has changed until now, pausing after each step."""
        for block in list(self._blocks.dirty):
            if block in self._blocks.dirty:
                self._render_again(block)
                yield
        start = 0  # counted by hand: the blocks may change at every pause
        while part := self._blocks.blocks[start : start + BLOCKS_JOINED]:
            joined = self._joined.get(part[0])
            if joined and _has_newest_texts(joined, part):
                self._joined[part[0]] = joined._replace(layout=self._blocks.layout)
            else:
                yield from self._join(part)
            start += BLOCKS_JOINED
        self._forget()

    def capture(self) -> list[tuple[Family, list[DeflatedText]]]:
        """Return each family with its texts, as of the last refresh or later.

        Joins texts again only if their blocks were split or merged since the refresh. Otherwise a
        record could be in two of the joined texts, or in none.
        """
        captured: list[tuple[DeflatedText, ...]] = []
        blocks = self._blocks.blocks
        for start in range(0, len(blocks), BLOCKS_JOINED):
            part = blocks[start : start + BLOCKS_JOINED]
            joined = self._joined.get(part[0])
            if joined is None or (
                joined.layout != self._blocks.layout and not _has_newest_texts(joined, part)
            ):
                for _ in self._join(part):
                    pass
                joined = self._joined[part[0]]
            captured.append(joined.families)
        self._forget()
        return [
            (family, [texts[at] for texts in captured]) for at, family in enumerate(self.families)
        ]

    def _forget(self) -> None:
        """Free the joined texts of blocks that were split, merged or removed."""
        firsts = self._blocks.blocks[::BLOCKS_JOINED]
        self._joined = {first: self._joined[first] for first in firsts if first in self._joined}

    def _join(self, part: list[Block[K, R]]) -> Iterator[None]:
        """Join the texts of these blocks, pausing after each family."""
        self._turn += 1
        turn, layout = self._turn, self._blocks.layout
        blocks = tuple([self._texts_of(block) for block in part])
        families: list[DeflatedText] = []
        starts: list[list[int]] = []
        for at in range(len(self.families)):
            texts = [block.text(at) for block in blocks]
            families.append(DeflatedText.joined(texts))
            lengths = [len(text.deflated) for text in texts]
            starts.append(list(accumulate(lengths[:-1], initial=0)))
            yield
        known = self._joined.get(part[0])
        if known is None or known.turn < turn:
            sources = tuple([family.deflated for family in families])
            for block, its_starts in zip(blocks, zip(*starts, strict=True), strict=True):
                block.move(sources, its_starts)
            self._joined[part[0]] = _JoinedBlocks(turn, layout, blocks, tuple(families))

    def _texts_of(self, block: Block[K, R]) -> BlockTexts:
        if block.rendered is None:  # split or merged since it was rendered
            self._render_again(block)
        texts: BlockTexts = block.rendered
        return texts

    def _render_again(self, block: Block[K, R]) -> None:
        self._blocks.dirty.pop(block, None)
        lines = self._render(block, self.families)
        block.rendered = BlockTexts([self._deflater.deflate(text) for text in lines])


def _has_newest_texts(joined: _JoinedBlocks, part: Sequence[Block[K, R]]) -> bool:
    """Return whether the joined texts are made from the present texts of these blocks."""
    texts = [block.rendered for block in part]
    return len(texts) == len(joined.blocks) and all(map(is_, texts, joined.blocks))
