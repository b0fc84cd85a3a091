"""The process of the load generator: ``python -m benchmarks.generator``.

It reads a :class:`benchmarks.load.Load` as JSON from standard input, builds and signs all
requests, sends them, and writes a :class:`benchmarks.load.Outcome` to standard output.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections import Counter, deque
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Final, cast

from benchmarks import payloads
from benchmarks.load import Load, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

_LATE: Final = 5.0
"""Seconds after the end of a run in which answers still count."""


def requests(load: Load) -> list[bytes]:
    """Return the complete requests of a load."""
    if load.kind == "get":
        return [f"GET {load.path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()] * load.count
    build = _usage if load.kind == "usage" else _push
    return [build(load, number, step) for number, step in _events(load)]


def _events(load: Load) -> Iterator[tuple[int, int]]:
    chance = random.Random(load.step)  # noqa: S311  # the order of eSIMs is no secret
    for place in range(load.count):
        if load.each:
            yield place % load.esims, load.step
        else:
            yield chance.randrange(load.esims), load.step + place


def _usage(load: Load, number: int, step: int) -> bytes:
    body = payloads.usage_body(number, step, load.base)
    return (
        f"POST {load.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"{payloads.SIGNATURE_HEADER}: {payloads.signature(body)}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def _push(load: Load, number: int, step: int) -> bytes:
    body = payloads.push_body(number, step, load.base)
    esim_id = payloads.names(number).esim_id
    return (
        f"PUT /metrics/job/esim/esim_id/{esim_id} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


@dataclass(slots=True)
class _Tally:
    """What a run measures while it sends. Times are those of the event loop."""

    latencies: list[float] = field(default_factory=list)
    lags: list[float] = field(default_factory=list)
    codes: Counter[str] = field(default_factory=Counter)
    last: float = 0.0

    def outcome(self, started: float, busy: float) -> Outcome:
        latencies, lags = sorted(self.latencies), sorted(self.lags)
        seconds = max(self.last - started, 1e-9)
        return Outcome(
            seconds=seconds,
            answered=len(latencies),
            codes=dict(self.codes),
            p50=percentile(latencies, 0.5),
            p99=percentile(latencies, 0.99),
            longest=percentile(latencies, 1),
            lag=percentile(lags, 0.99),
            busy=busy / seconds,
        )


def percentile(ordered: list[float], share: float) -> float:
    """Return a percentile of sorted values: ``share`` of them are not greater. 0 without any."""
    return ordered[max(0, -int(-len(ordered) * share // 1) - 1)] if ordered else 0.0


class _Connection(asyncio.Protocol):
    """One connection. It has at most one request without an answer."""

    def __init__(self, run: _Run) -> None:
        self._run = run
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._due: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(
            "asyncio.Transport", transport
        )  # uvloop's class is not derived from it

    def send(self, request: bytes, due: float) -> None:
        assert self._transport
        self._due = due
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        received = self._received = self._received + data if self._received else data
        end_of_head = received.find(b"\r\n\r\n")
        if end_of_head < 0:
            return
        at = received.find(b"ontent-", 0, end_of_head)
        while at >= 0 and received[at + 7 : at + 14].lower() != b"length:":
            at = received.find(b"ontent-", at + 7, end_of_head)
        length = int(received[at + 14 : received.find(b"\r\n", at)]) if at >= 0 else 0
        if len(received) >= end_of_head + 4 + length:
            self._received = b""
            due, self._due = self._due, None
            assert due is not None
            self._run.answered(self, received[9:12].decode(), due)

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002  # asyncio's name
        self._run.lost(pending=self._due is not None)


class _Run:
    """One run of a load."""

    def __init__(self, load: Load, prepared: list[bytes]) -> None:
        self._load = load
        self._requests = iter(prepared)
        self._left = len(prepared)
        self._tally = _Tally()
        self._loop = asyncio.get_running_loop()
        self._idle: deque[_Connection] = deque()
        self._waiting: deque[float] = deque()
        self._done = self._loop.create_future()

    async def finish(self) -> Outcome:
        load = self._load
        connections: list[_Connection] = []
        for _ in range(load.connections):
            _, connection = await self._loop.create_connection(
                lambda: _Connection(self), "127.0.0.1", load.port
            )
            connections.append(connection)
        busy, started = time.process_time(), self._loop.time()
        self._over = started + load.seconds
        self._open = len(connections)
        self._loop.call_at(self._over + _LATE, self._end)
        if load.rate is None:
            for connection in connections:
                self._send(connection, self._loop.time())
        else:
            self._idle.extend(connections)
            self._pace(started, 0)
        await self._done
        return self._tally.outcome(started, time.process_time() - busy)

    def answered(self, connection: _Connection, code: str, due: float) -> None:
        now = self._tally.last = self._loop.time()
        self._tally.latencies.append(now - due)
        self._tally.codes[code] += 1
        self._left -= 1
        if not self._left:
            self._end()
        elif self._load.rate is None:
            self._go_on(connection, now)
        elif self._waiting:
            self._send(connection, self._waiting.popleft())
        else:
            self._idle.append(connection)

    def lost(self, *, pending: bool) -> None:
        """Count a connection that the server closed. It is not opened again."""
        if self._done.done():
            return
        self._tally.codes["none"] += pending
        self._retire()

    def _go_on(self, connection: _Connection, now: float) -> None:
        """Send the next request, now or after the pause, unless the time is over."""
        pause = self._load.pause
        if now + pause >= self._over:
            self._retire()
        elif pause:
            self._loop.call_at(now + pause, lambda: self._send(connection, self._loop.time()))
        else:
            self._send(connection, now)

    def _retire(self) -> None:
        """Continue without a connection. The run ends when no connection is left."""
        self._open -= 1
        if not self._open:
            self._end()

    def _send(self, connection: _Connection, due: float) -> None:
        request = next(self._requests, None)
        if request is not None:
            connection.send(request, due)

    def _pace(self, started: float, place: int) -> None:
        """Send the requests that are due, and call this again when the next one is due."""
        assert self._load.rate
        now = self._loop.time()
        while place < self._load.count and (due := started + place / self._load.rate) <= now:
            self._tally.lags.append(now - due)
            if self._idle:
                self._send(self._idle.popleft(), due)
            else:
                self._waiting.append(due)
            place += 1
        if place < self._load.count:
            self._loop.call_at(started + place / self._load.rate, self._pace, started, place)

    def _end(self) -> None:
        if not self._done.done():
            self._done.set_result(None)


async def _finish(load: Load, prepared: list[bytes]) -> Outcome:
    return await _Run(load, prepared).finish()


def main() -> int:
    """Run the load that standard input describes; return the exit status."""
    import uvloop  # noqa: PLC0415  # only this process needs it

    load = Load(**json.load(sys.stdin))
    prepared = requests(load)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            outcome = runner.run(_finish(load, prepared))
    except OSError as error:
        sys.stderr.write(f"load generator: {error}\n")
        return 1
    json.dump(asdict(outcome), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
