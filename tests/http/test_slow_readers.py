"""A client that reads its answer slowly or not at all: its connection is closed in time.

Quart decides when a request is over, and its versions differ. So ``make test-pythons`` runs these
tests with the lowest and the newest one.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from quart import Blueprint, Response
from running import WAIT

from exporter.http import connection, listeners
from exporter.http.connection_limit import ConnectionBounds
from exporter.http.listeners import listen, serve_until
from exporter.http.protection import ReloadableProtection
from exporter.http.quart_application import application
from exporter.selfmetrics import SelfMetrics
from exporter.settings.field_types import ListenAddress

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SOON, NEVER = 0.2, 2 * WAIT
"""Seconds for the time limit that a test is about, and for the others."""

BLOCK = b"x" * 60_000


class Download:
    """Serves an answer that is larger than all buffers, and that may take ``seconds``."""

    def __init__(self, seconds: float) -> None:
        self.stop = asyncio.Event()
        self._seconds = seconds
        blueprint = Blueprint("health_download", __name__)
        blueprint.add_url_rule("/download", "download", self._answer)
        self._metrics = SelfMetrics({})
        app = application("download", [blueprint], self._metrics, json_errors=True)
        address, bounds = ListenAddress("127.0.0.1", 0), ConnectionBounds(10, NEVER)
        self.listener = listen("download", app, address, ReloadableProtection(), bounds)
        self.listener.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)

    async def _answer(self) -> Response:
        response = Response(self._blocks(), headers={"Content-Length": 10_000 * len(BLOCK)})
        response.timeout = self._seconds
        return response

    @staticmethod
    async def _blocks() -> AsyncIterator[bytes]:
        for _ in range(10_000):
            yield BLOCK
            await asyncio.sleep(0)

    def failures(self) -> float | None:
        """Return how many requests failed unexpectedly."""
        return self._metrics.registry.get_sample_value(
            "esim_exporter_http_failures_total", {"listener": "download"}
        )

    async def serve_one(self, *, reading: bool) -> None:
        """Serve one client, which reads a little from time to time if ``reading``, else nothing.

        Return when its connection is closed and the listener has stopped.
        """
        async with asyncio.timeout(WAIT), asyncio.TaskGroup() as tasks:
            tasks.create_task(serve_until(self.stop, [self.listener]))
            loop = asyncio.get_running_loop()
            with socket.socket() as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                client.setblocking(False)
                await loop.sock_connect(client, self.listener.socket.getsockname())
                await loop.sock_sendall(client, b"GET /download HTTP/1.1\r\nHost: x\r\n\r\n")
                await loop.sock_recv(client, 100)
                while self.listener.connections.open:
                    await asyncio.sleep(0.01)
                    if reading:
                        with suppress(BlockingIOError, ConnectionError):
                            client.recv(4096)
            self.stop.set()


@pytest.fixture(autouse=True)
def _limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listeners, "STOP_TIMEOUT", NEVER)
    monkeypatch.setattr(connection, "UNREAD_TIMEOUT", NEVER)
    monkeypatch.setattr(connection, "CLOSE_TIMEOUT", SOON)


async def test_a_client_that_reads_nothing_has_the_time_for_reading(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "UNREAD_TIMEOUT", SOON)
    download = Download(NEVER)
    await download.serve_one(reading=False)
    assert download.failures() == 0


@pytest.mark.parametrize("reading", [False, True], ids=["nothing", "slowly"])
async def test_a_client_has_the_time_for_the_whole_answer(reading: bool) -> None:
    download = Download(SOON)
    await download.serve_one(reading=reading)
    assert download.failures() == 0
