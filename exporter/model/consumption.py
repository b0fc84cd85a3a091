"""Consumption of one resource: a counter that adds up the rises along the newest samples.

The vendor reports how much is left, not how much was used since its last event. Its events come
late, twice and out of order. A counter that adds the difference between an event and the one
received before would count a late event as a fall and a rise.

So the newest samples are kept as a set, ordered by (time, used). The counter is the sum of two
parts: what was consumed before these samples, and the rises along them. A late sample refines
the path and can only raise the counter. A duplicate is in the set already. A renewal, a top-up
and a downward correction are no rises.

The result does not depend on the order of arrival, as long as at most :data:`SAMPLES_KEPT` distinct
newer samples were taken before a sample first arrives.
"""

from __future__ import annotations

from enum import Enum
from struct import Struct
from typing import NamedTuple

SAMPLES_KEPT = 16
"""Samples that are kept above the anchor. With one more, the least of them becomes the anchor."""

_PAIR = Struct(">IQ")
"""(unix seconds until 2106, used in base units). Big-endian, so packed pairs sort as the pairs."""

_TIME_SIZE = 4
"""Bytes of the time in a packed pair."""

_TWO = Struct(">IQIQ")

_AMOUNT = Struct(">Q")
"""The second part of a pair."""

_ORIGIN = _PAIR.pack(0, 0)
"""The first anchor: nothing was used before the first sample."""


class Arrival(Enum):
    """How a sample was handled."""

    INSERTED = "inserted"
    DUPLICATE = "duplicate"
    LATE = "late"
    """It is less than the anchor, where the known path starts. It has no effect."""


class Consumption(NamedTuple):
    """The consumption counter of one resource of one allowance, in base units. Immutable."""

    base: int
    """Consumption up to the anchor."""
    path: bytes
    """The anchor, then the samples above it in ascending order. They are packed,
    because 16 pairs of Python integers would take more memory than the rest of an eSIM."""
    total: int
    """The counter: ``base`` plus the rises along the path."""

    @property
    def history(self) -> tuple[tuple[int, int], ...]:
        """Return (time, used) of the anchor and of the samples. The first anchor is left out."""
        path = self.path.removeprefix(_ORIGIN)
        return tuple(_PAIR.iter_unpack(path))

    def at_least_since(self, limit: int, newest: int) -> int:
        """Return the time of the earliest kept sample from which on ``limit`` or more was used.

        Return ``newest`` if less was used in the newest sample. ``limit`` is greater than 0.
        """
        path, size, amount = self.path, _PAIR.size, _AMOUNT.size
        least = _AMOUNT.pack(limit)
        at = len(path)
        # Packed amounts sort as the amounts, and comparing them takes less time than unpacking.
        while at and path[at - amount : at] >= least:
            at -= size
        return int(_PAIR.unpack_from(path, at)[0]) if at < len(path) else newest

    @property
    def last_used(self) -> int:
        """Return ``used`` of the newest sample, or of the anchor if there is none."""
        return int(_PAIR.unpack_from(self.path, len(self.path) - _PAIR.size)[1])


def revived(total: int, time: int, used: int) -> Consumption:
    """Return a counter that continues from ``total``, with its anchor at (time, used)."""
    return Consumption(total, _PAIR.pack(time, used), total)


def insert(known: Consumption | None, time: int, used: int) -> tuple[Consumption, Arrival]:
    """Return the counter with one more sample, and how the sample was handled.

    ``time`` is the event's time in unix seconds, ``used`` the amount used in base units;
    neither is negative.
    """
    base, path, total = known or Consumption(0, _ORIGIN, 0)
    sample = _PAIR.pack(time, used)
    size = _PAIR.size
    newest = path[-size:]
    if sample > newest:  # the usual case: the sample is the newest, so the path need not be walked
        before = _PAIR.unpack(newest)[1]
        if used > before:
            total += used - before
        path += sample
    else:
        at = len(path) - size
        while at >= 0 and path[at : at + size] > sample:
            at -= size
        if at < 0:
            return known or Consumption(base, path, total), Arrival.LATE
        if path[at : at + size] == sample:
            return known or Consumption(base, path, total), Arrival.DUPLICATE
        path = path[: at + size] + sample + path[at + size :]
        total = base + _rises(path)
    if len(path) > (SAMPLES_KEPT + 1) * size:
        _, folded, _, anchor = _TWO.unpack_from(path)
        if anchor > folded:
            base += anchor - folded
        path = path[size:]
    # Consumption() would take twice as long, and this runs three times for every event.
    return tuple.__new__(Consumption, (base, path, total)), Arrival.INSERTED


def in_present_assignment(
    known: Consumption | None, time: int, used: int, *, base: int, total: int
) -> Consumption:
    """Return the counter of a resource whose assignments are counted one by one.

    ``known`` is the counter so far, or ``None`` if the present assignment is another one now. The
    path has what was used in the present assignment, ``used`` of it at ``time``. ``base`` is what
    was consumed in assignments that are no longer kept, ``total`` what was consumed in all.
    """
    path = known.path if known else _ORIGIN
    sample = _PAIR.pack(time, used)
    if path[-_PAIR.size + _TIME_SIZE :] != sample[_TIME_SIZE:]:
        path = (path + sample)[-(SAMPLES_KEPT + 1) * _PAIR.size :]
    return Consumption(base, path, total)


def _rises(path: bytes) -> int:
    rises = 0
    before = _PAIR.unpack_from(path)[1]
    for _, used in _PAIR.iter_unpack(path[_PAIR.size :]):
        if used > before:
            rises += used - before
        before = used
    return rises
