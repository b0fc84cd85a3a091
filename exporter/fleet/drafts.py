"""A draft: the changes of a batch of events, kept apart from the committed state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from exporter.fleet.aggregates import expired_amounts
from exporter.fleet.bounds import check_currencies, check_packages, fold_locations
from exporter.fleet.overlay import ChangedRecords
from exporter.model.events import OtherEvent, PartnerEvent, StatusEvent, UsageEvent
from exporter.model.merge import (
    Result,
    merge_balance,
    merge_package,
    merge_status,
    merge_usage,
    tombstone_of,
)
from exporter.model.records import (
    Allowance,
    Esim,
    Feed,
    Package,
    PartnerNotice,
    Record,
    Tombstone,
)
from exporter.model.shards import slot_of
from exporter.storage.contract import Key, Table

if TYPE_CHECKING:
    from collections.abc import Callable

    from exporter.fleet.fleet import Fleet
    from exporter.model.events import Event
    from exporter.model.records import EsimKey
    from exporter.storage.contract import Changes

MAX_TOMBSTONES = 1_000_000
"""Tombstones that are kept; the oldest are dropped first."""


_BLOCKS_AT_ONCE = 4
"""Blocks that one call of :func:`expire_due` searches: few, so that webhooks do not wait."""

Fetched = Mapping[tuple[Table, Key], Record | None]
"""Records of other shards, ``None`` if the storage has none."""


class NotFetched(Exception):
    """A draft needs a row of another shard, which is not in memory. ``wanted`` names it."""

    def __init__(self, table: Table, key: Key) -> None:
        super().__init__(table)
        self.wanted = (table, key)


class Draft(ChangedRecords):
    """What a batch changes at ``now`` (unix seconds): published, or dropped without a trace.

    If the fleet is one shard of several, ``fetched`` must hold the records of other shards that are
    needed. Otherwise a method raises :class:`NotFetched`, and the draft must be dropped.
    """

    def __init__(self, fleet: Fleet, now: float, fetched: Fetched | None = None) -> None:
        esim, tombstone = _readers(fleet, fetched or {})
        super().__init__(esim, tombstone, fleet.registers.get, fleet.admission.last)
        self.now = now
        self.received = int(now)
        self._fleet = fleet
        self._room = fleet.room()

    def changes(self) -> Changes:
        """Return what one commit must write before the fleet may show it."""
        shard = self._fleet.shard
        for key in self._fleet.totals.values_to_store(self.new_values):
            self.bases[(*key, str(shard.slots[0])) if shard else key] = 0
        return super().changes()

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
        """Merge an event that was received at another time than now (unix seconds)."""
        now, self.received = self.received, received
        try:
            return self.merge(event)
        finally:
            self.received = now

    def note_delivery(self, vendor: str) -> None:
        """Note that a verified event of a vendor arrived."""
        key = ("feed", vendor)
        known = self.registers.get(key)
        before = known.received if known else 0
        # If the known time is later than now, this host's clock was set back: correct the time.
        # With replicas it may come from another host's clock, so it stays.
        if self.received > before or (self.received < before and self._fleet.shard is None):
            self.registers.put(key, (known or Feed(vendor, 0))._replace(received=self.received))

    def expire(self, esim: Esim) -> None:
        """Expire the allowances of an eSIM that are due, and the eSIM itself after the last one."""
        retention = self._fleet.retention
        kept: list[Allowance] = []
        for allowance in esim.allowances:
            if retention.allowance_deadline(allowance, esim) > self.now:
                kept.append(allowance)
                continue
            self._expire_allowance(allowance, esim)
            self.expired += 1
        if kept or retention.esim_deadline(esim) > self.now:
            self.esims.put(esim.key, esim._replace(allowances=tuple(kept)))
        else:
            self._expire_esim(esim)

    def remove(self, key: EsimKey) -> Esim | None:
        """Expire an eSIM with all its allowances now; return it, or ``None`` if there is none."""
        esim = self.esims.get(key)
        if esim:
            for allowance in esim.allowances:
                self._expire_allowance(allowance, esim)
            self._expire_esim(esim)
        return esim

    def promote(self, most: int) -> None:
        """Give series of their own to eSIMs over the cap while there is room."""
        for waiting in self._fleet.admission.next_waiting(min(self._room, most)):
            esim = self.esims.get(waiting.key)
            if esim:
                self.esims.put(esim.key, esim._replace(tracked=True))
                self._room -= 1

    def drop_tombstones(self, most: int) -> None:
        """Drop up to ``most`` of the oldest tombstones, if they are too old or too many."""
        known = self._fleet.tombstones
        surplus = len(known) - MAX_TOMBSTONES
        before = self.now - self._fleet.retention.tombstones
        if surplus <= 0 and not known.any_due(before):
            return
        for count, tombstone in enumerate(known.oldest(most)):
            if tombstone.expired > before and count >= surplus:
                break
            if self.tombstones.get(tombstone.key) == tombstone:  # it is not revived in this draft
                self.tombstones.put(tombstone.key, None)

    def _merge_usage(self, event: UsageEvent) -> Result:
        esim = self._esim(event)
        if esim is None:
            return Result.STALE
        tombstone_key = (event.vendor, event.esim_id, event.package_id)
        allowance = esim.allowance(event.package_id)
        tombstone = None if allowance else self.tombstones.get(tombstone_key)
        if tombstone and event.time <= tombstone.time:
            return Result.STALE
        known = allowance or tombstone
        event = fold_locations(event, esim, known.peaks if known else ())
        merged, result = merge_usage(esim, tombstone, event, self.received)
        check_packages(esim, merged)
        if merged is not esim:
            self._put_esim(merged)
            kept = self._fleet.keeps(*esim.key)
            for value in self._fleet.totals.new_values(event, kept=kept):
                self.new_values[value] = None
        if tombstone:
            self.tombstones.put(tombstone_key, None)
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
        """Return the eSIM of an event, known or new; ``None`` if the event is too old.

        An event is too old if it is not newer than the tombstone of the eSIM.
        """
        key = (event.vendor, event.esim_id)
        known = self.esims.get(key)
        if known:
            return known
        tracked = self._room > len(self._fleet.over_cap)  # those that wait come first
        if not self._fleet.keeps(*key):
            tracked = True  # its own shard decides this when it reads the eSIM
        fresh = Esim(*key, self.received, self.last_admitted + 1, tracked)
        tombstone = self.tombstones.get((*key, ""))
        if tombstone is None:
            return fresh
        if event.time <= tombstone.time:
            return None
        return fresh._replace(status_time=tombstone.time, status=tombstone.status)

    def _put_esim(self, esim: Esim) -> None:
        if self.esims.get(esim.key) is None:
            self.last_admitted = esim.admitted
            self._room -= esim.tracked and self._fleet.keeps(*esim.key)
            tombstone_key = (*esim.key, "")
            if self.tombstones.get(tombstone_key):
                self.tombstones.put(tombstone_key, None)
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
        if known is None:
            new = (after for _, before, after in self.registers.items() if before is None)
            check_currencies(event.vendor, (*self._fleet.partners.values(), *new))
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
            same = (event.time, event.balance) == (known.time, known.balance)
            return Result.DUPLICATE if same else Result.STALE
        return Result.ACCEPTED

    def _expire_allowance(self, allowance: Allowance, esim: Esim) -> None:
        tombstone = tombstone_of(allowance, esim, self.received)
        self.tombstones.put(tombstone.key, tombstone)
        self._move_to_base(tombstone, 1)

    def _expire_esim(self, esim: Esim) -> None:
        self.esims.put(esim.key, None)
        self._room += esim.tracked and self._fleet.keeps(*esim.key)
        tombstone = Tombstone(*esim.key, "", esim.status_time, self.received, esim.status)
        self.tombstones.put(tombstone.key, tombstone)

    def _move_to_base(self, tombstone: Tombstone, sign: int) -> None:
        """Add what an expired allowance consumed to the fleet's bases, or take it out (-1)."""
        slot = [str(slot_of(tombstone.vendor, tombstone.esim_id))] if self._fleet.shard else []
        for key, amount in expired_amounts(tombstone, *slot).items():
            self.bases[key] = self.bases.get(key, 0) + sign * amount


def expire_due(fleet: Fleet, now: float, most: int = 500) -> Draft:
    """Return a draft in which some of what is due at ``now`` has expired.

    Room that frees up goes to eSIMs over the cap, in the order of their admission. ``most``
    bounds how many of them get series, and how many tombstones are dropped. Call this again
    while :meth:`Fleet.any_due` is true.
    """
    draft = Draft(fleet, now)
    for esims in (fleet.esims, fleet.over_cap):
        for esim in esims.due(now, _BLOCKS_AT_ONCE):
            draft.expire(esim)
    draft.promote(most)
    draft.drop_tombstones(most)
    return draft


def _readers(
    fleet: Fleet, fetched: Fetched
) -> tuple[Callable[[EsimKey], Esim | None], Callable[[Key], Tombstone | None]]:
    """Return functions that read eSIMs and tombstones, from memory or from ``fetched``."""
    known = fleet.tombstones.get
    if fleet.shard is None or fleet.shard.is_only:
        return fleet.esim, known

    def find(table: Table, key: Key) -> Any:
        try:
            return fetched[table, key]
        except KeyError:
            raise NotFetched(table, key) from None

    def esim(key: EsimKey) -> Esim | None:
        return fleet.esim(key) if fleet.keeps(*key) else find(Table.ESIM, key)

    def tombstone(key: Key) -> Tombstone | None:
        return known(key) if fleet.keeps(*key[:2]) else find(Table.TOMBSTONE, key)

    return esim, tombstone
