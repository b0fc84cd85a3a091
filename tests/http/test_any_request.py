"""No request makes the exporter fail, on any listener, whatever is in it."""

from __future__ import annotations

import re
import socket
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest
from generated_requests import requests
from hypothesis import given, settings
from running import USAGE, connect, request_head, serving, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Serve
    from running import Serving

ALLOWED = {501, 503, 505}
"""Statuses that say what is wrong: a transfer coding, overload, a version of HTTP."""

EXAMPLES = 150
"""For each listener."""


def statuses(url: str, request: bytes) -> list[int]:
    """Send a request and the end of the client's side. Return the statuses of all answers."""
    received = b""
    with connect(url) as connection, suppress(ConnectionError):
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        while more := connection.recv(1 << 16):
            received += more
    return [int(code) for code in re.findall(rb"HTTP/1\.1 ([0-9]{3}) ", received)]


@contextmanager
def started(folder: Path, listener: str) -> Iterator[tuple[Serving, str]]:
    """Serve, and return where one listener listens."""
    flags = ["--web.enable-admin-api", "--web.health-listen-address=127.0.0.1:0"]
    if listener == "merged":
        with socket.create_server(("127.0.0.1", 0)) as free:
            address = f"127.0.0.1:{free.getsockname()[1]}"
        flags += [f"--web.listen-address={address}", f"--webhook.listen-address={address}"]
    with serving(folder, *flags, ready="") as server:
        until(lambda: listener in server.addresses())
        yield server, server.url(listener)


@pytest.mark.parametrize("listener", ["public", "internal", "health", "merged"])
def test_no_request_is_answered_with_500(listener: str, tmp_path: Path) -> None:
    with started(tmp_path, listener) as (_, url):

        @settings(max_examples=EXAMPLES)
        @given(requests())
        def send(request: bytes) -> None:
            failed = [code for code in statuses(url, request) if code >= 500]
            assert set(failed) <= ALLOWED, request

        send()


@pytest.mark.parametrize(
    "line",
    [b"GET ?a HTTP/1.1", b"GET http:///x HTTP/1.1", b"head / HTTP/1.1", b"OPTIONS * HTTP/1.1"],
)
def test_a_target_or_method_that_cannot_be_served_is_a_bad_request(
    line: bytes, serve: Serve
) -> None:
    server = serve()
    for listener in ("public", "internal"):
        assert statuses(server.url(listener), line + b"\r\nHost: x\r\n\r\n") == [400]


@pytest.mark.parametrize("host", [b"a..b", b"a" * 64, b".example.org", b"xn--" + b"a" * 63])
def test_a_delivery_is_taken_under_any_host(host: bytes, serve: Serve) -> None:
    server = serve()
    head = request_head(USAGE, "TE: trailers").replace(b"Host: exporter", b"Host: " + host)
    assert statuses(server.public, head + USAGE) == [200]
    request = b"GET /metrics?collect[]=exporter HTTP/1.1\r\nHost: " + host + b"\r\n\r\n"
    assert statuses(server.internal, request) == [200]


def test_a_redirect_leads_to_the_same_site(serve: Serve) -> None:
    server = serve("--web.external-url=https://monitoring.example.org/esim", ready="/esim/-/ready")
    answer = server.get("/esim?q=1", headers={"Host": "evil.example"})
    assert (answer.status_code, answer.headers["Location"]) == (308, "/esim/?q=1")
