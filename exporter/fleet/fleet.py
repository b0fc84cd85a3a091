"""The state of the fleet: everything that is committed.

A batch of events is merged into a draft beside the fleet (see :mod:`exporter.fleet.drafts`). Its
changes are committed, and only then does :meth:`Fleet.publish` let them replace what was
there: a failed commit drops the draft and leaves no trace. One draft at a time.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from functools import partial
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

from exporter.fleet.admission import NewestAdmissions
from exporter.fleet.aggregates import Aggregates
from exporter.fleet.compact_store import CompactEsims, key_of
from exporter.fleet.drafts import Draft
from exporter.model.expiry import Hold, Retention
from exporter.model.records import Esim, Feed, Package, Tombstone
from exporter.storage.contract import Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from exporter.fleet.admission import Admission
    from exporter.fleet.drafts import Fetched
    from exporter.model.records import Balance, EsimKey, PartnerNotice, Record
    from exporter.model.shards import Shard
    from exporter.storage.contract import Key, Row

    Bases = Mapping[Key, int]

_LOOKS = 4
"""Blocks that are looked through at once for what is due, so that others may run in between."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What the operator decides about the fleet."""

    retention: Retention = field(default_factory=Retention)
    max_esims: int = 0
    """eSIMs that get series of their own; 0 for no limit."""
    grace: float = 0.0
    """Seconds in which no eSIM is taken for silent after a start, and after time that passed
    unseen: see :class:`exporter.model.expiry.Hold`."""


class Fleet:
    """Everything that is committed. Changed by :meth:`publish` only."""

    def __init__(
        self, policy: Policy, vendors: tuple[str, ...], shard: Shard | None = None
    ) -> None:
        """``shard`` says which eSIMs are kept, where the storage is shared."""
        self.policy = policy
        self.shard = shard
        self.esims = CompactEsims(policy.retention.deadline)
        """eSIMs with series of their own."""
        self.over = CompactEsims(policy.retention.deadline)
        """eSIMs over the cardinality cap."""
        self.tombstones: dict[Key, Tombstone] = {}
        """Oldest first."""
        self.registers: dict[Key, Package | Balance | PartnerNotice | Feed] = {}
        """Registers of packages, accounts and vendors, by table and key."""
        self.totals = Aggregates(vendors)
        self._vendors = vendors
        self.expired = 0
        """Allowances that expired since the process started."""
        self.admissions = 0
        """How many eSIMs were ever admitted: the place of the newest."""
        self._waiting: list[Admission] = []
        """Heap of eSIMs over the cap by admission; entries of those that left stay behind.
        Their keys are packed, the very objects that are in the blocks."""
        self._newest = NewestAdmissions(partial(map, _place_of, self.esims))
        """Of those with series of their own, kept where others admit as well."""
        self._hold = Hold()

    def esim(self, key: EsimKey) -> Esim | None:
        """Return an eSIM, or ``None``."""
        return self.esims.get(key) or self.over.get(key)

    def tombstone(self, key: Key) -> Tombstone | None:
        """Return a tombstone, or ``None``."""
        return self.tombstones.get(key)

    def package_name(self, vendor: str, package_id: str) -> str:
        """Return the name of a package, empty where none is known."""
        package = self.registers.get(("package", vendor, package_id))
        return package.name if isinstance(package, Package) else ""

    def apply(self, policy: Policy) -> None:
        """Go on under another policy; where there is room now, it fills by and by."""
        self.policy = policy
        for esims in (self.esims, self.over):
            esims.reschedule(self.retention.deadline)

    @property
    def held(self) -> bool:
        """Return whether silent eSIMs are kept for now."""
        return self._hold.on

    @property
    def retention(self) -> Retention:
        """Return the retention in force."""
        retention = self.policy.retention
        return retention.without_silence if self.held else retention

    def look(self, now: float) -> float:
        """Note the time, to be called often; return the seconds that passed unseen, or 0."""
        held = self.held
        feeds = [self.registers.get(("feed", vendor)) for vendor in self._vendors]
        heard = max((feed.received for feed in feeds if isinstance(feed, Feed)), default=None)
        unseen = self._hold.look(now, self.policy.grace, heard)
        if self.held and not held:
            for esims in (self.esims, self.over):
                esims.deadline = self.retention.deadline  # later than it was: nothing to look at
        elif held and not self.held:
            self.apply(self.policy)
        return unseen

    def room(self) -> int:
        """Return how many more eSIMs may get series of their own; negative where too many do."""
        return (self.policy.max_esims or sys.maxsize) - len(self.esims)

    def keeps(self, vendor: str, esim_id: str) -> bool:
        """Return whether an eSIM is kept, and not one of another shard."""
        return self.shard is None or self.shard.keeps(vendor, esim_id)

    def draft(self, now: float, fetched: Fetched | None = None) -> Draft:
        """Return an empty draft at ``now`` (unix seconds)."""
        return Draft(self, now, fetched)

    def expire(self, now: float, most: int = 500) -> Draft:
        """Return a draft in which some of what is due at ``now`` has left: see :meth:`any_due`.

        The room that frees up goes to eSIMs over the cap, those admitted first before others.
        """
        draft = self.draft(now)
        for esim in [*self.esims.due(now, _LOOKS), *self.over.due(now, _LOOKS)]:
            draft.expire(esim)
        draft.promote(most)
        draft.forget(most)
        return draft

    def any_due(self, now: float) -> bool:
        """Return whether there may be more to expire."""
        return self.esims.any_due(now) or self.over.any_due(now)

    def publish(self, draft: Draft) -> None:
        """Replace what the draft changed; its commit has succeeded."""
        for esim_key, before, after in draft.esims.items():
            if self.keeps(*esim_key):
                self.totals.replace(before, after)
                self._place(before, after)
        for key, buried, tombstone in draft.tombstones.items():
            if not self.keeps(*key[:2]):
                continue
            if tombstone:
                self.tombstones[key] = tombstone
            elif buried:
                del self.tombstones[key]
        for key, _, register in draft.registers.items():
            assert register  # none is ever removed
            self.registers[key] = register
            if isinstance(register, Package):
                self.totals.name(register)
        self.totals.add_bases(self._kept_bases(draft.bases))
        self.expired += draft.expired
        self.admissions = max(self.admissions, draft.admissions)

    def absorb(self, records: Iterable[tuple[Row, Record | None]], bases: Bases) -> None:
        """Take over what others committed: rows with their records, ``None`` for what is gone."""
        for row, record in records:
            if row.table is Table.ESIM:
                self._absorb_esim(row, record)
            elif row.table is Table.TOMBSTONE:
                self.tombstones.pop(row.key, None)
                if isinstance(record, Tombstone):
                    self.tombstones[row.key] = record
            elif record and not isinstance(record, (Esim, Tombstone)):
                self.registers[row.table, *row.key] = record
                if isinstance(record, Package):
                    self.totals.name(record)
        self.totals.add_bases(bases)

    def _absorb_esim(self, row: Row, record: Record | None) -> None:
        vendor, esim_id = row.key
        before = self.esim((vendor, esim_id))
        after = None
        if isinstance(record, Esim):
            self.admissions = max(self.admissions, record.admitted)
            # Each replica has room of its own; those that wait go first.
            tracked = before.tracked if before else self.room() > len(self.over)
            after = record._replace(tracked=tracked)
        if before != after:  # not by the version: it may be that of an earlier life
            self.totals.replace(before, after)
            self._place(before, after)
            if after and not before and not after.tracked and self.room() <= 0:
                self._give_way(after)

    def _give_way(self, esim: Esim) -> None:
        """Let an eSIM over the cap have the place of one that was admitted after it."""
        last = self._newest.last(self._is_shown)
        if last and _place_of(esim) < last:
            later = self.esims.at(last[1])
            assert later, "it is shown"
            self._place(later, later._replace(tracked=False))
            self._place(esim, esim._replace(tracked=True))

    def _is_shown(self, place: Admission) -> bool:
        admitted, key = place
        esim = self.esims.at(key)
        return esim is not None and esim.admitted == admitted

    def _kept_bases(self, bases: Bases) -> Bases:
        if self.shard is None or self.shard.whole:
            return bases
        return {key: amount for key, amount in bases.items() if self.shard.owns(int(key[-1]))}

    def _place(self, before: Esim | None, after: Esim | None) -> None:
        if before and (after is None or before.tracked != after.tracked):
            (self.esims if before.tracked else self.over).remove(before.key)
        if after:
            key = (self.esims if after.tracked else self.over).put(after)
            waits = before and not before.tracked and before.admitted == after.admitted
            if not after.tracked and not waits:
                heappush(self._waiting, (after.admitted, key))
            shown = before and before.tracked and before.admitted == after.admitted
            if after.tracked and self.shard and not shown:
                self._newest.add((after.admitted, key))

    def line_up(self, shown: Iterable[Admission], waiting: list[Admission]) -> None:
        """Take over the order of admission of eSIMs with series, and of those over the cap."""
        self._waiting = waiting
        heapify(self._waiting)
        if self.shard:
            self._newest.begin(shown)

    def next_waiting(self, most: int) -> Iterator[Esim]:
        """Yield up to ``most`` eSIMs over the cap, those admitted first before others."""
        found: list[Admission] = []
        while self._waiting and len(found) < most:
            admitted, key = heappop(self._waiting)
            esim = self.over.at(key)
            if esim and esim.admitted == admitted:
                found.append((admitted, key))
                yield esim
        for entry in found:  # they stay until the draft that promotes them is committed
            heappush(self._waiting, entry)


def _place_of(esim: Esim) -> Admission:
    return (esim.admitted, key_of(esim.key))
