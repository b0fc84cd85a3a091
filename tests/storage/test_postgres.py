"""Durable storage in a real PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.shards import Shard
from exporter.storage import Change, Changes, Table
from exporter.storage.postgres import PostgresStorage

if TYPE_CHECKING:
    from postgres import Postgres


async def test_what_one_commits_another_follows(postgres: Postgres) -> None:
    url = postgres.new_database()
    one, other = await PostgresStorage.open(url, Shard()), await PostgresStorage.open(url, Shard())
    for storage in (one, other):
        assert [chunk async for chunk in storage.load()] == []
    await one.commit(Changes((Change(Table.ESIM, ("v", "e"), 0, b"[1]"),), {("a", "v", "p"): 7}))

    assert await other.commit(Changes((Change(Table.ESIM, ("v", "e"), 0, b"[2]"),)))
    chunk = await other.follow()

    assert chunk
    assert [row[1:] for row in chunk.rows] == [(("v", "e"), 1, b"[1]")]
    assert chunk.bases == {("a", "v", "p"): 7}
    await one.close()
    await other.close()
