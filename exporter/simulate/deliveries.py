"""Deliveries of the simulated events: most arrive once and in order, some do not."""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from exporter.simulate.fleet import Phase, SimulatedFleet
from exporter.vendors.registry import FIRST

if TYPE_CHECKING:
    from exporter.vendors.vendor import Vendor

RETRY_AFTER: Final = (30, 120)
"""Least and most seconds until a retry. The vendor does not document its intervals."""

DELAY: Final = (1, 300)
"""Least and most seconds by which a late delivery is late."""


class Fault(StrEnum):
    """What is unusual about a delivery."""

    RETRY = "retry"
    """An earlier body again, as after an answer that came too late for the vendor."""
    DUPLICATE = "duplicate"
    """The body of the previous delivery again."""
    LATE = "late"
    """A body that is sent after newer events."""
    BAD_SIGNATURE = "bad_signature"
    """A body that is signed with a wrong secret."""
    MALFORMED = "malformed"
    """A signed body that is no event: cut off, or of the wrong JSON type."""


UNACCEPTABLE: Final = frozenset({Fault.BAD_SIGNATURE, Fault.MALFORMED})
"""Faults that the receiver must not answer with 200."""


@dataclass(frozen=True, slots=True)
class SimulatedDelivery:
    """One request to the webhook."""

    at: float
    """Simulated time of sending, unix seconds. It is never before the event's timestamp."""
    body: bytes
    fault: Fault | None = None
    vendor: Vendor = FIRST
    """Who sends it."""


@dataclass(frozen=True, slots=True)
class Faults:
    """The share of events (0 to 1) with each fault.

    ``late`` delays the good delivery. Every other fault adds a delivery to the good one, so every
    event arrives.
    """

    retry: float = 0.01
    duplicate: float = 0.01
    late: float = 0.02
    bad_signature: float = 0
    malformed: float = 0


NO_FAULTS: Final = Faults(retry=0, duplicate=0, late=0)


class Simulation(Iterator[SimulatedDelivery]):
    """Yield the deliveries about a synthetic fleet, without end, in the order of sending.

    The eSIMs are divided among the vendors. The same arguments give the same deliveries. The faults
    do not change the fleet. Each delivery is computed when it is requested. ``faster`` seconds of
    the fleet's life, and of all delays, pass in one second after ``start``. Dates in usage lists
    stay, because they are days. Raises ``ValueError`` if a vendor gets no eSIM, or cannot be
    simulated.
    """

    def __init__(
        self,
        *,
        start: float,
        seed: int = 1,
        esims: int = 100,
        phase: Phase = Phase.SPREAD,
        faults: Faults = Faults(),
        vendors: Sequence[Vendor] = (FIRST,),
        faster: float = 1,
    ) -> None:
        fleets = (
            SimulatedFleet(
                seed=seed, esims=share, start=start, phase=phase, vendor=vendor, faster=faster
            )
            for vendor, share in zip(vendors, _shares(esims, len(vendors)), strict=True)
        )
        self._events = heapq.merge(*map(_from, vendors, fleets), key=attrgetter("at"))
        self._faults, self._faster = faults, faster
        self._rng = random.Random(f"delivery/{seed}")  # noqa: S311  # repeatable, not secret
        self._waiting: list[tuple[float, int, SimulatedDelivery]] = []
        self._added = 0
        self._fetch()

    def __next__(self) -> SimulatedDelivery:
        self._next_at()
        return heapq.heappop(self._waiting)[2]

    def advance(self, until: float) -> Iterator[SimulatedDelivery]:
        """Yield the deliveries up to ``until``, unix seconds. A later call continues from there."""
        while self._next_at() <= until:
            yield heapq.heappop(self._waiting)[2]

    def _next_at(self) -> float:
        """Fetch events until the first waiting delivery is the next to send; return its time."""
        # No delivery is sent before the time of its event. So the first waiting delivery is the
        # next one as soon as a later event has been fetched. That event also keeps the heap filled.
        while self._fetched <= self._waiting[0][0]:
            self._fetch()
        return self._waiting[0][0]

    def _fetch(self) -> None:
        delivery = next(self._events)
        self._fetched = delivery.at
        faults, rng = self._faults, self._rng
        if rng.random() < faults.late:
            self._wait(delivery, Fault.LATE, DELAY)
        else:
            self._wait(delivery)
        if rng.random() < faults.duplicate:
            self._wait(delivery, Fault.DUPLICATE)
        if rng.random() < faults.retry:
            self._wait(delivery, Fault.RETRY, RETRY_AFTER)
        if rng.random() < faults.bad_signature:
            self._wait(delivery, Fault.BAD_SIGNATURE)
        if rng.random() < faults.malformed:
            self._wait(replace(delivery, body=self._damage(delivery.body)), Fault.MALFORMED)

    def _wait(
        self,
        delivery: SimulatedDelivery,
        fault: Fault | None = None,
        delay: tuple[float, float] | None = None,
    ) -> None:
        if fault is not None:
            at = delivery.at + (self._rng.uniform(*delay) / self._faster if delay else 0)
            delivery = replace(delivery, at=at, fault=fault)
        heapq.heappush(self._waiting, (delivery.at, self._added, delivery))
        self._added += 1

    def _damage(self, body: bytes) -> bytes:
        if self._rng.random() < 0.5:  # noqa: PLR2004  # one of two ways
            return body[: self._rng.randrange(len(body))]
        return b"[" + body + b"]"


def _from(vendor: Vendor, fleet: SimulatedFleet) -> Iterator[SimulatedDelivery]:
    return (SimulatedDelivery(at, body, vendor=vendor) for at, body in fleet)


def _shares(esims: int, vendors: int) -> Iterator[int]:
    """Yield the number of eSIMs of each vendor; they differ by at most one."""
    return ((esims + k) // vendors for k in reversed(range(vendors)))
