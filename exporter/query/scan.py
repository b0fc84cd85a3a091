"""Scans many packed eSIMs without keeping webhooks waiting."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

from exporter.fleet.compact_store import may_contain, pack_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from exporter.fleet.attention import Waiting
    from exporter.fleet.compact_store import CompactEsims
    from exporter.fleet.fleet import Fleet
    from exporter.query.list_options import EsimFilter

WORK_BEFORE_REST = 0.002
"""Seconds that a scan works before it rests."""

NEXT_KEY = b"\0"
"""A key with this appended is the next possible key. No identifier holds a NUL."""


_AT_ONCE = 64
"""eSIMs of an index in one batch."""


class ScanTurn:
    """Makes a long scan rest as long as it works, and lets one long scan run at a time.

    The rest is a real sleep. The thread that commits needs the interpreter lock many times a
    commit, and gets it at once only while the event loop sleeps.
    """

    def __init__(self, turn: asyncio.Lock) -> None:
        self._turn = turn
        self._has_turn = False
        self._now = asyncio.get_running_loop().time
        self._since = self._now()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._has_turn:
            self._turn.release()

    async def rest(self) -> None:
        """Rest if the scan has worked for ``WORK_BEFORE_REST``; the first rest takes the turn."""
        worked = self._now() - self._since
        if worked < WORK_BEFORE_REST:
            return
        if not self._has_turn:
            self._has_turn = await self._turn.acquire()
        await asyncio.sleep(worked)
        self._since = self._now()


def batches(
    fleet: Fleet, conditions: EsimFilter, record_parts: tuple[bytes, ...], start: bytes = b""
) -> Iterator[Iterator[tuple[bytes, bytes]]]:
    """Yield packed keys and records in batches, by key, beginning with the key ``start``.

    Leaves out records that cannot contain all of ``record_parts``, and eSIMs whose vendor, id or
    cap does not meet the conditions. The fleet may change between two batches: each batch begins
    right after the last key of the batch before.
    """
    for prefix in _key_prefixes(fleet, conditions):
        start = max(prefix, start)
        while run := _next_run(fleet, conditions, start):
            inside = [entry for entry in run if entry[0].startswith(prefix)]
            yield (entry for entry in inside if may_contain(entry[1], record_parts))
            if len(inside) < len(run):
                break
            start = run[-1][0] + NEXT_KEY


def indexed_batches(
    fleet: Fleet, conditions: EsimFilter, waiting: Sequence[Waiting]
) -> Iterator[Iterator[tuple[bytes, bytes]]]:
    """Yield packed keys and records of the eSIMs in ``waiting``, in their order and in batches.

    Leaves out the same as :func:`batches`, and eSIMs that have left the fleet meanwhile.
    """
    prefixes = tuple(_key_prefixes(fleet, conditions))
    stores = [esims.blocks for esims in _stores(fleet, conditions)]
    for at in range(0, len(waiting), _AT_ONCE):
        yield (
            (key, record)
            for _, key in waiting[at : at + _AT_ONCE]
            if key.startswith(prefixes)
            for blocks in stores
            if (record := blocks.get(key)) and may_contain(record, conditions.record_parts)
        )


def _stores(fleet: Fleet, conditions: EsimFilter) -> list[CompactEsims]:
    """Return the stores whose eSIMs meet the condition about the cap."""
    stores = ((fleet.esims, False), (fleet.over_cap, True))
    return [esims for esims, over in stores if conditions.over_limit in {None, over}]


def _key_prefixes(fleet: Fleet, conditions: EsimFilter) -> list[bytes]:
    """Return the beginnings of keys that meet the conditions, sorted: one for each vendor."""
    vendors = fleet.totals.vendors if conditions.vendor is None else [conditions.vendor]
    return [pack_key((vendor, conditions.prefix)) for vendor in sorted(vendors)]


def _next_run(fleet: Fleet, conditions: EsimFilter, start: bytes) -> list[tuple[bytes, bytes]]:
    """Return some keys from ``start`` on with their records, sorted; none at the end."""
    stores = _stores(fleet, conditions)
    runs = [run for esims in stores if (run := esims.blocks.slice_from(start))]
    if len(runs) < 2:  # noqa: PLR2004  # nothing to merge
        return runs[0] if runs else []
    last = min(run[-1][0] for run in runs)
    return sorted(entry for run in runs for entry in run if entry[0] <= last)
