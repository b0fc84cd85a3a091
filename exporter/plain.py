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
    from collections.abc import Iterable, Sequence


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


def joined(plains: Iterable[Plain], at: int) -> bytes:
    """Return the texts of one family, from many blocks at once: the steps cost as much as they."""
    return b"".join([block.decompress(parts[at], dict=words) for words, parts in plains])
