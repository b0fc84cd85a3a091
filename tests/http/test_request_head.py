"""Heads of requests: their target, and the fields that say how requests are framed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from running import USAGE, connect, encoded, event, read_answer, request_head

from exporter.http.request_head import read_head

if TYPE_CHECKING:
    from conftest import Serve

HOST = (b"host", b"exporter")


@pytest.mark.parametrize(
    ("target", "path", "host"),
    [
        (b"/metrics?a=b", b"/metrics?a=b", b"exporter"),
        (b"//x", b"//x", b"exporter"),
        (b"http://proxy:80/metrics?a=b", b"/metrics?a=b", b"proxy:80"),
        (b"HTTPS://proxy", b"/", b"proxy"),
        (b"http://proxy?a=b", b"/?a=b", b"proxy"),
    ],
)
def test_the_path_of_a_target_is_asked_for(target: bytes, path: bytes, host: bytes) -> None:
    head = read_head(b"GET", target, [HOST])
    assert head == (path, [(b"host", host)], False)


@pytest.mark.parametrize("target", [b"?a", b"*", b"a:1", b"http:///x", b"http://", b"ftp://x/"])
def test_a_target_without_a_path_cannot_be_answered(target: bytes) -> None:
    assert read_head(b"GET", target, [HOST]) is None


def test_a_method_in_lower_case_is_no_method() -> None:
    assert read_head(b"head", b"/", [HOST]) is None


def test_lines_of_one_list_are_joined_in_their_order() -> None:
    headers = [(b"accept", b"a"), HOST, (b"accept", b"b;q=0.5"), (b"x", b"1"), (b"x", b"2")]
    head = read_head(b"GET", b"/", headers)
    assert head
    assert head.headers == [HOST, (b"x", b"1"), (b"x", b"2"), (b"accept", b"a, b;q=0.5")]


def test_a_wish_to_upgrade_is_dropped() -> None:
    head = read_head(b"GET", b"/", [HOST, (b"upgrade", b"websocket")])
    assert head == (b"/", [HOST], False)


def test_several_accept_lines_choose_one_format(serve: Serve) -> None:
    server = serve()
    lines = (
        b"GET /metrics?collect[]=exporter HTTP/1.1\r\nHost: x\r\nAccept: text/plain;q=0.5\r\n"
        b"Accept: application/openmetrics-text;version=1.0.0\r\n\r\n"
    )
    with connect(server.internal) as connection:
        connection.sendall(lines)
        answer = read_answer(connection, "GET")
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")


def test_a_length_beside_a_transfer_coding_ends_the_connection(serve: Serve) -> None:
    """RFC 9112, 6.1: what follows could be a request that a proxy did not see."""
    server = serve()
    smuggled = b"GET /webhooks/roamify HTTP/1.1\r\nHost: x\r\n\r\n"
    head = request_head(USAGE, "Transfer-Encoding: chunked")
    with connect(server.public) as connection:
        connection.sendall(head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(USAGE), USAGE) + smuggled)
        answer = read_answer(connection)
        assert (answer.code, answer.headers["Connection"]) == (200, "close")
        assert connection.recv(1) == b""


def test_a_client_that_asks_first_is_refused_at_once_if_its_body_is_too_large(
    serve: Serve,
) -> None:
    server = serve("--webhook.max-body-bytes=1000")
    with connect(server.public) as connection:
        connection.sendall(request_head(b"x" * 1001, "Expect: 100-continue"))
        received = connection.recv(1 << 16)
    assert received.startswith(b"HTTP/1.1 413 ")


def test_a_client_that_asks_first_is_invited_to_send_its_body(serve: Serve) -> None:
    server = serve()
    body = encoded(event())
    with connect(server.public) as connection:
        connection.sendall(request_head(body, "Expect: 100-continue"))
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 100 ")
        connection.sendall(body)
        assert read_answer(connection).code == 200
