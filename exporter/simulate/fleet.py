"""A seeded fleet of synthetic eSIMs and its partner's account, with the events about both.

An activated eSIM sends a usage event every four hours, and one more when it crosses a threshold.
Every change of status sends a status event, even when an eSIM loses its network for seconds. A
top-up sends no event of its own; the next usage event shows a larger allowance. The account pays
for each eSIM; it sends the events about balance, orders and refunds.
"""

from __future__ import annotations

import heapq
import random
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Any, Final, TypeVarTuple, Unpack

from exporter.model.events import Status
from exporter.simulate.catalogue import CATALOGUE, CataloguePackage
from exporter.simulate.esim import DAY, REPORT_INTERVAL, THRESHOLDS, SimulatedEsim
from exporter.simulate.payloads import (
    EsimNames,
    balance_body,
    body,
    flat_usage_body,
    names_of,
    order_body,
    refund_body,
    status_body,
    usage_body,
)

HOUR: Final = 3600

IN_USE_SHARE: Final = 0.9
"""Share of the fleet that is activated when the simulation starts."""

FATES: Final = (Status.EXPIRED,) * 22 + (Status.REVOKED,) * 2 + (Status.DELETED,)
"""Terminal statuses, each repeated in proportion to its frequency."""

RENEWAL_SHARE: Final = 0.1
"""Share of expiring eSIMs that renew their package instead."""

TOP_UP_SHARE: Final = 0.05
"""Top-ups per report of a nearly exhausted allowance."""

CORRECTION_SHARE: Final = 0.002
"""Downward corrections per report, each of up to 5 % of the usage."""

FLAP_SHARE: Final = 0.01
"""Losses of the network per report. The eSIM finds its network again within seconds."""

FLAP_TIME: Final = 60
"""Seconds; longer than all losses of one report together take."""

FLAT_SHARE: Final = 0.03
"""Share of usage events in the flat shape from before July 2025."""

OLD_TYPE_SHARE: Final = 0.05
"""Share of usage events with the type's name from the vendor's sample code."""

TYPICAL_UNLIMITED: Final = 1200
"""MB that an unlimited package uses per day on average."""

PACES: Final = (0.02, 0.02, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.1, 3.0)
"""Share of the allowance that is used over the package's days, from idle to heavy users."""

AFFILIATE_SHARE: Final = 0.2
"""Share of eSIMs that are sold through an affiliate."""

ORDER_STATUSES: Final = ("completed",) * 7 + ("pending", "failed", "refunded")

REFUND_SHARE: Final = 0.1
"""Share of ended eSIMs for which a refund is requested."""

UNDOCUMENTED_SHARE: Final = 0.05
"""Undocumented events per eSIM bought."""

UNDOCUMENTED: Final = (("esim", "network_attached"), ("catalogue", "package_updated"))

Args = TypeVarTuple("Args")

# The arguments differ from entry to entry. The type of `at` checks them against the action.
Entry = tuple[float, int, Callable[..., None], tuple[Any, ...]]


class Phase(StrEnum):
    """When the four-hourly usage events of the fleet are due."""

    SPREAD = "spread"
    """Each eSIM reports four hours after its last report."""
    BURST = "burst"
    """All eSIMs report at once, at whole multiples of four hours."""


class Timeline(Iterator[tuple[float, bytes]]):
    """Run actions in the order of simulated time and yield the bodies they send.

    Yields (time in unix seconds, body). Actions at the same time run in the order in which they
    were added, so that a run can be repeated exactly. Ends when no action is left.
    """

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._added = 0
        self._sent: deque[tuple[float, bytes]] = deque()

    def at(self, when: float, action: Callable[[float, Unpack[Args]], None], *args: *Args) -> None:
        """Run ``action(when, *args)`` at ``when``, unix seconds."""
        heapq.heappush(self._entries, (when, self._added, action, args))
        self._added += 1

    def send(self, when: float, body: bytes) -> None:
        """Send ``body``. ``when`` is the time of the calling action."""
        self._sent.append((when, body))

    def __next__(self) -> tuple[float, bytes]:
        while not self._sent:
            if not self._entries:
                raise StopIteration
            when, _, action, args = heapq.heappop(self._entries)
            action(when, *args)
        return self._sent.popleft()


class Account:
    """The partner's account. It pays for the eSIMs, and sends the events about itself."""

    def __init__(self, timeline: Timeline, rng: random.Random, esims: int) -> None:
        self._timeline = timeline
        self._rng = rng
        self._threshold = float(max(50, esims))
        self._balance = 3 * self._threshold
        self._warned = False

    def buy(self, at: float, package: CataloguePackage) -> None:
        """Pay for one eSIM. Tops up the balance first if it is too low."""
        rng = self._rng
        if self._balance < package.price:
            self._report(at, "insufficient_balance")
            self._top_up(at)
        self._balance -= package.price
        if self._balance < self._threshold and not self._warned:
            self._warned = True
            self._report(at, "low_balance")
            self._timeline.at(at + rng.uniform(4 * HOUR, 48 * HOUR), self._top_up)
        if rng.random() < AFFILIATE_SHARE:
            order_id = uuid.UUID(int=rng.getrandbits(128), version=4)
            status = rng.choice(ORDER_STATUSES)
            self._timeline.send(at, order_body(package, at, status=status, order_id=order_id))
        if rng.random() < UNDOCUMENTED_SHARE:
            self._timeline.send(at, body(*rng.choice(UNDOCUMENTED), {"timestamp": int(at)}))

    def ended(self, at: float, names: EsimNames) -> None:
        """Request a refund for an eSIM that ended, sometimes."""
        if self._rng.random() >= REFUND_SHARE:
            return
        event_type = self._rng.choice(("refunded", "rejected"))
        refund_id = f"{self._rng.getrandbits(32):08x}"
        decided = at + self._rng.uniform(HOUR, 12 * HOUR)
        # The vendor may send a refund again later, with a new timestamp and the same event_id.
        for when in (decided, decided + HOUR):
            self._timeline.at(when, self._refund, event_type, refund_id, names)

    def _refund(self, at: float, event_type: str, refund_id: str, names: EsimNames) -> None:
        document = refund_body(names, at, event_type=event_type, refund_id=refund_id)
        self._timeline.send(at, document)

    def _top_up(self, at: float) -> None:
        self._balance += 2 * self._threshold
        self._warned = False
        self._report(at, "top_up")

    def _report(self, at: float, event_type: str) -> None:
        amounts = {"balance": self._balance, "threshold": self._threshold}
        self._timeline.send(at, balance_body(event_type, at, **amounts))


class SimulatedFleet(Iterator[tuple[float, bytes]]):
    """Yield the vendor's events about ``esims`` eSIMs, without end, in order of time.

    Yields (event time in unix seconds, body), from ``start`` on. The same arguments give the same
    bytes. Within an hour after an eSIM ends, a new one is bought, so the fleet keeps its size.
    Raises ``ValueError`` for fewer than one eSIM.
    """

    def __init__(self, *, seed: int, esims: int, start: float, phase: Phase = Phase.SPREAD) -> None:
        if esims < 1:
            raise ValueError("a fleet has at least one eSIM")
        self._seed = seed
        self._rng = random.Random(f"fleet/{seed}")  # noqa: S311  # repeatable, not secret
        self._phase = phase
        self._timeline = Timeline()
        self._account = Account(self._timeline, self._rng, esims)
        self._made = 0
        for _ in range(esims):
            if self._rng.random() < IN_USE_SHARE:
                self._put_in_use(start)
            else:
                self._timeline.at(start + self._rng.uniform(0, DAY), self._buy)

    def __next__(self) -> tuple[float, bytes]:
        return next(self._timeline)

    def _make(self) -> SimulatedEsim:
        rng = self._rng
        package = rng.choices(CATALOGUE, [p.popularity for p in CATALOGUE])[0]
        typical = package.data or TYPICAL_UNLIMITED * package.days
        pace = typical / (package.days * DAY) * rng.choice(PACES)
        self._made += 1
        return SimulatedEsim(
            number=self._made,
            package=package,
            pace=pace,
            fate=rng.choice(FATES),
            location=rng.randrange(len(package.locations)),
            allowed=package.data or 0,
        )

    def _put_in_use(self, start: float) -> None:
        """Make an eSIM that was activated some time before ``start``."""
        esim = self._make()
        age = self._rng.uniform(0, esim.package.days * DAY)
        esim.status = Status.ACTIVATED
        esim.since = start - age
        esim.ends = esim.since + self._life(esim)
        if esim.ends < start:
            esim.ends = start + self._rng.uniform(0, DAY)
        esim.rate = esim.pace
        for day in range(1, int(age / DAY) + 1):
            esim.consume(start - age + day * DAY)
        esim.consume(start)
        esim.recount()
        esim.report_at = self._next_report(start, self._rng.uniform(0, REPORT_INTERVAL))
        esim.reported = esim.report_at - REPORT_INTERVAL
        self._continue(start, esim)

    def _life(self, esim: SimulatedEsim) -> float:
        """Return the seconds from activation to the end. Only eSIMs that expire last in full."""
        full = esim.package.days * DAY
        return full if esim.fate is Status.EXPIRED else full * self._rng.uniform(0.1, 0.9)

    def _next_report(self, at: float, spread: float) -> float:
        if self._phase is Phase.SPREAD:
            return at + spread
        return (at // REPORT_INTERVAL + 1) * REPORT_INTERVAL

    def _buy(self, at: float) -> None:
        esim = self._make()
        self._account.buy(at, esim.package)
        self._enter(at, esim, Status.NEW)
        self._timeline.at(at + self._rng.uniform(60, 2 * HOUR), self._install, esim)

    def _install(self, at: float, esim: SimulatedEsim) -> None:
        self._enter(at, esim, Status.INSTALLED)
        self._timeline.at(at + self._rng.uniform(300, 12 * HOUR), self._activate, esim)

    def _activate(self, at: float, esim: SimulatedEsim) -> None:
        esim.since = esim.reported = at
        esim.ends = at + self._life(esim)
        esim.report_at = self._next_report(at, REPORT_INTERVAL)
        self._enter(at, esim, Status.ACTIVATED)
        self._send_usage(at, esim)
        self._continue(at, esim)

    def _continue(self, at: float, esim: SimulatedEsim) -> None:
        esim.plan(at, self._rng)
        self._timeline.at(esim.next_due(), self._due, esim)

    def _due(self, at: float, esim: SimulatedEsim) -> None:
        if at >= esim.ends:
            self._end(at, esim)
        elif at >= esim.report_at:
            self._report(at, esim)
        else:
            esim.cross(at)
            self._send_usage(at, esim)
            self._timeline.at(esim.next_due(), self._due, esim)

    def _report(self, at: float, esim: SimulatedEsim) -> None:
        esim.consume(at)
        esim.talk(at, self._rng)
        if esim.package.data is not None:
            self._adjust(esim, esim.package.data)
        self._send_usage(at, esim)
        esim.report_at = at + REPORT_INTERVAL
        if self._rng.random() < FLAP_SHARE and at + FLAP_TIME < esim.ends:
            self._lose_network(at, esim, self._rng.randint(1, 3))
        self._continue(at, esim)

    def _adjust(self, esim: SimulatedEsim, size: int) -> None:
        chance = self._rng.random()
        if chance < CORRECTION_SHARE:
            esim.used *= self._rng.uniform(0.95, 1)
        elif chance > 1 - TOP_UP_SHARE and esim.used >= THRESHOLDS[-2] * esim.allowed:
            esim.allowed += size
        esim.recount()

    def _lose_network(self, at: float, esim: SimulatedEsim, times: int) -> None:
        self._enter(at, esim, Status.INACTIVE)
        self._timeline.at(at + self._rng.uniform(2, 3), self._find_network, esim, times - 1)

    def _find_network(self, at: float, esim: SimulatedEsim, times: int) -> None:
        self._enter(at, esim, Status.ACTIVATED)
        if times:
            self._timeline.at(at + self._rng.uniform(2, 3), self._lose_network, esim, times)

    def _end(self, at: float, esim: SimulatedEsim) -> None:
        esim.consume(at)
        if esim.fate is Status.EXPIRED and self._rng.random() < RENEWAL_SHARE:
            esim.renew()
            self._continue(at, esim)
            return
        self._enter(at, esim, esim.fate)
        self._account.ended(at, names_of(self._seed, esim.number))
        self._timeline.at(at + self._rng.uniform(60, HOUR), self._buy)

    def _enter(self, at: float, esim: SimulatedEsim, status: Status) -> None:
        esim.status = status
        self._timeline.send(at, status_body(esim, names_of(self._seed, esim.number), at))

    def _send_usage(self, at: float, esim: SimulatedEsim) -> None:
        chance, names = self._rng.random(), names_of(self._seed, esim.number)
        if chance < FLAT_SHARE:
            usage = flat_usage_body(esim, names, at)
        elif chance < FLAT_SHARE + OLD_TYPE_SHARE:
            usage = usage_body(esim, names, at, "esim_usage")
        else:
            usage = usage_body(esim, names, at)
        self._timeline.send(at, usage)
        esim.reported = at
