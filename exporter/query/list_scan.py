"""Finds the first eSIMs of a list in a fleet, and unpacks few others."""

from __future__ import annotations

from bisect import bisect_left, insort
from heapq import heappop, heappush
from math import inf
from operator import itemgetter
from typing import TYPE_CHECKING

from exporter.fleet.compact_store import packed_esims
from exporter.fleet.packed_esims import NO_LIMIT, unpack
from exporter.query.key_ranges import KeyRange, block_ranges, entries, key_prefixes, stores_of
from exporter.query.list_options import ListPosition, SortKey, SortOrder, sort_value
from exporter.query.screening import Screen

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from exporter.fleet.fleet import Fleet
    from exporter.fleet.packed_esims import PackedEsims
    from exporter.fleet.waiting_order import WaitingOrder
    from exporter.model.records import Esim
    from exporter.query.list_options import EsimFilter, Sorting
    from exporter.query.scan_turn import ScanTurn


_AT_ONCE = 64
"""eSIMs of an index that are read between two looks at the time."""


class ListScan:
    """One scan for the first eSIMs of a list.

    A list by id, or by the time since when eSIMs are out of data, reads ranges of keys in the order
    of the list until there are enough. Any other list first looks at the columns only, and then
    reads the ranges with the best values, until no other range can have a better one.
    """

    def __init__(
        self,
        fleet: Fleet,
        conditions: EsimFilter,
        sorting: Sorting,
        after: ListPosition | None,
        most: int,
    ) -> None:
        """Search for up to ``most`` eSIMs that follow the position ``after``."""
        self._fleet = fleet
        self._conditions = conditions
        self._sorting = sorting
        self._after = after
        self._most = most
        self._descending = sorting.order is SortOrder.DESCENDING
        self._unknown = -1.0 if self._descending else inf
        """The value of eSIMs that have none. They are last in both orders."""
        self._value: float | None = None
        """The value of all eSIMs that are read next; ``None`` if the columns have it."""
        self._stores = stores_of(fleet, conditions)
        self._prefixes = key_prefixes(fleet, conditions)
        self._screen = Screen(conditions)
        self._found: list[tuple[ListPosition, Esim]] = []
        """The first ones so far, by ascending position."""
        self._listed: set[bytes] = set()
        """Keys of eSIMs that were noted from an index, and may have left it since."""

    async def first(self, turn: ScanTurn) -> list[tuple[ListPosition, Esim]]:
        """Return the eSIMs with their positions, in the order of the list."""
        sort, after = self._sorting.by, self._after
        index = self._conditions.index(self._fleet.attention)
        if sort is SortKey.OUT_OF_DATA_SINCE:
            await self._by_time_out_of_data(turn)
        elif index is not None:
            self._value = 0.0 if sort is SortKey.ESIM_ID else None
            await self._read_index(turn, index)
        elif sort is SortKey.ESIM_ID:
            self._value = 0.0
            await self._read_in_order(turn, after.key if after else None)
        else:
            await self._read_best_first(turn)
        return self._found[::-1] if self._descending else self._found

    async def _by_time_out_of_data(self, turn: ScanTurn) -> None:
        """Read the eSIMs out of data in their order, then the others by id."""
        conditions, attention, after = self._conditions, self._fleet.attention, self._after
        if conditions.out_of_data is not False and not conditions.about_to_run_out:
            await self._read_out_of_data(turn, attention.out_of_data)
        if conditions.out_of_data or self._full:
            return
        self._listed = {position.key for position, _ in self._found}
        self._value = self._unknown
        index = conditions.index(attention)
        if index is not None:
            await self._read_index(turn, index)
        else:
            behind = after is not None and after.value == self._unknown
            await self._read_in_order(turn, after.key if after and behind else None)

    async def _read_out_of_data(self, turn: ScanTurn, index: WaitingOrder) -> None:
        """Read an index that has the order of the list, until there are enough eSIMs."""
        after = self._after
        waiting = [*index]  # a copy: events change the index while the scan rests
        at = bisect_left(waiting, after) if after else None
        waiting = waiting[:at][::-1] if self._descending else waiting[at:]
        for since, key in waiting:
            self._value = float(since)
            self._read_key(key)
            if self._full:
                break
            await turn.rest()

    async def _read_index(self, turn: ScanTurn, index: WaitingOrder) -> None:
        """Read an index that has another order than the list."""
        waiting = [*index]
        for at in range(0, len(waiting), _AT_ONCE):
            for _, key in waiting[at : at + _AT_ONCE]:
                self._read_key(key)
            await turn.rest()

    async def _read_in_order(self, turn: ScanTurn, after: bytes | None) -> None:
        """Read blocks in the order of their keys, until there are enough eSIMs."""
        for keys in self._ranges(after):
            self._read(keys)
            if self._full:
                break
            await turn.rest()

    async def _read_best_first(self, turn: ScanTurn) -> None:
        """Look at the columns of all blocks, and read those that can have a first eSIM."""
        waiting: list[tuple[float, int, KeyRange]] = []
        sign = -1 if self._descending else 1
        for number, keys in enumerate(self._ranges()):
            best = self._best_value(keys)
            if best is not None:
                heappush(waiting, (sign * best, number, keys))
            await turn.rest()
        while waiting:
            best, _, keys = heappop(waiting)
            if not self._may_improve(sign * best, keys):
                break
            self._read(keys)
            await turn.rest()

    def _ranges(self, after: bytes | None = None) -> Iterator[KeyRange]:
        return block_ranges(self._stores, self._prefixes, after, descending=self._descending)

    @property
    def _full(self) -> bool:
        return len(self._found) >= self._most

    @property
    def _worst(self) -> ListPosition:
        """Return the position of the last of the first eSIMs so far."""
        return self._found[0 if self._descending else -1][0]

    def _may_improve(self, best: float, keys: KeyRange) -> bool:
        """Return whether an eSIM of a range with this best value may be a first one."""
        if not self._full:
            return True
        worst = self._worst
        if self._descending:
            return best > worst.value or (best == worst.value and keys.end > worst.key)
        return best < worst.value or (best == worst.value and keys.start < worst.key)

    def _best_value(self, keys: KeyRange) -> float | None:
        """Return the best value in a range, judged by the columns; ``None`` if none is wanted."""
        found: list[float] = []
        best = max if self._descending else min
        for _, esims, first, last in entries(self._stores, keys):
            if self._screen.may_hold(esims):
                values = self._values(esims, first, last)
                places = self._screen.passing(esims, range(first, last))
                if len(places) < len(values):
                    values = [values[at - first] for at in places]
                if values and not self._follows(best(values), keys):
                    values = [value for value in values if self._follows(value, keys)]
                if values:
                    found.append(best(values))
        return best(found, default=None)

    def _follows(self, value: float, keys: KeyRange) -> bool:
        """Return whether an eSIM of a range with this value can follow the page before."""
        after = self._after
        if after is None:
            return True
        if self._descending:
            return value < after.value or (value == after.value and keys.start < after.key)
        return value > after.value or (value == after.value and keys.end > after.key)

    def _values(self, esims: PackedEsims, first: int, last: int) -> Sequence[float]:
        """Return the numbers by which the list is sorted."""
        if self._value is not None:
            return [self._value] * (last - first)
        if self._sorting.by is SortKey.LAST_EVENT:
            return esims.last_events[first:last]
        shares = esims.data_used_shares[first:last]
        if self._descending or min(shares) > NO_LIMIT:
            return shares
        return [inf if share == NO_LIMIT else share for share in shares]

    def _read(self, keys: KeyRange) -> None:
        """Note those eSIMs of a range that are among the first ones."""
        for found, esims, first, last in entries(self._stores, keys):
            if self._screen.may_hold(esims):
                values = self._values(esims, first, last)
                least, most = self._window()
                places: Sequence[int] = [
                    at for at, value in enumerate(values, first) if least <= value <= most
                ]
                for at in self._screen.passing(esims, places):
                    self._note(found[at], values[at - first], esims, at)

    def _read_key(self, key: bytes) -> None:
        """Note the eSIM with this key if it is among the first ones."""
        if not key.startswith(self._prefixes):
            return
        for store in self._stores:
            if found := store.blocks.find(key):
                esims, at = packed_esims(found[0]), found[1]
                (value,) = self._values(esims, at, at + 1)
                self._note(key, value, esims, at)

    def _window(self) -> tuple[float, float]:
        """Return the least and the greatest value that an eSIM among the first ones can have."""
        begin = self._after.value if self._after else None
        end = self._worst.value if self._full else None
        least, most = (end, begin) if self._descending else (begin, end)
        return -inf if least is None else least, inf if most is None else most

    def _is_among_first(self, position: ListPosition) -> bool:
        after = self._after
        if self._descending:
            return (after is None or position < after) and not (
                self._full and position < self._worst
            )
        return (after is None or position > after) and not (self._full and position > self._worst)

    def _note(self, key: bytes, value: float, esims: PackedEsims, at: int) -> None:
        """Unpack an eSIM if it can be among the first ones, and note it if it is."""
        position = ListPosition(float(value), key)
        if not self._is_among_first(position) or key in self._listed:
            return
        record = esims.records[at]
        if not self._screen.may_match(record):
            return
        esim = unpack(key, record)
        # An index may be older than the eSIM: another part of the list has it then, or none.
        if sort_value(esim, self._sorting) != position.value or not self._conditions.matches(esim):
            return
        insort(self._found, (position, esim), key=itemgetter(0))
        if len(self._found) > self._most:
            del self._found[0 if self._descending else -1]
