"""How lists of eSIMs are sorted."""

from __future__ import annotations

from enum import StrEnum
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from exporter.query.summaries import data_used_share, last_event

if TYPE_CHECKING:
    from exporter.model.records import Esim


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
