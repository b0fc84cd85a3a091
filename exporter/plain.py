"""Text for clients that take no gzip, packed to be read faster than it could be inflated.

The texts of a block say the same labels, each for another family. One of them is kept as it
is, and of the others what differs from it: LZ4 with that one for a dictionary. To read them is
to copy; and together they take less than what is kept for gzip, where every family has to say
all labels again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from lz4 import block

if TYPE_CHECKING:
    from collections.abc import Sequence

_unpacked = block.decompress
_AS_TOLD, _BYTEARRAY = -1, False
"""Arguments of it: the size, as packed, and what to return. To name them would take longer."""


class Plain(NamedTuple):
    """The texts of one block, one for each family."""

    words: bytes
    """The text that is kept as it is."""
    parts: tuple[bytes, ...]
    """Each text, that one included, by what differs from it."""

    @classmethod
    def of(cls, texts: Sequence[bytes]) -> Plain:
        """Pack texts."""
        words = next(filter(None, texts), b"")
        return cls(words, tuple([block.compress(text, dict=words) for text in texts]))

    def text(self, at: int) -> bytes:
        """Return the text of one family."""
        text: bytes = _unpacked(self.parts[at], dict=self.words)
        return text


class Columns:
    """The texts of many blocks, to be read family by family, as an exposition has them.

    Each would be found by its block as well, but block by block in memory that is not at hand:
    that takes a sixth of a scrape.
    """

    __slots__ = ("_columns", "_words")

    def __init__(self, plains: Sequence[Plain]) -> None:
        self._words = [plain.words for plain in plains]
        self._columns = list(zip(*[plain.parts for plain in plains], strict=True))

    def text(self, at: int, start: int, stop: int) -> bytes:
        """Return the texts of one family in some of the blocks."""
        packed = zip(self._columns[at][start:stop], self._words[start:stop], strict=True)
        return b"".join([_unpacked(part, _AS_TOLD, _BYTEARRAY, words) for part, words in packed])
