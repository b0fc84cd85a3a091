"""Durable storage in PostgreSQL, shared by any number of replicas.

There is one connection. The process remembers the number of a commit, the *cursor*. Its memory
holds the database as it was at that commit, and its own later commits.
:meth:`PostgresStorage.follow` moves the cursor forward. After any error the connection is closed,
and everything is refused until a probe has written through a new one.
"""

from __future__ import annotations

import asyncio
import logging
from secrets import randbits
from time import monotonic
from typing import TYPE_CHECKING, Self, TypeVar

import asyncpg  # type: ignore[import-untyped]  # asyncpg has no types

from exporter.errors import ExporterError, SettingsError, StorageDamaged, StorageUnavailable
from exporter.logs import fields
from exporter.storage.contract import Chunk, Key, Row, Sizes, Table
from exporter.storage.postgres import schema as sql
from exporter.storage.postgres.encoding import (
    EncodedCommit,
    EncodedKey,
    decode_base,
    decode_key,
    decode_row,
)
from exporter.storage.postgres.server import AWAY, ERRORS, READ_TIMEOUT, PostgresServer, control

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from pathlib import Path

    from exporter.model.shards import Shard
    from exporter.storage.contract import Changes
    from exporter.storage.postgres.server import PostgresConnection

log = logging.getLogger(__name__)

T = TypeVar("T")

TIMEOUT = 3.0
"""Seconds for a commit, or for following, before the connection is closed."""

MAX_FOLLOWED_ROWS = 20_000
"""Rows that are followed at once. If more have changed, everything is loaded again. Right after
a load there is no limit: much may have changed while a large fleet was loaded."""

_PRUNE_ROWS = 2000
"""Greatest number of rows that one statement removes."""

_CHUNK_ROWS = 1000

_MEASURE_EVERY = 60.0
"""Seconds between measurements of the database's size."""

_PRUNE_EVERY = 600.0
"""Seconds between removals of the commit numbers and deleted rows that no replica needs."""


class PostgresStorage:
    """Implements :class:`exporter.storage.contract.SharedStorage`. Created by :meth:`open`."""

    needs_writes = True
    """Whether the server must take writes."""

    def __init__(self, url: str, shard: Shard) -> None:
        self._server = PostgresServer(url, needs_writes=self.needs_writes)
        self._name = self._server.name
        self._shard = shard
        self._slots = list(shard.slots)
        self._connection: PostgresConnection | None = None
        self._fault: str | None = None
        self._cursor = -1
        """The last commit that is in memory; -1 before the first load has ended."""
        self._token = 0
        """The random token of the cursor's commit. A promoted standby may have another commit with
        the same number."""
        self._just_loaded = False
        """Whether nothing was followed since the last load."""
        self._own_commits: dict[int, int] = {}
        """Tokens of this process's commits after the cursor, by commit number."""
        self._bases: dict[Key, int] = {}
        """The bases as they are in memory."""
        self._fetched: dict[tuple[int, bytes], int] = {}
        """For each row that was fetched for the next commit: a commit number before the fetch."""
        self._size = 0
        self._measured_at = self._pruned_at = -_PRUNE_EVERY
        self.on_change: Callable[[], None] = lambda: None

    @classmethod
    async def open(cls, url: str, shard: Shard) -> Self:
        """Connect, and create or migrate the tables.

        A server that is away or still starting is no error: a later probe connects. Raises
        ``SettingsError`` for a URL or a server that cannot be used, ``StorageDamaged`` if a
        newer version created the tables, and ``StorageUnavailable`` for anything else.
        """
        storage = cls(url, shard)
        try:
            async with asyncio.timeout(storage._server.timeout):
                await storage._connect()
                await storage._migrate()
        except ERRORS as error:
            raised = storage._fail(error)
            if not isinstance(error, AWAY):
                raise raised from error
        except BaseException:
            storage._drop()
            raise
        return storage

    async def load(self) -> AsyncIterator[Chunk]:
        """Read all rows and bases of the shard, as one consistent state."""
        self._cursor = -1
        self._own_commits.clear()
        self._bases.clear()
        connection = self._connected()
        try:
            await connection.execute(sql.BEGIN_LOADING)
            seq, _ = await control(connection, sql.NEWEST)
            token = await connection.fetchval(sql.TOKEN, seq)
            async for chunk in self._chunks(connection):
                yield chunk
            await connection.execute("COMMIT")
        except ERRORS as error:
            raise self._fail(error) from error
        except BaseException:
            # A newer connection may exist by now. It has nothing to do with this load.
            if self._connection is connection:
                self._fail(None)
            raise
        self._cursor, self._token, self._just_loaded = seq, token, True

    async def commit(self, changes: Changes) -> tuple[Row, ...]:
        """Write all changes, or return the rows that are not as expected."""
        if self._fault:
            raise StorageUnavailable(self._fault)
        if not changes:
            return ()
        encoded = EncodedCommit.of(changes)
        try:
            conflicts = await self._within(TIMEOUT, self._write(encoded))
        finally:
            self._fetched.clear()
        return conflicts

    async def follow(self) -> Chunk | None:
        """Return what was committed after the cursor; ``None`` if all must be loaded again."""
        if self._fault:
            raise StorageUnavailable(self._fault)
        return await self._within(None, self._follow())

    async def fetch(self, wanted: Sequence[tuple[Table, Key]]) -> tuple[Row, ...]:
        """Return the wanted rows that exist, of any shard."""
        if self._fault:
            raise StorageUnavailable(self._fault)
        return await self._within(TIMEOUT, self._fetch(wanted))

    async def probe(self) -> bool:
        """Connect again and write; return whether all must be loaded again."""
        return await self._within(self._server.timeout, self._probe())

    async def backup(self, path: Path) -> None:
        """Raise ``StorageUnavailable``: PostgreSQL has its own tools for backups."""
        raise StorageUnavailable(f"no backup to {path}: use pg_dump, or your own backup tool")

    def sizes(self) -> Sizes:
        """Return bytes on disk, at most a minute old."""
        return Sizes(self._size, 0)

    async def close(self) -> None:
        """Close the connection. A second call does nothing."""
        connection, self._connection = self._connection, None
        self._fault = self._fault or f"{self._name}: closed"
        if connection is None:
            return
        try:
            await connection.close(timeout=1)
        except ERRORS:
            connection.terminate()

    async def _within(self, seconds: float | None, work: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(seconds):
                return await work
        except ERRORS as error:
            raise self._fail(error) from error
        except StorageDamaged as error:
            self._fail(error)
            raise
        except ExporterError:
            raise
        except BaseException:
            self._fail(None)  # the connection may be in the middle of a statement
            raise

    def _fail(self, error: BaseException | None) -> StorageUnavailable:
        """Close the connection and refuse everything until a probe succeeds."""
        self._drop()
        reason = (str(error) or type(error).__name__) if error else "the operation was cancelled"
        if isinstance(error, asyncpg.InternalClientError):
            reason = "the connection broke"  # its own text is about asyncpg's protocol state
        if isinstance(error, asyncpg.TargetServerAttributeNotMatched):
            reason = "it takes no writes, like a standby that is not promoted"
        self._fault = f"{self._name}: {reason.splitlines()[0].removeprefix(f'{self._name}: ')}"
        return StorageUnavailable(self._fault)

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    def _connected(self) -> PostgresConnection:
        if self._connection is None:
            raise StorageUnavailable(self._fault or f"{self._name}: not connected")
        return self._connection

    async def _connect(self) -> None:
        self._connection = await self._server.connect()
        if self.needs_writes:  # a standby cannot listen
            await self._connection.add_listener(sql.CHANNEL, self._notified)

    async def _migrate(self) -> None:
        await self._server.migrate(self._connected())

    async def _chunks(self, connection: PostgresConnection) -> AsyncIterator[Chunk]:
        """Yield all rows and bases of the shard. A transaction must be open."""
        rows = await connection.cursor(sql.LOAD_ROWS, self._slots)
        while found := await rows.fetch(_CHUNK_ROWS, timeout=READ_TIMEOUT):
            yield Chunk(tuple(map(decode_row, found)))
        bases = await connection.cursor(sql.LOAD_BASES, self._slots)
        while found := await bases.fetch(_CHUNK_ROWS, timeout=READ_TIMEOUT):
            amounts = dict(map(decode_base, found))
            self._bases.update(amounts)
            yield Chunk(bases=amounts)

    async def _write(self, commit: EncodedCommit) -> tuple[Row, ...]:
        connection = self._connected()
        await connection.execute(sql.BEGIN_WRITING)
        (seq,) = await control(connection, sql.NEXT)
        if commit.rows:
            kinds, keys, slots = (list(column) for column in zip(*commit.keys, strict=True))
            known = [self._fetched.get(key[:2], self._cursor) for key in commit.keys]
            wanted = (kinds, keys, commit.expected, known, list(self._own_commits))
            if found := await connection.fetch(sql.CONFLICTS, *wanted):
                await connection.execute("ROLLBACK")
                return tuple([commit.stored_row(n - 1, *stored) for n, *stored in found])
            new = (kinds, keys, slots, commit.versions, commit.data, seq)
            await connection.execute(sql.WRITE_ROWS, *new)
        if commit.bases:
            columns = [list(column) for column in zip(*commit.bases, strict=True)]
            await connection.execute(sql.ADD_BASES, *columns, seq)
        token = randbits(63)
        await connection.execute(sql.NOTE_COMMIT, seq, token)
        await connection.execute(f"{sql.NOTIFY}; COMMIT")
        if seq == self._cursor + 1:
            self._cursor, self._token = seq, token
        else:
            self._own_commits[seq] = token
        for encoded, slot, amount in commit.bases:
            if self._shard.owns(slot):
                key = decode_key(encoded)
                self._bases[key] = self._bases.get(key, 0) + int(amount)
        return ()

    async def _follow(self) -> Chunk | None:
        connection = self._connected()
        rows: list[Row] = []
        async with asyncio.timeout(TIMEOUT) as limit:
            await self._measure_and_prune(connection)
            seq, _ = await control(connection, sql.NEWEST)
            if seq == self._cursor:
                self._just_loaded = False
                return Chunk()
            await connection.execute(sql.BEGIN_READING)
            seq, pruned = await control(connection, sql.NEWEST)
            lost = not pruned <= self._cursor <= seq
            if lost or not (self._just_loaded or await self._few_changed(connection)):
                await connection.execute("ROLLBACK")
                return None
            changed = await connection.cursor(sql.CHANGED_ROWS, self._slots, self._cursor)
            while found := await changed.fetch(_CHUNK_ROWS):
                rows += map(decode_row, found)
                # The limit is for each part, not for all parts together.
                limit.reschedule(asyncio.get_running_loop().time() + TIMEOUT)
            bases = await connection.fetch(sql.CHANGED_BASES, self._slots, self._cursor)
            token = await connection.fetchval(sql.TOKEN, seq)
            await connection.execute("COMMIT")
        added: dict[Key, int] = {}
        for key, amount in map(decode_base, bases):
            added[key] = amount - self._bases.get(key, 0)
            self._bases[key] = amount
        self._cursor, self._token, self._just_loaded = seq, token, False
        self._own_commits.clear()
        return Chunk(tuple(rows), added)

    async def _few_changed(self, connection: PostgresConnection) -> bool:
        wanted = (self._slots, self._cursor, MAX_FOLLOWED_ROWS + 1)
        changed: int = await connection.fetchval(sql.COUNT_CHANGED, *wanted)
        return changed <= MAX_FOLLOWED_ROWS

    async def _fetch(self, wanted: Sequence[tuple[Table, Key]]) -> tuple[Row, ...]:
        connection = self._connected()
        # Before the rows are read, so that a later change to them is a conflict.
        seq, _ = await control(connection, sql.NEWEST)
        keys = [EncodedKey.of(table, key) for table, key in wanted]
        found = await connection.fetch(
            sql.FETCH, [key.kind for key in keys], [key.key for key in keys]
        )
        self._fetched.update((key[:2], seq) for key in keys)
        return tuple([Row(*wanted[n - 1], version, data) for n, version, data in found])  # type: ignore[call-arg]  # table and key

    async def _probe(self) -> bool:
        if self._connection is None:
            await self._reconnect()
        connection = self._connected()
        await control(connection, sql.PROBE)
        if not await connection.fetchval(sql.MAY_WRITE):
            raise asyncpg.InsufficientPrivilegeError(
                "this role may not read and write all tables esim_exporter_*: grant it SELECT, "
                "INSERT, UPDATE and DELETE on them"
            )
        known = {self._cursor: self._token, **self._own_commits}
        noted = await connection.fetchval(sql.COUNT_NOTED, list(known), list(known.values()))
        lost = noted < len(known)
        if lost and self._cursor >= 0:
            log.warning(
                "the database lost commits, or this process was disconnected for too long: loading "
                "everything again",
                extra=fields(at=self._name),
            )
        self._fault = None
        return lost or self._cursor < 0

    async def _reconnect(self) -> None:
        try:
            await self._connect()
            await self._migrate()
        except (SettingsError, StorageDamaged) as error:  # another server now, or a newer version
            raise self._fail(error) from error

    async def _measure_and_prune(self, connection: PostgresConnection) -> None:
        """Measure the size and prune, each after its interval."""
        now = monotonic()
        if now >= self._measured_at + _MEASURE_EVERY:
            self._measured_at = now
            self._size = int(await connection.fetchval(sql.SIZE))
        if now >= self._pruned_at + _PRUNE_EVERY:
            await connection.execute(sql.FORGET)
            done = [await connection.execute(statement, _PRUNE_ROWS) for statement in sql.PRUNE]
            if all(int(status.split()[1]) < _PRUNE_ROWS for status in done):
                self._pruned_at = now  # if not, the next call removes more

    def _notified(self, connection: PostgresConnection, sender: int, *_: object) -> None:
        if sender != connection.get_server_pid():
            self.on_change()
