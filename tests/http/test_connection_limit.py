"""Limits of connections: overload is refused, and slow senders keep nobody out."""

from __future__ import annotations

import resource
from contextlib import ExitStack
from pathlib import Path
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

from exporter.http.connection_limit import PATIENCE, ConnectionLimit
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


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Client:
    """A connection that notes whether it was closed."""

    def __init__(self) -> None:
        self.closed = False

    def abort(self) -> None:
        self.closed = True


class Listener:
    """A limit and its clients, which come one second after the other."""

    def __init__(self, max_open: int) -> None:
        self._clock = Clock()
        self.limit = ConnectionLimit(max_open, self._clock)

    def connect(self, *, after: float = 1.0) -> Client:
        self._clock.now += after
        client = Client()
        assert self.limit.admit(client)
        return client

    def answer(self, client: Client) -> None:
        self.limit.mark_answered(client)
        self.limit.mark_idle(client)


def test_of_clients_that_were_never_answered_the_first_gives_way() -> None:
    listener = Listener(2)
    first, second, third = (listener.connect() for _ in range(3))
    assert (first.closed, second.closed, third.closed) == (True, False, False)
    assert (listener.limit.open, listener.limit.displaced, listener.limit.refused) == (2, 1, 0)


def test_a_slow_client_gives_way_before_one_that_is_idle_for_longer() -> None:
    listener = Listener(2)
    idle = listener.connect()
    listener.answer(idle)
    slow = listener.connect()
    new = listener.connect(after=PATIENCE + 0.1)
    assert (idle.closed, slow.closed, new.closed) == (False, True, False)


def test_a_client_that_has_just_come_does_not_give_way_before_an_idle_one() -> None:
    listener = Listener(2)
    idle = listener.connect()
    listener.answer(idle)
    sending = listener.connect()
    new = listener.connect(after=PATIENCE - 0.1)
    assert (idle.closed, sending.closed, new.closed) == (True, False, False)


def test_a_client_that_holds_up_its_next_request_gives_way() -> None:
    listener = Listener(2)
    slow, idle = listener.connect(), listener.connect()
    listener.answer(slow)
    listener.answer(idle)
    listener.limit.mark_held_up(slow)
    listener.connect(after=PATIENCE + 0.1)
    assert (slow.closed, idle.closed) == (True, False)


def test_a_client_is_slow_from_its_first_byte_on_not_from_its_last() -> None:
    listener = Listener(2)
    dripping, later = listener.connect(), listener.connect()
    listener.limit.mark_held_up(dripping)
    listener.connect()
    assert (dripping.closed, later.closed) == (True, False)


def test_a_request_that_is_answered_is_never_cut_off_for_a_new_connection() -> None:
    listener = Listener(1)
    answered = listener.connect()
    listener.limit.mark_answered(answered)
    assert not listener.limit.admit(Client())
    assert (listener.limit.answered, listener.limit.displaced, listener.limit.refused) == (1, 0, 1)
    listener.limit.remove(answered)
    listener.connect()
    assert not answered.closed


def test_a_connection_that_is_gone_never_waits_again() -> None:
    listener = Listener(1)
    displaced = listener.connect()
    new = listener.connect()
    listener.limit.mark_idle(displaced)
    listener.limit.mark_held_up(displaced)
    listener.connect()
    assert new.closed
    assert (listener.limit.open, listener.limit.answered) == (1, 0)


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


@pytest.mark.parametrize(
    "held",
    [
        b"",
        b"POST /webhooks",
        request_head(USAGE) + USAGE[:1],
        request_head(b"x" * 100_000, secret=b"wrong") + b"x",  # 413
        b"POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx",
        b"POST /webhooks/roamify HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na",
    ],
    ids=["silent", "head", "body", "too large", "unread", "chunks"],
)
def test_a_delivery_displaces_the_slowest_client(held: bytes, serve: Serve) -> None:
    server = serve("--webhook.max-connections=2", BUSY)
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(connect(server.public)).sendall(held)
        assert server.post(event()).status_code == 200
    assert connections(server, "_refused_total") == 0
    assert server.get("/-/ready").status_code == 200  # the other listener has its own limit
    server.client.close()


def test_a_delivery_displaces_the_slowest_client_too_if_the_system_opens_no_more_files(
    serve: Serve,
) -> None:
    server = serve()
    pid = server.process.pid
    server.post(event())
    server.client.close()
    few = len(list(Path(f"/proc/{pid}/fd").iterdir())) + 5
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (few, few))
    with ExitStack() as stack:
        for _ in range(10):
            stack.enter_context(connect(server.public))
        until(lambda: server.logged("no connection can be accepted"))
        with connect(server.public) as good:
            body = encoded(event())
            good.sendall(request_head(body) + body)
            assert read_answer(good).code == 200


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
