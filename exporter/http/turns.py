"""Turns: how many requests of busy connections begin in one turn of the event loop."""

from __future__ import annotations

import asyncio
from collections import deque

PER_TURN = 32
"""Requests. They take five milliseconds of processor time together. Fewer of them would make each
commit smaller, and an event of a busy vendor dearer."""


class Turns:
    """Lets few requests begin in each turn of the event loop; the others wait in their order.

    Without it, thousands of connections that all send requests make one turn last a second, and
    each step of a delivery waits for a turn. A new connection does not wait for its first request,
    because clients that flood the exporter from many connections are answered over and over.
    """

    def __init__(self, per_turn: int = PER_TURN) -> None:
        self._per_turn = per_turn
        self._left = per_turn
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._counting = False
        """Whether a request has begun in this turn or the last one."""

    async def take(self) -> None:
        """Return when a request may begin."""
        loop = asyncio.get_running_loop()
        if not self._counting:
            self._counting = True
            loop.call_soon(self._next_turn)
        if self._left and not self._waiting:
            self._left -= 1
            return
        turn = loop.create_future()
        self._waiting.append(turn)
        await turn

    def _next_turn(self) -> None:
        self._counting = bool(self._waiting) or self._left < self._per_turn
        self._left = self._per_turn
        while self._left and self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():  # else the connection is gone
                turn.set_result(None)
                self._left -= 1
        if self._counting:
            asyncio.get_running_loop().call_soon(self._next_turn)
