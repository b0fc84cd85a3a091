"""Listeners: the sockets that accept connections, and a stop that loses no request."""

from __future__ import annotations

import asyncio
import errno
import logging
import resource
import signal
import socket
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv6Address
from time import time
from typing import TYPE_CHECKING
from wsgiref.handlers import format_date_time

from exporter.errors import SettingsError
from exporter.http.connection import Connection
from exporter.http.connection_limit import NO_ROOM, ConnectionLimit
from exporter.http.hypercorn_internals import ProtocolContext
from exporter.http.timeouts import ACCEPT_PAUSE, STOP_TIMEOUT
from exporter.logs import Throttle, fields

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from exporter.http.connection_limit import ConnectionBounds
    from exporter.http.protection import ReloadableProtection
    from exporter.http.quart_application import Application
    from exporter.settings.field_types import ListenAddress

log = logging.getLogger(__name__)

_BACKLOG = 1024
"""Connections that the kernel holds until they are accepted. The vendor sends in bursts."""

_ACCEPTED_PER_TURN = 4
"""Connections accepted in one turn of the event loop. They must not starve beside the requests
that begin in a turn, see :class:`exporter.http.turns.Turns`."""

_OTHER_FILES = 100
"""Open files other than connections: the database, the listeners, and files of Python itself."""

_FILES_PER_CONNECTION = 2
"""For each open connection, another one that gave way may be closing."""

_OUT_OF_FILES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""Reasons why the system opens no file for a new connection."""


@dataclass(frozen=True, slots=True)
class Listener:
    """An application and the socket where it is served."""

    name: str
    app: Application
    socket: socket.socket
    protection: ReloadableProtection
    connections: ConnectionLimit
    idle_timeout: float
    """Seconds for which a connection may wait for a request."""

    @property
    def address(self) -> str:
        """Return the address with the port that the system chose, until the socket is closed."""
        host, port = self.socket.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def listen(
    name: str,
    app: Application,
    address: ListenAddress,
    protection: ReloadableProtection,
    bounds: ConnectionBounds,
) -> Listener:
    """Bind an application to an address. Raises ``SettingsError`` if that fails."""
    try:
        bound = _bound_socket(address)
    except OSError as error:
        raise SettingsError(
            f"cannot listen on {address} ({name}): {error.strerror or error}; "
            "choose another address, or stop the program that uses this one"
        ) from error
    bound.settimeout(0)
    limit = ConnectionLimit(bounds.max_open)
    return Listener(name, app, bound, protection, limit, bounds.idle_timeout)


async def serve_until(stop: asyncio.Event, listeners: Sequence[Listener]) -> None:
    """Serve until ``stop`` is set, then finish requests in flight for ``STOP_TIMEOUT`` seconds.

    At the end the sockets of the listeners and all connections are closed.
    """
    async with asyncio.TaskGroup() as group:
        for listener in listeners:
            group.create_task(_Acceptor(listener).run(stop))


def allow_open_files(listeners: Sequence[Listener]) -> None:
    """Raise the limit of open files to what the listeners may need, as far as the system allows.

    A process that reaches its limit of open files leaves new connections without an answer,
    instead of refusing them.
    """
    needed = _OTHER_FILES + _FILES_PER_CONNECTION * sum(
        each.connections.max_open for each in listeners
    )
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < needed:
        log.warning(
            "the system allows fewer open files than the listeners may need; raise the limit "
            "(ulimit -n) or lower max-connections",
            extra=fields(files=allowed, needed=needed),
        )


def on_signals(stop: Callable[[], None], reload: Callable[[], None]) -> None:
    """Call ``stop`` on SIGTERM and SIGINT, ``reload`` on SIGHUP, in the running event loop."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    loop.add_signal_handler(signal.SIGHUP, reload)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})  # it waited during the start


class _Acceptor:
    """Accepts the connections of one listener."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._limit = listener.connections
        self._context = ProtocolContext(listener.app, self._added_headers, listener.app.failures)
        self._loop = asyncio.get_running_loop()
        self._connections: dict[asyncio.Task[None], Connection] = {}
        self._pause: asyncio.TimerHandle | None = None
        self._throttle = Throttle()
        self._date = (0, b"")

    async def run(self, stop: asyncio.Event) -> None:
        await self._listener.app.startup()
        self._accept_from_now_on()
        try:
            await stop.wait()
        finally:
            if self._pause:
                self._pause.cancel()
            self._loop.remove_reader(self._listener.socket)
            self._listener.socket.close()
            await self._finish()
        await self._listener.app.shutdown()

    def _accept_from_now_on(self) -> None:
        self._loop.add_reader(self._listener.socket, self._accept)

    def _accept(self) -> None:
        """Accept a few connections.

        The event loop comes back for the next ones after other work. So a burst of new connections
        waits in the kernel and does not slow down all requests that have begun.
        """
        for _ in range(_ACCEPTED_PER_TURN):
            try:
                client, _ = self._listener.socket.accept()
            except OSError as error:
                # accept(2): most errors concern the one connection, which is gone then.
                if error.errno in _OUT_OF_FILES:
                    self._make_room(error)
                return
            self._take(client)

    def _take(self, client: socket.socket) -> None:
        """Serve a client, or refuse it."""
        tls = self._listener.protection.current.tls
        connection = Connection(
            self._context, self._limit, client, tls, self._listener.idle_timeout
        )
        if not self._limit.admit(connection):
            with suppress(OSError), client:
                client.settimeout(0)
                if not tls:
                    client.send(NO_ROOM)
            return
        task = asyncio.create_task(connection.serve())
        self._connections[task] = connection
        task.add_done_callback(self._connections.pop)

    def _make_room(self, error: OSError) -> None:
        """Close a connection, or accept none for a while, because no file can be opened."""
        held_back = self._throttle.admit("accept")
        if held_back is not None:
            log.warning(
                "no connection can be accepted",
                extra=fields(
                    listener=self._listener.name,
                    reason=error.strerror,
                    cure="raise the limit of open files (ulimit -n) or lower max-connections",
                    not_logged=held_back,
                ),
            )
        if not self._limit.displace():
            self._loop.remove_reader(self._listener.socket)
            self._pause = self._loop.call_later(ACCEPT_PAUSE, self._accept_from_now_on)

    async def _finish(self) -> None:
        """Wait for requests in flight, and cut off requests that take too long."""
        await self._context.stop()
        for connection in self._connections.values():
            connection.close_unless_answering()
        if not self._connections:
            return
        _, unfinished = await asyncio.wait(self._connections, timeout=STOP_TIMEOUT)
        if requests := self._limit.answered:
            log.warning(
                "the stop cut off requests that were not answered in time",
                extra=fields(listener=self._listener.name, requests=requests, after=STOP_TIMEOUT),
            )
        for task in unfinished:
            task.cancel()
        if unfinished:
            await asyncio.wait(unfinished)

    def _added_headers(self) -> list[tuple[bytes, bytes]]:
        """Return the headers that are added to every answer."""
        now = int(time())
        if self._date[0] != now:
            self._date = (now, format_date_time(now).encode())
        return [(b"date", self._date[1]), *self._listener.protection.current.headers]


def _bound_socket(address: ListenAddress) -> socket.socket:
    host = _plain_host(address.host)
    if host:
        family, *_, where = socket.getaddrinfo(
            host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return socket.create_server(where[:2], family=family, backlog=_BACKLOG)
    if socket.has_dualstack_ipv6():
        return socket.create_server(
            ("", address.port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=_BACKLOG
        )
    return socket.create_server(("", address.port), backlog=_BACKLOG)


def _plain_host(host: str) -> str:
    """Return a host as Go's listeners understand it; empty for all interfaces, IPv4 included."""
    try:
        address = IPv6Address(host)
    except AddressValueError:
        return host
    if address.is_unspecified:
        return ""
    return str(address.ipv4_mapped or host)
