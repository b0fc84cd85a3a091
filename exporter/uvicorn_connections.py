"""Connections of a listener on uvicorn: the same limits as on Hypercorn.

Of uvicorn its HTTP protocol on httptools is used; sockets, limits and the stop are ours, so
that they are the same on both servers.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from uvicorn.config import Config
from uvicorn.lifespan.on import LifespanOn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from exporter.direct import WHOLE_BODY
from exporter.gate import BACKLOG, FAREWELL, GRACE, KEEP_ALIVE, MAX_HEAD, REFUSAL
from exporter.tls import HANDSHAKE_TIMEOUT

if TYPE_CHECKING:
    import socket

    from quart import Quart

    from exporter.terms import Terms

logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # what clients do wrong is no news

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
        self._all_head = not self._in_body
        super().data_received(data)
        if self._all_head and not self.transport.is_closing():
            self._head += len(data)
            if self._head > MAX_HEAD:
                self._refuse(_TOO_LARGE)

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
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Begin to answer."""
        self._in_body, self._all_head = True, False
        self._stop_waiting()
        self._gate.waits(self, idle=False)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Begin to wait for another head."""
        self._in_body = False
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
