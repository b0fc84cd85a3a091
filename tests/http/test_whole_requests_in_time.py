"""What happens on a connection while a delivery that arrived whole is being answered."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from quart import Blueprint, Response, request
from quart.asgi import ASGIHTTPConnection
from running import WAIT

from exporter.http.application import application
from exporter.http.connection_limit import MAX_HEAD
from exporter.http.listeners import listen, serve_until
from exporter.http.protection import Guard
from exporter.http.whole_requests import whole
from exporter.selfmetrics import SelfMetrics
from exporter.settings.addresses import ListenAddress

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Slow:
    """Serves an endpoint that answers with what it was sent, as soon as it may."""

    def __init__(self) -> None:
        self.entered = asyncio.Semaphore(0)
        self.may = asyncio.Event()
        self.stop = asyncio.Event()
        blueprint = Blueprint("webhook_slow", __name__)
        blueprint.add_url_rule("/webhooks/slow", "slow", self._answer, methods=["POST"])
        self.app = application("slow", [blueprint], SelfMetrics({}), json_errors=True)
        self.listener = listen("slow", self.app, ListenAddress("127.0.0.1", 0), Guard(), 10)
        self._address = self.listener.address

    async def _answer(self) -> Response:
        self.entered.release()
        await self.may.wait()
        return Response(await request.get_data(), content_type="text/plain")

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        async with asyncio.timeout(WAIT), asyncio.TaskGroup() as tasks:
            tasks.create_task(serve_until(self.stop, [self.listener]))
            yield
            self.may.set()
            self.stop.set()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, _, port = self._address.partition(":")
        return await asyncio.open_connection(host, int(port))


@pytest.fixture
async def slow() -> Slow:
    return Slow()


def delivery(body: bytes, *headers: bytes) -> bytes:
    lines = [b"POST /webhooks/slow HTTP/1.1", b"Host: x", b"Content-Length: %d" % len(body)]
    return b"\r\n".join([*lines, *headers, b"", body])


async def answer(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    (length,) = re.findall(rb"(?i)content-length: (\d+)", head)
    return head, await reader.readexactly(int(length))


@pytest.mark.parametrize("size", [9, 2 * MAX_HEAD], ids=["small", "large"])
async def test_what_arrives_meanwhile_is_answered_after_it_in_order(slow: Slow, size: int) -> None:
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


async def test_a_stop_waits_for_the_answer_and_ends_the_connection(slow: Slow) -> None:
    async with slow.serving():
        reader, writer = await slow.connect()
        writer.write(delivery(b"body"))
        await slow.entered.acquire()
        slow.stop.set()
        await asyncio.sleep(0)
        slow.may.set()
        assert (await answer(reader))[1] == b"body"
        assert await reader.read() == b""
        writer.close()


async def test_who_sends_no_more_is_answered(slow: Slow) -> None:
    async with slow.serving():
        reader, writer = await slow.connect()
        writer.write(delivery(b"body"))
        await slow.entered.acquire()
        writer.write_eof()
        slow.may.set()
        assert (await answer(reader))[1] == b"body"
        assert await reader.read() == b""
        writer.close()


async def test_who_is_gone_leaves_no_trace(slow: Slow, caplog: pytest.LogCaptureFixture) -> None:
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
    assert slow.listener.gate.held == 0
    assert caplog.records == []


@pytest.mark.parametrize("headers", [(), (b"TE: trailers",)], ids=["whole", "other"])
async def test_an_application_that_fails_is_an_error_of_ours(
    slow: Slow, headers: tuple[bytes, ...], caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(ASGIHTTPConnection):
        async def __call__(self, receive: Any, send: Any) -> None:  # noqa: ARG002  # as it is
            raise RuntimeError("broken")

    slow.app.asgi_http_class = Broken
    data = delivery(b"body", *headers)
    assert (whole(data) is None) == bool(headers)
    async with slow.serving():
        reader, writer = await slow.connect()
        writer.write(data)
        head, _ = await answer(reader)
        assert head.startswith(b"HTTP/1.1 500 ")
        assert b"connection: close" in head
        assert await reader.read() == b""
        writer.close()
    assert [str(r.exc_info[1]) for r in caplog.records if r.exc_info] == ["broken"]
