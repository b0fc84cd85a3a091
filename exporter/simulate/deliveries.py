"""Deliveries of the simulated events: most arrive once and in order, some do not."""

from __future__ import annotations

import heapq
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from exporter.simulate.fleet import Phase, SimulatedFleet

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

    The same arguments give the same deliveries. The faults do not change the fleet. Each delivery
    is computed when it is requested.
    """

    def __init__(
        self,
        *,
        start: float,
        seed: int = 1,
        esims: int = 100,
        phase: Phase = Phase.SPREAD,
        faults: Faults = Faults(),
    ) -> None:
        self._events = SimulatedFleet(seed=seed, esims=esims, start=start, phase=phase)
        self._faults = faults
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
        at, body = next(self._events)
        self._fetched = at
        faults, rng = self._faults, self._rng
        if rng.random() < faults.late:
            self._wait(SimulatedDelivery(at + rng.uniform(*DELAY), body, Fault.LATE))
        else:
            self._wait(SimulatedDelivery(at, body))
        if rng.random() < faults.duplicate:
            self._wait(SimulatedDelivery(at, body, Fault.DUPLICATE))
        if rng.random() < faults.retry:
            self._wait(SimulatedDelivery(at + rng.uniform(*RETRY_AFTER), body, Fault.RETRY))
        if rng.random() < faults.bad_signature:
            self._wait(SimulatedDelivery(at, body, Fault.BAD_SIGNATURE))
        if rng.random() < faults.malformed:
            self._wait(SimulatedDelivery(at, self._damage(body), Fault.MALFORMED))

    def _wait(self, delivery: SimulatedDelivery) -> None:
        heapq.heappush(self._waiting, (delivery.at, self._added, delivery))
        self._added += 1

    def _damage(self, body: bytes) -> bytes:
        if self._rng.random() < 0.5:  # noqa: PLR2004  # one of two ways
            return body[: self._rng.randrange(len(body))]
        return b"[" + body + b"]"


_TIMES: Final = re.compile(rb'"(timestamp|start|end)":(\d+)')
"""The fields with unix seconds in the vendor's bodies, as the simulation writes them."""


class ScaledDeliveries(Iterator["SimulatedDelivery"]):
    """Yield deliveries with all times moved towards ``origin``, unix seconds.

    A time ``faster`` seconds after ``origin`` becomes a time one second after it. This applies to
    the time of sending and to times in bodies. Dates in usage lists stay, because they are days.
    """

    def __init__(
        self, deliveries: Iterator[SimulatedDelivery], *, origin: float, faster: float
    ) -> None:
        self._deliveries, self._origin, self._faster = deliveries, origin, faster

    def __next__(self) -> SimulatedDelivery:
        delivery = next(self._deliveries)
        body = _TIMES.sub(self._scaled_field, delivery.body)
        return replace(delivery, at=self._scaled(delivery.at), body=body)

    def _scaled_field(self, found: re.Match[bytes]) -> bytes:
        return b'"%s":%d' % (found[1], self._scaled(int(found[2])))

    def _scaled(self, at: float) -> float:
        return self._origin + (at - self._origin) / self._faster
