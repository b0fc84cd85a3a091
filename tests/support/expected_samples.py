"""The samples that a history of events must give by the contract, computed in a simple, slow way.

Written from the contract's text alone ("State and merging", "Metric contract"), not from the code
of the exporter: every event is kept, and every value is computed again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from expected_attention import attention_samples, last_to_run_out
from generated_events import VENDORS
from running_fleet import STALE_AFTER, Series, series

from exporter.model.events import PartnerEvent, Snapshot, Status, StatusEvent, UsageEvent

if TYPE_CHECKING:
    from exporter.model.events import Event

TERMINAL = ("DELETED", "REVOKED", "EXPIRED")
RESOURCES = {
    "data": "data_consumed_bytes",
    "sms": "sms_consumed",
    "voice": "voice_consumed_seconds",
}
THRESHOLDS = {
    "0.25": Fraction(1, 4),
    "0.5": Fraction(1, 2),
    "0.75": Fraction(3, 4),
    "0.9": Fraction(9, 10),
    "1": Fraction(1),
}
DAY = 86400


@dataclass
class SlowCounter:
    """Positive variation over a window of 16 samples, as the contract describes it."""

    base: int = 0
    anchor: tuple[int, int] = (0, 0)
    samples: list[tuple[int, int]] = field(default_factory=list)

    def arrive(self, sample: tuple[int, int]) -> str:
        if sample < self.anchor:
            return "late"
        if sample == self.anchor or sample in self.samples:
            return "duplicate"
        self.samples = sorted([*self.samples, sample])
        if len(self.samples) > 16:
            least = self.samples.pop(0)
            self.base += max(0, least[1] - self.anchor[1])
            self.anchor = least
        return "inserted"

    @property
    def value(self) -> int:
        used = [self.anchor[1], *(sample[1] for sample in self.samples)]
        return self.base + sum(max(0, b - a) for a, b in pairwise(used))

    @property
    def last_used(self) -> int:
        return max([self.anchor, *self.samples])[1]


@dataclass
class Grave:
    """A tombstone."""

    time: int
    expired: int
    counters: dict[str, SlowCounter] = field(default_factory=dict)
    peaks: dict[str, int] = field(default_factory=dict)
    status: tuple[int, bool, str] = (0, False, "UNKNOWN")


@dataclass
class Use:
    """An allowance in one life."""

    received: int
    events: list[UsageEvent] = field(default_factory=list)
    counters: dict[str, SlowCounter] = field(default_factory=dict)
    peaks: dict[str, int] = field(default_factory=dict)

    @property
    def newest(self) -> UsageEvent:
        return max(self.events, key=lambda e: (e.time, normalised(e.snapshot)))


@dataclass
class Card:
    """An eSIM in one life."""

    received: int
    admitted: int
    tracked: bool
    statuses: list[tuple[int, bool, str]]
    references: list[tuple[int, str]] = field(default_factory=lambda: [(0, "")])
    iccids: list[tuple[int, str]] = field(default_factory=lambda: [(0, "")])
    uses: dict[str, Use] = field(default_factory=dict)

    @property
    def status(self) -> str:
        return max(self.statuses)[2]

    @property
    def terminal(self) -> bool:
        return self.status in TERMINAL


def normalised(snapshot: Snapshot) -> list[Any]:
    """Return the values of a snapshot as a sort key: an absent value comes first."""
    return [(False,) if value is None else (True, value) for value in snapshot]


def used(snapshot: Snapshot) -> dict[str, int]:
    amounts: dict[str, int] = {}
    for resource in RESOURCES:
        allowed = getattr(snapshot, f"{resource}_allowed")
        remaining = getattr(snapshot, f"{resource}_remaining")
        if allowed is not None and remaining is not None:
            amounts[resource] = max(0, allowed - remaining)
    if snapshot.data_unlimited:
        amounts.pop("data", None)
        if snapshot.locations is not None:
            amounts["data"] = sum(dict(snapshot.locations).values())
    return amounts


class Model:
    """A fleet as the contract describes it. Times in unix seconds."""

    def __init__(
        self, cap: int = 0, terminal: int = DAY, silent: int = 30 * DAY, attention_cap: int = 0
    ) -> None:
        self.cap = cap
        self.attention_cap = attention_cap
        self.terminal = terminal
        self.silent = silent
        self.cards: dict[tuple[str, str], Card] = {}
        self.graves: dict[tuple[str, ...], Grave] = {}
        self.names: dict[tuple[str, str], list[tuple[int, str]]] = {}
        self.partner: list[PartnerEvent] = []
        self.base: dict[tuple[str, str], int] = {}
        self.location_base: dict[tuple[str, str], int] = {}
        self.admitted = 0

    def arrive(self, event: Event, now: float) -> None:
        if isinstance(event, PartnerEvent):
            self.partner.append(event)
        elif isinstance(event, UsageEvent | StatusEvent):
            self._arrive(event, int(now))

    def expire(self, now: float) -> None:
        for key, card in list(self.cards.items()):
            for package, use in list(card.uses.items()):
                if self._due(card, use) <= now:
                    self._bury(key, package, int(now))
            if not card.uses and self._deadline(card) <= now:
                status = max(card.statuses)
                self.graves[key] = Grave(status[0], int(now), status=status)
                del self.cards[key]
        self._promote()
        self.graves = {k: g for k, g in self.graves.items() if g.expired > now - 90 * DAY}

    def restart(self, cap: int) -> None:
        self.cap = cap
        tracked = sorted((c for c in self.cards.values() if c.tracked), key=lambda c: c.admitted)
        for card in tracked[cap:] if cap else []:
            card.tracked = False
        self._promote()

    def samples(self, now: float) -> dict[Series, float]:
        return (
            self.esim_samples()
            | attention_samples(self.cards, cap=self.attention_cap)
            | self._package_samples()
            | self._vendor_samples(now)
        )

    def esim_samples(self) -> dict[Series, float]:
        shown: dict[Series, float] = {}
        for (vendor, esim_id), card in self.cards.items():
            if not card.tracked:
                continue
            labels = {"vendor": vendor, "esim_id": esim_id}
            shown[series("esim_status", **labels, status=card.status)] = 1
            shown[series("esim_info", **labels, reference_id=max(card.references)[1])] = 1
            for package, use in card.uses.items():
                shown |= _use_samples(use, labels | {"package_id": package})
        return shown

    def _arrive(self, event: UsageEvent | StatusEvent, now: int) -> None:
        key = (event.vendor, event.esim_id)
        usage = event if isinstance(event, UsageEvent) else None
        grave = self.graves.get((*key, usage.package_id)) if usage else None
        if grave and event.time <= grave.time:
            return
        card = self.cards.get(key)
        card_grave = self.graves.get(key)
        if card is None and card_grave and event.time <= card_grave.time:
            return
        fresh = card is None
        if card is None:
            status = card_grave.status if card_grave else (0, False, "UNKNOWN")
            card = Card(now, self.admitted + 1, tracked=self._room(), statuses=[status])
        before = _state(card)
        if event.status:
            card.statuses.append((event.time, event.status in TERMINAL, event.status.value))
        if event.reference_id:
            card.references.append((event.time, event.reference_id))
        if event.iccid:
            card.iccids.append((event.time, event.iccid))
        if usage:
            self._use(card, usage, grave, now)
        if _state(card) != before:
            card.received = now
            if fresh:
                self.admitted += 1
                self.cards[key] = card
                self.graves.pop(key, None)

    def _use(self, card: Card, event: UsageEvent, grave: Grave | None, now: int) -> None:
        package = (event.vendor, event.package_id)
        name = [(event.time, event.package_name)] if event.package_name else []
        self.names[package] = self.names.get(package, [(0, "")]) + name
        use = card.uses.setdefault(event.package_id, Use(now))
        if grave:
            use.counters = {
                resource: SlowCounter(counter.value, (grave.time, counter.last_used))
                for resource, counter in grave.counters.items()
            }
            use.peaks = dict(grave.peaks)
            self._rebase(event, use, -1)
            del self.graves[event.vendor, event.esim_id, event.package_id]
        before = _use_state(use)
        use.events.append(event)
        for resource, amount in used(event.snapshot).items():
            use.counters.setdefault(resource, SlowCounter()).arrive((event.time, amount))
        for place, amount in event.snapshot.locations or ():
            use.peaks[place] = max(amount, use.peaks.get(place, 0))
        if _use_state(use) != before:
            use.received = now

    def _bury(self, key: tuple[str, str], package: str, now: int) -> None:
        card = self.cards[key]
        use = card.uses.pop(package)
        time = max(use.newest.time, max(card.statuses)[0])
        self.graves[*key, package] = Grave(time, now, use.counters, use.peaks)
        self._rebase(use.newest, use, 1)

    def _rebase(self, event: UsageEvent, use: Use, sign: int) -> None:
        if "data" in use.counters:
            at = (event.vendor, event.package_id)
            self.base[at] = self.base.get(at, 0) + sign * use.counters["data"].value
        for place, amount in use.peaks.items():
            where = (event.vendor, place)
            self.location_base[where] = self.location_base.get(where, 0) + sign * amount

    def _due(self, card: Card, use: Use) -> float:
        return self._deadline(card) if card.terminal else use.received + self.silent

    def _deadline(self, card: Card) -> float:
        return card.received + (self.terminal if card.terminal else self.silent)

    def _room(self) -> bool:
        return not self.cap or len(self.cards) < self.cap

    def _promote(self) -> None:
        tracked = sum(card.tracked for card in self.cards.values())
        waiting = sorted(
            (c for c in self.cards.values() if not c.tracked), key=lambda c: c.admitted
        )
        room = max(0, self.cap - tracked) if self.cap else len(waiting)
        for card in waiting[:room]:
            card.tracked = True

    def _package_samples(self) -> dict[Series, float]:
        shown: dict[Series, float] = {}
        for (vendor, package), names in self.names.items():
            labels = {"vendor": vendor, "package_id": package}
            uses = [
                (card, card.uses[package])
                for (of, _), card in self.cards.items()
                if of == vendor and package in card.uses
            ]
            shown[series("esim_package_info", **labels, package_name=max(names)[1])] = 1
            for status in Status:
                at = series("esim_fleet_allowances", **labels, status=status.value)
                shown[at] = sum(card.status == status for card, _ in uses)
            shown[series("esim_fleet_data_consumed_bytes_total", **labels)] = self.base.get(
                (vendor, package), 0
            ) + sum(use.counters["data"].value for _, use in uses if "data" in use.counters)
            shown[series("esim_fleet_esims_out_of_data", **labels)] = sum(
                (last_to_run_out(card) or (0, ""))[1] == package for card, _ in uses
            )
            live = [use.newest.snapshot for card, use in uses if not card.terminal]
            limited = [s for s in live if None not in {s.data_allowed, s.data_remaining}]
            if limited:
                for what in ("allowed", "remaining"):
                    shown[series(f"esim_fleet_data_{what}_bytes", **labels)] = sum(
                        getattr(s, f"data_{what}") for s in limited
                    )
            for resource in RESOURCES:
                for threshold, share in THRESHOLDS.items():
                    at = series(
                        "esim_fleet_allowances_over_threshold",
                        **labels,
                        resource=resource,
                        threshold=threshold,
                    )
                    shown[at] = sum(_over(s, resource, share) for s in live)
        return shown

    def _vendor_samples(self, now: float) -> dict[Series, float]:
        shown: dict[Series, float] = {}
        for vendor in VENDORS:
            cards = [card for (of, _), card in self.cards.items() if of == vendor]
            for status in Status:
                at = series("esim_fleet_esims", vendor=vendor, status=status.value)
                shown[at] = sum(card.status == status for card in cards)
            shown[series("esim_fleet_esims_stale", vendor=vendor)] = sum(
                card.status == "ACTIVATED" and now - card.received > STALE_AFTER for card in cards
            )
        peaks = dict(self.location_base)
        for (vendor, _), card in self.cards.items():
            for use in card.uses.values():
                for place, amount in use.peaks.items():
                    peaks[vendor, place] = peaks.get((vendor, place), 0) + amount
        for (vendor, place), amount in peaks.items():
            name = "esim_fleet_location_data_consumed_bytes_total"
            shown[series(name, vendor=vendor, location=place)] = amount
        for event in sorted(self.partner, key=lambda e: (e.time, e.balance)):
            labels = {"vendor": event.vendor, "currency": event.currency}
            shown[series("esim_partner_balance", **labels)] = event.balance
        for event in sorted(self.partner, key=lambda e: (e.time, e.threshold or 0)):
            labels = {"vendor": event.vendor, "currency": event.currency}
            if event.threshold is not None:
                shown[series("esim_partner_balance_threshold", **labels)] = event.threshold
            labels = {"vendor": event.vendor, "event_type": event.event_type}
            shown[series("esim_partner_last_event_timestamp_seconds", **labels)] = event.time
        return shown


def _state(card: Card) -> Any:
    registers = (max(card.statuses), max(card.references), max(card.iccids))
    return (registers, {package: _use_state(use) for package, use in card.uses.items()})


def _use_state(use: Use) -> Any:
    newest = (use.newest.time, use.newest.snapshot) if use.events else None
    counters = {r: (c.base, c.anchor, tuple(c.samples)) for r, c in use.counters.items()}
    return (newest, counters, dict(use.peaks))


def _over(snapshot: Snapshot, resource: str, share: Fraction) -> bool:
    allowed = getattr(snapshot, f"{resource}_allowed")
    remaining = getattr(snapshot, f"{resource}_remaining")
    if not allowed or remaining is None:
        return False
    return Fraction(allowed - remaining, allowed) >= share


def _use_samples(use: Use, labels: dict[str, str]) -> dict[Series, float]:
    event = use.newest
    snapshot = event.snapshot
    values: dict[str, float | None] = {
        "esim_data_allowed_bytes": snapshot.data_allowed,
        "esim_data_remaining_bytes": snapshot.data_remaining,
        "esim_data_unlimited": int(snapshot.data_unlimited),
        "esim_sms_allowed": snapshot.sms_allowed,
        "esim_sms_remaining": snapshot.sms_remaining,
        "esim_voice_allowed_seconds": snapshot.voice_allowed,
        "esim_voice_remaining_seconds": snapshot.voice_remaining,
        "esim_package_start_timestamp_seconds": snapshot.start,
        "esim_package_end_timestamp_seconds": snapshot.end,
        "esim_last_event_timestamp_seconds": event.time,
    }
    for resource, name in RESOURCES.items():
        if resource in use.counters:
            values[f"esim_{name}_total"] = use.counters[resource].value
    shown = {series(name, **labels): v for name, v in values.items() if v is not None}
    for place, amount in snapshot.locations or ():
        shown[series("esim_location_data_used_bytes", **labels, location=place)] = amount
    return shown
