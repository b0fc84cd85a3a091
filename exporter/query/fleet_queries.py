"""Answers questions about the fleet: lists of eSIMs, one eSIM, search, packages.

eSIMs are packed in memory, and unpacking a hundred thousand of them takes a second. These rules
keep answers and webhooks fast:

- A list unpacks little more than its page: see :mod:`exporter.query.list_scan`.
- A question about eSIMs out of data, or about to run out, reads only these.
- A search looks at the bytes of whole blocks first.
- Long questions rest as long as they work, and run one at a time. Short questions do not wait.
"""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from exporter.fleet.waiting_order import WaitingOrder
from exporter.query.key_ranges import block_ranges, entries, key_prefixes, stores_of
from exporter.query.list_options import EsimFilter, ListPosition, Sorting
from exporter.query.list_scan import ListScan
from exporter.query.scan_turn import ScanTurn
from exporter.query.screening import esims_named
from exporter.query.shown_values import (
    EsimData,
    EsimItem,
    EsimList,
    PackageItem,
    used_share,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from exporter.exposition.families import InfoLabels
    from exporter.fleet.aggregates import PackageTotals
    from exporter.fleet.fleet import Fleet
    from exporter.model.records import EsimKey, PackageKey

MAX_PAGE_SIZE = 500
"""eSIMs on a page of the API."""

_SHOWN_AT_ONCE = 50
"""eSIMs of a page that are made ready between two pauses."""

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
        scan = ListScan(fleet, conditions or EsimFilter(), sorting, position, most=limit + 1)
        async with ScanTurn(self._turn) as turn:
            found = await scan.first(turn)
            page, items = found[:limit], []
            for at in range(0, len(page), _SHOWN_AT_ONCE):
                if at:
                    await turn.rest()
                items += [EsimItem.of(esim) for _, esim in page[at : at + _SHOWN_AT_ONCE]]
        following = found[limit - 1][0].to_cursor(sorting) if len(found) > limit else None
        return EsimList(items, following)

    def esim(self, fleet: Fleet, key: EsimKey) -> EsimData | None:
        """Return one eSIM in full, or ``None``."""
        esim = fleet.esim(key)
        return esim and EsimData.of(esim, fleet, self._info_labels)

    def newest_out_of_data(self, fleet: Fleet, most: int) -> list[EsimItem]:
        """Return up to ``most`` eSIMs out of data, those that ran out last first."""
        return _newest(fleet, fleet.attention.out_of_data, most)

    def newest_about_to_run_out(self, fleet: Fleet, most: int) -> list[EsimItem]:
        """Return up to ``most`` eSIMs about to run out of data, those since the latest first."""
        return _newest(fleet, fleet.attention.about_to_run_out or WaitingOrder(), most)

    def vendors_of(self, fleet: Fleet, esim_id: str) -> list[str]:
        """Return the vendors that have an eSIM with this id, sorted."""
        return [v for v in sorted(fleet.totals.vendors) if fleet.esim((v, esim_id))]

    async def search(self, fleet: Fleet, text: str, most: int = 20) -> list[EsimItem]:
        """Return up to ``most`` eSIMs whose id, reference or ICCID is exactly ``text``."""
        if not text:
            return []
        exact = [fleet.esim((vendor, text)) for vendor in self.vendors_of(fleet, text)]
        found = {esim.key: esim for esim in exact if esim}
        stores = stores_of(fleet, EsimFilter())
        async with ScanTurn(self._turn) as turn:
            for keys in block_ranges(stores, key_prefixes(fleet, EsimFilter())):
                found |= {esim.key: esim for esim in esims_named(text, entries(stores, keys))}
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


def _newest(fleet: Fleet, index: WaitingOrder, most: int) -> list[EsimItem]:
    esims = [fleet.esim_of_packed(key) for _, key in islice(reversed(index), most)]
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
