"""Listeners: sockets, signals, and a stop that loses nothing."""

from __future__ import annotations

import asyncio
import logging
import resource
import signal
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hypercorn.asyncio import serve

from exporter.errors import SettingsError
from exporter.http.connection_limit import BACKLOG, GRACE, ConnectionLimit
from exporter.http.connections import ServerConfig
from exporter.http.protection import Terms
from exporter.logs import fields

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from quart import Quart

    from exporter.http.protection import Guard
    from exporter.settings.addresses import ListenAddress

log = logging.getLogger(__name__)

_server_log = logging.getLogger(f"{__name__}.hypercorn")
_server_log.setLevel(logging.WARNING)  # where it listens is said once, by this module's callers

_LOOK = 0.1
"""Seconds between looks for connections that are over, during a stop."""

_OTHER_FILES = 100
"""Files open besides connections: the database, listeners, those of Python itself."""

_FILES_PER_CONNECTION = 2
"""One that is held, and one that is being closed or still agrees on TLS."""


@dataclass(frozen=True, slots=True)
class Listener:
    """An application and the socket it is served on."""

    name: str
    app: Quart
    socket: socket.socket
    guard: Guard
    gate: ConnectionLimit

    @property
    def address(self) -> str:
        """Return where it listens, with the port the system chose."""
        host, port = self.socket.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def listen(
    name: str, app: Quart, address: ListenAddress, guard: Guard, max_connections: int
) -> Listener:
    """Bind an application to an address. Raises ``SettingsError`` where that cannot be done."""
    try:
        return Listener(name, app, _bound_socket(address), guard, ConnectionLimit(max_connections))
    except OSError as error:
        raise SettingsError(
            f"cannot listen on {address} ({name}): {error.strerror or error}; "
            "stop what uses it, or choose another address"
        ) from error


async def serve_until(stop: asyncio.Event, listeners: Sequence[Listener]) -> None:
    """Serve until ``stop`` is set, then finish requests in flight, ``GRACE`` seconds at most."""
    asyncio.get_running_loop().set_exception_handler(_report)
    async with asyncio.TaskGroup() as group:
        for listener in listeners:
            group.create_task(_serve(stop, listener))


def allow_open_files(listeners: Sequence[Listener]) -> None:
    """Raise the limit of open files, as far as the system lets, to what the listeners may need.

    Without that a connection would be left waiting where it should be refused.
    """
    needed = _OTHER_FILES + _FILES_PER_CONNECTION * sum(each.gate.most for each in listeners)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < needed:
        log.warning(
            "fewer open files than connections allowed", extra=fields(files=allowed, needed=needed)
        )


def on_signals(stop: Callable[[], None], reload: Callable[[], None]) -> None:
    """Call ``stop`` on SIGTERM and SIGINT, ``reload`` on SIGHUP, in the running event loop."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    loop.add_signal_handler(signal.SIGHUP, reload)


def _report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Report what asyncio finds wrong, except that a connection was cut off at a stop.

    Python 3.11 takes that for an error, later versions do not.
    """
    if not isinstance(context.get("exception"), asyncio.CancelledError):
        loop.default_exception_handler(context)


async def _serve(stop: asyncio.Event, listener: Listener) -> None:
    if not await _served(stop, listener):
        log.warning("requests cut off", extra=fields(listener=listener.name, after=GRACE))


async def _served(stop: asyncio.Event, listener: Listener) -> bool:
    config = ServerConfig(Terms(listener.guard, listener.gate))
    config.bind = [f"fd://{listener.socket.detach()}"]
    config.backlog = BACKLOG
    config.errorlog = _server_log
    config.graceful_timeout = GRACE
    server = asyncio.ensure_future(serve(listener.app, config, shutdown_trigger=stop.wait))
    await stop.wait()
    finished = True
    try:
        async with asyncio.timeout(GRACE + 1):
            while not server.done():
                listener.gate.send_home()
                await asyncio.wait([server], timeout=_LOOK)
    except TimeoutError:
        finished = False
        server.cancel()
    await asyncio.wait([server])
    return finished


def _bound_socket(address: ListenAddress) -> socket.socket:
    if address.host:
        family, *_, where = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return socket.create_server(where[:2], family=family, backlog=BACKLOG)
    if socket.has_dualstack_ipv6():
        return socket.create_server(
            ("", address.port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=BACKLOG
        )
    return socket.create_server(("", address.port), backlog=BACKLOG)
