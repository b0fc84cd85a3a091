"""The orders in which people can list packages.

There may be thousands of packages. They are ranked by their running sums, with pauses in which
webhooks are served. Only the packages on the page are then summarised.
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

_BATCH = 500
"""Packages ranked between two pauses."""


class Ranking(NamedTuple):
    """One way to order packages."""

    label: str
    """Its name in the list of choices."""
    key: Callable[[PackageTotals], float | str]
    """Packages are sorted by this, the least first."""


def _share(totals: PackageTotals) -> float:
    return used_share(totals.allowed, totals.remaining) or 0.0


RANKINGS = {
    "esims": Ranking("eSIMs, most first", lambda t: -sum(t.statuses.values())),
    "share": Ranking("data used, most first", lambda t: -_share(t)),
    "exhausted": Ranking(
        "eSIMs without data, most first", lambda t: -t.over_threshold["data", 100]
    ),
    "name": Ranking("name", lambda t: t.name.casefold()),
}


async def ranked(fleet: Fleet, ranking: Ranking, text: str = "") -> list[PackageTotals]:
    """Return the packages with ``text`` in name or id, ignoring case, in the order asked for."""
    packages, wanted = list(fleet.totals.packages), text.casefold()
    found: list[tuple[float | str, PackageKey, PackageTotals]] = []
    for at in range(0, len(packages), _BATCH):
        found += [
            (ranking.key(totals), totals.key, totals)
            for totals in packages[at : at + _BATCH]
            if not wanted or wanted in f"{totals.key[1]}\0{totals.name}".casefold()
        ]
        await asyncio.sleep(0)
    found.sort()
    return [totals for *_, totals in found]
