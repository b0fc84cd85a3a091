"""Wakes the task that commits when there is something to do, and tells it when to stop."""

from __future__ import annotations

import asyncio
from contextlib import suppress


class Wakeup:
    """A sleep that others can end."""

    def __init__(self) -> None:
        self.stopping = False
        """Whether the stop was asked for. It is never taken back."""
        self._event = asyncio.Event()

    def wake(self) -> None:
        """End the present sleep, or the next one if there is none now."""
        self._event.set()

    def stop(self) -> None:
        """Ask for the stop. From now on no sleep takes time."""
        self.stopping = True
        self._event.set()

    async def sleep(self, seconds: float) -> None:
        """Sleep until :meth:`wake`, but ``seconds`` at most."""
        if not self.stopping:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._event.wait(), max(0, seconds))
        self._event.clear()
