"""Which eSIMs with series were admitted last.

Replicas admit at the same time. One that hears of an eSIM that was admitted before some of its
own lets it have the place of the last: all of them then show those that were admitted first.
"""

from __future__ import annotations

from bisect import insort
from heapq import nlargest
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Admission = tuple[int, bytes]
"""An eSIM's place in the order of admission: its number, and its packed key among equals."""

KEPT = 1000
"""Places that are known, at least, after all were looked through."""

_NONE: Admission = (0, b"")


class NewestAdmissions:
    """The newest places of a set, of which some may have left."""

    def __init__(self, every: Callable[[], Iterable[Admission]]) -> None:
        """``every`` returns all places there are; it is asked when too many have left."""
        self._every = every
        self._places: list[Admission] = []
        """Sorted: all above the floor."""
        self._floor = _NONE

    def begin(self, every: Iterable[Admission]) -> None:
        """Forget what was noted: these are all places that are taken."""
        self._places = sorted(nlargest(KEPT, every))
        self._floor = self._places[0] if len(self._places) == KEPT else _NONE

    def add(self, place: Admission) -> None:
        """Note a place that is taken."""
        if place > self._floor:
            insort(self._places, place)
            if len(self._places) > 2 * KEPT:
                self._floor = self._places[KEPT - 1]
                del self._places[:KEPT]

    def last(self, taken: Callable[[Admission], bool]) -> Admission | None:
        """Return the newest place that is still ``taken``, ``None`` where there is none."""
        while True:
            while self._places:
                if taken(self._places[-1]):
                    return self._places[-1]
                self._places.pop()
            if self._floor == _NONE:
                return None
            self.begin(self._every())
