"""Packages in the order in which a page lists them.

There may be thousands, each with events at any moment: they are ranked by their sums as they
are, with pauses in which webhooks go first, and only those on the page are summarised.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from exporter.query.summaries import used_share

if TYPE_CHECKING:
    from collections.abc import Callable

    from exporter.fleet.aggregates import PackageTotals
    from exporter.fleet.fleet import Fleet
    from exporter.model.records import PackageKey

_AT_ONCE = 500
"""Packages looked at between two pauses."""


class Ranking(NamedTuple):
    """One way to order packages."""

    label: str
    """As people choose it."""
    key: Callable[[PackageTotals], float | str]
    """The least comes first."""


def _share(totals: PackageTotals) -> float:
    return used_share(totals.allowed, totals.remaining) or 0.0


RANKINGS = {
    "esims": Ranking("eSIMs, most first", lambda t: -sum(t.statuses.values())),
    "share": Ranking("data used, most first", lambda t: -_share(t)),
    "exhausted": Ranking("eSIMs without data, most first", lambda t: -t.over["data", 100]),
    "name": Ranking("name", lambda t: t.name.casefold()),
}


async def ranked(fleet: Fleet, ranking: Ranking, text: str = "") -> list[PackageTotals]:
    """Return the packages that hold ``text`` in name or id, whatever its case, in order."""
    packages, wanted = list(fleet.totals.packages), text.casefold()
    found: list[tuple[float | str, PackageKey, PackageTotals]] = []
    for at in range(0, len(packages), _AT_ONCE):
        found += [
            (ranking.key(totals), totals.key, totals)
            for totals in packages[at : at + _AT_ONCE]
            if not wanted or wanted in f"{totals.key[1]}\0{totals.name}".casefold()
        ]
        await asyncio.sleep(0)
    found.sort()
    return [totals for *_, totals in found]
