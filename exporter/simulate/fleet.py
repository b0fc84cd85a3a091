"""A seeded fleet of synthetic eSIMs of one vendor, and what the vendor sends about them.

The fleet lives in the same way with every vendor: eSIMs are bought, installed and activated, use
data, lose their network for seconds, are topped up, are renewed, and end. The account pays for
each eSIM. The vendor's habits say what is sent when.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from exporter.model.events import Status
from exporter.simulate.account import Account
from exporter.simulate.esim import REPORT_INTERVAL, SimulatedEsim
from exporter.simulate.timeline import Timeline
from exporter.vendors.registry import FIRST
from exporter.vendors.simulation import DAY, HOUR, Purchase, Resource, TimeScale, Writing

if TYPE_CHECKING:
    from exporter.vendors.simulation import Bodies
    from exporter.vendors.vendor import Vendor

IN_USE_SHARE: Final = 0.9
"""Share of the fleet that is activated when the simulation starts."""

FATES: Final = (Status.EXPIRED,) * 22 + (Status.REVOKED,) * 2 + (Status.DELETED,)
"""Terminal statuses, each repeated in proportion to its frequency."""

RENEWAL_SHARE: Final = 0.1
"""Share of expiring eSIMs that renew their package instead."""

TOP_UP_SHARE: Final = 0.05
"""Top-ups per report of a nearly exhausted allowance."""

FLAP_SHARE: Final = 0.01
"""Losses of the network per report. The eSIM finds its network again within seconds."""

FLAP_TIME: Final = 60
"""Seconds; longer than all losses of one report together take."""

TYPICAL_UNLIMITED: Final = 1200
"""MB that an unlimited package uses per day on average."""

PACES: Final = (0.02, 0.02, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.1, 3.0)
"""Share of the allowance that is used over the package's days, from idle to heavy users."""


class Phase(StrEnum):
    """When the four-hourly usage events of the fleet are due."""

    SPREAD = "spread"
    """Each eSIM reports four hours after its last report."""
    BURST = "burst"
    """All eSIMs report at once, at whole multiples of four hours."""


class SimulatedFleet(Iterator[tuple[float, bytes]]):
    """Yield a vendor's events about ``esims`` eSIMs, without end, in order of time.

    Yields (time of sending in unix seconds, body), from ``start`` on. The same arguments give the
    same bytes. Within an hour after an eSIM ends, a new one is bought, so the fleet keeps its size.
    A vendor that reports at thresholds only begins with what it last said about each eSIM, sent
    again within four hours; else most of the fleet would be unknown for days. ``faster`` seconds of
    the fleet's life pass in one second after ``start``. Raises ``ValueError`` for fewer than one
    eSIM, and for a vendor that cannot be simulated.
    """

    def __init__(
        self,
        *,
        seed: int,
        esims: int,
        start: float,
        phase: Phase = Phase.SPREAD,
        vendor: Vendor = FIRST,
        faster: float = 1,
    ) -> None:
        if esims < 1:
            raise ValueError("a fleet has at least one eSIM")
        if vendor.habits is None:
            raise ValueError(f"{vendor.name} cannot be simulated")
        self._vendor, self._habits, self._phase = vendor, vendor.habits(), phase
        # Without the name of the first vendor, so that a seed gives the bytes that it gave when
        # there was no other one.
        fleet = f"{seed}" if vendor.name == FIRST.name else f"{vendor.name}/{seed}"
        self._rng = random.Random(f"fleet/{fleet}")  # noqa: S311  # repeatable, not secret
        self._scale = TimeScale(start, faster)
        self._notifications = self._habits.notifications(Writing(fleet, self._rng, self._scale))
        self._timeline = Timeline()
        self._account = Account(self._timeline, self._notifications, self._rng, esims)
        self._made = 0
        self._timeline.send(start, self._notifications.connected(start))
        for _ in range(esims):
            if self._rng.random() < IN_USE_SHARE:
                self._put_in_use(start)
            else:
                self._timeline.at(start + self._rng.uniform(0, DAY), self._buy)

    def __next__(self) -> tuple[float, bytes]:
        at, body = next(self._timeline)
        return self._scale.moved(at), body

    def _make(self) -> SimulatedEsim:
        rng, catalogue = self._rng, self._habits.catalogue
        package = rng.choices(catalogue, [p.popularity for p in catalogue])[0]
        typical = package.data or TYPICAL_UNLIMITED * package.days
        pace = typical / (package.days * DAY) * rng.choice(PACES)
        self._made += 1
        return SimulatedEsim(
            number=self._made,
            package=package,
            pace=pace,
            thresholds=self._habits.thresholds,
            fate=rng.choice(FATES),
            location=rng.randrange(len(package.locations)),
            allowed=package.data or 0,
        )

    def _put_in_use(self, start: float) -> None:
        """Make an eSIM that was activated some time before ``start``."""
        esim = self._make()
        age = self._rng.uniform(0, esim.package.days * DAY)
        esim.status = Status.ACTIVATED
        self._begin(start - age, esim)
        if esim.ends < start:
            esim.ends = start + self._rng.uniform(0, DAY)
            esim.expires = max(esim.ends, esim.expires)
        esim.rate = esim.pace
        for day in range(1, int(age / DAY) + 1):
            esim.consume(start - age + day * DAY)
        esim.consume(start)
        esim.recount()
        esim.report_at = self._next_report(start, self._rng.uniform(0, REPORT_INTERVAL))
        esim.reported = esim.report_at - REPORT_INTERVAL
        if self._vendor.report_interval is None:
            self._timeline.send(start, self._past(esim))
        self._remind(max(start, esim.report_at), esim)
        self._continue(start, esim)

    def _past(self, esim: SimulatedEsim) -> Bodies:
        """Yield what was last said about an eSIM in use, to be sent when its report is due."""
        said = self._notifications
        bodies = [*said.status(esim.started, esim), *said.activated(esim.started, esim)]
        if esim.crossed:
            share = esim.thresholds[esim.crossed - 1]
            at = esim.started + share * esim.allowed / esim.pace
            then = replace(esim, used=share * esim.allowed)
            bodies.extend(said.crossed(at, then, Resource.DATA, share))
        again = min(esim.report_at, esim.ends)
        for when, body in bodies:
            yield max(when, again), body

    def _begin(self, at: float, esim: SimulatedEsim) -> None:
        """Start the package. Only eSIMs that expire last in full."""
        full = esim.package.days * DAY
        esim.since = esim.started = at
        esim.expires = at + full
        if esim.fate is Status.EXPIRED:
            esim.ends = esim.expires
        else:
            esim.ends = at + full * self._rng.uniform(0.1, 0.9)

    def _next_report(self, at: float, spread: float) -> float:
        if self._phase is Phase.SPREAD:
            return at + spread
        return (at // REPORT_INTERVAL + 1) * REPORT_INTERVAL

    def _buy(self, at: float) -> None:
        esim = self._make()
        self._account.pay(at, esim.package.price)
        self._timeline.send(at, self._notifications.bought(at, esim))
        self._enter(at, esim, Status.NEW)
        self._timeline.at(at + self._rng.uniform(60, 2 * HOUR), self._install, esim)

    def _install(self, at: float, esim: SimulatedEsim) -> None:
        self._enter(at, esim, Status.INSTALLED)
        self._timeline.at(at + self._rng.uniform(300, 12 * HOUR), self._activate, esim)

    def _activate(self, at: float, esim: SimulatedEsim) -> None:
        self._begin(at, esim)
        esim.reported = at
        esim.report_at = self._next_report(at, REPORT_INTERVAL)
        self._enter(at, esim, Status.ACTIVATED)
        self._report(at, esim, self._notifications.activated(at, esim))
        self._remind(at, esim)
        self._continue(at, esim)

    def _continue(self, at: float, esim: SimulatedEsim) -> None:
        esim.plan(at, self._rng)
        self._timeline.at(esim.next_due(), self._due, esim)

    def _due(self, at: float, esim: SimulatedEsim) -> None:
        if at >= esim.ends:
            self._end(at, esim)
        elif at >= esim.report_at:
            self._pass_interval(at, esim)
        else:
            share = esim.cross(at)
            crossed = self._notifications.crossed(at, esim, Resource.DATA, share)
            self._report(at, esim, crossed)
            self._timeline.at(esim.next_due(), self._due, esim)

    def _pass_interval(self, at: float, esim: SimulatedEsim) -> None:
        esim.consume(at)
        for resource, share in esim.talk(at, self._rng):
            self._timeline.send(at, self._notifications.crossed(at, esim, resource, share))
        if esim.package.data is not None:
            self._adjust(at, esim)
        self._report(at, esim, self._notifications.interval(at, esim))
        esim.report_at = at + REPORT_INTERVAL
        if self._rng.random() < FLAP_SHARE and at + FLAP_TIME < esim.ends:
            self._lose_network(at, esim, self._rng.randint(1, 3))
        self._continue(at, esim)

    def _adjust(self, at: float, esim: SimulatedEsim) -> None:
        """Correct the usage, or top the package up, sometimes."""
        chance = self._rng.random()
        if chance < self._habits.corrections:
            esim.used *= self._rng.uniform(0.95, 1)
        elif chance > 1 - TOP_UP_SHARE and esim.used >= self._habits.top_up_from * esim.allowed:
            self._buy_again(at, esim, self._habits.top_up)
        esim.recount()

    def _buy_again(self, at: float, esim: SimulatedEsim, purchase: Purchase) -> None:
        expires = esim.expires
        if purchase is Purchase.RESTARTS:
            esim.restart(at)
        else:
            esim.add(at)
        if esim.expires != expires:
            self._remind(at, esim)
        self._timeline.send(at, self._notifications.bought_again(at, esim))

    def _remind(self, at: float, esim: SimulatedEsim) -> None:
        """Have the end of the package announced, now if it is near."""
        if self._habits.reminder is not None:
            when = max(at, esim.expires - self._habits.reminder)
            self._timeline.at(when, self._announce_end, esim, esim.expires)

    def _announce_end(self, at: float, esim: SimulatedEsim, expires: float) -> None:
        if esim.status is not esim.fate and esim.expires == expires:
            self._timeline.send(at, self._notifications.expiring(at, esim))

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
            self._buy_again(at, esim, self._habits.renewal)
            self._continue(at, esim)
            return
        self._enter(at, esim, esim.fate)
        self._timeline.send(at, self._notifications.ended(at, esim))
        self._timeline.at(at + self._rng.uniform(60, HOUR), self._buy)

    def _enter(self, at: float, esim: SimulatedEsim, status: Status) -> None:
        esim.status = status
        self._timeline.send(at, self._notifications.status(at, esim))

    def _report(self, at: float, esim: SimulatedEsim, bodies: Bodies) -> None:
        self._timeline.send(at, bodies)
        esim.reported = at
