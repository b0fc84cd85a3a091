"""Connections of a listener on Hypercorn: how long they may wait, and what they are held to.

What Hypercorn itself limits is set in :class:`ServerConfig`. What it has no setting for is
done by :class:`Connection`, which takes the place of its own class.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import h11
import hypercorn.asyncio.run
from hypercorn.asyncio.task_group import TaskGroup
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.config import Config
from hypercorn.events import Closed, RawData, Updated
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.typing import ConnectionState
from hypercorn.utils import parse_socket_addr

from exporter.http.connection_limit import FAREWELL, KEEP_ALIVE, MAX_HEAD, REFUSAL
from exporter.http.tls import HANDSHAKE_TIMEOUT
from exporter.http.whole_requests import WHOLE_BODY, Manner, ask, lines, scope_of, whole

if TYPE_CHECKING:
    import asyncio
    import ssl

    from hypercorn.events import Event

    from exporter.http.protection import Terms
    from exporter.http.whole_requests import Headers, Whole

_UNSENT = 64 * 1024
"""Bytes a client may leave unread before it is waited for."""

_MAX_READ = 16 * 1024
"""Bytes read at once: a head that arrives as a whole is at most this much longer."""


_FAILURE: Final = ([(b"content-length", b"0"), (b"connection", b"close")], b"")
"""What Hypercorn says with 500."""


class ServerConfig(Config):
    """What Hypercorn asks about one listener."""

    h11_max_incomplete_size = MAX_HEAD
    include_server_header = False
    keep_alive_max_requests = 1_000_000
    keep_alive_timeout = KEEP_ALIVE
    ssl_handshake_timeout = HANDSHAKE_TIMEOUT

    def __init__(self, terms: Terms) -> None:
        self.terms = terms

    @property
    def ssl_enabled(self) -> bool:
        """Return whether the listener speaks TLS, for as long as it serves."""
        return self.terms.live is not None

    def create_ssl_context(self) -> ssl.SSLContext | None:
        """Return the context that new connections ask for theirs."""
        return self.terms.live

    def response_headers(self, protocol: str) -> list[tuple[bytes, bytes]]:  # noqa: ARG002  # theirs
        """Return what is added to every answer, those of Hypercorn itself included."""
        return self.terms.headers


class _Protocol(H11Protocol):
    """HTTP/1.1 and nothing else: what limits connections does not limit streams within them."""

    async def _check_protocol(self, event: object) -> None:
        """Take no request for the beginning of HTTP/2."""


class HttpConnection(TCPServer):
    """A connection that passes the gate, and ends when the client ends it.

    Hypercorn's own holds its file descriptor until the keep-alive time is over: clients that
    connect anew for each delivery would soon use up all there are. It also begins and cancels
    two tasks for each request, to watch the time; here a timer does.
    """

    config: ServerConfig
    _timer: asyncio.TimerHandle | None = None
    """Ends the connection where no request comes."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._unsent: list[bytes] = []
        self._manner = Manner(self._head, _FAILURE)

    async def run(self) -> None:
        """Serve the connection until it is closed."""
        gate = self.config.terms.gate
        try:
            with suppress(OSError):  # that of ssl included: whoever is at fault is gone
                if not self.config.terms.admits(self.writer.get_extra_info("ssl_object")):
                    await self._close()
                elif not gate.admit(self):
                    self.writer.write(REFUSAL)
                    await self._close()
                else:
                    await self._serve()
        finally:
            gate.leave(self)

    def give_way(self) -> None:
        """End at once."""
        self.writer.transport.abort()

    async def protocol_send(self, event: Event) -> None:
        """Do what the protocol asks for, and note when a request begins and is over."""
        if isinstance(event, RawData):
            if event.data:  # the end of a body whose length was said has none
                await self._write(event.data)
        elif isinstance(event, Updated):
            self.config.terms.gate.waits(self, idle=event.idle)
            self._stop_waiting()
            if event.idle:
                self._wait()
        else:
            await super().protocol_send(event)

    def leave_off(self) -> None:
        """End, having nothing to do."""
        self._flush()
        self.writer.close()

    async def _write(self, data: bytes) -> None:
        """Send at the end of this turn of the loop, the head of an answer and its body at once."""
        if self.writer.transport.is_closing():
            await self.protocol.handle(Closed())
            return
        if not self._unsent:
            self.loop.call_soon(self._flush)
        self._unsent.append(data)
        try:
            if len(data) > _UNSENT:
                self._flush()
            if self.writer.transport.get_write_buffer_size() > _UNSENT:
                await self.writer.drain()
        except (ConnectionError, RuntimeError):
            await self.protocol.handle(Closed())

    def _flush(self) -> None:
        unsent, self._unsent = self._unsent, []
        if unsent and not self.writer.transport.is_closing():
            self.writer.writelines(unsent)

    def _wait(self) -> None:
        """Wait for the head of a request, but not for ever."""
        if self.context.terminated.is_set():
            self.leave_off()
        self._timer = self.loop.call_later(self.config.keep_alive_timeout, self.leave_off)

    def _stop_waiting(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    async def _serve(self) -> None:
        socket = self.writer.get_extra_info("socket")
        client, server = (
            parse_socket_addr(socket.family, name)
            for name in (socket.getpeername(), socket.getsockname())
        )
        try:
            async with TaskGroup(self.loop) as tasks:
                self._task_group = tasks
                self.protocol: Any = _Protocol(
                    self.app,
                    self.config,
                    self.context,
                    tasks,
                    ConnectionState(self.state),
                    self.config.ssl_enabled,
                    client,
                    server,
                    self.protocol_send,
                )
                self._wait()
                await self._read_data()
        finally:
            self._stop_waiting()
            await self._close()

    async def _read_data(self) -> None:
        while not self.reader.at_eof():
            try:
                data = await self.reader.read(_MAX_READ)
            except OSError:
                break
            request = whole(data) if self._rests else None
            if request:
                await self._answer(request)
            else:
                await self.protocol.handle(RawData(data))
        await self.protocol.handle(Closed())

    @property
    def _rests(self) -> bool:
        """Return whether nothing of a request was read, or is still to be answered."""
        connection = self.protocol.connection
        return (
            self.protocol.stream is None
            and connection.our_state is h11.IDLE
            and not connection.trailing_data[0]
            and not self.context.terminated.is_set()
        )

    async def _answer(self, request: Whole) -> None:
        await self.protocol_send(Updated(idle=False))
        protocol = self.protocol
        connection = {
            "asgi": {"spec_version": "2.1", "version": "3.0"},
            "scheme": "https" if protocol.ssl else "http",
            "root_path": self.config.root_path,
            "client": protocol.client,
            "server": protocol.server,
            "extensions": {WHOLE_BODY: {"body": request.body}},
        }
        scope = scope_of(request, connection, protocol.connection_state)
        goes_on = False
        try:
            app = partial(self.app, sync_spawn=_never, call_soon=_never)
            goes_on = await ask(app, scope, request.body, self._manner, self._write)
        except Exception:  # noqa: BLE001  # as Hypercorn does
            await self.config.log.exception("Error in ASGI Framework")
        if goes_on:
            await self.protocol_send(Updated(idle=True))
        else:
            self.leave_off()

    def _head(self, status: int, headers: Headers) -> bytes:
        """Return the head of an answer, as h11 writes it: without a reason."""
        ours = self.config.response_headers("h11")
        return b"HTTP/1.1 %d \r\n%b" % (status, lines([*headers, *ours]))

    async def _close(self) -> None:
        end = self.loop.call_later(FAREWELL, self.give_way)
        try:
            self._flush()
            await super()._close()
        finally:
            end.cancel()


def _never(*_: object) -> None:
    """Be called by nobody: no application asks for threads."""
    raise NotImplementedError


hypercorn.asyncio.run.TCPServer = HttpConnection  # type: ignore[attr-defined,assignment]  # no setting does it
