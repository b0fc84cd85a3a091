"""Sends simulated deliveries to a webhook as the vendor does: signed, and again after 503."""

from __future__ import annotations

import asyncio
import math
import sys
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, TextIO

from exporter.settings.field_types import WEBHOOK_PORT
from exporter.simulate.deliveries import UNACCEPTABLE, Fault, Faults, SimulatedDelivery, Simulation
from exporter.simulate.fleet import Phase
from exporter.simulate.progress import Progress, SenderSummary
from exporter.simulate.time_scaling import ScaledDeliveries
from exporter.simulate.webhook_client import WebhookClient, WebhookUrl
from exporter.vendors.registry import SIMULATED

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

DEFAULT_URL: Final = f"http://127.0.0.1:{WEBHOOK_PORT}{SIMULATED.webhook_path}"

ANSWER_TIMEOUT: Final = 10.0
"""Seconds. The vendor waits less; the simulator waits longer to measure slow answers."""

FIRST_BACKOFF: Final = 0.1
"""Seconds before a delivery is sent again for the first time. The pause then doubles."""

LONGEST_BACKOFF: Final = 5.0
"""Seconds before a delivery is sent again, at most."""


@dataclass(frozen=True, slots=True)
class SenderOptions:
    """What to send, where, and how fast."""

    secret: bytes = field(repr=False)
    url: str = DEFAULT_URL
    esims: int = 100
    seed: int = 1
    phase: Phase = Phase.SPREAD
    faults: Faults = field(default_factory=Faults)
    speed: float | None = None
    """Simulated seconds per second until the simulated clock reaches the present. The default is
    1, or with a ``rate`` as many as the rate allows."""
    rate: float | None = None
    """Events per second, at most."""
    start: float = 86400
    """Seconds before now at which the simulated clock starts."""
    faster: float = 1
    """Seconds of the fleet's life that pass in one second of the simulated clock."""
    duration: float | None = None
    """Real seconds after which to stop; ``None`` for never."""
    connections: int = 4


class _Stopped(Exception):
    """The duration of the run is over."""


async def run(
    options: SenderOptions,
    *,
    now: Callable[[], float] = time.time,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    stream: TextIO | None = None,
) -> SenderSummary:
    """Send until the duration is over or the task is cancelled, and return the result.

    A cancelled run returns normally. ``now`` gives unix seconds, ``clock`` monotonic ones.
    Progress is written to ``stream``, by default stderr. No event is sent before its timestamp.
    Raises ``ValueError`` for an unusable URL and for fewer than one eSIM.
    """
    stream = sys.stderr if stream is None else stream
    return await _Run(options, now=now, clock=clock, sleep=sleep, stream=stream).finish()


class _Run:
    def __init__(
        self,
        options: SenderOptions,
        *,
        now: Callable[[], float],
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        stream: TextIO,
    ) -> None:
        self._options, self._now, self._clock, self._sleep = options, now, clock, sleep
        self._webhook = WebhookUrl.parse(options.url)
        self._began = clock()
        self._start = now() - options.start
        simulation = Simulation(
            start=self._start,
            seed=options.seed,
            esims=options.esims,
            phase=options.phase,
            faults=options.faults,
        )
        self._deliveries: Iterator[SimulatedDelivery] = simulation
        if options.faster != 1:
            self._deliveries = ScaledDeliveries(
                simulation, origin=self._start, faster=options.faster
            )
        default_speed = 1 if options.rate is None else math.inf
        self._speed = default_speed if options.speed is None else options.speed
        self._duration = math.inf if options.duration is None else options.duration
        self._slot = self._began
        self._progress = Progress(stream, started=self._began, simulated=self._start)

    async def finish(self) -> SenderSummary:
        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(self._options.connections):
                    tasks.create_task(self._work())
        except asyncio.CancelledError:
            pass  # a run without a duration ends in this way
        return self._progress.finish(self._clock())

    async def _work(self) -> None:
        """Send one delivery after the other over one connection."""
        connection = WebhookClient(self._webhook, timeout=ANSWER_TIMEOUT)
        try:
            while True:
                delivery = next(self._deliveries)
                slot = self._take_slot()
                while (seconds := self._until(delivery, slot)) > 0:
                    await self._pause(seconds)
                await self._deliver(connection, delivery)
        except _Stopped:
            pass
        finally:
            connection.close()

    def _take_slot(self) -> float:
        """Return when the rate allows the next event, in seconds of the monotonic clock."""
        if self._options.rate is None:
            return self._began
        slot = max(self._slot, self._clock())
        self._slot = slot + 1 / self._options.rate
        return slot

    def _until(self, delivery: SimulatedDelivery, slot: float) -> float:
        """Return the seconds until speed, rate and the time of the event allow a delivery."""
        return max(
            (delivery.at - self._start) / self._speed - self._elapsed(),
            slot - self._clock(),
            delivery.at - self._now(),
        )

    async def _pause(self, seconds: float) -> None:
        """Sleep until the next progress line or the end of the run, at most ``seconds``."""
        self._tick()
        left = self._duration - self._elapsed()
        await self._sleep(min(seconds, left, self._progress.next_line(self._clock())))

    async def _back_off(self, seconds: float) -> None:
        until = self._clock() + seconds
        while (left := until - self._clock()) > 0:
            await self._pause(left)

    def _tick(self) -> None:
        """Show the progress. Raises ``_Stopped`` if the duration is over."""
        self._progress.show(self._clock())
        if self._elapsed() >= self._duration:
            raise _Stopped

    def _elapsed(self) -> float:
        return self._clock() - self._began

    async def _deliver(self, connection: WebhookClient, delivery: SimulatedDelivery) -> None:
        """Send a delivery until it gets an answer other than 503."""
        headers = {
            "Content-Type": "application/json",
            SIMULATED.signature_header: self._signature(delivery),
        }
        backoff = FIRST_BACKOFF
        while (code := await self._post(connection, delivery.body, headers)) in (
            None,
            HTTPStatus.SERVICE_UNAVAILABLE,
        ):
            await self._back_off(backoff)
            self._progress.resent += 1
            backoff = min(2 * backoff, LONGEST_BACKOFF)
        self._progress.sent += 1
        self._progress.simulated = max(self._progress.simulated, delivery.at)
        bad = delivery.fault in UNACCEPTABLE
        self._progress.refused += code != HTTPStatus.OK and not bad
        self._progress.accepted += code == HTTPStatus.OK and bad

    async def _post(
        self, connection: WebhookClient, body: bytes, headers: dict[str, str]
    ) -> int | None:
        self._tick()
        before = self._clock()
        try:
            code = await connection.post(body, headers)
        except ConnectionError as error:
            self._progress.failed(str(error))
            return None
        self._progress.answered(code, self._clock() - before)
        return code

    def _signature(self, delivery: SimulatedDelivery) -> str:
        bad = delivery.fault is Fault.BAD_SIGNATURE
        return SIMULATED.sign(delivery.body, self._options.secret + b"?" * bad)
