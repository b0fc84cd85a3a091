"""A seeded fleet of synthetic eSIMs, with events as in the vendor's documentation.

An activated eSIM sends a usage event every four hours, and one more when it crosses a threshold.
Every change of status sends a status event, even when an eSIM loses its network for seconds. A
top-up sends no event of its own; the next usage event shows a larger allowance.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from enum import StrEnum
from typing import Final

from exporter.model.events import Status
from exporter.simulate.account import Account
from exporter.simulate.catalogue import CATALOGUE
from exporter.simulate.esim import DAY, REPORT_INTERVAL, THRESHOLDS, SimulatedEsim
from exporter.simulate.payloads import (
    EsimNames,
    flat_usage_body,
    names_of,
    old_usage_body,
    status_body,
    usage_body,
)
from exporter.simulate.timeline import Timeline

HOUR: Final = 3600

IN_USE_SHARE: Final = 0.9
"""Share of the fleet that is activated when the simulation starts."""

FATES: Final = (Status.EXPIRED,) * 22 + (Status.REVOKED,) * 2 + (Status.DELETED,)
"""Terminal statuses, as often as they occur."""

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


class Phase(StrEnum):
    """When the four-hourly usage events of the fleet are due."""

    SPREAD = "spread"
    """Each eSIM reports four hours after its last report."""
    BURST = "burst"
    """All eSIMs report at once, at whole multiples of four hours."""


class SimulatedFleet(Iterator[tuple[float, bytes]]):
    """Yield the vendor's events about ``esims`` eSIMs, without end, in order of time.

    Yields (event time in unix seconds, body), from ``start`` on. The same arguments give the same
    bytes. Within an hour after an eSIM ends, a new one is bought, so the fleet keeps its size.
    Raises ``ValueError`` for less than one eSIM.
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

    def _names(self, esim: SimulatedEsim) -> EsimNames:
        return names_of(self._seed, esim.number)

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
        self._account.ended(at, self._names(esim))
        self._timeline.at(at + self._rng.uniform(60, HOUR), self._buy)

    def _enter(self, at: float, esim: SimulatedEsim, status: Status) -> None:
        esim.status = status
        self._timeline.send(at, status_body(esim, self._names(esim), at))

    def _send_usage(self, at: float, esim: SimulatedEsim) -> None:
        chance = self._rng.random()
        if chance < FLAT_SHARE:
            make = flat_usage_body
        elif chance < FLAT_SHARE + OLD_TYPE_SHARE:
            make = old_usage_body
        else:
            make = usage_body
        self._timeline.send(at, make(esim, self._names(esim), at))
        esim.reported = at
