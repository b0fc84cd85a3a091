"""Cursors: the place in a sorted list where the next page begins, as text for clients.

A cursor holds the sorting and the last eSIM of the page before, so the server keeps nothing
between two pages.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import TYPE_CHECKING, NamedTuple

from pydantic_core import from_json, to_json

if TYPE_CHECKING:
    from exporter.query.sorting import Sorting


class UnknownCursor(ValueError):
    """A text that is no cursor, or the cursor of a list with another sorting."""


class ListPosition(NamedTuple):
    """The position of an eSIM in a sorted list. Positions compare as the list is sorted."""

    value: float
    """See :func:`exporter.query.sorting.sort_value`."""
    key: bytes
    """Vendor and id, packed."""

    @classmethod
    def from_cursor(cls, cursor: str, sorting: Sorting) -> ListPosition:
        """Read a cursor. Raises ``UnknownCursor``."""
        try:
            by, order, value, key = from_json(urlsafe_b64decode(cursor))
            position = cls(float(value), key.encode())
        except (ValueError, TypeError, AttributeError, OverflowError):
            raise UnknownCursor("no such page; begin with the first") from None
        if (by, order) != sorting:
            raise UnknownCursor("the page belongs to a list that is sorted in another way")
        return position

    def to_cursor(self, sorting: Sorting) -> str:
        """Write the position as a cursor: URL-safe Base64 of a JSON array."""
        fields = [*sorting, self.value, self.key.decode()]
        return urlsafe_b64encode(to_json(fields, inf_nan_mode="constants")).decode()
