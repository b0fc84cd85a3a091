"""Listeners: what they need from the system, and what is left after a stop."""

from __future__ import annotations

import asyncio
import resource
import socket
from itertools import pairwise

import pytest
from running import WAIT

from exporter.errors import SettingsError
from exporter.http.connection_limit import ConnectionBounds
from exporter.http.listeners import Listener, allow_open_files, listen, serve_until
from exporter.http.protection import ReloadableProtection
from exporter.http.quart_application import application
from exporter.selfmetrics import SelfMetrics
from exporter.settings.field_types import ListenAddress


def empty(max_connections: int = 10, port: int = 0) -> Listener:
    """Return a listener whose application has no endpoint."""
    app = application("empty", [], SelfMetrics({}), json_errors=False)
    address = ListenAddress("127.0.0.1", port)
    return listen(
        "empty", app, address, ReloadableProtection(), ConnectionBounds(max_connections, WAIT)
    )


def test_more_files_may_be_open_than_there_are_connections(
    caplog: pytest.LogCaptureFixture,
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    listener = empty(200)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
        allow_open_files([listener])
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 2 * listener.connections.max_open
        raised = resource.getrlimit(resource.RLIMIT_NOFILE)
        allow_open_files([listener])
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == raised
        assert caplog.records == []

        listener.connections.max_open = hard
        allow_open_files([listener])
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == hard
        assert [r.__dict__["fields"]["files"] for r in caplog.records] == [hard]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        listener.socket.close()


async def test_an_address_is_free_after_a_stop() -> None:
    listener, stop = empty(), asyncio.Event()
    port = listener.socket.getsockname()[1]
    with pytest.raises(SettingsError, match=f"cannot listen on 127.0.0.1:{port}"):
        empty(port=port)
    async with asyncio.timeout(WAIT), asyncio.TaskGroup() as tasks:
        tasks.create_task(serve_until(stop, [listener]))
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        stop.set()
        assert await reader.read() == b""
        writer.close()
    empty(port=port).socket.close()


async def test_a_burst_of_connections_is_accepted_a_few_in_a_turn() -> None:
    """A burst must not slow down the requests that have begun: it waits in the kernel."""
    listener, stop = empty(), asyncio.Event()
    seen = [0]
    async with asyncio.timeout(WAIT), asyncio.TaskGroup() as tasks:
        clients = [socket.create_connection(listener.socket.getsockname()) for _ in range(9)]
        tasks.create_task(serve_until(stop, [listener]))
        while seen[-1] < len(clients):
            await asyncio.sleep(0)
            seen.append(listener.connections.open)
        for client in clients:
            client.close()
        stop.set()
    assert max(later - before for before, later in pairwise(seen)) == 4


async def test_the_application_is_started_and_shut_down() -> None:
    listener, stop = empty(), asyncio.Event()
    calls: list[str] = []
    listener.app.before_serving(lambda: calls.append("started"))
    listener.app.after_serving(lambda: calls.append("shut down"))
    async with asyncio.timeout(WAIT), asyncio.TaskGroup() as tasks:
        tasks.create_task(serve_until(stop, [listener]))
        _, writer = await asyncio.open_connection(*listener.socket.getsockname())
        writer.close()
        assert calls == ["started"]
        stop.set()
    assert calls == ["started", "shut down"]
