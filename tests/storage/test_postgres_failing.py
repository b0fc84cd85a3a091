"""PostgreSQL that hangs, waits for a lock, or lost commits in a failover."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import asyncpg  # type: ignore[import-untyped]  # there are none
import pytest
from running import until

from exporter.errors import StorageUnavailable
from exporter.model.shards import Shard
from exporter.storage.contract import Change, Changes, Table
from exporter.storage.postgres import schema as sql
from exporter.storage.postgres.storage import PostgresStorage

if TYPE_CHECKING:
    from postgres import Postgres


def adding(esim_id: str) -> Changes:
    return Changes((Change(Table.ESIM, ("v", esim_id), 0, b"[]"),))


async def opened(url: str) -> PostgresStorage:
    storage = await PostgresStorage.open(url, Shard())
    async for _ in storage.load():
        pass
    return storage


def disconnect_all(postgres: Postgres, url: str) -> None:
    others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    postgres.execute(f"SELECT pg_terminate_backend(pid) {others}", url)


async def test_a_host_that_hangs_does_not_block_the_next_one(postgres: Postgres) -> None:
    with socket.create_server(("127.0.0.1", 0)) as hung:  # connections wait to be accepted
        port = hung.getsockname()[1]
        url = postgres.new_database().replace("@", f"@127.0.0.1:{port},")
        storage = await opened(url)
        assert await storage.commit(adding("e")) == ()
        await storage.close()


async def test_hosts_in_the_parameters_are_tried_one_after_the_other(
    postgres: Postgres,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as hung:
        database = postgres.new_database().rpartition("/")[2]
        hosts = f"host=127.0.0.1,127.0.0.1&port={hung.getsockname()[1]},{postgres.port}"
        storage = await opened(f"postgresql://esim@/{database}?{hosts}")
        assert await storage.commit(adding("e")) == ()
        await storage.close()


async def test_a_session_is_set_up_without_startup_parameters(postgres: Postgres) -> None:
    url = postgres.new_database()
    storage = await opened(f"{url}?lock_timeout=100")
    connection = storage._connected()
    found = {
        name: await connection.fetchval("SELECT current_setting($1)", name)
        for name in ("synchronous_commit", "lock_timeout", "idle_in_transaction_session_timeout")
    }
    assert found == {
        "synchronous_commit": "on",
        "lock_timeout": "100ms",
        "idle_in_transaction_session_timeout": "2s",
    }
    # Pooling proxies refuse unknown options in the startup packet.
    sources = "SELECT string_agg(name, ',') FROM pg_settings WHERE source = 'client'"
    assert set((await connection.fetchval(sources)).split(",")) == {
        "application_name",
        "client_encoding",
        "lock_timeout",
    }
    await storage.close()


async def test_waiting_for_a_hanging_commit_does_not_hold_a_connection_for_long(
    postgres: Postgres,
) -> None:
    url = postgres.new_database()
    storage = await opened(url)
    hanging: Any = await asyncpg.connect(url)
    await hanging.execute(sql.BEGIN_WRITING)

    with pytest.raises(StorageUnavailable, match="lock timeout"):
        await storage.commit(adding("e"))

    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    until(lambda: postgres.execute(waiting) == "0")
    await hanging.close()
    assert not await storage.probe()
    assert await storage.commit(adding("e")) == ()
    await storage.close()


async def test_a_commit_that_a_promoted_standby_does_not_have_is_noticed(
    postgres: Postgres,
) -> None:
    url = postgres.new_database()
    storage, other = await opened(url), await opened(url)
    await other.commit(adding("theirs"))
    await storage.commit(adding("ours"))
    # As if the standby had received the first commit, but not the second.
    postgres.execute(
        "DELETE FROM esim_exporter_rows WHERE seq = 2; "
        "DELETE FROM esim_exporter_commits WHERE seq = 2",
        url,
    )
    disconnect_all(postgres, url)
    with pytest.raises(StorageUnavailable):
        await storage.follow()

    assert await storage.probe()
    await storage.close()
    await other.close()
