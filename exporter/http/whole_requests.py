"""Deliveries that arrive whole: answered without the machinery for those that do not.

Nearly all of a vendor's come in one piece, head and body. Hypercorn's way of any request, with
its events, a stream, a queue and a task for each, costs more than all that is done with a
delivery. What is recognised here beyond doubt goes to the application at once; everything else
goes that way, and both give the same answers, byte for byte.
"""

from __future__ import annotations

import asyncio
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

Headers = list[tuple[bytes, bytes]]

_HEAD = re.compile(
    rb"POST (/webhooks/[a-z0-9_-]+) HTTP/1\.1((?:\r\n[!#$%&'*+.^_`|~0-9A-Za-z-]+: ?[!-~][ -~]*)+)"
)
"""A request line and fields of RFC 9112, not all that it allows: nothing that is folded, empty,
or outside of ASCII."""

_LENGTH = re.compile(rb"[0-9]{1,5}")

_NOT_HERE = frozenset(
    {
        *(b"connection", b"expect", b"http2-settings", b"keep-alive", b"proxy-connection"),
        *(b"te", b"trailer", b"transfer-encoding", b"upgrade"),
    }
)
"""Fields that say more of the connection than its usual course."""

WHOLE_BODY = "exporter.whole-body"
"""Extension of an ASGI scope: its ``body`` is the whole body of the request, which arrived with
the head. The application may take it from there or receive it as usual."""

_ONCE = (b"content-length", b"host")


class Whole(NamedTuple):
    """A request that was read to its end, and nothing after it."""

    path: bytes
    headers: Headers
    """Names in lower case, in their order."""
    body: bytes


def whole(data: bytes) -> Whole | None:
    """Return the request that is all of ``data``, ``None`` where there is any doubt."""
    head, _, body = data.partition(b"\r\n\r\n")
    found = _HEAD.fullmatch(head)
    if not found:
        return None
    path, fields = found.groups()
    headers: Headers = []
    for field in fields[2:].split(b"\r\n"):
        name, _, value = field.partition(b":")
        headers.append((name.lower(), value.strip(b" ")))
    names = [name for name, _ in headers]
    if not _NOT_HERE.isdisjoint(names) or any(names.count(name) != 1 for name in _ONCE):
        return None
    length = headers[names.index(b"content-length")][1]
    if not _LENGTH.fullmatch(length) or int(length) != len(body):
        return None
    return Whole(path, headers, body)


class Manner(NamedTuple):
    """How a server answers."""

    head: Callable[[int, Headers], bytes]
    """Makes the head of an answer from its status and what the application says."""
    failure: tuple[Headers, bytes]
    """What is said with 500 where the application fails: headers and a body."""


async def ask(
    app: Callable[..., Awaitable[None]],
    scope: dict[str, Any],
    body: bytes,
    manner: Manner,
    write: Callable[[bytes], Awaitable[None]],
) -> bool:
    """Let an ASGI application answer a request that was read, and write its answer.

    Return whether the connection may go on: where there is no answer, the server's own for that
    is written. Raises what the application does, likewise.
    """
    unread = [{"type": "http.request", "body": body, "more_body": False}]
    start: dict[str, Any] | None = None
    begun = False

    async def receive() -> dict[str, Any]:
        if not unread:
            await asyncio.Event().wait()  # until somebody is tired of it
        return unread.pop()

    async def send(message: dict[str, Any]) -> None:
        nonlocal start, begun
        if message["type"] == "http.response.start":
            start = message
            return
        data = message.get("body", b"")
        if start and not begun:
            headers = start["headers"]
            if not any(name.lower() == b"content-length" for name, _ in headers):
                raise ValueError("an answer does not say its length")
            data = manner.head(start["status"], headers) + data
            begun = True
        if data:
            await write(data)

    try:
        await app(scope, receive, send)
    finally:
        if not begun:
            headers, text = manner.failure
            await write(manner.head(HTTPStatus.INTERNAL_SERVER_ERROR, headers) + text)
    return begun


def lines(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return headers as they are written, with the empty line behind them."""
    return b"".join([b"%b: %b\r\n" % header for header in headers]) + b"\r\n"


def scope_of(request: Whole, connection: dict[str, Any], state: dict[str, Any]) -> dict[str, Any]:
    """Return the scope of a request, given what is the same for all of its connection."""
    return {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": request.path.decode("ascii"),
        "raw_path": request.path,
        "query_string": b"",
        "headers": request.headers,
        "state": state.copy(),
        **connection,
    }
