"""Durable storage in PostgreSQL, shared by any number of replicas.

One connection. Memory is as the database was at one commit, the *cursor*, with what this
process committed since; :meth:`PostgresStorage.follow` moves the cursor on. After anything that
failed the connection is dropped, and nothing is tried until a probe has written through another.
"""

from __future__ import annotations

import asyncio
import logging
from secrets import randbits
from time import monotonic
from typing import TYPE_CHECKING, Self, TypeVar

import asyncpg  # type: ignore[import-untyped]  # there are none

from exporter.errors import ExporterError, SettingsError, StorageDamaged, StorageUnavailable
from exporter.logs import fields
from exporter.storage.contract import Chunk, Key, Row, Sizes, Table
from exporter.storage.postgres import schema as sql
from exporter.storage.postgres.parameters import CommitParameters, base_of, row_of
from exporter.storage.postgres.schema import RowAddress, decoded
from exporter.storage.postgres.server import AWAY, ERRORS, TO_READ, Server, control

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from pathlib import Path

    from exporter.model.shards import Shard
    from exporter.storage.contract import Changes
    from exporter.storage.postgres.server import PostgresConnection

log = logging.getLogger(__name__)

T = TypeVar("T")

PATIENCE = 3.0
"""Seconds for a commit, or for following, before the connection is given up."""

MOST_FOLLOWED = 20_000
"""Rows that are followed at once; where more have changed, all are loaded afresh. After a load
there is no limit: while a large fleet is loaded much changes."""

_PRUNED = 2000
"""Rows that are removed at once."""

_CHUNK = 1000
"""Rows in one chunk of a load."""

_NEWS_OF_SIZE = 60.0
"""Seconds between looks at the size of the database."""

_PRUNE_EVERY = 600.0
"""Seconds between removals of what nobody follows any more."""


class PostgresStorage:
    """A :class:`exporter.storage.SharedStorage`; :meth:`open` makes one."""

    writes = True
    """Whether the server must be one that takes writes."""

    def __init__(self, url: str, shard: Shard) -> None:
        self._server = Server(url, writes=self.writes)
        self._name = self._server.name
        self._shard = shard
        self._slots = list(shard.slots)
        self._connection: PostgresConnection | None = None
        self._fault: str | None = None
        self._cursor = -1
        """The commit that memory is as of; before a load has ended, none."""
        self._token = 0
        """Of the cursor's commit: a promoted standby may not have it, and another in its place."""
        self._fresh = False
        """Whether nothing was followed since the load."""
        self._own: dict[int, int] = {}
        """Commits of this process after the cursor, with their tokens."""
        self._bases: dict[Key, int] = {}
        """What memory holds of each."""
        self._fetched: dict[tuple[int, bytes], int] = {}
        """Rows that were fetched for the next commit, and the commit they are as of, or later."""
        self._size = 0
        self._measured = self._pruned = -_PRUNE_EVERY
        self.on_change: Callable[[], None] = lambda: None

    @classmethod
    async def open(cls, url: str, shard: Shard) -> Self:
        """Connect, and make or bring up to date the tables.

        A server that is away, or still starts, is no error: a probe connects. Raises
        ``SettingsError`` for a URL or a server that cannot be used, ``StorageDamaged`` where a
        newer version made the tables, ``StorageUnavailable`` for anything else.
        """
        storage = cls(url, shard)
        try:
            async with asyncio.timeout(storage._server.patience):
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
        """Read everything of the shard: see :meth:`exporter.storage.Storage.load`."""
        self._cursor = -1
        self._own.clear()
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
            if self._connection is connection:  # and none that was made since this was given up
                self._fail(None)
            raise
        self._cursor, self._token, self._fresh = seq, token, True

    async def commit(self, changes: Changes) -> tuple[Row, ...]:
        """Write all changes or none: see :meth:`exporter.storage.Storage.commit`."""
        if self._fault:
            raise StorageUnavailable(self._fault)
        if not changes:
            return ()
        plan = CommitParameters.of(changes)
        try:
            conflicts = await self._within(PATIENCE, self._write(plan))
        finally:
            self._fetched.clear()
        return conflicts

    async def follow(self) -> Chunk | None:
        """Return what others committed: see :meth:`exporter.storage.SharedStorage.follow`."""
        if self._fault:
            raise StorageUnavailable(self._fault)
        return await self._within(None, self._read_on())

    async def fetch(self, wanted: Sequence[tuple[Table, Key]]) -> tuple[Row, ...]:
        """Return rows of any shard: see :meth:`exporter.storage.SharedStorage.fetch`."""
        if self._fault:
            raise StorageUnavailable(self._fault)
        return await self._within(PATIENCE, self._find(wanted))

    async def probe(self) -> bool:
        """Connect anew and write: see :meth:`exporter.storage.Storage.probe`."""
        return await self._within(self._server.patience, self._try_again())

    async def backup(self, path: Path) -> None:
        """Refuse: PostgreSQL has tools of its own for that."""
        raise StorageUnavailable(f"no backup to {path}: use pg_dump, or what your team uses")

    def sizes(self) -> Sizes:
        """Return bytes on disk, as of the last minute."""
        return Sizes(self._size, 0)

    async def close(self) -> None:
        """Let go of the connection; once more does nothing."""
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
            self._fail(None)  # in the middle of something
            raise

    def _fail(self, error: BaseException | None) -> StorageUnavailable:
        """Drop the connection and refuse what comes, until a probe succeeds."""
        self._drop()
        said = (str(error) or type(error).__name__) if error else "given up"
        if isinstance(error, asyncpg.InternalClientError):
            said = "the connection broke"  # its own words are of the state of its protocol
        if isinstance(error, asyncpg.TargetServerAttributeNotMatched):
            said = "it takes no writes, as a standby that is not promoted"
        self._fault = f"{self._name}: {said.splitlines()[0].removeprefix(f'{self._name}: ')}"
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
        if self.writes:  # a standby cannot listen
            await self._connection.add_listener(sql.CHANNEL, self._told)

    async def _migrate(self) -> None:
        await self._server.migrate(self._connected())

    async def _chunks(self, connection: PostgresConnection) -> AsyncIterator[Chunk]:
        """Yield all rows and bases of the shard, in a transaction that was begun."""
        rows = await connection.cursor(sql.LOAD_ROWS, self._slots)
        while found := await rows.fetch(_CHUNK, timeout=TO_READ):
            yield Chunk(tuple(map(row_of, found)))
        bases = await connection.cursor(sql.LOAD_BASES, self._slots)
        while found := await bases.fetch(_CHUNK, timeout=TO_READ):
            amounts = dict(map(base_of, found))
            self._bases.update(amounts)
            yield Chunk(bases=amounts)

    async def _write(self, plan: CommitParameters) -> tuple[Row, ...]:
        connection = self._connected()
        await connection.execute(sql.BEGIN_WRITING)
        (seq,) = await control(connection, sql.NEXT)
        if plan.rows:
            known = [self._fetched.get(place[:2], self._cursor) for place in plan.places]
            wanted = (plan.kinds, plan.keys, plan.expected, known, list(self._own))
            if found := await connection.fetch(sql.CONFLICTS, *wanted):
                await connection.execute("ROLLBACK")
                return tuple([plan.found(n - 1, version, data) for n, version, data in found])
            slots = [place.slot for place in plan.places]
            new = (plan.kinds, plan.keys, slots, plan.versions, plan.data, seq)
            await connection.execute(sql.WRITE_ROWS, *new)
        if plan.bases:
            columns = [list(column) for column in zip(*plan.bases, strict=True)]
            await connection.execute(sql.ADD_BASES, *columns, seq)
        token = randbits(63)
        await connection.execute(sql.NOTE_COMMIT, seq, token)
        await connection.execute(f"{sql.NOTIFY}; COMMIT")
        if seq == self._cursor + 1:
            self._cursor, self._token = seq, token
        else:
            self._own[seq] = token
        for stored, slot, amount in plan.bases:
            if self._shard.owns(slot):
                key = decoded(stored)
                self._bases[key] = self._bases.get(key, 0) + int(amount)
        return ()

    async def _read_on(self) -> Chunk | None:
        connection = self._connected()
        rows: list[Row] = []
        async with asyncio.timeout(PATIENCE) as limit:
            await self._tend(connection)
            seq, _ = await control(connection, sql.NEWEST)
            if seq == self._cursor:
                self._fresh = False
                return Chunk()
            await connection.execute(sql.BEGIN_READING)
            seq, pruned = await control(connection, sql.NEWEST)
            lost = not pruned <= self._cursor <= seq
            if lost or not (self._fresh or await self._few(connection)):
                await connection.execute("ROLLBACK")
                return None
            changed = await connection.cursor(sql.CHANGED_ROWS, self._slots, self._cursor)
            while found := await changed.fetch(_CHUNK):
                rows += map(row_of, found)
                # However much it is, as long as it comes.
                limit.reschedule(asyncio.get_running_loop().time() + PATIENCE)
            bases = await connection.fetch(sql.CHANGED_BASES, self._slots, self._cursor)
            token = await connection.fetchval(sql.TOKEN, seq)
            await connection.execute("COMMIT")
        added: dict[Key, int] = {}
        for key, amount in map(base_of, bases):
            added[key] = amount - self._bases.get(key, 0)
            self._bases[key] = amount
        self._cursor, self._token, self._fresh = seq, token, False
        self._own.clear()
        return Chunk(tuple(rows), added)

    async def _few(self, connection: PostgresConnection) -> bool:
        wanted = (self._slots, self._cursor, MOST_FOLLOWED + 1)
        changed: int = await connection.fetchval(sql.COUNT_CHANGED, *wanted)
        return changed <= MOST_FOLLOWED

    async def _find(self, wanted: Sequence[tuple[Table, Key]]) -> tuple[Row, ...]:
        connection = self._connected()
        seq, _ = await control(connection, sql.NEWEST)  # first: what changes after is noticed
        places = [RowAddress.of(table, key) for table, key in wanted]
        found = await connection.fetch(
            sql.FETCH, [place.kind for place in places], [place.key for place in places]
        )
        self._fetched.update((place[:2], seq) for place in places)
        return tuple([Row(*wanted[n - 1], version, data) for n, version, data in found])  # type: ignore[call-arg]  # two parts

    async def _try_again(self) -> bool:
        if self._connection is None:
            await self._reconnect()
        connection = self._connected()
        await control(connection, sql.PROBE)
        if not await connection.fetchval(sql.MAY_WRITE):
            raise asyncpg.InsufficientPrivilegeError(
                "this role may not read and write all tables esim_exporter_*: grant it that"
            )
        known = {self._cursor: self._token, **self._own}
        noted = await connection.fetchval(sql.COUNT_NOTED, list(known), list(known.values()))
        lost = noted < len(known)
        if lost and self._cursor >= 0:
            log.warning(
                "database went back, or on without us for too long", extra=fields(at=self._name)
            )
        self._fault = None
        return lost or self._cursor < 0

    async def _reconnect(self) -> None:
        try:
            await self._connect()
            await self._migrate()
        except (SettingsError, StorageDamaged) as error:  # another server, a newer version
            raise self._fail(error) from error

    async def _tend(self, connection: PostgresConnection) -> None:
        """Measure the size, and remove what nobody follows any more, now and then."""
        now = monotonic()
        if now >= self._measured + _NEWS_OF_SIZE:
            self._measured = now
            self._size = int(await connection.fetchval(sql.SIZE))
        if now >= self._pruned + _PRUNE_EVERY:
            await connection.execute(sql.FORGET)
            done = [await connection.execute(statement, _PRUNED) for statement in sql.PRUNE]
            if all(int(status.split()[1]) < _PRUNED for status in done):
                self._pruned = now  # otherwise there is more

    def _told(self, connection: PostgresConnection, sender: int, *_: object) -> None:
        if sender != connection.get_server_pid():
            self.on_change()
