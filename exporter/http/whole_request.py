"""The fast way: a delivery whose head and body arrive in one read.

Most deliveries of a vendor arrive like that. For each request, Hypercorn builds events, a stream,
a queue and a task. That costs more processor time than all other work on a delivery.
:func:`parse_whole_request` recognises the simple case, and :func:`answer_whole_request` passes it
to the application at once. Every other request goes through Hypercorn. Both ways give the same
answers, byte for byte.
"""

from __future__ import annotations

import asyncio
import re
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

Headers = list[tuple[bytes, bytes]]
"""Names and values, in their order. Names are in lower case."""

BODY_EXTENSION = "exporter.body"
"""Extension of an ASGI scope. Its key ``body`` holds the complete body of the request.
The application may take the body from there, or receive it as usual."""

_HEAD = re.compile(
    rb"POST (/webhooks/[a-z0-9_-]++(?:/[A-Za-z0-9._~-]++)?) HTTP/1\.1"
    rb"((?:\r\n[!#$%&'*+.^_`|~0-9A-Za-z-]++: ?[!-~][ -~]*+)++)"
)
"""A request line and header fields of RFC 9112. It does not match rare forms, on purpose:
folded fields, empty fields, and characters outside of ASCII."""

_CONNECTION_FIELDS = frozenset(
    {
        *(b"connection", b"expect", b"http2-settings", b"keep-alive", b"proxy-connection"),
        *(b"te", b"trailer", b"transfer-encoding", b"upgrade"),
    }
)
"""Header fields that affect the connection or the framing. Hypercorn handles them."""

_FAILURE_HEADERS: Headers = [(b"content-length", b"0"), (b"connection", b"close")]
"""Hypercorn sends the same with status 500."""


class WholeRequest(NamedTuple):
    """A request with its complete body."""

    path: bytes
    headers: Headers
    body: bytes


class ConnectionFacts(NamedTuple):
    """The facts about a connection that go into an ASGI scope."""

    client: tuple[str, int]
    server: tuple[str, int]
    tls: bool


def parse_whole_request(data: bytes) -> WholeRequest | None:
    """Return the request if ``data`` is exactly one simple request, and ``None`` if not."""
    head, _, body = data.partition(b"\r\n\r\n")
    found = _HEAD.fullmatch(head)
    if not found:
        return None
    path, fields = found.groups()
    headers: Headers = []
    for field in fields[2:].split(b"\r\n"):
        name, _, value = field.partition(b":")
        headers.append((name.lower(), value.strip()))
    names = [name for name, _ in headers]
    if not _CONNECTION_FIELDS.isdisjoint(names):
        return None
    if names.count(b"host") != 1 or names.count(b"content-length") != 1:
        return None
    if headers[names.index(b"content-length")][1] != b"%d" % len(body):
        return None
    return WholeRequest(path, headers, body)


async def answer_whole_request(
    app: Callable[..., Awaitable[None]],
    request: WholeRequest,
    connection: ConnectionFacts,
    added_headers: Callable[[], Headers],
    write: Callable[[bytes], Awaitable[None]],
) -> bool:
    """Let an ASGI application answer a request, and write the answer.

    ``added_headers`` go into every answer. If the application sends no answer, the answer has
    status 500. Return whether the connection can be used again. Exceptions of the application
    are raised.
    """
    unread = [{"type": "http.request", "body": request.body, "more_body": False}]
    start: dict[str, Any] | None = None
    begun = False

    def head(status: int, headers: Headers) -> bytes:
        return _head(status, (*headers, *added_headers()))

    async def receive() -> dict[str, Any]:
        if not unread:
            await asyncio.Event().wait()  # for ever, because no message follows the body
        return unread.pop()

    async def send(message: dict[str, Any]) -> None:
        nonlocal start, begun
        if message["type"] == "http.response.start":
            start = message
            return
        data = message.get("body", b"")
        if start and not begun:
            data = head(start["status"], start["headers"]) + data
            begun = True
        if data:
            await write(data)

    try:
        await app(_scope(request, connection), receive, send)
    finally:
        if not begun:
            await write(head(HTTPStatus.INTERNAL_SERVER_ERROR, _FAILURE_HEADERS))
    return begun


@lru_cache
def _head(status: int, headers: tuple[tuple[bytes, bytes], ...]) -> bytes:
    """Return the head of an answer. Most answers of the same second have the same."""
    if not any(name.lower() == b"content-length" for name, _ in headers):
        raise ValueError("the answer has no Content-Length")
    fields = [b"%b: %b\r\n" % field for field in headers]
    # Like h11, write no reason after the status.
    return b"HTTP/1.1 %d \r\n%b\r\n" % (status, b"".join(fields))


def _scope(request: WholeRequest, connection: ConnectionFacts) -> dict[str, Any]:
    """Return the ASGI scope, with the values that Hypercorn gives."""
    return {
        "type": "http",
        "asgi": {"spec_version": "2.1", "version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "https" if connection.tls else "http",
        "path": request.path.decode("ascii"),
        "raw_path": request.path,
        "query_string": b"",
        "root_path": "",
        "headers": request.headers,
        "client": connection.client,
        "server": connection.server,
        "state": {},
        "extensions": {BODY_EXTENSION: {"body": request.body}},
    }
