"""Sums over the fleet, kept up to date as records change.

When a record changes, its old amounts are subtracted and its new ones added. Nothing is ever
summed up again, so a scrape of the fleet costs the same at a thousand eSIMs and at ten million.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from math import ceil
from operator import add
from typing import TYPE_CHECKING

from exporter.errors import StorageDamaged
from exporter.fleet.blocks import Blocks
from exporter.fleet.label_cap import LabelCap
from exporter.model.events import OTHER, TERMINAL, Status
from exporter.model.records import RESOURCES, STATUSES, Package, PackageKey

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from exporter.model.attention import Attention
    from exporter.model.events import UsageEvent
    from exporter.model.records import Allowance, Esim, Tombstone
    from exporter.storage.contract import Key

    Use = tuple[Allowance, Esim]

THRESHOLDS = (25, 50, 75, 90, 100)
"""Percent of an allowance: the used shares at which the vendor sends an event."""

_HOUR = 3600

_CONSUMED = "consumed"
_LOCATION = "location"

SHOWN_PACKAGE = "shown_package"
SHOWN_LOCATION = "shown_location"
"""Kinds of bases that hold no sum, but say which values have series: see :class:`LabelCap`."""


class PackageTotals:
    """Sums over all eSIMs that use one package."""

    def __init__(self, key: PackageKey) -> None:
        self.key = key
        self.name = ""
        self.statuses = dict.fromkeys(STATUSES, 0)
        """Allowances per status of their eSIM."""
        self.limited = 0
        """Allowances of eSIMs that are not terminal, with data allowed and remaining both known."""
        self.allowed = 0
        """Bytes, summed over the limited allowances."""
        self.remaining = 0
        """Bytes, summed over the limited allowances."""
        self.consumed = 0
        """Bytes, summed over all allowances, expired ones included."""
        self.out_of_data = 0
        """eSIMs that have no data left in any package, and whose data in this one ran out last."""
        self._reached = tuple([[0] * (len(THRESHOLDS) + 1) for _ in RESOURCES])
        """For each resource: how many allowances reached exactly 0, 1, 2... thresholds. Unused
        allowances are not counted."""

    @property
    def over_threshold(self) -> dict[tuple[str, int], int]:
        """Return how many allowances of eSIMs that are not terminal reached each threshold.

        The keys are resource and percent.
        """
        return {
            (resource, percent): sum(reached[at + 1 :])
            for resource, reached in zip(RESOURCES, self._reached, strict=True)
            for at, percent in enumerate(THRESHOLDS)
        }

    def include(self, other: PackageTotals) -> None:
        """Add the sums of another package."""
        for status, number in other.statuses.items():
            self.statuses[status] += number
        self.limited += other.limited
        self.allowed += other.allowed
        self.remaining += other.remaining
        self.consumed += other.consumed
        self.out_of_data += other.out_of_data
        for mine, its in zip(self._reached, other._reached, strict=True):
            mine[:] = map(add, mine, its)

    def add(self, uses: Iterable[Use], sign: int) -> None:
        """Add (``sign`` 1) or take out (-1) allowances."""
        statuses = self.statuses
        data_reached, sms_reached, voice_reached = self._reached
        for allowance, esim in uses:
            status = esim.status
            statuses[status] += sign
            if data := allowance.data:
                self.consumed += sign * data.total
            if status in TERMINAL:
                continue
            # Written out for each resource, as this runs for every eSIM at a start.
            _, allowed, remaining, sms, sms_left, voice, voice_left, _, _, _ = allowance.snapshot
            if allowed is not None and remaining is not None:
                self.limited += sign
                self.allowed += sign * allowed
                self.remaining += sign * remaining
                if remaining < allowed:
                    data_reached[thresholds_reached(allowed, remaining)] += sign
            if sms and sms_left is not None and sms_left < sms:
                sms_reached[thresholds_reached(sms, sms_left)] += sign
            if voice and voice_left is not None and voice_left < voice:
                voice_reached[thresholds_reached(voice, voice_left)] += sign


class VendorTotals:
    """Sums over all eSIMs of one vendor."""

    def __init__(self) -> None:
        self.statuses = dict.fromkeys(STATUSES, 0)
        self._seconds: dict[int, int] = {}
        """ACTIVATED eSIMs by the second in which an event of theirs was last received."""
        self._hours: dict[int, int] = {}
        """ACTIVATED eSIMs by the hour of that second, to count stale ones in fewer steps."""
        self.usage_received = 0
        """When a usage event that changed an allowance was last received, unix seconds; 0 before
        the first. Not lowered when its eSIM is taken out."""

    def add(self, esim: Esim, sign: int) -> None:
        """Add (``sign`` 1) or take out (-1) an eSIM."""
        self.statuses[esim.status] += sign
        for allowance in esim.allowances:
            self.usage_received = max(self.usage_received, allowance.received)
        if esim.status is Status.ACTIVATED:
            _count(self._seconds, esim.received, sign)
            _count(self._hours, esim.received // _HOUR, sign)

    def replace(self, before: Esim, after: Esim) -> None:
        """Count ``after`` instead of ``before``, which has the same status."""
        for allowance in after.allowances:
            self.usage_received = max(self.usage_received, allowance.received)
        was, now = before.received, after.received
        if was != now and after.status is Status.ACTIVATED:
            _count(self._seconds, was, -1)
            _count(self._seconds, now, 1)
            if was // _HOUR != now // _HOUR:
                _count(self._hours, was // _HOUR, -1)
                _count(self._hours, now // _HOUR, 1)

    def add_many(self, esims: Sequence[Esim]) -> None:
        """Add eSIMs, in less time each than :meth:`add` takes."""
        for status, number in Counter([esim.status for esim in esims]).items():
            self.statuses[status] += number
        active = [esim.received for esim in esims if esim.status is Status.ACTIVATED]
        for received, number in Counter(active).items():
            _count(self._seconds, received, number)
            _count(self._hours, received // _HOUR, number)
        # A list takes less time than a generator.
        usage = [allowance.received for esim in esims for allowance in esim.allowances]
        self.usage_received = max(self.usage_received, max(usage, default=0))

    def stale(self, now: float, after: float) -> int:
        """Return how many ACTIVATED eSIMs sent nothing for more than ``after`` seconds."""
        limit = ceil(now - after)
        hour = limit // _HOUR
        return sum(count for at, count in self._hours.items() if at < hour) + sum(
            self._seconds.get(second, 0) for second in range(hour * _HOUR, limit)
        )


def _count(numbers: dict[int, int], at: int, sign: int) -> None:
    if number := numbers.get(at, 0) + sign:
        numbers[at] = number
    else:
        del numbers[at]


class Aggregates:
    """All sums over the fleet."""

    def __init__(self, vendors: tuple[str, ...]) -> None:
        self.vendors = defaultdict(VendorTotals, {name: VendorTotals() for name in sorted(vendors)})
        self.packages: Blocks[PackageKey, PackageTotals] = Blocks()
        """By vendor and package, those over the cap as one."""
        self._packages_of: defaultdict[str, dict[str, PackageTotals]] = defaultdict(dict)
        """The same by vendor, then by package."""
        self.locations: defaultdict[str, defaultdict[str, int]] = defaultdict(_no_bytes)
        """Bytes by vendor, then by location, those over the cap as one: the most each allowance
        ever reported there, summed."""
        self.folded = 0
        """Allowances with a location :data:`OTHER`: their eSIMs had no room for further ones."""
        self.package_cap = LabelCap(SHOWN_PACKAGE, self._packages_of)
        self.location_cap = LabelCap(SHOWN_LOCATION, self.locations)

    def begin(self, max_packages: int, max_locations: int) -> None:
        """Cap the packages and locations of each vendor, 0 for no cap. Call it after a load."""
        for vendor, package_id in self.package_cap.begin(max_packages):
            self.packages.remove((vendor, package_id))
            over = self._packages_of[vendor].pop(package_id)
            self._other_packages(vendor).include(over)
        for vendor, location in self.location_cap.begin(max_locations):
            sums = self.locations[vendor]
            sums[OTHER] += sums.pop(location)
        self._settle()

    def replace(self, before: Esim | None, after: Esim | None) -> None:
        """Count ``after`` instead of ``before``."""
        if before and after and before.status is after.status:
            self._replace_changed(before, after)
            return
        for esim, sign in ((before, -1), (after, 1)):
            if esim:
                self.vendors[esim.vendor].add(esim, sign)
                for allowance in esim.allowances:
                    self._add(allowance, esim, sign)

    def _replace_changed(self, before: Esim, after: Esim) -> None:
        """Count ``after`` instead of ``before``, which has the same status.

        An event changes one allowance, and the others are the same objects. They are not counted
        again, so their packages are not rendered again.
        """
        vendor = after.vendor
        self.vendors[vendor].replace(before, after)
        kept = {*map(id, before.allowances)} & {*map(id, after.allowances)}
        changed = {a.package_id: a for a in before.allowances if id(a) not in kept}
        for allowance in after.allowances:
            if id(allowance) in kept:
                continue
            known = changed.pop(allowance.package_id, None)
            if known is None:
                self._add(allowance, after, 1)
                continue
            totals = self._package((vendor, allowance.package_id))
            totals.add(((known, before),), -1)
            totals.add(((allowance, after),), 1)
            if known.peaks is not allowance.peaks:
                self._add_peaks(vendor, known, -1)
                self._add_peaks(vendor, allowance, 1)
        for allowance in changed.values():
            self._add(allowance, before, -1)

    def add_many(self, esims: Iterable[Esim]) -> None:
        """Count loaded eSIMs, in less time each than :meth:`replace` takes."""
        of_vendors: defaultdict[str, list[Esim]] = defaultdict(list)
        of_packages: defaultdict[PackageKey, list[Use]] = defaultdict(list)
        locations = self.locations
        for esim in esims:
            vendor = esim.vendor
            of_vendors[vendor].append(esim)
            for allowance in esim.allowances:
                of_packages[vendor, allowance.package_id].append((allowance, esim))
                for location, amount in allowance.peaks:
                    locations[vendor][location] += amount
                    self.folded += location == OTHER
        for vendor, those in of_vendors.items():
            self.vendors[vendor].add_many(those)
        for key, uses in of_packages.items():
            self._package(key).add(uses, 1)

    def count_out_of_data(self, attentions: Iterable[Attention], sign: int = 1) -> None:
        """Count (``sign`` 1) or no longer count (-1) those eSIMs that are out of data."""
        for each in attentions:
            if out := each.out_of_data:
                self._package((each.vendor, out.package_id)).out_of_data += sign

    def name(self, package: Package) -> None:
        """Note a package and its name."""
        totals = self._package(package.key)
        if totals.key == package.key:  # it is not over the cap
            totals.name = package.name

    def new_values(self, event: UsageEvent, *, kept: bool) -> Iterator[Key]:
        """Yield the keys that would store the package and the locations of an event.

        Leaves out those that have series. Locations count only if the eSIM is kept here.
        """
        vendor = event.vendor
        if event.package_id not in self._packages_of[vendor]:
            yield (SHOWN_PACKAGE, vendor, event.package_id)
        known = self.locations[vendor]
        for location, _ in (event.snapshot.locations or ()) if kept else ():
            if location not in known:
                yield (SHOWN_LOCATION, vendor, location)

    def values_to_store(self, new: Collection[Key]) -> list[Key]:
        """Return the keys of the bases that keep series for their values: see :class:`LabelCap`."""
        return [key for cap in self._caps() for key in cap.to_store(new)]

    def show(self, values: Iterable[Key]) -> None:
        """Give series to values while there is room. Ignores keys of other bases."""
        for kind, vendor, value, *_ in values:
            if kind == SHOWN_PACKAGE:
                self._package((vendor, value))
            elif kind == SHOWN_LOCATION:
                self._add_location(vendor, value, 0)

    def add_bases(self, bases: Mapping[tuple[str, ...], int]) -> None:
        """Add what expired allowances consumed, in bytes, by the keys of the bases."""
        for key, amount in bases.items():
            kind, vendor, name = _without_slot(key)
            if kind == _CONSUMED:
                self._package((vendor, name)).consumed += amount
            elif kind == SHOWN_PACKAGE:
                self.package_cap.note_stored(vendor, name)
            elif kind == SHOWN_LOCATION:
                self.location_cap.note_stored(vendor, name)
            else:
                self._add_location(vendor, name, amount)
        self._settle()

    def _settle(self) -> None:
        for cap in self._caps():
            cap.settle()

    def _caps(self) -> tuple[LabelCap, LabelCap]:
        return self.package_cap, self.location_cap

    def _add(self, allowance: Allowance, esim: Esim, sign: int) -> None:
        self._package((esim.vendor, allowance.package_id)).add(((allowance, esim),), sign)
        self._add_peaks(esim.vendor, allowance, sign)

    def _add_peaks(self, vendor: str, allowance: Allowance, sign: int) -> None:
        for location, amount in allowance.peaks:
            self._add_location(vendor, location, sign * amount)
            self.folded += sign * (location == OTHER)

    def _add_location(self, vendor: str, location: str, amount: int) -> None:
        sums = self.locations[vendor]
        if location not in sums and not self.location_cap.admits(vendor, location):
            location = OTHER
        sums[location] += amount

    def _package(self, key: PackageKey) -> PackageTotals:
        """Return the totals that a package counts in, and note that they are about to change."""
        vendor, package_id = key
        totals = self._packages_of[vendor].get(package_id)
        if totals:
            self.packages.touch(key)
            return totals
        if not self.package_cap.admits(vendor, package_id):
            return self._other_packages(vendor)
        totals = self._packages_of[vendor][package_id] = PackageTotals(key)
        self.packages.put(key, totals)
        return totals

    def _other_packages(self, vendor: str) -> PackageTotals:
        totals = self._package((vendor, OTHER))
        totals.name = totals.name or OTHER
        return totals


def _no_bytes() -> defaultdict[str, int]:
    return defaultdict(int)


def thresholds_reached(allowed: int | None, remaining: int | None) -> int:
    """Return how many of :data:`THRESHOLDS` the used share of an allowance has reached.

    Calculated with integers, so that exactly 75 % counts as 75 %. An allowance of 0 has reached
    none.
    """
    if not allowed or remaining is None:
        return 0
    return bisect_right(THRESHOLDS, (allowed - remaining) * 100 // allowed)


def without_slots(bases: Mapping[tuple[str, ...], int]) -> dict[tuple[str, ...], int]:
    """Return bases summed over slots, as a storage that is not shared keeps them."""
    sums: Counter[tuple[str, ...]] = Counter()
    for key, amount in bases.items():
        sums[_without_slot(key)] += amount
    return sums


def _without_slot(key: tuple[str, ...]) -> tuple[str, str, str]:
    try:
        kind, vendor, name, *_ = key
    except ValueError:
        raise StorageDamaged(
            f"the key of a stored sum over expired allowances has {len(key)} parts instead of 3 or "
            "4: restore a backup of the storage, or remove the row"
        ) from None
    return (kind, vendor, name)


def expired_amounts(tombstone: Tombstone, *slot: str) -> dict[tuple[str, ...], int]:
    """Return the bytes that an expired allowance used, by the keys of the bases that sum them.

    One base has what a package's allowances consumed, others what was used in each location. If
    the storage is shared, the key ends in the slot of the eSIM: each shard counts its own slots.
    """
    vendor = tombstone.vendor
    amounts: dict[tuple[str, ...], int] = {
        (_LOCATION, vendor, location, *slot): amount for location, amount in tombstone.peaks
    }
    if tombstone.data:
        amounts[_CONSUMED, vendor, tombstone.package_id, *slot] = tombstone.data.total
    return amounts
