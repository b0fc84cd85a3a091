"""A PostgreSQL database as the source, and as the target, of ``esim-exporter storage copy``."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from secrets import randbits
from typing import TYPE_CHECKING

import asyncpg  # type: ignore[import-untyped]  # asyncpg has no types

from exporter.errors import StorageUnavailable
from exporter.storage.postgres import schema as sql
from exporter.storage.postgres.encoding import EncodedKey, encode_key, slot_of_base
from exporter.storage.postgres.server import APPLICATION_NAME, control
from exporter.storage.postgres.storage import PostgresStorage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from exporter.storage.contract import Chunk

_TIMEOUT = 60.0
"""Seconds for one step. It is long because no webhook waits for a copy."""


class PostgresSource(PostgresStorage):
    """A ``CopySource``: a database that is only read."""

    needs_writes = False

    async def changed_since_load(self) -> bool:
        """Return whether something was committed since :meth:`load`."""
        return await self._within(_TIMEOUT, self._changed_since_load())

    async def count_replicas(self) -> int:
        """Return how many exporters seem to be connected to the database."""
        counted = self._connected().fetchval(sql.COUNT_OTHERS, APPLICATION_NAME)
        return int(await self._within(_TIMEOUT, counted))

    async def _changed_since_load(self) -> bool:
        seq, _ = await control(self._connected(), sql.NEWEST)
        return bool(seq != self._cursor)

    async def _migrate(self) -> None:
        """Refuse tables of another layout. A source is not migrated."""
        connection = self._connected()
        await connection.execute("SET default_transaction_read_only = on")
        if not await connection.fetchval(sql.EXISTS):
            raise StorageUnavailable(f"{self._name}: this database holds no fleet")
        (layout,) = await control(connection, sql.READ_LAYOUT)
        if layout > sql.LAYOUT:
            raise StorageUnavailable(await self._server.describe_newer(connection, layout))
        if layout < sql.LAYOUT:
            raise StorageUnavailable(
                f"{self._name} was written by an older version: start the exporter on it and stop "
                "it, then copy again"
            )


class PostgresTarget(PostgresStorage):
    """A ``CopyTarget``: a database that gets the whole copy in one transaction."""

    keeps_slots = True

    _seq = 0
    """The number of the only commit."""

    async def write(self, chunk: Chunk) -> None:
        """Write rows, all of them new, and add bases."""
        await self._within(_TIMEOUT, self._insert(chunk))

    async def load(self) -> AsyncIterator[Chunk]:
        """Read what was written, in the same transaction."""
        try:
            async for chunk in self._chunks(self._connected()):
                yield chunk
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            raise self._fail(error) from error

    async def keep(self) -> None:
        """Commit. If that fails or is cancelled, the outcome is unknown."""
        try:
            await self._within(_TIMEOUT, self._finish())
        except (StorageUnavailable, asyncio.CancelledError) as error:
            raise StorageUnavailable(
                f"{self._name}: cut off during the commit, so the copy may exist or not: copy "
                "again; the command refuses if the copy exists"
            ) from error

    async def _migrate(self) -> None:
        """Migrate the tables, then begin the transaction. From then on, no other can commit."""
        await super()._migrate()
        connection = self._connected()
        await connection.execute(sql.BEGIN_WRITING)
        await connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        (self._seq,) = await control(connection, sql.NEXT)
        if await connection.fetchval(sql.HOLDS_SOMETHING):
            raise StorageUnavailable(f"{self._name}: this database holds a fleet already")

    async def _insert(self, chunk: Chunk) -> None:
        connection = self._connected()
        if chunk.rows:
            encoded = [EncodedKey.of(row.table, row.key) for row in chunk.rows]
            kinds, keys, slots = (list(column) for column in zip(*encoded, strict=True))
            versions = [1] * len(encoded)
            data = [row.data for row in chunk.rows]
            await connection.execute(sql.WRITE_ROWS, kinds, keys, slots, versions, data, self._seq)
        if chunk.bases:
            keys = [encode_key(key) for key in chunk.bases]
            slots = [slot_of_base(key) for key in chunk.bases]
            amounts = [Decimal(amount) for amount in chunk.bases.values()]
            await connection.execute(sql.ADD_BASES, keys, slots, amounts, self._seq)

    async def _finish(self) -> None:
        connection = self._connected()
        await connection.execute(sql.NOTE_COMMIT, self._seq, randbits(63))
        await connection.execute(f"{sql.NOTIFY}; COMMIT")
