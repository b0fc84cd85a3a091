"""The state of the fleet: everything that is committed.

A batch of events is merged into a draft beside the fleet (see :mod:`exporter.fleet.drafts`). Its
changes are committed. Only then does :meth:`Fleet.publish` replace what was there. A failed
commit drops the draft and leaves no trace. There is one draft at a time.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from exporter.fleet.admission import AdmissionOrder
from exporter.fleet.aggregates import Aggregates
from exporter.fleet.attention import AttentionRule, EsimsInAttention
from exporter.fleet.compact_store import CompactEsims, pack_key
from exporter.fleet.tombstones import CompactTombstones
from exporter.model.expiry import ExpiryHold, Retention
from exporter.model.records import (
    AccountBalance,
    Esim,
    Feed,
    Package,
    PartnerNotice,
    Tombstone,
)
from exporter.storage.contract import Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from exporter.fleet.overlay import ChangedRecords
    from exporter.model.records import EsimKey, Record
    from exporter.model.shards import Shard
    from exporter.storage.contract import Key, Row

    Bases = Mapping[Key, int]
    Register = Package | AccountBalance | PartnerNotice | Feed


@dataclass(frozen=True, slots=True)
class Policy:
    """What the operator decides about the fleet."""

    retention: Retention = field(default_factory=Retention)
    max_esims: int = 0
    """eSIMs that get series of their own; 0 for no limit."""
    grace: float = 0.0
    """Seconds for which no silent eSIM expires after a start, and after an interruption in which
    no delivery could arrive: see :class:`exporter.model.expiry.ExpiryHold`."""
    attention: AttentionRule = field(default_factory=AttentionRule)
    """Which eSIMs need somebody. Only a new fleet applies it."""
    max_packages: int = 0
    """Packages of a vendor with series in the group ``fleet``; 0 for no limit. Only a new fleet
    applies it."""
    max_locations: int = 0
    """Locations of a vendor with series there; 0 for no limit. Only a new fleet applies it."""


class Fleet:
    """Everything that is committed. Only :meth:`publish` and :meth:`absorb` change it."""

    def __init__(
        self, policy: Policy, vendors: tuple[str, ...], shard: Shard | None = None
    ) -> None:
        """``shard`` says which eSIMs are kept; ``None`` if the storage is not shared."""
        self.policy = policy
        self.shard = shard
        self.esims = CompactEsims(policy.retention.deadline)
        """eSIMs with series of their own."""
        self.over_cap = CompactEsims(policy.retention.deadline)
        """eSIMs over the cardinality cap."""
        self.admission = AdmissionOrder(self.esims, self.over_cap, replicated=shard is not None)
        self.tombstones = CompactTombstones()
        self.registers: dict[Key, Register] = {}
        """Registers of packages, accounts and vendors, by table and key."""
        self.partners: dict[Key, AccountBalance | PartnerNotice] = {}
        """Those of accounts. Each scrape reads them; ``MAX_CURRENCIES`` says how many there are."""
        self.feeds: dict[str, Feed] = {}
        """Those of vendors, by vendor."""
        self.totals = Aggregates(vendors)
        self.attention = EsimsInAttention(policy.attention)
        self._vendors = vendors
        self.expired = 0
        """Allowances that expired since the process started."""
        self._hold = ExpiryHold()

    def esim(self, key: EsimKey) -> Esim | None:
        """Return an eSIM, or ``None``."""
        return self.esim_of_packed(pack_key(key))

    def esim_of_packed(self, key: bytes) -> Esim | None:
        """Return the eSIM of a packed key, or ``None``."""
        return self.esims.get_packed(key) or self.over_cap.get_packed(key)

    def package_name(self, vendor: str, package_id: str) -> str:
        """Return the name of a package, empty if none is known."""
        package = self.registers.get(("package", vendor, package_id))
        return package.name if isinstance(package, Package) else ""

    def set_policy(self, policy: Policy) -> None:
        """Use another policy from now on. Each expiry then fills some of the room that it makes."""
        self.policy = policy
        for esims in (self.esims, self.over_cap):
            esims.reschedule(self.retention.deadline)

    @property
    def held(self) -> bool:
        """Return whether silent eSIMs are kept for now."""
        return self._hold.active

    @property
    def retention(self) -> Retention:
        """Return the retention in force."""
        retention = self.policy.retention
        return retention.without_silence if self.held else retention

    def note_time(self, now: float) -> float:
        """Note the time, and hold expiry after an interruption; call this often.

        Returns the seconds of the interruption that has just ended, 0 if there was none.
        """
        held = self.held
        feeds = [self.feeds[vendor] for vendor in self._vendors if vendor in self.feeds]
        newest = max((feed.received for feed in feeds), default=None)
        interruption = self._hold.note_time(now, self.policy.grace, newest)
        if self.held and not held:
            for esims in (self.esims, self.over_cap):
                esims.deadline = self.retention.deadline  # only later: no reschedule
        elif held and not self.held:
            self.set_policy(self.policy)
        return interruption

    def room(self) -> int:
        """Return how many more eSIMs may get series of their own; negative above the cap."""
        return (self.policy.max_esims or sys.maxsize) - len(self.esims)

    def keeps(self, vendor: str, esim_id: str) -> bool:
        """Return whether an eSIM is kept here, and not by another shard."""
        return self.shard is None or self.shard.keeps(vendor, esim_id)

    def any_due(self, now: float) -> bool:
        """Return whether there may be more to expire."""
        forgotten = now - self.retention.tombstones
        stores = (self.esims, self.over_cap)
        return any(each.any_due(now) for each in stores) or self.tombstones.any_due(forgotten)

    def publish(self, draft: ChangedRecords) -> None:
        """Replace what the draft changed; its commit has succeeded."""
        self.totals.show(draft.new_values)
        keeps_all = self.shard is None
        for esim_key, before, after in draft.esims.items():
            if keeps_all or self.keeps(*esim_key):
                self._replace(before, after)
        for key, known, tombstone in draft.tombstones.items():
            if not self.keeps(*key[:2]):
                continue
            if tombstone:
                self.tombstones.put(tombstone)
            elif known:
                self.tombstones.discard(key)
        for key, _, register in draft.registers.items():
            assert register, "no register is ever removed"
            self.put_register(key, register)
        self.totals.add_bases(self._kept_bases(draft.bases))
        self.expired += draft.expired
        self.admission.last = max(self.admission.last, draft.last_admitted)

    def put_register(self, key: Key, register: Register) -> None:
        """Replace the register of a package, an account or a vendor."""
        self.registers[key] = register
        match register:
            case Package():
                self.totals.name(register)
            case Feed():
                self.feeds[register.vendor] = register
            case AccountBalance() | PartnerNotice():
                self.partners[key] = register

    def absorb(self, records: Iterable[tuple[Row, Record | None]], bases: Bases) -> None:
        """Take over what other replicas committed: rows with their records, ``None`` if deleted."""
        self.totals.show(bases)  # first, so that all replicas give series to the same values
        for row, record in records:
            if row.table is Table.ESIM:
                self._absorb_esim(row, record)
            elif row.table is Table.TOMBSTONE:
                if isinstance(record, Tombstone):
                    self.tombstones.put(record)
                else:
                    self.tombstones.discard(row.key)
            elif record and not isinstance(record, (Esim, Tombstone)):
                self.put_register((row.table, *row.key), record)
        self.totals.add_bases(bases)

    def _absorb_esim(self, row: Row, record: Record | None) -> None:
        vendor, esim_id = row.key
        before = self.esim((vendor, esim_id))
        after = None
        if isinstance(record, Esim):
            self.admission.last = max(self.admission.last, record.admitted)
            # Each replica has room of its own. eSIMs that wait here come first.
            tracked = before.tracked if before else self.room() > len(self.over_cap)
            after = record._replace(tracked=tracked)
        # Equal versions alone prove nothing: an eSIM that returns begins at version 1 again.
        if before == after:
            return
        self._replace(before, after)
        if after and not before and not after.tracked and self.room() <= 0:
            later = self.admission.admitted_after(after)
            if later:
                self._place(later, later._replace(tracked=False))
                self._place(after, after._replace(tracked=True))

    def _kept_bases(self, bases: Bases) -> Bases:
        if self.shard is None or self.shard.is_only:
            return bases
        return {key: amount for key, amount in bases.items() if self.shard.owns(int(key[-1]))}

    def _replace(self, before: Esim | None, after: Esim | None) -> None:
        self.totals.replace(before, after)
        if key := self._place(before, after):
            was, now = self.attention.replace(key, after)
            if was != now:
                self.totals.count_out_of_data(filter(None, [was]), -1)
                self.totals.count_out_of_data(filter(None, [now]))

    def _place(self, before: Esim | None, after: Esim | None) -> bytes | None:
        """Put an eSIM into ``esims`` or ``over_cap``, depending on its ``tracked``.

        Return its packed key, ``None`` if there was and is no eSIM.
        """
        key = None
        if before and (after is None or before.tracked != after.tracked):
            key = (self.esims if before.tracked else self.over_cap).remove(before.key)
        if after:
            key = (self.esims if after.tracked else self.over_cap).put(after)
            self.admission.note(before, after, key)
        return key
