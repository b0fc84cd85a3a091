"""Limits of connections: overload is refused, and slow senders keep nobody out."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from running import (
    USAGE,
    WEBHOOK,
    Serving,
    connect,
    encoded,
    event,
    read_answer,
    request_head,
    until,
)

from exporter.http.limits import MAX_REQUEST_HEAD

if TYPE_CHECKING:
    import socket

    from conftest import Serve


HEADERS = b"X: y\r\n" * (MAX_REQUEST_HEAD // 5)

SLOW = 500
BUSY = "--webhook.read-timeout=1m"
"""Lets an unfinished delivery last longer than any test."""


def begun(url: str) -> socket.socket:
    """Send the head of a delivery and the beginning of its body."""
    connection = connect(url)
    connection.sendall(request_head(USAGE) + USAGE[:10])
    return connection


def connections(server: Serving, kind: str = "", listener: str = "public") -> float:
    return server.own()[f'http_connections{kind}{{listener="{listener}"}}']


@pytest.mark.parametrize("listener", ["public", "internal"])
def test_a_head_that_is_too_large_is_refused_at_once(listener: str, serve: Serve) -> None:
    server = serve()
    start = b"GET / HTTP/1.1\r\nHost: x\r\n"
    size = MAX_REQUEST_HEAD + 1000
    for head in (b"GET /".ljust(size, b"x"), start + b"X: ".ljust(size, b"x"), start + HEADERS):
        with connect(server.url(listener)) as connection:
            connection.sendall(head)
            assert read_answer(connection).code == 431
    assert server.post(event()).status_code == 200


def test_a_new_connection_displaces_the_one_that_has_waited_longest(serve: Serve) -> None:
    server = serve("--webhook.max-connections=3")
    with ExitStack() as stack:
        used, silent, slow = (stack.enter_context(connect(server.public)) for _ in range(3))
        until(lambda: connections(server) == 3)
        slow.sendall(request_head(USAGE)[:20])
        used.sendall(request_head(USAGE) + USAGE)
        assert read_answer(used).code == 200  # now the silent one has waited longest

        assert server.post(event()).status_code == 200
        assert silent.recv(1) == b""
        used.sendall(request_head(USAGE) + USAGE)
        assert read_answer(used).code == 200
        with connect(server.public) as another:
            assert slow.recv(1) == b""
            another.sendall(request_head(USAGE) + USAGE)
            assert read_answer(another).code == 200
        assert connections(server, "_displaced_total") == 2
        assert connections(server, "_refused_total") == 0
    server.client.close()


def test_a_new_connection_is_refused_when_all_are_busy(serve: Serve) -> None:
    server = serve("--webhook.max-connections=2", BUSY)
    with ExitStack() as stack:
        busy = [stack.enter_context(begun(server.public)) for _ in range(2)]
        until(lambda: connections(server) == 2)
        body = encoded(event())

        def refused() -> bool:
            with connect(server.public) as connection:
                connection.sendall(request_head(body) + body)
                answer = read_answer(connection)
            assert (answer.code, answer.headers["Connection"]) == (503, "close")
            return answer.headers["Retry-After"] == "5"

        assert refused()
        assert connections(server, "_refused_total") == 1
        assert server.get("/-/ready").status_code == 200  # the other listener has its own limit
        busy[0].sendall(USAGE[10:])
        assert read_answer(busy[0]).code == 200
        assert server.post(event()).status_code == 200


def test_a_closed_connection_counts_no_more(serve: Serve) -> None:
    server = serve("--webhook.max-connections=2", BUSY)
    for _ in range(5):
        with begun(server.public), begun(server.public):
            until(lambda: connections(server) == 2)
        until(lambda: connections(server) == 0)
    assert connections(server, "_refused_total") == 0
    assert connections(server, listener="internal") == 1


@pytest.mark.parametrize("most", ["2048", "100"])
def test_heads_that_arrive_slowly_keep_no_delivery_out(most: str, serve: Serve) -> None:
    server = serve(f"--webhook.max-connections={most}")
    head = request_head(USAGE)
    with ExitStack() as stack:
        slow = [stack.enter_context(connect(server.public)) for _ in range(SLOW)]
        for number, connection in enumerate(slow):
            connection.sendall(head[: number % len(head)])
        for _ in range(20):
            assert server.post(event()).status_code == 200
        held = connections(server)
        assert held <= min(SLOW + 1, int(most))


def test_bodies_that_arrive_slowly_keep_no_delivery_out(serve: Serve) -> None:
    server = serve(BUSY)
    with ExitStack() as stack:
        for _ in range(SLOW):
            stack.enter_context(begun(server.public))
        until(lambda: connections(server) == SLOW)
        for _ in range(20):
            assert server.post(event()).status_code == 200


def test_a_slow_body_does_not_take_a_connection_for_ever(serve: Serve) -> None:
    server = serve("--webhook.max-connections=1", "--webhook.read-timeout=100ms")
    with begun(server.public) as slow:
        answer = read_answer(slow)
        assert answer.code == 408
    assert until(lambda: server.post(event()).status_code == 200)
    assert server.rejected("timeout") >= 1


def test_a_wish_for_a_websocket_is_ignored(serve: Serve) -> None:
    server = serve("--webhook.max-connections=1")
    upgrade = (
        f"GET {WEBHOOK} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    for _ in range(2):
        with connect(server.public) as connection:
            connection.sendall(upgrade.encode())
            assert read_answer(connection, "GET").code == 200
        until(lambda: connections(server) == 0)
