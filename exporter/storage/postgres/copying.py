"""A PostgreSQL database that a fleet is copied from, and one that it is copied to."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from secrets import randbits
from typing import TYPE_CHECKING

import asyncpg  # type: ignore[import-untyped]  # there are none

from exporter.errors import StorageUnavailable
from exporter.storage.postgres import schema as sql
from exporter.storage.postgres.schema import RowAddress, encoded, slot_of_base
from exporter.storage.postgres.server import control
from exporter.storage.postgres.storage import PostgresStorage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from exporter.storage.contract import Chunk

_PATIENCE = 60.0
"""Seconds for a part of the work; nobody waits for it."""


class PostgresSource(PostgresStorage):
    """A ``CopySource``: a database as of one moment, which is only read."""

    writes = False

    async def moved(self) -> bool:
        """Return whether something was committed since :meth:`load`."""
        return await self._within(_PATIENCE, self._moved())

    async def _moved(self) -> bool:
        seq, _ = await control(self._connected(), sql.NEWEST)
        return bool(seq != self._cursor)

    async def _migrate(self) -> None:
        """Make nothing and migrate nothing; refuse what is not as this version makes it."""
        connection = self._connected()
        await connection.execute("SET default_transaction_read_only = on")
        if not await connection.fetchval(sql.EXISTS):
            raise StorageUnavailable(f"{self._name}: there is no fleet in this database")
        (layout,) = await control(connection, sql.READ_LAYOUT)
        if layout != sql.LAYOUT:
            raise StorageUnavailable(
                f"{self._name}: its tables have layout {layout}, this version copies {sql.LAYOUT}"
            )


class PostgresTarget(PostgresStorage):
    """A ``CopyTarget``: a database that gets all of it in one transaction."""

    slots = True

    _seq = 0
    """The number of that commit."""

    async def write(self, chunk: Chunk) -> None:
        """Write rows that are not there yet, and add bases."""
        await self._within(_PATIENCE, self._insert(chunk))

    async def load(self) -> AsyncIterator[Chunk]:
        """Read everything that was written, in the same transaction."""
        try:
            async for chunk in self._chunks(self._connected()):
                yield chunk
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            raise self._fail(error) from error

    async def keep(self) -> None:
        """Commit. Where that fails or is cancelled, nobody knows whether it was done."""
        try:
            await self._within(_PATIENCE, self._finish())
        except (StorageUnavailable, asyncio.CancelledError) as error:
            raise StorageUnavailable(
                f"{self._name}: cut off at the commit, the copy may be there or not: copy again, "
                "which says so where it is"
            ) from error

    async def _migrate(self) -> None:
        """Bring the tables up to date, and begin; others wait from here on."""
        await super()._migrate()
        connection = self._connected()
        await connection.execute(sql.BEGIN_WRITING)
        await connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        (self._seq,) = await control(connection, sql.NEXT)
        if await connection.fetchval(sql.HOLDS_SOMETHING):
            raise StorageUnavailable(f"{self._name}: there is a fleet in this database already")

    async def _insert(self, chunk: Chunk) -> None:
        connection = self._connected()
        if chunk.rows:
            places = [RowAddress.of(row.table, row.key) for row in chunk.rows]
            kinds, keys, slots = (list(column) for column in zip(*places, strict=True))
            first = [1] * len(places)
            data = [row.data for row in chunk.rows]
            await connection.execute(sql.WRITE_ROWS, kinds, keys, slots, first, data, self._seq)
        if chunk.bases:
            keys = [encoded(key) for key in chunk.bases]
            slots = [slot_of_base(key) for key in chunk.bases]
            amounts = [Decimal(amount) for amount in chunk.bases.values()]
            await connection.execute(sql.ADD_BASES, keys, slots, amounts, self._seq)

    async def _finish(self) -> None:
        connection = self._connected()
        await connection.execute(sql.NOTE_COMMIT, self._seq, randbits(63))
        await connection.execute(f"{sql.NOTIFY}; COMMIT")
