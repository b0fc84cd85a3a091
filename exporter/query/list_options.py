"""The options of a list of eSIMs: which eSIMs it holds, how it is sorted, where a page begins."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from enum import StrEnum
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from pydantic_core import from_json, to_json

from exporter.query.shown_values import data_used_share, last_event

if TYPE_CHECKING:
    from exporter.model.events import Status
    from exporter.model.records import Esim


@dataclass(frozen=True, slots=True)
class EsimFilter:
    """Conditions that an eSIM in a list meets. A field left at its default is no condition."""

    vendor: str | None = None
    prefix: str = ""
    """The beginning of the eSIM's id."""
    status: Status | None = None
    package_id: str | None = None
    reference_id: str | None = None
    min_data_used_share: float | None = None
    """0 to 1. Excludes eSIMs without a data limit."""
    over_limit: bool | None = None
    """Whether the eSIM is over the cap ``--limits.max-esims``."""

    def matches(self, esim: Esim) -> bool:
        """Check an eSIM. The caller checks vendor, id and cap, which need no unpacked record."""
        share = self.min_data_used_share
        if share is not None:
            used = data_used_share(esim)
            if used is None or used < share:
                return False
        return (
            self.status in {None, esim.status}
            and self.reference_id in {None, esim.reference_id}
            and (self.package_id is None or esim.allowance(self.package_id) is not None)
        )

    @property
    def record_parts(self) -> tuple[bytes, ...]:
        """Return bytes that the packed record of every matching eSIM contains."""
        values = (self.status, self.package_id, self.reference_id)
        return tuple(value.encode() for value in values if value is not None)


class SortKey(StrEnum):
    """What a list is sorted by. Vendor and id decide between eSIMs with equal values."""

    ESIM_ID = "esim_id"
    """Vendor first, then id."""
    DATA_USED_SHARE = "data_used_share"
    """eSIMs without a data limit come last in both orders."""
    LAST_EVENT = "last_event"


class SortOrder(StrEnum):
    """The direction of a sorted list."""

    ASCENDING = "asc"
    DESCENDING = "desc"


class Sorting(NamedTuple):
    """How one list is sorted."""

    by: SortKey = SortKey.ESIM_ID
    order: SortOrder = SortOrder.ASCENDING


def sort_value(esim: Esim, sorting: Sorting) -> float:
    """Return the number by which an eSIM is sorted; 0 in a list by id."""
    if sorting.by is SortKey.DATA_USED_SHARE:
        share = data_used_share(esim)
        last = inf if sorting.order is SortOrder.ASCENDING else -1.0
        return last if share is None else share
    return float(last_event(esim)) if sorting.by is SortKey.LAST_EVENT else 0.0


class UnknownCursor(ValueError):
    """A text that is no cursor, or the cursor of a list with another sorting."""


class ListPosition(NamedTuple):
    """The position of an eSIM in a sorted list. Positions compare as the list is sorted.

    A client gets the position of the last eSIM on a page as a cursor, and sends it back for the
    next page. So the server keeps nothing between two pages.
    """

    value: float
    """The number by which the list is sorted; 0 in a list by id."""
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
