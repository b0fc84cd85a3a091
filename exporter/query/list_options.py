"""The options of a list of eSIMs: which eSIMs it holds, how it is sorted, where a page begins."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from enum import StrEnum
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from pydantic_core import from_json, to_json

from exporter.model.attention import about_to_run_out, out_of_data
from exporter.model.records import RESOURCES
from exporter.query.shown_values import data_used_share, greatest_used_share, last_event

if TYPE_CHECKING:
    from exporter.fleet.attention import EsimsInAttention
    from exporter.fleet.waiting_order import WaitingOrder
    from exporter.model.events import Status
    from exporter.model.records import Esim


@dataclass(frozen=True, slots=True)
class EsimFilter:
    """Conditions that an eSIM in a list meets. A field left at its default is no condition."""

    vendor: str | None = None
    prefix: str = ""
    """The beginning of the eSIM's id."""
    status: Status | None = None
    terminal: bool | None = None
    """Whether the eSIM is deleted, revoked or expired."""
    package_id: str | None = None
    """A package of the eSIM. The used shares are then those of this package. In a list of eSIMs
    out of data, it is the package that ran out last, as in ``esim_fleet_esims_out_of_data``."""
    reference_id: str | None = None
    min_data_used_share: float | None = None
    """0 to 1. Excludes eSIMs without a limit; so do the next two."""
    min_sms_used_share: float | None = None
    min_voice_used_share: float | None = None
    out_of_data: bool | None = None
    """Whether the eSIM has no data left in any package."""
    about_to_run_out: bool | None = None
    """Whether nearly all data is used in every package: see ``exporter.model.attention``."""
    over_limit: bool | None = None
    """Whether the eSIM is over the cap ``--limits.max-esims``."""

    def matches(self, esim: Esim) -> bool:
        """Check an eSIM. The caller checks vendor, id and cap, which need no unpacked record."""
        return (
            self.status in {None, esim.status}
            and self.terminal in {None, esim.terminal}
            and self.reference_id in {None, esim.reference_id}
            and self._package_matches(esim)
            and self._data_left_matches(esim)
        )

    def _package_matches(self, esim: Esim) -> bool:
        allowances = esim.allowances
        if self.package_id is not None:
            allowances = tuple(a for a in allowances if a.package_id == self.package_id)
            if not allowances:
                return False
        least = (self.min_data_used_share, self.min_sms_used_share, self.min_voice_used_share)
        for resource, share in zip(RESOURCES, least, strict=True):
            used = greatest_used_share(allowances, resource) if share is not None else None
            if share is not None and (used is None or used < share):
                return False
        return True

    def _data_left_matches(self, esim: Esim) -> bool:
        if self.out_of_data is not None:
            out = out_of_data(esim)
            if (out is not None) is not self.out_of_data:
                return False
            if out and self.package_id not in {None, out.package_id}:
                return False
        wanted = self.about_to_run_out
        return wanted is None or wanted is (about_to_run_out(esim) is not None)

    def index(self, attention: EsimsInAttention) -> WaitingOrder | None:
        """Return an order that has every matching eSIM, ``None`` if there is no such order."""
        if self.out_of_data:
            return attention.out_of_data
        return attention.about_to_run_out if self.about_to_run_out else None


class SortKey(StrEnum):
    """What a list is sorted by. Vendor and id decide between eSIMs with equal values."""

    ESIM_ID = "esim_id"
    """Vendor first, then id."""
    DATA_USED_SHARE = "data_used_share"
    """eSIMs without a data limit come last in both orders."""
    LAST_EVENT = "last_event"
    OUT_OF_DATA_SINCE = "out_of_data_since"
    """eSIMs that have data left come last in both orders."""


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
    last = inf if sorting.order is SortOrder.ASCENDING else -1.0
    if sorting.by is SortKey.DATA_USED_SHARE:
        share = data_used_share(esim)
        return last if share is None else share
    if sorting.by is SortKey.OUT_OF_DATA_SINCE:
        out = out_of_data(esim)
        return float(out.since) if out else last
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
