"""Looking at many packed eSIMs without keeping webhooks waiting."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

from exporter.fleet.compact_store import key_of, may_hold

if TYPE_CHECKING:
    from collections.abc import Iterator

    from exporter.fleet.fleet import Fleet
    from exporter.query.lists import Wanted

SLICE = 0.002
"""Seconds of work before a rest."""

NEXT_KEY = b"\0"
"""Behind a key, gives what comes right after it: no identifier holds a NUL."""


class ScanTurn:
    """Lets a question that takes long rest as long as it works, and wait for its turn.

    Giving way to what is ready would not do: the thread that commits needs the interpreter many
    times a commit, and gets it at once only while this one waits.
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
        """Go on at once, or after a rest where a slice of time was worked."""
        worked = self._now() - self._since
        if worked < SLICE:
            return
        if not self._has_turn:
            self._has_turn = await self._turn.acquire()
        await asyncio.sleep(worked)
        self._since = self._now()


def batches(
    fleet: Fleet, wanted: Wanted, marks: tuple[bytes, ...], start: bytes = b""
) -> Iterator[Iterator[tuple[bytes, bytes]]]:
    """Yield keys from ``start`` on with records that may hold the marks, some at a time.

    The fleet may change between two of them: each begins behind the last key before.
    """
    for first in _starts(fleet, wanted):
        start = max(first, start)
        while run := _run(fleet, wanted, start):
            inside = [entry for entry in run if entry[0].startswith(first)]
            yield (entry for entry in inside if may_hold(entry[1], marks))
            if len(inside) < len(run):
                break
            start = run[-1][0] + NEXT_KEY


def _starts(fleet: Fleet, wanted: Wanted) -> list[bytes]:
    """Return what the wanted keys start with, sorted."""
    vendors = fleet.totals.vendors if wanted.vendor is None else [wanted.vendor]
    return [key_of((vendor, wanted.prefix)) for vendor in sorted(vendors)]


def _run(fleet: Fleet, wanted: Wanted, start: bytes) -> list[tuple[bytes, bytes]]:
    """Return the next keys from ``start`` on with their records; none at the end."""
    runs = [
        run
        for esims, over in ((fleet.esims, False), (fleet.over, True))
        if wanted.over_limit in {None, over} and (run := esims.run(start))
    ]
    if len(runs) < 2:  # noqa: PLR2004  # nothing to merge
        return runs[0] if runs else []
    last = min(run[-1][0] for run in runs)
    return sorted(entry for run in runs for entry in run if entry[0] <= last)
