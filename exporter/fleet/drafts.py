"""What a batch of events changes, beside what is committed."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from exporter.errors import FieldError, InvalidEvent
from exporter.fleet.aggregates import consumed_base, location_base
from exporter.model.events import OtherEvent, PartnerEvent, StatusEvent, UsageEvent
from exporter.model.merge import (
    Result,
    bury,
    merge_balance,
    merge_package,
    merge_status,
    merge_usage,
)
from exporter.model.records import Allowance, Esim, Feed, Package, PartnerNotice, Record, Tombstone
from exporter.model.shards import slot_of
from exporter.storage.contract import Change, Changes, Key, Table
from exporter.storage.stored_records import encode, table_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from exporter.fleet.fleet import Fleet
    from exporter.model.events import Event
    from exporter.model.records import EsimKey

R = TypeVar("R", bound=Record)

MAX_TOMBSTONES = 1_000_000
"""Tombstones that are kept; the oldest go first."""

MAX_ALLOWANCES = 256
"""Packages an eSIM may have at a time: its row stays a size any storage takes."""

MAX_LOCATIONS = 1024
"""Locations an allowance may ever have been used in, likewise."""


class Overlay(Generic[R]):
    """Records beside the committed ones: what a draft changed, with what was there before."""

    def __init__(self, committed: Callable[[Any], R | None]) -> None:
        self._committed = committed
        self._before: dict[Any, R | None] = {}
        """What was looked up: a committed record is unpacked once."""
        self._after: dict[Any, R | None] = {}

    def get(self, key: Key) -> R | None:
        """Return the record as the draft has it."""
        if key in self._after:
            return self._after[key]
        if key not in self._before:
            self._before[key] = self._committed(key)
        return self._before[key]

    def put(self, key: Key, record: R | None) -> None:
        """Write a record, or remove it with ``None``."""
        if key not in self._before:
            self._before[key] = self._committed(key)
        self._after[key] = record

    def items(self) -> Iterator[tuple[Key, R | None, R | None]]:
        """Yield what changed: key, record before, record after."""
        for key, after in self._after.items():
            yield key, self._before[key], after

    def seal(self) -> Iterator[Change]:
        """Yield the stored changes, and count the records' versions up."""
        for key, before, after in list(self.items()):
            expected = before.version if before else 0
            if after:
                make: Any = type(after)._make
                sealed = make((*after[:-1], expected + 1))  # the version is last
                self._after[key] = sealed
                yield Change(table_of(sealed), sealed.key, expected, encode(sealed))
            elif before:
                yield Change(table_of(before), before.key, expected, None)


class NotFetched(Exception):
    """A draft needs a row of another shard, which is not in memory."""

    def __init__(self, table: Table, key: Key) -> None:
        super().__init__(table)
        self.wanted = (table, key)


Fetched = Mapping[tuple[Table, Key], Record | None]
"""Records of other shards, ``None`` where there is none."""


class _Anywhere:
    """What is known of all shards: what is kept of the own one, and what was fetched."""

    def __init__(self, fleet: Fleet, fetched: Fetched) -> None:
        self._fleet = fleet
        self._fetched = fetched

    def esim(self, key: EsimKey) -> Esim | None:
        """Return an eSIM of any shard. Raises ``NotFetched``."""
        return self._fleet.esim(key) if self._fleet.keeps(*key) else self._find(Table.ESIM, key)

    def tombstone(self, key: Key) -> Tombstone | None:
        """Return a tombstone of any shard. Raises ``NotFetched``."""
        if self._fleet.keeps(*key[:2]):
            return self._fleet.tombstone(key)
        tombstone: Tombstone | None = self._find(Table.TOMBSTONE, key)
        return tombstone

    def _find(self, table: Table, key: Key) -> Any:
        try:
            return self._fetched[table, key]
        except KeyError:
            raise NotFetched(table, key) from None


class Draft:
    """What a batch changes, at ``now``: dropped without a trace, or published.

    Where the fleet is one shard of several, what is not its own must be among the ``fetched``;
    otherwise :class:`NotFetched` is raised, and the draft must be dropped.
    """

    def __init__(self, fleet: Fleet, now: float, fetched: Fetched | None = None) -> None:
        self.now = now
        self.received = int(now)
        known: Fleet | _Anywhere = fleet
        if fleet.shard and not fleet.shard.whole:
            known = _Anywhere(fleet, fetched or {})
        self.esims: Overlay[Esim] = Overlay(known.esim)
        self.tombstones: Overlay[Tombstone] = Overlay(known.tombstone)
        self.registers: Overlay[Any] = Overlay(fleet.registers.get)
        self.bases: dict[Key, int] = {}
        self.expired = 0
        self.admissions = fleet.admissions
        self._fleet = fleet
        self._room = fleet.room()

    def merge(self, event: Event) -> Result:
        """Merge one event and return what became of it."""
        match event:
            case UsageEvent():
                return self._merge_usage(event)
            case StatusEvent():
                return self._merge_status(event)
            case PartnerEvent():
                return self._merge_partner(event)
            case OtherEvent():
                return Result.IGNORED

    def merge_as_of(self, event: Event, received: int) -> Result:
        """Merge an event that was received at another time (unix seconds) than now."""
        now, self.received = self.received, received
        try:
            return self.merge(event)
        finally:
            self.received = now

    def hear(self, vendor: str) -> None:
        """Note that a verified event of a vendor arrived."""
        key = ("feed", vendor)
        known = self.registers.get(key)
        before = known.received if known else 0
        # Less where the clock was set back; but not for the clock of another replica.
        if self.received > before or (self.received < before and self._fleet.shard is None):
            self.registers.put(key, (known or Feed(vendor, 0))._replace(received=self.received))

    def changes(self) -> Changes:
        """Return what one commit must write before the draft may be published."""
        rows = [
            *self.esims.seal(),
            *self.tombstones.seal(),
            *self.registers.seal(),
        ]
        return Changes(tuple(rows), dict(self.bases))  # 0 included: it keeps a location's series

    def expire(self, esim: Esim) -> None:
        """Let the allowances of an eSIM that are due leave, and itself after the last."""
        retention = self._fleet.retention
        kept: list[Allowance] = []
        for allowance in esim.allowances:
            if retention.allowance_deadline(allowance, esim) > self.now:
                kept.append(allowance)
                continue
            self._bury(allowance, esim)
            self.expired += 1
        if kept or retention.esim_deadline(esim) > self.now:
            self.esims.put(esim.key, esim._replace(allowances=tuple(kept)))
        else:
            self._bury_esim(esim)

    def remove(self, key: EsimKey) -> Esim | None:
        """Let an eSIM leave as if all of it were due; return it, or ``None`` without one."""
        esim = self.esims.get(key)
        if esim:
            for allowance in esim.allowances:
                self._bury(allowance, esim)
            self._bury_esim(esim)
        return esim

    def promote(self, most: int) -> None:
        """Give series of their own to eSIMs over the cap while there is room."""
        for waiting in self._fleet.next_waiting(min(self._room, most)):
            esim = self.esims.get(waiting.key)
            if esim:
                self.esims.put(esim.key, esim._replace(tracked=True))
                self._room -= 1

    def forget(self, most: int) -> None:
        """Drop the oldest tombstones where they are too old or too many."""
        known = self._fleet.tombstones
        surplus = len(known) - MAX_TOMBSTONES
        before = self.now - self._fleet.retention.tombstones
        for count, (key, tombstone) in enumerate(islice(known.items(), most)):
            if tombstone.expired > before and count >= surplus:
                break
            if self.tombstones.get(key) is tombstone:
                self.tombstones.put(key, None)

    def _merge_usage(self, event: UsageEvent) -> Result:
        grave = (event.vendor, event.esim_id, event.package_id)
        tombstone = self.tombstones.get(grave)
        if tombstone and event.time <= tombstone.time:
            return Result.STALE
        esim = self._esim(event)
        if esim is None:
            return Result.STALE
        merged, result = merge_usage(esim, tombstone, event, self.received)
        check_bounds(merged, event.package_id)
        if merged is not esim:
            self._put_esim(merged)
        if tombstone:
            self.tombstones.put(grave, None)
            self._move_to_base(tombstone, -1)
        self._merge_package(event)
        return result

    def _merge_status(self, event: StatusEvent) -> Result:
        esim = self._esim(event)
        if esim is None:
            return Result.STALE
        merged, result = merge_status(esim, event, self.received)
        if merged is not esim:
            self._put_esim(merged)
        return result

    def _esim(self, event: UsageEvent | StatusEvent) -> Esim | None:
        """Return the eSIM of an event, a new one, or ``None`` where it belongs to a past life."""
        key = (event.vendor, event.esim_id)
        known = self.esims.get(key)
        if known:
            return known
        tracked = self._room > len(self._fleet.over)  # those that wait go first
        if not self._fleet.keeps(*key):
            tracked = True  # for its own shard to decide
        fresh = Esim(*key, self.received, self.admissions + 1, tracked)
        grave = self.tombstones.get((*key, ""))
        if grave is None:
            return fresh
        if event.time <= grave.time:
            return None
        return fresh._replace(status_time=grave.time, status=grave.status)

    def _put_esim(self, esim: Esim) -> None:
        if self.esims.get(esim.key) is None:
            self.admissions = esim.admitted
            self._room -= esim.tracked and self._fleet.keeps(*esim.key)
            grave = (*esim.key, "")
            if self.tombstones.get(grave):
                self.tombstones.put(grave, None)
        self.esims.put(esim.key, esim)

    def _merge_package(self, event: UsageEvent) -> None:
        key = ("package", event.vendor, event.package_id)
        known = self.registers.get(key)
        package = known or Package(event.vendor, event.package_id)
        named = merge_package(package, event)
        if named is not known:
            self.registers.put(key, named)

    def _merge_partner(self, event: PartnerEvent) -> Result:
        key = ("partner", event.vendor, event.currency)
        known = self.registers.get(key)
        balance = merge_balance(known, event)
        notice_key = ("partner", event.vendor, "event", event.event_type)
        notice = self.registers.get(notice_key)
        newest = notice is None or event.time > notice.time
        if newest:
            blank = PartnerNotice(event.vendor, event.event_type, event.time)
            self.registers.put(notice_key, (notice or blank)._replace(time=event.time))
        if balance is not known:
            self.registers.put(key, balance)
        elif not newest:
            return Result.DUPLICATE if event.time == known.time else Result.STALE
        return Result.ACCEPTED

    def _bury(self, allowance: Allowance, esim: Esim) -> None:
        tombstone = bury(allowance, esim, self.received)
        self.tombstones.put(tombstone.key, tombstone)
        self._move_to_base(tombstone, 1)

    def _bury_esim(self, esim: Esim) -> None:
        self.esims.put(esim.key, None)
        self._room += esim.tracked and self._fleet.keeps(*esim.key)
        grave = Tombstone(*esim.key, "", esim.status_time, self.received, esim.status)
        self.tombstones.put(grave.key, grave)

    def _move_to_base(self, tombstone: Tombstone, sign: int) -> None:
        """Add what an expired allowance had consumed to the fleet's bases, or take it back."""
        vendor = tombstone.vendor
        slot: tuple[str, ...] = ()
        if self._fleet.shard:
            slot = (str(slot_of(vendor, tombstone.esim_id)),)
        amounts = {location_base(vendor, location, *slot): n for location, n in tombstone.peaks}
        if tombstone.data:
            amounts[consumed_base(vendor, tombstone.package_id, *slot)] = tombstone.data.total
        for key, amount in amounts.items():
            self.bases[key] = self.bases.get(key, 0) + sign * amount


def check_bounds(esim: Esim, package_id: str) -> None:
    """Raise ``InvalidEvent`` when an event made an eSIM's state grow out of all proportion."""
    allowance = esim.allowance(package_id)
    if len(esim.allowances) > MAX_ALLOWANCES:
        reason = f"the eSIM has {MAX_ALLOWANCES} packages already"
        raise InvalidEvent((FieldError(("package_id",), reason),))
    if allowance and len(allowance.peaks) > MAX_LOCATIONS:
        reason = f"the package was used in {MAX_LOCATIONS} locations already"
        raise InvalidEvent((FieldError(("usage_list",), reason),))
