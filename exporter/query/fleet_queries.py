"""Answers questions about the fleet: lists of eSIMs, one eSIM, search, packages.

eSIMs are packed in memory, and unpacking a hundred thousand of them takes a second. Three rules
keep webhooks fast while somebody asks:

- A list sorted by id unpacks little more than its page. So does a list of eSIMs out of data,
  sorted by the time since when.
- A question about eSIMs out of data, or about to run out, reads only these.
- A question about every eSIM skips records that cannot match, without unpacking them.
- Long questions rest as long as they work, and run one at a time. Short questions do not wait.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from itertools import islice, starmap
from typing import TYPE_CHECKING, NamedTuple

from exporter.fleet.compact_store import pack_key, unpack
from exporter.query.list_options import (
    EsimFilter,
    ListPosition,
    Sorting,
    SortKey,
    SortOrder,
    sort_value,
)
from exporter.query.scan import NEXT_KEY, ScanTurn, batches, indexed_batches
from exporter.query.shown_values import (
    EsimData,
    EsimItem,
    EsimList,
    PackageItem,
    used_share,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from exporter.exposition.families import InfoLabels
    from exporter.fleet.aggregates import PackageTotals
    from exporter.fleet.attention import Waiting
    from exporter.fleet.fleet import Fleet
    from exporter.model.records import Esim, EsimKey, PackageKey

MAX_PAGE_SIZE = 500
"""eSIMs on a page of the API."""

_RANKED_AT_ONCE = 500
"""Packages ranked between two pauses."""


class FleetQueries:
    """Answers questions about a fleet.

    Each method takes the fleet, because a reload of the state replaces it.
    """

    def __init__(self, info_labels: InfoLabels) -> None:
        """``info_labels`` says which names of an eSIM are shown, and whether ICCIDs are hashed."""
        self._info_labels = info_labels
        self._turn = asyncio.Lock()

    async def esims(
        self,
        fleet: Fleet,
        conditions: EsimFilter | None = None,
        sorting: Sorting | None = None,
        *,
        after: str | None = None,
        limit: int = 50,
    ) -> EsimList:
        """Return up to ``limit`` eSIMs that follow the cursor ``after``, sorted by id by default.

        The fleet may change between pages. An eSIM that keeps its position in the list is then
        still on exactly one page. Raises ``UnknownCursor``.
        """
        sorting = sorting or Sorting()
        position = ListPosition.from_cursor(after, sorting) if after else None
        candidates = _candidates(fleet, conditions or EsimFilter(), sorting, position)
        async with ScanTurn(self._turn) as turn:
            found = await _first(turn, candidates, sorting, position, most=limit + 1)
        page, following = found[:limit], None
        if len(found) > limit:
            last = page[-1]
            position = ListPosition(sort_value(last, sorting), pack_key(last.key))
            following = position.to_cursor(sorting)
        return EsimList([*map(EsimItem.of, page)], following)

    def esim(self, fleet: Fleet, key: EsimKey) -> EsimData | None:
        """Return one eSIM in full, or ``None``."""
        esim = fleet.esim(key)
        return esim and EsimData.of(esim, fleet, self._info_labels)

    def newest_out_of_data(self, fleet: Fleet, most: int) -> list[EsimItem]:
        """Return up to ``most`` eSIMs out of data, those that ran out last first."""
        return _newest(fleet, fleet.attention.out_of_data, most)

    def newest_about_to_run_out(self, fleet: Fleet, most: int) -> list[EsimItem]:
        """Return up to ``most`` eSIMs about to run out of data, those since the latest first."""
        return _newest(fleet, fleet.attention.about_to_run_out or [], most)

    def vendors_of(self, fleet: Fleet, esim_id: str) -> list[str]:
        """Return the vendors that have an eSIM with this id, sorted."""
        return [v for v in sorted(fleet.totals.vendors) if fleet.esim((v, esim_id))]

    async def search(self, fleet: Fleet, text: str, most: int = 20) -> list[EsimItem]:
        """Return up to ``most`` eSIMs whose id, reference or ICCID is exactly ``text``."""
        if not text:
            return []
        exact = [fleet.esim((vendor, text)) for vendor in self.vendors_of(fleet, text)]
        found = {esim.key: esim for esim in exact if esim}
        async with ScanTurn(self._turn) as turn:
            for batch in batches(fleet, EsimFilter(), (text.encode(),)):
                esims = starmap(unpack, batch)
                found |= {e.key: e for e in esims if text in {e.reference_id, e.iccid}}
                if len(found) >= most:
                    break
                await turn.rest()
        return [EsimItem.of(esim) for esim in islice(found.values(), most)]

    async def packages(self, fleet: Fleet) -> list[PackageItem]:
        """Return all packages, sorted by vendor and id. There may be thousands."""
        found = []
        async with ScanTurn(self._turn) as turn:
            for totals in list(fleet.totals.packages):
                found.append(PackageItem.of(totals))
                await turn.rest()
        return found


class _Candidates(NamedTuple):
    """The eSIMs that a list may hold, packed."""

    conditions: EsimFilter
    batches: Iterator[Iterator[tuple[bytes, bytes]]]
    in_order: bool
    """Whether they come in the order of the list."""


def _candidates(
    fleet: Fleet, conditions: EsimFilter, sorting: Sorting, after: ListPosition | None
) -> _Candidates:
    """Return the candidates for a list, which may begin before ``after``."""
    index = conditions.index(fleet.attention)
    if index is None:
        in_order = sorting == Sorting()
        start = after.key + NEXT_KEY if after and in_order else b""
        found = batches(fleet, conditions, conditions.record_parts, start)
        return _Candidates(conditions, found, in_order)
    in_order = sorting.by is SortKey.OUT_OF_DATA_SINCE and index is fleet.attention.out_of_data
    waiting = index[:]  # events change the index while the scan rests
    if in_order:
        at = bisect_left(index, after) if after else None
        waiting = index[at:] if sorting.order is SortOrder.ASCENDING else index[:at][::-1]
    return _Candidates(conditions, indexed_batches(fleet, conditions, waiting), in_order)


async def _first(
    turn: ScanTurn,
    candidates: _Candidates,
    sorting: Sorting,
    after: ListPosition | None,
    *,
    most: int,
) -> list[Esim]:
    """Return the first eSIMs of a list. Holds few at a time.

    Stops as soon as there are enough if the candidates are in order. Looks at all otherwise.
    """
    descending = sorting.order is SortOrder.DESCENDING
    best: list[tuple[ListPosition, bytes]] = []
    for batch in candidates.batches:
        for key, record in batch:
            esim = unpack(key, record)
            position = ListPosition(sort_value(esim, sorting), key)
            follows = after is None or (position < after if descending else position > after)
            if follows and candidates.conditions.matches(esim):
                best.append((position, record))
        if candidates.in_order and len(best) >= most:
            break
        if len(best) > 2 * most:
            best = sorted(best, reverse=descending)[:most]
        await turn.rest()
    best = sorted(best, reverse=descending)[:most]
    return [unpack(position.key, record) for position, record in best]


def _newest(fleet: Fleet, index: list[Waiting], most: int) -> list[EsimItem]:
    esims = [fleet.esim_of_packed(key) for _, key in reversed(index[-most:])]
    return [EsimItem.of(esim) for esim in esims if esim]


class Ranking(NamedTuple):
    """One way to order packages."""

    label: str
    """Its name in the list of choices."""
    key: Callable[[PackageTotals], tuple[float | str, ...]]
    """Packages with the least value come first."""


def _share(totals: PackageTotals) -> float:
    return used_share(totals.allowed, totals.remaining) or 0.0


RANKINGS = {
    "urgency": Ranking("eSIMs out of data, then data used", lambda t: (-t.out_of_data, -_share(t))),
    "share": Ranking("data used, most first", lambda t: (-_share(t),)),
    "esims": Ranking("eSIMs, most first", lambda t: (-sum(t.statuses.values()),)),
    "name": Ranking("name", lambda t: (t.name.casefold(),)),
}


async def ranked(fleet: Fleet, ranking: Ranking, text: str = "") -> list[PackageTotals]:
    """Return the packages with ``text`` in name or id, ignoring case, in the order of ``ranking``.

    There may be thousands of packages. They are ranked by their running sums, with pauses in which
    webhooks are served. The caller then summarises only the packages that it shows.
    """
    packages, wanted = list(fleet.totals.packages), text.casefold()
    found: list[tuple[tuple[float | str, ...], PackageKey, PackageTotals]] = []
    for at in range(0, len(packages), _RANKED_AT_ONCE):
        found += [
            (ranking.key(totals), totals.key, totals)
            for totals in packages[at : at + _RANKED_AT_ONCE]
            if not wanted or wanted in f"{totals.key[1]}\0{totals.name}".casefold()
        ]
        await asyncio.sleep(0)
    found.sort()
    return [totals for *_, totals in found]
