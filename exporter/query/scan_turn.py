"""Lets long scans of a fleet rest, so that they do not keep webhooks waiting."""

from __future__ import annotations

import asyncio
from typing import Self

WORK_BEFORE_REST = 0.002
"""Seconds that a scan works before it rests."""


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
