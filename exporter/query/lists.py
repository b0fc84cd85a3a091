"""Read-only questions of people to the fleet: lists, one eSIM, search, packages.

eSIMs are packed, and unpacking a hundred thousand of them takes a second. A list in the
order of its keys unpacks little more than its page. What has to look at every eSIM passes by
what cannot match without unpacking it, rests as long as it works, and goes one question at a
time, so that webhooks are not kept waiting; a question that is answered at once waits for none.
"""

from __future__ import annotations

import asyncio
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice, starmap
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from pydantic_core import from_json, to_json

from exporter.fleet.compact_store import key_of, unpack
from exporter.query.scan import NEXT_KEY, ScanTurn, batches
from exporter.query.summaries import (
    EsimDetail,
    EsimSummary,
    PackageSummary,
    data_used_share,
    describe,
    last_event,
    package_summary,
    summarise,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from exporter.exposition.info_labels import InfoLabels
    from exporter.fleet.fleet import Fleet
    from exporter.model.events import Status
    from exporter.model.records import Esim, EsimKey

MOST = 500
"""eSIMs on a page, at most."""


class UnknownCursor(ValueError):
    """A cursor that does not belong to this list, or is none."""


class Sort(StrEnum):
    """What a list is sorted by; eSIMs that are equal in it by vendor and id."""

    ESIM_ID = "esim_id"
    """By vendor, then id."""
    DATA_USED_SHARE = "data_used_share"
    """Those without a limit come last."""
    LAST_EVENT = "last_event"


class Order(StrEnum):
    """In which direction a list is sorted."""

    ASCENDING = "asc"
    DESCENDING = "desc"


class Sorting(NamedTuple):
    """How a list is sorted."""

    by: Sort = Sort.ESIM_ID
    order: Order = Order.ASCENDING


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which eSIMs a list is to hold; what is not set is not asked for."""

    vendor: str | None = None
    prefix: str = ""
    """What the id starts with."""
    status: Status | None = None
    package_id: str | None = None
    reference_id: str | None = None
    min_data_used_share: float | None = None
    """0 to 1; leaves out eSIMs without a limit."""
    over_limit: bool | None = None
    """Whether it is over the cardinality cap."""

    def matches(self, esim: Esim) -> bool:
        """Return whether an eSIM is wanted, apart from its key and the cap."""
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
    def marks(self) -> tuple[bytes, ...]:
        """Return texts that the record of a wanted eSIM is sure to hold."""
        values = (self.status, self.package_id, self.reference_id)
        return tuple(value.encode() for value in values if value is not None)


class Page(NamedTuple):
    """A part of a list."""

    esims: tuple[EsimSummary, ...]
    next: str | None
    """Cursor of the page that follows; ``None`` after the last."""


class FleetQueries:
    """Answers questions to a fleet, which is given with each: it is replaced when reloaded."""

    def __init__(self, identity: InfoLabels) -> None:
        """``identity`` says how an eSIM's ICCID may be shown."""
        self._identity = identity
        self._turn = asyncio.Lock()

    async def esims(
        self,
        fleet: Fleet,
        wanted: Wanted | None = None,
        sorting: Sorting | None = None,
        *,
        after: str | None = None,
        limit: int = 50,
    ) -> Page:
        """Return up to ``limit`` eSIMs that follow the cursor ``after``, by id unless told.

        Where the fleet changes meanwhile, an eSIM whose place in the list stays is on exactly
        one page. Raises ``UnknownCursor``.
        """
        sorting = sorting or Sorting()
        place = _Place.read(after, sorting) if after else None
        asked = _Asked(wanted or Wanted(), sorting, place, limit + 1)
        find = _first if sorting == Sorting() else _foremost
        async with ScanTurn(self._turn) as pace:
            found = await find(fleet, asked, pace)
        page, following = found[:limit], None
        if len(found) > limit:
            last = page[-1]
            following = _Place(_value(last, sorting), key_of(last.key)).written(sorting)
        return Page(tuple(map(summarise, page)), following)

    def esim(self, fleet: Fleet, key: EsimKey) -> EsimDetail | None:
        """Return one eSIM in full, or ``None``."""
        esim = fleet.esim(key)
        return esim and describe(esim, fleet, self._identity)

    def vendors_of(self, fleet: Fleet, esim_id: str) -> list[str]:
        """Return the vendors that have an eSIM of this id, sorted."""
        return [v for v in sorted(fleet.totals.vendors) if fleet.esim((v, esim_id))]

    async def search(self, fleet: Fleet, text: str, most: int = 20) -> tuple[EsimSummary, ...]:
        """Return eSIMs whose id, reference or ICCID is exactly ``text``, up to ``most``."""
        if not text:
            return ()
        exact = [fleet.esim((vendor, text)) for vendor in self.vendors_of(fleet, text)]
        found = {esim.key: esim for esim in exact if esim}
        async with ScanTurn(self._turn) as pace:
            for batch in batches(fleet, Wanted(), (text.encode(),)):
                esims = starmap(unpack, batch)
                found |= {e.key: e for e in esims if text in {e.reference_id, e.iccid}}
                if len(found) >= most:
                    break
                await pace.rest()
        return tuple(map(summarise, list(found.values())[:most]))

    async def packages(self, fleet: Fleet) -> AsyncIterator[PackageSummary]:
        """Yield all packages, sorted by vendor and id: there may be thousands."""
        async with ScanTurn(self._turn) as pace:
            for totals in list(fleet.totals.packages):
                yield package_summary(totals)
                await pace.rest()


class _Place(NamedTuple):
    """Where an eSIM stands in a list."""

    value: float
    key: bytes

    @classmethod
    def read(cls, cursor: str, sorting: Sorting) -> _Place:
        try:
            by, order, value, key = from_json(urlsafe_b64decode(cursor))
            place = cls(float(value), key.encode())
        except (ValueError, TypeError, AttributeError, OverflowError):
            raise UnknownCursor("no such page; begin with the first") from None
        if (by, order) != sorting:
            raise UnknownCursor("the page belongs to a list that is sorted in another way")
        return place

    def written(self, sorting: Sorting) -> str:
        fields = [*sorting, self.value, self.key.decode()]
        return urlsafe_b64encode(to_json(fields, inf_nan_mode="constants")).decode()


def _value(esim: Esim, sorting: Sorting) -> float:
    if sorting.by is Sort.DATA_USED_SHARE:
        share = data_used_share(esim)
        last = inf if sorting.order is Order.ASCENDING else -1.0
        return last if share is None else share
    return float(last_event(esim)) if sorting.by is Sort.LAST_EVENT else 0.0


class _Asked(NamedTuple):
    """What of which list is asked for."""

    wanted: Wanted
    sorting: Sorting
    after: _Place | None
    most: int


async def _first(fleet: Fleet, asked: _Asked, pace: ScanTurn) -> list[Esim]:
    """Return the first eSIMs by key; where most of them match, few more are looked at."""
    wanted, _, after, most = asked
    found: list[Esim] = []
    for batch in batches(fleet, wanted, wanted.marks, after.key + NEXT_KEY if after else b""):
        found += islice(filter(wanted.matches, starmap(unpack, batch)), most - len(found))
        if len(found) == most:
            break
        await pace.rest()
    return found


async def _foremost(fleet: Fleet, asked: _Asked, pace: ScanTurn) -> list[Esim]:
    """Return the first eSIMs in another order; all are looked at, few are held."""
    wanted, sorting, after, most = asked
    descending = sorting.order is Order.DESCENDING
    best: list[tuple[_Place, bytes]] = []
    for batch in batches(fleet, wanted, wanted.marks):
        for key, record in batch:
            esim = unpack(key, record)
            place = _Place(_value(esim, sorting), key)
            follows = after is None or (place < after if descending else place > after)
            if follows and wanted.matches(esim):
                best.append((place, record))
        if len(best) > 2 * most:
            best = sorted(best, reverse=descending)[:most]
        await pace.rest()
    best = sorted(best, reverse=descending)[:most]
    return [unpack(place.key, record) for place, record in best]
