"""Sends simulated deliveries as their vendors do: with a proof, and again after 503."""

from __future__ import annotations

import asyncio
import math
import ssl
import sys
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, TextIO
from urllib.parse import quote, urlsplit

from exporter.settings.field_types import WEBHOOK_PORT
from exporter.simulate.deliveries import (
    UNACCEPTABLE,
    Fault,
    Faults,
    SimulatedDelivery,
    Simulation,
)
from exporter.simulate.fleet import Phase
from exporter.simulate.progress import Progress, SenderSummary

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from exporter.vendors.vendor import Vendor

DEFAULT_URL: Final = f"http://127.0.0.1:{WEBHOOK_PORT}"

ANSWER_TIMEOUT: Final = 10.0
"""Seconds. The vendor waits less; the simulator waits longer to measure slow answers."""

FIRST_BACKOFF: Final = 0.1
"""Seconds before a delivery is sent again for the first time. The pause then doubles."""

LONGEST_BACKOFF: Final = 5.0
"""Most seconds before a delivery is sent again."""

PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Credential:
    """What proves that deliveries come from a vendor."""

    vendor: Vendor
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class SenderOptions:
    """What to send, where, and how fast."""

    credentials: tuple[Credential, ...]
    """One for each vendor that is simulated."""
    url: str = DEFAULT_URL
    """Of the one vendor's webhook, or that with which the URLs of all webhooks begin."""
    esims: int = 100
    seed: int = 1
    phase: Phase = Phase.SPREAD
    faults: Faults = field(default_factory=Faults)
    speed: float | None = None
    """Simulated seconds per second until the simulated clock reaches the present. The default is
    1, or with a ``rate`` as many as the rate allows."""
    rate: float | None = None
    """Most events per second."""
    start: float = 86400
    """Seconds before now at which the simulated clock starts."""
    faster: float = 1
    """Seconds of the fleet's life that pass in one second of the simulated clock."""
    duration: float | None = None
    """Real seconds after which to stop; ``None`` for never."""
    connections: int = 4


class _Stopped(Exception):
    """The duration of the run is over."""


class Sender:
    """Sends the deliveries of one run."""

    def __init__(
        self,
        options: SenderOptions,
        *,
        now: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        stream: TextIO | None = None,
    ) -> None:
        """``now`` gives unix seconds, ``clock`` monotonic ones.

        Progress is written to ``stream``, by default stderr. Raises ``ValueError`` for an unusable
        URL and for fewer eSIMs than vendors.
        """
        self._options, self._now, self._clock, self._sleep = options, now, clock, sleep
        self._webhook = WebhookUrl.parse(options.url)
        self._secrets = {each.vendor.name: each.secret for each in options.credentials}
        self._began = clock()
        self._start = now() - options.start
        self._deliveries = Simulation(
            start=self._start,
            seed=options.seed,
            esims=options.esims,
            phase=options.phase,
            faults=options.faults,
            vendors=[each.vendor for each in options.credentials],
            faster=options.faster,
        )
        default_speed = 1 if options.rate is None else math.inf
        self._speed = default_speed if options.speed is None else options.speed
        self._duration = math.inf if options.duration is None else options.duration
        self._slot = self._began
        stream = sys.stderr if stream is None else stream
        self._progress = Progress(stream, started=self._began, simulated=self._start)
        self._summary = self._progress.summary

    async def run(self) -> SenderSummary:
        """Send until the duration is over or the task is cancelled, and return the result.

        A cancelled run returns normally. No event is sent before its timestamp.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(self._options.connections):
                    tasks.create_task(self._work())
        except asyncio.CancelledError:
            pass  # the only way in which a run without a duration ends
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
        bad_proof = delivery.fault is Fault.BAD_SIGNATURE
        secret = self._secrets[delivery.vendor.name] + b"0" * bad_proof
        proof = delivery.vendor.authentication.prove(delivery.body, secret)
        headers = {"Content-Type": "application/json", **proof.headers}
        alone = len(self._secrets) == 1
        path = self._webhook.path_of(delivery.vendor, proof.token, alone=alone)
        backoff = FIRST_BACKOFF
        while (code := await self._post(connection, path, delivery.body, headers)) in (
            None,
            HTTPStatus.SERVICE_UNAVAILABLE,
        ):
            await self._back_off(backoff)
            self._summary.resent += 1
            backoff = min(2 * backoff, LONGEST_BACKOFF)
        self._summary.sent += 1
        self._summary.simulated = max(self._summary.simulated, delivery.at)
        bad = delivery.fault in UNACCEPTABLE
        self._summary.refused += code != HTTPStatus.OK and not bad
        self._summary.accepted += code == HTTPStatus.OK and bad

    async def _post(
        self, connection: WebhookClient, path: str, body: bytes, headers: dict[str, str]
    ) -> int | None:
        self._tick()
        before = self._clock()
        try:
            code = await connection.post(path, body, headers)
        except ConnectionError as error:
            self._summary.answers[str(error)] += 1
            return None
        self._progress.answered(code, self._clock() - before)
        return code


@dataclass(frozen=True, slots=True)
class WebhookUrl:
    """The URL of a webhook, taken apart."""

    host: str
    port: int
    tls: bool
    authority: str
    """The Host header."""
    path: str

    @classmethod
    def parse(cls, url: str) -> WebhookUrl:
        """Parse an ``http`` or ``https`` URL. Raises ``ValueError`` for any other text."""
        parts = urlsplit(url)
        if parts.scheme not in PORTS or not parts.hostname:
            raise ValueError(f"not an http or https URL: {url!r}")
        return cls(
            host=parts.hostname,
            port=PORTS[parts.scheme] if parts.port is None else parts.port,
            tls=parts.scheme == "https",
            authority=parts.netloc.rpartition("@")[2],
            path=(parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
        )

    def path_of(self, vendor: Vendor, token: str, *, alone: bool) -> str:
        """Return the path to which ``vendor`` posts, with its token if there is one.

        A vendor that is ``alone`` posts to the path of this URL, if that has one. All others post
        to their own path below it.
        """
        path, mark, query = self.path.partition("?")
        path = path.rstrip("/")
        if not alone or not path:
            path += vendor.webhook_path
        elif not token:
            return self.path
        if token:
            path += f"/{quote(token, safe='')}"
        return f"{path}{mark}{query}"


class WebhookClient:
    """Posts bodies to the host of ``url``. It opens its one connection when it needs it.

    ``timeout`` is the time for connecting and the answer, in seconds.
    """

    def __init__(self, url: WebhookUrl, *, timeout: float) -> None:
        self._url = url
        self._timeout = timeout
        self._tls = ssl.create_default_context() if url.tls else None
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> int:
        """Send ``body`` to ``path`` and return the status code of the answer.

        Raises ``ConnectionError`` if no complete answer arrives in time; its message is the kind
        of the failure. The body may have arrived all the same. After a cancelled call the caller
        must call :meth:`close`; otherwise the next call would read the answer to this one.
        """
        try:
            async with asyncio.timeout(self._timeout):
                return await self._exchange(path, body, headers)
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
            self.close()
            raise ConnectionError(type(error).__name__) from error

    async def _exchange(self, path: str, body: bytes, headers: Mapping[str, str]) -> int:
        reader, writer = await self._open()
        fields = {
            "Host": self._url.authority,
            **headers,
            "Content-Length": str(len(body)),
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        writer.write(f"POST {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body)
        await writer.drain()
        return await self._read_answer(reader)

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is not None and self._streams[0].at_eof():
            self.close()
        if self._streams is None:
            self._streams = await asyncio.open_connection(
                self._url.host, self._url.port, ssl=self._tls
            )
        return self._streams

    async def _read_answer(self, reader: asyncio.StreamReader) -> int:
        """Read one answer. An answer without a length ends the connection."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        start, *lines = head.split("\r\n")
        code = int(start.partition(" ")[2][:3])
        pairs = (line.partition(":") for line in lines)
        headers = {name.lower(): value.strip().lower() for name, _, value in pairs}
        if "content-length" in headers:
            await reader.readexactly(int(headers["content-length"]))
        if "content-length" not in headers or headers.get("connection") == "close":
            self.close()
        return code

    def close(self) -> None:
        """Close the connection. The next call opens another one."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None
