"""A cap on the values of a label in the sums over the fleet: packages, or locations.

Somebody with a webhook secret can name any number of packages and locations. For each vendor, the
values that were seen first have series of their own, up to the cap. All others are summed under
:data:`OTHER`. So a flood of new values cannot push out a known one.

A value keeps its series for as long as the cap stays the same, over restarts too. Otherwise its
counter would move to another series. So above the cap, the values with series are stored: as
bases of 0 with the key (kind, vendor, value). Below the cap nothing is stored, because all values
have series.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from typing import TYPE_CHECKING

from exporter.model.events import OTHER

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from exporter.storage.contract import Key

COUNTED = 1000
"""Values over the cap that are counted for each vendor. Counting more would need more memory."""


class LabelCap:
    """Decides which values of a label have series of their own.

    :data:`OTHER` always has one, and does not count.
    """

    def __init__(self, kind: str, shown: Mapping[str, Collection[str]]) -> None:
        """``kind`` begins the keys of stored values. ``shown`` has the values with series.

        The caller keeps ``shown``, by vendor, and removes no value from it after :meth:`begin`.
        """
        self.kind = kind
        self._shown = shown
        self._most = sys.maxsize
        self._over: defaultdict[str, set[str]] = defaultdict(set)
        self._stored: set[tuple[str, str]] = set()
        self._to_store: set[str] = set()
        """Vendors that are above the cap, and have values with series that are not stored."""
        self._all_stored: set[str] = set()
        """Vendors that are above the cap, all of whose values with series are stored."""

    @property
    def over(self) -> int:
        """Return how many values have no series. At most ``COUNTED`` of a vendor are counted."""
        return sum(map(len, self._over.values()))

    def begin(self, most: int) -> list[tuple[str, str]]:
        """Cap what was loaded: return the vendors and values that lose their series.

        Stored values come first, then the others, both in the order of their names. ``most`` is 0
        for no limit.
        """
        self._most = most or sys.maxsize
        lost: list[tuple[str, str]] = []
        for vendor, shown in self._shown.items():
            if self._room(vendor) >= 0:
                continue
            stored = {value for value in shown if (vendor, value) in self._stored}
            values = [*sorted(stored - {OTHER}), *sorted({*shown} - stored - {OTHER})]
            for value in values[self._most :]:
                self._refuse(vendor, value)
                lost.append((vendor, value))
        return lost

    def admits(self, vendor: str, value: str) -> bool:
        """Return whether a value without series gets them, and count it if it does not."""
        if value == OTHER or self._room(vendor) > 0:
            return True
        self._refuse(vendor, value)
        return False

    def to_store(self, new: Iterable[Key]) -> list[Key]:
        """Return the keys to store with a batch that has new values; none below the cap.

        ``new`` has keys of stored values, in the order in which they will ask for series.
        """
        values: defaultdict[str, list[str]] = defaultdict(list)
        for kind, vendor, value in new:
            if kind == self.kind:
                values[vendor].append(value)
        above = {vendor for vendor, its in values.items() if len(its) > self._room(vendor)}
        return [
            (self.kind, vendor, value)
            for vendor in (above | self._to_store) - self._all_stored
            for value in (*self._shown[vendor], *values[vendor][: max(0, self._room(vendor))])
            if value != OTHER and (vendor, value) not in self._stored
        ]

    def note_stored(self, vendor: str, value: str) -> None:
        """Note that a value is stored. Call :meth:`settle` after the last one."""
        self._stored.add((vendor, value))

    def settle(self) -> None:
        """Find the vendors all of whose values with series are stored."""
        for vendor in [*self._to_store]:
            shown = ((vendor, value) for value in self._shown[vendor] if value != OTHER)
            if self._stored.issuperset(shown):
                self._to_store.remove(vendor)
                self._all_stored.add(vendor)

    def _room(self, vendor: str) -> int:
        shown = self._shown.get(vendor, ())
        return self._most - len(shown) + (OTHER in shown)

    def _refuse(self, vendor: str, value: str) -> None:
        over = self._over[vendor]
        if len(over) < COUNTED:
            over.add(value)
        if vendor not in self._all_stored:
            self._to_store.add(vendor)
