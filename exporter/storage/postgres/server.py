"""The PostgreSQL server of a ``--storage.url``: how it is reached, and what it must be like."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Final
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit, urlunsplit

import asyncpg  # type: ignore[import-untyped]  # there are none

from exporter.errors import SettingsError, StorageDamaged
from exporter.storage.postgres import schema as sql

PostgresConnection = Any
"""One of asyncpg, which has no types."""

OLDEST = 13
"""The oldest version of PostgreSQL that is supported."""

_TO_CONNECT = 5.0
"""Seconds for a new connection, and for bringing the tables up to date."""

_TO_REACH = 2.0
"""Seconds more for each of several hosts: one that hangs must not keep from the next."""

TO_READ = 60.0
"""Seconds for a part of a load, and for anything that has no other limit."""

_SESSION = {
    "synchronous_commit": "on",
    "default_transaction_isolation": "read committed",
    # A replica that stands still in the middle of a commit keeps all others waiting.
    "idle_in_transaction_session_timeout": "2s",
    # While a commit hangs, say for a standby that is gone, others wait for its lock. Those that
    # were given up would wait on, one more with each probe, until there are no connections left.
    "lock_timeout": "2500ms",
    # It would end a wait for a standby as if the standby had the commit.
    "statement_timeout": "0",
    "jit": "off",
}
"""What a session begins with, where the URL does not say otherwise."""

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
    asyncpg.ReadOnlySQLTransactionError,  # likewise
    asyncpg.InsufficientResourcesError,  # too many connections among them
    asyncpg.OperatorInterventionError,  # it starts, or is shut down
    asyncpg.LockNotAvailableError,
)
"""What is raised where there is no server for now that takes writes; a time limit that was
exceeded is an ``OSError``."""


class Server:
    """One server, or several of which one takes writes."""

    def __init__(self, url: str, *, writes: bool = True) -> None:
        """Write down a URL; ``writes`` says whether the server must be one that takes writes."""
        self.url = url
        self.writes = writes
        self._hosts = _urls_of_hosts(url)
        self.name = f"PostgreSQL at {urlsplit(url).netloc.rpartition('@')[2] or 'its default'}"
        """For messages, without user and password."""
        self.patience = _TO_CONNECT + (len(self._hosts) - 1) * _TO_REACH
        """Seconds for connecting, and for bringing the tables up to date."""

    async def connect(self) -> PostgresConnection:
        """Return a connection in which a commit is what it is taken for.

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
        """Make the tables, or bring them up to date; one process at a time does.

        Raises ``StorageDamaged`` where a newer version made them.
        """
        await connection.execute(sql.BEGIN)
        await connection.execute("SELECT pg_advisory_xact_lock($1)", sql.MIGRATION_LOCK)
        layout = 0
        if await connection.fetchval(sql.EXISTS):
            (layout,) = await control(connection, sql.READ_LAYOUT)
        if layout > sql.LAYOUT:
            raise StorageDamaged(
                f"{self.name}: its tables are of a newer version (layout {layout}, this one knows "
                f"{sql.LAYOUT}); run that version"
            )
        for statement in sql.MIGRATIONS[layout:]:
            await connection.execute(statement)
        if layout < sql.LAYOUT:
            await connection.execute(sql.WRITE_LAYOUT, sql.LAYOUT)
        await connection.execute("COMMIT")

    async def _reach(self) -> PostgresConnection:
        """Return a connection to the first host that can be written to."""
        *others, last = self._hosts
        try:
            for url in others:
                with suppress(*ERRORS):
                    async with asyncio.timeout(_TO_REACH):
                        return await self._connect(url)
            return await self._connect(last)
        except (ValueError, asyncpg.ClientConfigurationError) as error:
            said = " ".join(str(error).split())
            raise SettingsError(f"--storage.url: {said}") from None

    async def _connect(self, url: str) -> PostgresConnection:
        """Return a connection to one host, in which can be written where nothing else is asked."""
        given = parse_qs(urlsplit(url).query)
        options: dict[str, Any] = {"command_timeout": TO_READ}
        if "application_name" not in given:
            options["server_settings"] = {"application_name": "esim-exporter"}
        writes = self.writes and "target_session_attrs" not in given
        if writes:
            options["target_session_attrs"] = "read-write"
        connection = await asyncpg.connect(url, **options)
        try:
            # Not with the connection itself: a proxy that pools sessions knows few of them.
            settings = [f"SET {k} TO '{v}'" for k, v in _SESSION.items() if k not in given]
            await connection.execute("; ".join(settings))
            # A server before version 14 does not say of itself that it is read-only by default.
            read_only = await connection.fetchval("SELECT current_setting('transaction_read_only')")
        except BaseException:
            connection.terminate()
            raise
        if writes and read_only == "on":
            connection.terminate()
            raise asyncpg.TargetServerAttributeNotMatched
        return connection

    async def _check(self, connection: PostgresConnection) -> None:
        """Raise ``SettingsError`` where a commit would not be what it is taken for."""
        version = connection.get_server_version()
        if version.major < OLDEST:
            raise SettingsError(f"{self.name}: version {version.major}, {OLDEST} is needed")
        for name, bad in (("synchronous_commit", "off"), ("fsync", "off")):
            if await connection.fetchval("SELECT current_setting($1)", name) == bad:
                raise SettingsError(
                    f"{self.name}: {name} is {bad}, so that a crash loses what was committed; "
                    "turn it on"
                )


async def control(connection: PostgresConnection, statement: str) -> tuple[Any, ...]:
    """Return what a statement says of the one row of the control table; raises :data:`ERRORS`."""
    row: tuple[Any, ...] | None = await connection.fetchrow(statement)
    if row is None:
        raise asyncpg.InterfaceError(
            "the table esim_exporter_control is empty: restore the database, or drop all tables "
            "esim_exporter_* to begin anew"
        )
    return row


def _urls_of_hosts(url: str) -> list[str]:
    """Return a URL for each of the hosts that a URL lists."""
    parts = urlsplit(url)
    user, at, hosts = parts.netloc.rpartition("@")
    if "," in hosts:
        return [urlunsplit(parts._replace(netloc=user + at + host)) for host in hosts.split(",")]
    query = dict(parse_qsl(parts.query))
    named, ports = (query.get(name, "").split(",") for name in ("host", "port"))
    if len(named) == 1 or len(ports) not in {1, len(named)}:
        return [url]
    if len(ports) == 1:
        ports *= len(named)
    queries = [query | {"host": h, "port": p} for h, p in zip(named, ports, strict=True)]
    return [
        urlunsplit(parts._replace(query=urlencode({k: v for k, v in each.items() if v})))
        for each in queries
    ]
