"""Actions in the order of simulated time, and the bodies that they send."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVarTuple, Unpack

if TYPE_CHECKING:
    from exporter.vendors.simulation import Bodies

Args = TypeVarTuple("Args")

# The arguments differ from entry to entry. The type of `at` checks them against the action.
Entry = tuple[float, int, Callable[..., None], tuple[Any, ...]]


class Timeline(Iterator[tuple[float, bytes]]):
    """Run actions in the order of simulated time and yield the bodies they send.

    Yields (time in unix seconds, body). Actions at the same time run in the order in which they
    were added, so that a run can be repeated exactly. Ends when no action is left.
    """

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._added = 0
        self._sent: deque[tuple[float, bytes]] = deque()

    def at(self, when: float, action: Callable[[float, Unpack[Args]], None], *args: *Args) -> None:
        """Run ``action(when, *args)`` at ``when``, unix seconds."""
        heapq.heappush(self._entries, (when, self._added, action, args))
        self._added += 1

    def send(self, now: float, bodies: Bodies) -> None:
        """Send each body at its time, or ``now`` if that is over.

        ``now`` is the time of the calling action.
        """
        for when, body in bodies:
            if when <= now:
                self._send(now, body)
            else:
                self.at(when, self._send, body)

    def _send(self, now: float, body: bytes) -> None:
        self._sent.append((now, body))

    def __next__(self) -> tuple[float, bytes]:
        while not self._sent:
            if not self._entries:
                raise StopIteration
            when, _, action, args = heapq.heappop(self._entries)
            action(when, *args)
        return self._sent.popleft()
