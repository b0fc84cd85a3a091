"""Connections of a listener on uvicorn: the same limits as on Hypercorn.

Of uvicorn its HTTP protocol on httptools is used; sockets, limits and the stop are ours, so
that they are the same on both servers.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from uvicorn.config import Config
from uvicorn.lifespan.on import LifespanOn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from exporter.direct import WHOLE_BODY
from exporter.gate import BACKLOG, FAREWELL, GRACE, KEEP_ALIVE, MAX_HEAD, REFUSAL
from exporter.tls import HANDSHAKE_TIMEOUT
from exporter.whole import Manner, ask, lines, scope_of, whole

if TYPE_CHECKING:
    import socket

    from quart import Quart

    from exporter.terms import Terms
    from exporter.whole import Headers, Whole

logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # what clients do wrong is no news

_FAILURE: Final = (
    [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"21"),
        (b"connection", b"close"),
    ],
    b"Internal Server Error",
)
"""What uvicorn says with 500."""

_MALFORMED = b"400 Bad Request"
_TOO_LARGE = b"431 Request Header Fields Too Large"


class _HeadTooLarge(Exception):
    """The head of a request is larger than allowed."""


class _State(ServerState):
    """What the connections of one listener share."""

    default_headers: Any  # a property here

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        super().__init__()
        self.over = asyncio.Event()
        """Set when the last connection has ended."""

    @property  # type: ignore[no-redef]
    def default_headers(self) -> list[tuple[bytes, bytes]]:
        """Return what is added to every answer."""
        return self.terms.headers

    @default_headers.setter
    def default_headers(self, _: object) -> None:
        """Take no others."""


class _Connection(HttpToolsProtocol):
    """A connection that passes the gate, and is held to its limits."""

    server_state: _State

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.access_log = False
        self._gate = self.server_state.terms.gate
        self._head = 0
        """Bytes received since the end of the last request."""
        self._measured = 0
        """Bytes of the head that is being parsed."""
        self._in_body = False
        self._all_head = True
        """Whether what arrived last is nothing but a part of a head."""
        self._end: asyncio.TimerHandle | None = None
        """Gives up on a client that does not send, or does not read."""
        self._parsing = False
        """Whether the parser is somewhere in a request."""
        self._answer: asyncio.Task[None] | None = None
        """Answers a request that arrived whole; what arrives meanwhile waits."""
        self._unread = b""
        self._manner = Manner(self._head_of, _FAILURE)
        self._last = False
        """Whether the connection ends with the answer that is under way."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Let the connection in, or turn it away."""
        super().connection_made(transport)
        if not self.server_state.terms.admits(transport.get_extra_info("ssl_object")):
            self._close()
        elif not self._gate.admit(self):
            transport.write(REFUSAL)
            self._close()
        else:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave the place to others."""
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        self._stop_waiting()
        self._gate.leave(self)
        if not self.connections:
            self.server_state.over.set()

    def data_received(self, data: bytes) -> None:
        """Take a part of a request."""
        if self.transport.is_closing():
            return
        if self._answer:
            self._put_off(data)
            return
        if len(data) <= MAX_HEAD and self._rests and (request := whole(data)):
            self._stop_waiting()
            self._unset_keepalive_if_required()
            self._gate.waits(self, idle=False)
            self._answer = self.loop.create_task(self._answered(request))
            return
        self._all_head = not self._in_body
        super().data_received(data)
        if self._all_head and not self.transport.is_closing():
            self._head += len(data)
            if self._head > MAX_HEAD:
                self._refuse(_TOO_LARGE)

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio's says so
        """Return whether an answer is still to be written to a client that sends no more."""
        self._last = True
        return self._answer is not None and self.scheme == "http"

    def on_url(self, url: bytes) -> None:
        """Take a part of the first line."""
        self._measure(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        self._measure(len(name) + len(value))
        super().on_header(name, value)

    def on_message_begin(self) -> None:
        """Begin to measure the head."""
        self._measured = 0
        self._parsing = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Begin to answer."""
        self._in_body, self._all_head = True, False
        self._stop_waiting()
        self._gate.waits(self, idle=False)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Begin to wait for another head."""
        self._in_body = self._parsing = False
        self._head = 0
        cycle = self.cycle
        if not cycle.waiting_for_100_continue:  # and where it was begun, nobody looks any more
            self.scope["extensions"] = {WHOLE_BODY: {"body": bytes(cycle.body)}}
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Wait for the next request, for a time."""
        super().on_response_complete()
        if self.transport.is_closing():
            self._close()
        elif self.cycle.response_complete:
            self._gate.waits(self, idle=True)
            self._wait()

    def give_way(self) -> None:
        """End at once."""
        self.transport.abort()

    def leave_off(self) -> None:
        """End, having nothing to do."""
        self._close()

    def shutdown(self) -> None:
        """End when the request in flight is answered."""
        self._last = True
        if self._answer:
            return
        super().shutdown()
        if self.transport.is_closing():
            self._close()

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP."""
        del msg  # quotes nothing, but says nothing either
        too_large = self._measured > MAX_HEAD
        self._refuse(_TOO_LARGE if too_large else _MALFORMED)

    def _unsupported_upgrade_warning(self) -> None:
        """Answer as if nothing had been asked for; what follows is not HTTP any more."""
        self.cycle.keep_alive = False

    @property
    def _rests(self) -> bool:
        """Return whether nothing of a request was read, or is still to be answered."""
        answered = self.cycle is None or self.cycle.response_complete
        return not self._parsing and answered and not self._last

    def _put_off(self, data: bytes) -> None:
        self._unread += data
        if len(self._unread) > MAX_HEAD:
            self.flow.pause_reading()

    async def _answered(self, request: Whole) -> None:
        """Answer a request, and go on with what arrived meanwhile."""
        connection = {
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "scheme": self.scheme,
            "root_path": self.root_path,
            "client": self.client,
            "server": self.server,
            "extensions": {WHOLE_BODY: {"body": request.body}},
        }
        scope = scope_of(request, connection, self.app_state)
        goes_on = False
        try:
            goes_on = await ask(self.app, scope, request.body, self._manner, self._write)
        except Exception:
            self.logger.exception("Exception in ASGI application")
        self._answer = None
        if self.transport.is_closing():
            return
        if self._last or not goes_on:
            self._close()
            return
        self._gate.waits(self, idle=True)
        self._wait()
        self.flow.resume_reading()
        if unread := self._unread:
            self._unread = b""
            self.data_received(unread)

    async def _write(self, data: bytes) -> None:
        await self.flow.drain()
        if not self.transport.is_closing():
            self.transport.write(data)

    def _head_of(self, status: int, headers: Headers) -> bytes:
        """Return the head of an answer, as uvicorn writes it."""
        said = [*self.server_state.default_headers, *headers]
        if self._last and (b"connection", b"close") not in headers:
            said.append((b"connection", b"close"))
        return STATUS_LINE[status] + lines(said)

    def _measure(self, size: int) -> None:
        self._measured += size
        if self._measured > MAX_HEAD:
            raise _HeadTooLarge

    def _refuse(self, status: bytes) -> None:
        ours = [(b"content-length", b"0"), (b"connection", b"close")]
        headers = [*self.server_state.default_headers, *ours]
        lines = [b"HTTP/1.1 " + status, *(name + b": " + value for name, value in headers)]
        self.transport.write(b"\r\n".join([*lines, b"", b""]))
        self._close()

    def _close(self) -> None:
        self._stop_waiting()
        self.transport.close()
        self._end = self.loop.call_later(FAREWELL, self.give_way)

    def _wait(self) -> None:
        self._stop_waiting()
        self._end = self.loop.call_later(KEEP_ALIVE, self.leave_off)

    def _stop_waiting(self) -> None:
        if self._end:
            self._end.cancel()
            self._end = None


async def serve(app: Quart, bound: socket.socket, terms: Terms, stop: asyncio.Event) -> bool:
    """Serve until ``stop``, then finish what is in flight; return whether all was finished."""
    loop = asyncio.get_running_loop()
    config = Config(
        app,
        http="httptools",
        lifespan="on",
        log_config=None,
        proxy_headers=False,
        timeout_keep_alive=int(KEEP_ALIVE),
        ws="none",
    )
    config.load()
    state = _State(terms)
    lifespan = LifespanOn(config)
    await lifespan.startup()
    server = await loop.create_server(
        lambda: _Connection(config, state, lifespan.state),
        sock=bound,
        ssl=terms.live,
        ssl_handshake_timeout=HANDSHAKE_TIMEOUT if terms.live else None,
        backlog=BACKLOG,
    )
    await stop.wait()
    server.close()
    finished = await _finish(state)
    await lifespan.shutdown()
    return finished


async def _finish(state: _State) -> bool:
    """Let requests in flight end, ``GRACE`` seconds at most; return whether they did."""
    for connection in list(state.connections):
        connection.shutdown()
    if not state.connections:
        return True
    state.over.clear()
    try:
        async with asyncio.timeout(GRACE):
            await state.over.wait()
    except TimeoutError:
        for connection in list(state.connections):
            connection.transport.abort()
        return False
    return True
