"""A client that reads a scrape as fast as it can, and times it."""

from __future__ import annotations

import http
import os
import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.process import Server

GZIP: Final = "gzip"
IDENTITY: Final = "identity"

_CHUNK: Final = 1 << 20
_TIMEOUT: Final = 300.0
_POLL: Final = 0.02


@dataclass(frozen=True, slots=True)
class Response:
    """The response to one GET."""

    status: int
    seconds: float
    """From just before the request, on an open connection, to the last byte of the answer."""
    size: int
    """Bytes of the body. Without a Content-Length, the framing of chunks is included."""
    body: bytes = b""
    """Empty unless the caller asked to keep it."""
    first_byte: float = 0.0
    """Seconds from just before the request until the headers of the answer were there."""


def fetch(port: int, path: str, encoding: str, *, keep: bool = False) -> Response:
    """Get ``path`` and return the answer, with its body if ``keep``.

    Raises ``OSError`` when the connection breaks before the body is complete.
    """
    request = (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept-Encoding: {encoding}\r\n"
        "Connection: close\r\n\r\n"
    ).encode()
    buffer = memoryview(bytearray(_CHUNK))
    kept: list[bytes] = []
    with socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        started = time.perf_counter()
        connection.sendall(request)
        head, rest = _read_head(connection)
        first_byte = time.perf_counter() - started
        expected = _content_length(head)
        size = len(rest)
        while expected is None or size < expected:
            count = connection.recv_into(buffer)
            if not count:
                break
            size += count
            if keep:
                kept.append(bytes(buffer[:count]))
        seconds = time.perf_counter() - started
    if expected is not None and size < expected:
        raise OSError(f"the answer ended after {size} of {expected} bytes")
    body = b"".join([rest, *kept]) if keep else b""
    return Response(int(head.split(maxsplit=2)[1]), seconds, size, body, first_byte)


def fetch_whole(port: int, path: str, encoding: str) -> Response:
    """Get ``path`` as soon as it is served: the exporter first renders a large fleet.

    Raises ``OSError`` if it is not served in time.
    """
    deadline = time.monotonic() + _TIMEOUT
    while time.monotonic() < deadline:
        response = fetch(port, path, encoding)
        if response.status == http.HTTPStatus.OK:
            return response
        time.sleep(_POLL)
    raise OSError(f"{path} was answered with {response.status} for {_TIMEOUT:g} s")


def _read_head(connection: socket.socket) -> tuple[bytes, bytes]:
    received = b""
    while b"\r\n\r\n" not in received:
        data = connection.recv(_CHUNK)
        if not data:
            raise OSError("no answer")
        received += data
    head, _, rest = received.partition(b"\r\n\r\n")
    return head, rest


def _content_length(head: bytes) -> int | None:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return None


@contextmanager
def scraping(server: Server, path: str, encoding: str) -> Iterator[list[Response]]:
    """Scrape without a pause during the block. The list holds the finished scrapes."""
    answers: list[Response] = []
    stop = threading.Event()

    def scrape() -> None:
        # Lower priority, because the load that runs beside the scrapes is measured.
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
        while not stop.is_set():
            try:
                answers.append(fetch(server.port, path, encoding))
            except OSError:
                return  # the server has ended; its owner reports that

    thread = threading.Thread(target=scrape)
    thread.start()
    try:
        yield answers
    finally:
        stop.set()
        thread.join()
