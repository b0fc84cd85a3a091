"""A process that sends deliveries over many connections, without pauses or at a rate.

As a program it reads an :class:`Order` as JSON from its arguments. At the end it writes an
:class:`Outcome` as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, cast

from feeding import usage
from running import SECRET, request_head

if TYPE_CHECKING:
    from collections.abc import Iterator

_CONNECTIONS = 32
_SCATTERING = 618_033_988_741
_PAUSE = 0.2
"""Seconds before a refused event is sent again."""
_END = b"}\n"
"""The last bytes of every answer of the webhook."""


@dataclass(frozen=True, slots=True)
class Order:
    """What to send, and how many."""

    host: str
    port: int
    first: int
    """Number of the first event. Each event is the first of its own eSIM."""
    count: int
    """Most events to send."""
    rate: float = 0
    """Events a second; 0 sends without pauses."""
    seconds: float = 0
    """Seconds after which to stop; 0 stops after the last event."""
    forged: bool = False
    """Whether to sign with a wrong secret."""
    again: bool = False
    """Whether to send what was answered with 503 again, as the vendor does."""


@dataclass(slots=True)
class Outcome:
    """The answers to a flood."""

    codes: dict[str, int] = field(default_factory=dict)
    """Number of answers by status code."""
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        return sum(self.codes.values()) / self.seconds


def name(number: int) -> str:
    """Return the eSIM of an event, by its number. The order of eSIMs is not that of numbers."""
    return f"0b8c5c1e-{number * _SCATTERING % 10**12:012d}"


@contextmanager
def flooding(order: Order) -> Iterator[subprocess.Popen[str]]:
    """Send in another process meanwhile. :func:`outcome_of` waits for its end."""
    command = [sys.executable, __file__, json.dumps(asdict(order))]
    path = {"PYTHONPATH": os.pathsep.join(sys.path)}  # for the modules that tests share
    environ = os.environ | path
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def outcome_of(process: subprocess.Popen[str]) -> Outcome:
    """Wait for the end of a flood and return its outcome."""
    assert process.stdout
    return Outcome(**json.loads(process.stdout.readline()))


def delivered(order: Order) -> Outcome:
    """Send everything and return the outcome."""
    with flooding(order) as process:
        return outcome_of(process)


class _Sender(asyncio.Protocol):
    """Sends one delivery at a time over one connection."""

    def __init__(self, flood: _Flood) -> None:
        self._flood = flood
        self._received = b""
        self._sent = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.send_next()

    def send_next(self) -> None:
        request = self._flood.next_request()
        if isinstance(request, bytes):
            self._sent = request
            self._transport.write(request)
        elif request:
            asyncio.get_running_loop().call_later(request, self.send_next)
        else:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self._received.endswith(_END):
            code = self._received[9:12].decode()
            self._flood.codes[code] += 1
            self._received = b""
            if code == "503" and self._flood.order.again:
                asyncio.get_running_loop().call_later(_PAUSE, self._transport.write, self._sent)
            else:
                self.send_next()

    def connection_lost(self, _: Exception | None) -> None:
        self._flood.left()


class _Flood:
    def __init__(self, order: Order) -> None:
        self.order = order
        self._sent = 0
        self._open = _CONNECTIONS
        self._secret = b"not the secret" if order.forged else SECRET
        self._over = asyncio.Event()
        self.codes: Counter[str] = Counter()

    async def run(self) -> Outcome:
        self._started = time.monotonic()
        loop = asyncio.get_running_loop()
        for _ in range(_CONNECTIONS):
            await loop.create_connection(lambda: _Sender(self), self.order.host, self.order.port)
        await self._over.wait()
        return Outcome(dict(self.codes), time.monotonic() - self._started)

    def next_request(self) -> bytes | float | None:
        """Return the next request, the seconds until one is due, or ``None`` at the end."""
        order, elapsed = self.order, time.monotonic() - self._started
        if self._sent >= order.count or (order.seconds and elapsed > order.seconds):
            return None
        if order.rate and (early := self._sent / order.rate - elapsed) > 0:
            return early
        body = usage(name(order.first + self._sent), 1)
        self._sent += 1
        return request_head(body, secret=self._secret) + body

    def left(self) -> None:
        self._open -= 1
        if not self._open:
            self._over.set()


async def _main() -> None:
    outcome = await _Flood(Order(**json.loads(sys.argv[1]))).run()
    sys.stdout.write(json.dumps(asdict(outcome)) + "\n")


if __name__ == "__main__":
    asyncio.run(_main())
