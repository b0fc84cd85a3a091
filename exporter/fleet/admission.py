"""The order in which eSIMs were admitted: it decides which of them have series under the cap.

The eSIMs that were admitted first have series. The others wait, and get series in the same order
when room frees up.

Replicas admit eSIMs at the same time. So a replica may receive an eSIM that another replica
admitted before some that are shown here. It then takes the place of the shown eSIM that was
admitted last. In the end all replicas show the same eSIMs.
"""

from __future__ import annotations

from bisect import insort
from heapq import heapify, heappop, heappush, nlargest, nsmallest
from typing import TYPE_CHECKING

from exporter.fleet.compact_store import pack_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from exporter.fleet.compact_store import CompactEsims
    from exporter.model.records import Esim

Admission = tuple[int, bytes]
"""An eSIM's place in the order: its number, and its packed key among equal numbers."""

KEPT = 1000
"""How many places of shown eSIMs a search through all eSIMs keeps: those admitted last."""

_LOWEST: Admission = (0, b"")


class AdmissionOrder:
    """The eSIMs that wait for series, and the shown eSIMs that were admitted last.

    Entries of eSIMs that left stay in both lists, and are skipped when they are read.
    """

    def __init__(self, shown: CompactEsims, waiting: CompactEsims, *, replicated: bool) -> None:
        """``shown`` and ``waiting`` are the eSIMs with series and those over the cap."""
        self.last = 0
        """Number of the eSIM that was admitted last."""
        self._shown = shown
        self._waiting = waiting
        self._replicated = replicated
        self._queue: list[Admission] = []
        """Heap of the eSIMs that wait. Its keys are the objects in the blocks, not copies."""
        self._newest: list[Admission] = []
        """Sorted places of shown eSIMs: all above ``_floor``. Kept for replicas only."""
        self._floor = _LOWEST

    def begin(self, places: Callable[[], Iterable[Admission]], count: int, cap: int) -> set[bytes]:
        """Put all eSIMs in order. Return the packed keys of those that wait for series.

        ``places`` returns the places of all ``count`` eSIMs. The first ``cap`` in the order of
        admission have series.
        """
        shown = places()
        if cap < count:
            last = nsmallest(cap, places())[-1]
            shown = (place for place in places() if place <= last)
            self._queue = [place for place in places() if place > last]
            heapify(self._queue)
        if self._replicated:
            self._find_newest(shown)
        return {key for _, key in self._queue}

    def note(self, before: Esim | None, after: Esim, key: bytes) -> None:
        """Note an eSIM with its packed key, which was put into one of the two stores."""
        place = (after.admitted, key)
        if before and (before.tracked, before.admitted) == (after.tracked, after.admitted):
            return
        if not after.tracked:
            heappush(self._queue, place)
        elif self._replicated and place > self._floor:
            insort(self._newest, place)
            if len(self._newest) > 2 * KEPT:
                self._floor = self._newest[KEPT - 1]
                del self._newest[:KEPT]

    def next_waiting(self, most: int) -> Iterator[Esim]:
        """Yield up to ``most`` eSIMs over the cap, in the order of admission.

        They stay in the queue, since the commit that promotes them may fail.
        """
        found: list[Admission] = []
        while self._queue and len(found) < most:
            place = heappop(self._queue)
            if place in found[-1:]:  # a second entry: it had series in the meantime
                continue
            if esim := _holder(self._waiting, place):
                found.append(place)
                yield esim
        for place in found:
            heappush(self._queue, place)

    def admitted_after(self, esim: Esim) -> Esim | None:
        """Return the shown eSIM that was admitted last, if it was admitted after this one."""
        while True:
            while self._newest:
                if last := _holder(self._shown, self._newest[-1]):
                    return last if _place_of(esim) < self._newest[-1] else None
                self._newest.pop()
            if self._floor == _LOWEST:
                return None
            self._find_newest(map(_place_of, self._shown))

    def _find_newest(self, shown: Iterable[Admission]) -> None:
        self._newest = sorted(nlargest(KEPT, shown))
        self._floor = self._newest[0] if len(self._newest) == KEPT else _LOWEST


def _holder(esims: CompactEsims, place: Admission) -> Esim | None:
    """Return the eSIM that has this place, ``None`` if it has left or moved."""
    admitted, key = place
    esim = esims.get_packed(key)
    return esim if esim and esim.admitted == admitted else None


def _place_of(esim: Esim) -> Admission:
    return (esim.admitted, pack_key(esim.key))
