"""Text for clients that take no gzip, packed to be read faster than it could be inflated.

The texts of a block say the same labels, each for another family. One of them is kept as it
is, and of the others what differs from it: LZ4 with that one for a dictionary. To read them is
to copy; and together they take less than what is kept for gzip, where every family has to say
all labels again.
"""

from __future__ import annotations

from array import array
from itertools import accumulate
from typing import TYPE_CHECKING

from lz4 import block

if TYPE_CHECKING:
    from collections.abc import Sequence


class Plain:
    """The texts of one block, one for each family. In few objects, as there are many."""

    __slots__ = ("_ends", "_packed", "_sizes", "_whole", "_words")

    def __init__(self, texts: Sequence[bytes]) -> None:
        self._sizes = array("I", map(len, texts))
        self._whole = next((at for at, text in enumerate(texts) if text), 0)
        """Place of the text that is kept as it is."""
        self._words = texts[self._whole] if texts else b""
        parts = [b"" if at == self._whole else self._pack(text) for at, text in enumerate(texts)]
        self._packed = b"".join(parts)
        self._ends = array("I", accumulate(map(len, parts)))

    def text(self, at: int) -> bytes:
        """Return the text of a family."""
        size = self._sizes[at]
        if at == self._whole or not size:
            return self._words if size else b""
        packed = self._packed[self._ends[at - 1] if at else 0 : self._ends[at]]
        text: bytes = block.decompress(packed, uncompressed_size=size, dict=self._words)
        return text

    def _pack(self, text: bytes) -> bytes:
        if not text:
            return b""
        packed: bytes = block.compress(text, store_size=False, dict=self._words)
        return packed
