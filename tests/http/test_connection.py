"""One connection: answers in order, time limits, a stop, and clients that disappear."""

from __future__ import annotations

import asyncio
import re
import socket
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
from quart import Blueprint, Response, request
from quart.asgi import ASGIHTTPConnection
from running import WAIT

from exporter.http import connection, listeners
from exporter.http.connection_limit import ConnectionBounds
from exporter.http.hypercorn_internals import MAX_REQUEST_HEAD
from exporter.http.listeners import listen, serve_until
from exporter.http.protection import ReloadableProtection
from exporter.http.quart_application import application
from exporter.http.whole_request import parse_whole_request
from exporter.logs import MAX_ADMITTED
from exporter.selfmetrics import SelfMetrics
from exporter.settings.field_types import ListenAddress

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


BOUNDS = ConnectionBounds(10, 2 * WAIT)


class Slow:
    """Serves an endpoint that returns what it was sent, once ``may`` is set."""

    def __init__(self, bounds: ConnectionBounds = BOUNDS) -> None:
        self.entered = asyncio.Semaphore(0)
        self.calls = 0
        self.may = asyncio.Event()
        self.stop = asyncio.Event()
        blueprint = Blueprint("webhook_slow", __name__)
        blueprint.add_url_rule("/webhooks/slow", "slow", self._answer, methods=["POST"])
        self._metrics = SelfMetrics({})
        self.app = application("slow", [blueprint], self._metrics, json_errors=True)
        address, protection = ListenAddress("127.0.0.1", 0), ReloadableProtection()
        self.listener = listen("slow", self.app, address, protection, bounds)
        self.address: tuple[str, int] = self.listener.socket.getsockname()

    async def _answer(self) -> Response:
        self.calls += 1
        self.entered.release()
        await self.may.wait()
        return Response(await request.get_data(), content_type="text/plain")

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Serve, and stop at the end."""
        async with asyncio.timeout(WAIT), asyncio.TaskGroup() as tasks:
            tasks.create_task(serve_until(self.stop, [self.listener]))
            yield
            self.may.set()
            self.stop.set()

    def failures(self) -> float | None:
        """Return how many requests failed unexpectedly."""
        return self._metrics.registry.get_sample_value(
            "esim_exporter_http_failures_total", {"listener": "slow"}
        )

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(*self.address)


@pytest.fixture
async def slow(monkeypatch: pytest.MonkeyPatch) -> Slow:
    """Return a server whose time limits are longer than a test may take."""
    monkeypatch.setattr(listeners, "STOP_TIMEOUT", 2 * WAIT)
    monkeypatch.setattr(connection, "REQUEST_HEAD_TIMEOUT", 2 * WAIT)
    return Slow()


def delivery(body: bytes, *headers: bytes) -> bytes:
    lines = [b"POST /webhooks/slow HTTP/1.1", b"Host: x", b"Content-Length: %d" % len(body)]
    return b"\r\n".join([*lines, *headers, b"", body])


async def answer(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    (length,) = re.findall(rb"(?i)content-length: (\d+)", head)
    return head, await reader.readexactly(int(length))


@pytest.mark.parametrize("size", [9, 2 * MAX_REQUEST_HEAD], ids=["small", "large"])
async def test_requests_are_answered_in_order(slow: Slow, size: int) -> None:
    first, second, third = (letter * size for letter in (b"a", b"b", b"c"))
    async with slow.serving():
        reader, writer = await slow.connect()
        writer.write(delivery(b"first"))
        await slow.entered.acquire()
        writer.write(delivery(first))
        await writer.drain()
        await asyncio.sleep(0)
        writer.write(delivery(second, b"TE: trailers"))
        writer.write(delivery(third)[:-3])
        slow.may.set()
        for body in (b"first", first, second):
            assert (await answer(reader))[1] == body
        writer.write(third[-3:])
        assert (await answer(reader))[1] == third
        writer.write(delivery(b"last"))
        assert (await answer(reader))[1] == b"last"
        writer.close()


@pytest.mark.parametrize("header", [b"A: b", b"TE: trailers", b"Connection: close"])
async def test_a_client_that_has_ended_its_side_gets_the_answer(slow: Slow, header: bytes) -> None:
    async with slow.serving():
        reader, writer = await slow.connect()
        writer.write(delivery(b"body", header))
        writer.write_eof()
        await slow.entered.acquire()
        for _ in range(10):  # the end arrives
            await asyncio.sleep(0)
        slow.may.set()
        assert (await answer(reader))[1] == b"body"
        assert await reader.read() == b""
        writer.close()


async def test_a_stop_waits_for_the_answer_and_ends_the_connection(slow: Slow) -> None:
    async with slow.serving():
        reader, writer = await slow.connect()
        writer.write(delivery(b"body"))
        await slow.entered.acquire()
        slow.stop.set()
        await closed(slow)
        slow.may.set()
        assert (await answer(reader))[1] == b"body"
        assert await reader.read() == b""
        writer.close()


async def closed(slow: Slow) -> None:
    """Wait until the listener accepts no connection any more."""
    while slow.listener.socket.fileno() != -1:  # noqa: ASYNC110  # nothing tells of it
        await asyncio.sleep(0)


@pytest.mark.parametrize("headers", [(), (b"TE: trailers",)], ids=["whole", "other"])
async def test_a_stop_cuts_off_a_request_that_takes_too_long(
    headers: tuple[bytes, ...],
    slow: Slow,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(listeners, "STOP_TIMEOUT", 0.01)
    async with asyncio.timeout(WAIT):
        serving = asyncio.create_task(serve_until(slow.stop, [slow.listener]))
        reader, writer = await slow.connect()
        writer.write(delivery(b"body", *headers))
        await slow.entered.acquire()
        slow.stop.set()
        await serving
        with suppress(ConnectionError):
            assert b" 200 " not in await reader.read()
        writer.close()
    assert [r.__dict__["fields"]["requests"] for r in caplog.records] == [1]
    assert slow.listener.connections.open == 0


async def test_a_stop_closes_connections_that_wait(
    slow: Slow, caplog: pytest.LogCaptureFixture
) -> None:
    slow.may.set()
    async with slow.serving():
        silent, begun, used = [await slow.connect() for _ in range(3)]
        begun[1].write(delivery(b"body")[:20])
        used[1].write(delivery(b"body"))
        assert (await answer(used[0]))[1] == b"body"
        slow.stop.set()
        for reader, writer in (silent, begun, used):
            assert await reader.read() == b""
            writer.close()
    assert caplog.records == []


async def test_a_client_that_takes_no_answer_does_not_hold_a_closing_connection(
    slow: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "CLOSE_TIMEOUT", 0.01)
    slow.may.set()
    slow.listener.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    async with slow.serving():
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(client, slow.address)
            request = delivery(b"x" * 60_000, b"Connection: close")
            await loop.sock_sendall(client, request)
            await slow.entered.acquire()
            while slow.listener.connections.open:  # noqa: ASYNC110  # nothing tells of it
                await asyncio.sleep(0)


@pytest.mark.parametrize("answered", [False, True], ids=["first", "next"])
async def test_a_request_has_to_come_within_the_idle_time(answered: bool) -> None:
    slow = Slow(ConnectionBounds(10, 0.5))
    slow.may.set()
    async with slow.serving():
        reader, writer = await slow.connect()
        if answered:
            writer.write(delivery(b"body"))
            assert (await answer(reader))[1] == b"body"
        assert await reader.read() == b""
        writer.close()


@pytest.mark.parametrize("before", ["nothing", "an answer", "a request in the same bytes"])
async def test_the_head_of_a_request_has_to_arrive_in_time(
    slow: Slow, before: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "REQUEST_HEAD_TIMEOUT", 0.1)
    slow.may.set()
    async with slow.serving():
        reader, writer = await slow.connect()
        if before != "nothing":
            together = before != "an answer"
            writer.write(delivery(b"body") + (b"POST " if together else b""))
            assert (await answer(reader))[1] == b"body"
        sending = asyncio.create_task(drip(writer))

        with suppress(ConnectionError):  # data that arrives after the close causes a reset
            assert await reader.read() == b""

        sending.cancel()
        writer.close()


async def test_a_client_that_reads_no_answers_is_cut_off(
    slow: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "UNREAD_TIMEOUT", 0.1)
    slow.may.set()
    slow.listener.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    async with slow.serving():
        _, writer = await slow.connect()
        with suppress(ConnectionError):
            while True:
                writer.write(delivery(b"x" * 60_000))
                await writer.drain()
        while slow.listener.connections.open:  # noqa: ASYNC110  # nothing tells of it
            await asyncio.sleep(0)
        writer.close()


async def test_only_a_listener_whose_connections_are_all_answered_refuses_one(slow: Slow) -> None:
    async with slow.serving():
        answered = [await slow.connect() for _ in range(BOUNDS.max_open)]
        for _, writer in answered:
            writer.write(delivery(b"body"))
            await slow.entered.acquire()
        reader, writer = await slow.connect()
        head, _ = await answer(reader)
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"Retry-After: 5" in head
        assert b"Connection: close" in head
        assert slow.listener.connections.refused == 1
        slow.may.set()
        for reader, other in answered:
            assert (await answer(reader))[1] == b"body"
            other.close()
        writer.close()


async def drip(writer: asyncio.StreamWriter) -> None:
    """Send the head of a request that never ends."""
    writer.write(b"POST / HTTP/1.1\r\n")
    while True:
        writer.write(b"X: y\r\n")
        await asyncio.sleep(0.01)


async def test_a_client_that_ends_its_side_still_gets_the_answer(slow: Slow) -> None:
    async with slow.serving():
        reader, writer = await slow.connect()
        writer.write(delivery(b"body"))
        await slow.entered.acquire()
        writer.write_eof()
        slow.may.set()
        assert (await answer(reader))[1] == b"body"
        assert await reader.read() == b""
        writer.close()


async def test_a_client_that_disappears_leaves_nothing_behind(
    slow: Slow, caplog: pytest.LogCaptureFixture
) -> None:
    async with slow.serving():
        for _ in range(3):
            _, writer = await slow.connect()
            writer.write(delivery(b"body"))
            await slow.entered.acquire()
            writer.transport.abort()
        slow.may.set()
        reader, writer = await slow.connect()
        writer.write(delivery(b"body"))
        assert (await answer(reader))[1] == b"body"
        writer.close()
    assert slow.listener.connections.open == 0
    assert caplog.records == []


@pytest.mark.parametrize("headers", [(), (b"TE: trailers",)], ids=["whole", "other"])
async def test_an_application_that_fails_is_answered_with_500_and_logged(
    slow: Slow, headers: tuple[bytes, ...], caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(ASGIHTTPConnection):
        async def __call__(self, receive: Any, send: Any) -> None:  # noqa: ARG002  # unused
            slow.entered.release()
            await slow.may.wait()
            raise RuntimeError("broken")

    slow.app.asgi_http_class = Broken
    data = delivery(b"body", *headers)
    assert (parse_whole_request(data) is None) == bool(headers)
    async with slow.serving():
        reader, writer = await slow.connect()
        writer.write(data)
        await slow.entered.acquire()
        writer.write(data)
        for _ in range(10):  # the second request arrives
            await asyncio.sleep(0)
        slow.may.set()
        head, _ = await answer(reader)
        assert head.startswith(b"HTTP/1.1 500 ")
        assert b"connection: close" in head
        with suppress(ConnectionError):  # the second request may cause a reset
            assert await reader.read() == b""
        writer.close()
    assert slow.entered.locked(), "a request was taken from a connection that is closing"
    assert [r.__dict__["fields"]["error"] for r in caplog.records] == ["RuntimeError"]
    assert slow.failures() == 1


async def test_failures_that_repeat_fill_no_log_but_are_counted(
    slow: Slow, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail() -> Response:
        raise ValueError("a secret")

    slow.app.add_url_rule("/fails", "fails", fail)
    async with slow.serving():
        for _ in range(MAX_ADMITTED + 5):
            reader, writer = await slow.connect()
            writer.write(b"GET /fails HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.1 500 ")
            writer.close()
    assert len(caplog.records) == MAX_ADMITTED
    assert "secret" not in caplog.text
    assert slow.failures() == MAX_ADMITTED + 5


async def test_many_busy_connections_do_not_hold_up_a_new_one() -> None:
    busy = 400
    slow = Slow(ConnectionBounds(2 * busy, 2 * WAIT))
    slow.may.set()
    async with slow.serving():
        streams = [await slow.connect() for _ in range(busy)]
        for reader, writer in streams:
            writer.write(delivery(b"first"))
            await answer(reader)
        begun = slow.calls
        for _, writer in streams:
            writer.write(delivery(b"next") * 5)
        reader, writer = await slow.connect()
        writer.write(delivery(b"new"))
        assert (await answer(reader))[1] == b"new"
        assert slow.calls - begun < busy, "each busy connection had its turn before"
        for _, each in (*streams, (reader, writer)):
            each.close()
