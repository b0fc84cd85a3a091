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

from exporter.http.connection_limit import ConnectionLimit
from exporter.http.hypercorn_internals import MAX_REQUEST_HEAD

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


class Client:
    """A connection that notes how it was closed."""

    def __init__(self) -> None:
        self.closed = ""

    def abort(self) -> None:
        self.closed = "aborted"

    def close(self) -> None:
        self.closed = "closed"


def test_the_connection_that_has_waited_longest_is_aborted_for_a_new_one() -> None:
    limit = ConnectionLimit(2)
    used, silent, new, another = (Client() for _ in range(4))
    assert limit.admit(used)
    assert limit.admit(silent)
    limit.mark_busy(used)
    limit.mark_waiting(used)

    assert limit.admit(new)
    assert (used.closed, silent.closed) == ("", "aborted")
    assert limit.admit(another)
    assert (used.closed, new.closed) == ("aborted", "")
    assert (limit.open, limit.busy, limit.displaced, limit.refused) == (2, 0, 2, 0)


def test_busy_connections_are_never_closed_for_a_new_one() -> None:
    limit = ConnectionLimit(1)
    busy = Client()
    assert limit.admit(busy)
    limit.mark_busy(busy)

    assert not limit.admit(Client())
    assert (limit.open, limit.busy, limit.displaced, limit.refused) == (1, 1, 0, 1)
    limit.remove(busy)
    assert limit.admit(Client())
    assert busy.closed == ""


def test_a_removed_connection_never_waits_again() -> None:
    limit = ConnectionLimit(1)
    displaced, new = Client(), Client()
    limit.admit(displaced)
    limit.admit(new)
    limit.mark_waiting(displaced)

    limit.close_waiting()
    assert (displaced.closed, new.closed) == ("aborted", "closed")


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
