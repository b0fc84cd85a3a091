"""Connecting to the PostgreSQL server of ``--storage.url``, and checking that it can be used."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Final
from urllib.parse import urlsplit

import asyncpg  # type: ignore[import-untyped]  # asyncpg has no types

from exporter.errors import SettingsError, StorageDamaged
from exporter.storage.newer_schema import FIND_NEEDED, describe_newer
from exporter.storage.postgres import schema as sql
from exporter.storage.postgres.migrations import migrate
from exporter.storage.postgres.url_parameters import Host, forget_unreadable_home, read_url

PostgresConnection = Any
"""A connection of asyncpg, which has no types."""

OLDEST = 13
"""The oldest version of PostgreSQL that is supported."""

APPLICATION_NAME: Final = "esim-exporter"
"""Name of a connection in ``pg_stat_activity``, unless the URL gives another one."""

_CONNECT_TIMEOUT = 5.0
"""Seconds for a new connection and for migrating the tables."""

_HOST_TIMEOUT = 2.0
"""Seconds for each host except the last. A host that hangs must not block the next one."""

READ_TIMEOUT = 60.0
"""Seconds for one part of a load, and for every statement without a limit of its own."""

_SESSION = {
    "synchronous_commit": "on",
    "default_transaction_isolation": "read committed",
    # A replica that stops in the middle of a commit makes all others wait.
    "idle_in_transaction_session_timeout": "2s",
    # While a commit hangs, for example because a standby is gone, others wait for its lock.
    # Without a limit, each abandoned attempt would keep waiting in the server. Each probe would add
    # one, until no connection is left.
    "lock_timeout": "2500ms",
    # A statement timeout would end the wait for a standby as if the standby had the commit.
    "statement_timeout": "0",
    "jit": "off",
}
"""Settings of each session. Those that the URL sets are left out."""

ERRORS: Final = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
)

AWAY: Final = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.TargetServerAttributeNotMatched,  # a standby that is not promoted yet
    asyncpg.ReadOnlySQLTransactionError,  # it became a standby after we connected
    asyncpg.InsufficientResourcesError,  # for example too many connections
    asyncpg.OperatorInterventionError,  # it is starting or shutting down
    asyncpg.LockNotAvailableError,
)
"""Errors that mean: no server takes writes now, try again later. A timeout is an ``OSError``."""


class PostgresServer:
    """The servers that a URL lists. One of them takes writes."""

    def __init__(self, url: str, *, needs_writes: bool = True) -> None:
        """Parse the URL. With ``needs_writes``, a standby is not good enough.

        Raises ``SettingsError`` for a URL that cannot be used.
        """
        self.url = url
        self.needs_writes = needs_writes
        try:
            self._parameters = read_url(url)
        except ValueError as error:
            raise SettingsError(f"--storage.url: {error}") from None
        self.name = f"PostgreSQL at {urlsplit(url).netloc.rpartition('@')[2] or 'its default'}"
        """The server in messages, without user and password."""
        limit = self._parameters.connect_timeout
        self._host_timeout = limit or _HOST_TIMEOUT
        others = len(self._parameters.hosts) - 1
        self.timeout = (limit or _CONNECT_TIMEOUT) + others * self._host_timeout
        """Seconds for connecting and for migrating the tables."""

    async def connect(self) -> PostgresConnection:
        """Return a connection on which a commit is durable.

        Raises ``SettingsError`` for a URL or a server that cannot be used, and :data:`ERRORS`.
        """
        connection = await self._reach()
        try:
            await self._check(connection)
        except BaseException:
            connection.terminate()
            raise
        return connection

    async def migrate(self, connection: PostgresConnection) -> None:
        """Create the tables or migrate them, in one process at a time.

        Raises ``StorageDamaged`` if a newer version of this program created them.
        """
        await connection.execute(sql.BEGIN)
        await connection.execute("SELECT pg_advisory_xact_lock($1)", sql.MIGRATION_LOCK)
        layout = 0
        if await connection.fetchval(sql.EXISTS):
            (layout,) = await control(connection, sql.READ_LAYOUT)
        if layout > sql.LAYOUT:
            raise StorageDamaged(await self.describe_newer(connection, layout))
        await migrate(connection, layout)
        await connection.execute("COMMIT")

    async def describe_newer(self, connection: PostgresConnection, layout: int) -> str:
        """Say that the database needs a newer version of this program."""
        needed = None
        with suppress(asyncpg.PostgresError):
            needed = await connection.fetchval(FIND_NEEDED)
        return describe_newer(self.name, found=layout, known=sql.LAYOUT, needed=needed)

    async def _reach(self) -> PostgresConnection:
        """Return a connection to the first host that can be used."""
        *others, last = self._parameters.hosts
        forget_unreadable_home()
        try:
            for host in others:
                with suppress(*ERRORS):
                    async with asyncio.timeout(self._host_timeout):
                        return await self._connect(host)
            return await self._connect(last)
        except (ValueError, asyncpg.ClientConfigurationError) as error:
            reason = " ".join(str(error).split())
            raise SettingsError(f"--storage.url: {reason}") from None

    async def _connect(self, host: Host) -> PostgresConnection:
        """Return a connection to one host. Raises :data:`ERRORS`."""
        given = self._parameters.names
        options: dict[str, Any] = {"command_timeout": READ_TIMEOUT, "timeout": self.timeout}
        if "application_name" not in given:
            options["server_settings"] = {"application_name": APPLICATION_NAME}
        writes = self.needs_writes and "target_session_attrs" not in given
        if writes:
            options["target_session_attrs"] = "read-write"
        loop = _LoopForHost(host.address, self._parameters.socket_options)
        connection = await asyncpg.connect(host.url, loop=loop, **options)
        try:
            # SET, not options of the connection: a pooling proxy accepts few of those.
            settings = [f"SET {k} TO '{v}'" for k, v in _SESSION.items() if k not in given]
            await connection.execute("; ".join(settings))
            # A server before version 14 does not report that it is read-only by default.
            read_only = await connection.fetchval("SELECT current_setting('transaction_read_only')")
        except BaseException:
            connection.terminate()
            raise
        if writes and read_only == "on":
            connection.terminate()
            raise asyncpg.TargetServerAttributeNotMatched
        return connection

    async def _check(self, connection: PostgresConnection) -> None:
        """Raise ``SettingsError`` if a commit would not be durable."""
        version = connection.get_server_version()
        if version.major < OLDEST:
            raise SettingsError(f"{self.name}: has version {version.major}, but {OLDEST} is needed")
        for name, bad in (("synchronous_commit", "off"), ("fsync", "off")):
            if await connection.fetchval("SELECT current_setting($1)", name) == bad:
                raise SettingsError(
                    f"{self.name}: {name} is {bad}, so a crash would lose commits: turn it on"
                )


class _LoopForHost:
    """The running event loop, except that TCP connections have an address and options.

    The driver has no parameters for them.
    """

    def __init__(self, address: str, socket_options: tuple[tuple[int, int, int], ...]) -> None:
        """``address`` is the IP address to connect to; empty for that of the host's name."""
        self._loop = asyncio.get_running_loop()
        self._address = address
        self._socket_options = socket_options

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    async def create_connection(self, protocol: Any, host: str, port: int, **options: Any) -> Any:
        """Connect as the event loop does. A certificate is checked for the host's name."""
        if options.get("ssl"):
            options.setdefault("server_hostname", host)
        made = await self._loop.create_connection(protocol, self._address or host, port, **options)
        for option in self._socket_options:
            made[0].get_extra_info("socket").setsockopt(*option)
        return made


async def control(connection: PostgresConnection, statement: str) -> tuple[Any, ...]:
    """Return what a statement selects from the one row of the control table.

    Raises :data:`ERRORS`.
    """
    row: tuple[Any, ...] | None = await connection.fetchrow(statement)
    if row is None:
        raise asyncpg.InterfaceError(
            "the table esim_exporter_control is empty: restore the database, or drop all tables "
            "esim_exporter_* to start with an empty fleet"
        )
    return row
