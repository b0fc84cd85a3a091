"""Simulated time: what happens next, and what is sent when it does."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, TypeVarTuple, Unpack

Args = TypeVarTuple("Args")

# The arguments differ from entry to entry; `at` checks each against its action.
Entry = tuple[float, int, Callable[..., None], tuple[Any, ...]]


class Timeline(Iterator[tuple[float, bytes]]):
    """Run actions in the order of simulated time and yield the bodies they send.

    Yields (time in unix seconds, body). Actions of the same time run in the order they
    were added, so that a run can be repeated exactly. Raises ``StopIteration`` when
    nothing is left to happen.
    """

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._added = 0
        self._sent: deque[tuple[float, bytes]] = deque()

    def at(self, when: float, action: Callable[[float, Unpack[Args]], None], *args: *Args) -> None:
        """Let ``action(when, *args)`` run at ``when``, unix seconds."""
        heapq.heappush(self._entries, (when, self._added, action, args))
        self._added += 1

    def send(self, when: float, body: bytes) -> None:
        """Send ``body``; ``when`` is the time of the action that does so."""
        self._sent.append((when, body))

    def __next__(self) -> tuple[float, bytes]:
        while not self._sent:
            if not self._entries:
                raise StopIteration
            when, _, action, args = heapq.heappop(self._entries)
            action(when, *args)
        return self._sent.popleft()
