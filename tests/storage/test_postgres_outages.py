"""A PostgreSQL server that restarts, hangs, or loses the connection."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from cutting_proxy import cutting_proxy
from postgres_places import BASE, esim, followed, one, refused, row
from stored import content

from exporter.errors import StorageUnavailable
from exporter.model.shards import Shard
from exporter.storage.contract import Changes, Chunk
from exporter.storage.postgres import server
from exporter.storage.postgres import storage as module
from exporter.storage.postgres.storage import PostgresStorage

if TYPE_CHECKING:
    from postgres import Postgres
    from postgres_places import Open, Place


async def test_a_probe_connects_again_after_a_restart_of_the_server(
    postgres: Postgres, opened: Open
) -> None:
    here, there = await opened(), await opened()
    for stop in (postgres.stop, postgres.kill):
        await here.commit(one(esim(stop.__name__), 1))
        stop()
        with pytest.raises(StorageUnavailable):
            await here.commit(one(esim("during")))
        reason = await refused(here)
        assert reason.startswith(f"PostgreSQL at 127.0.0.1:{postgres.port}: ")
        with pytest.raises(StorageUnavailable, match="Connect call failed"):
            await here.probe()
        postgres.start()
        assert await here.probe() is False
        assert await here.commit(one(esim("after"))) == ()
        assert await here.commit(one(esim("after", 1, None))) == ()
    with pytest.raises(StorageUnavailable):
        await there.follow()
    assert await there.probe() is False
    rows, bases = await followed(there)
    assert [found.key[1] for found in rows if found.version] == ["kill", "stop"]
    assert bases == {BASE: 2}


async def test_a_server_that_hangs_is_given_up_until_it_goes_on(
    postgres: Postgres, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage, other = await opened(), await opened()
    monkeypatch.setattr(module, "TIMEOUT", 0.1)
    postgres.pause()
    try:
        with pytest.raises(StorageUnavailable, match="TimeoutError"):
            await storage.commit(one(esim("a"), 1))
        await refused(storage)
    finally:
        postgres.resume()
    monkeypatch.undo()
    assert await storage.probe() is False
    await followed(storage)
    assert await content(storage) == await content(other)


async def test_a_load_from_a_server_that_hangs_is_given_up(
    postgres: Postgres, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "READ_TIMEOUT", 0.1)
    storage = await opened()
    monkeypatch.undo()
    postgres.pause()
    try:
        with pytest.raises(StorageUnavailable, match="TimeoutError"):
            await content(storage)
    finally:
        postgres.resume()
    assert await storage.probe() is True
    assert await content(storage) == ([], {})


async def test_a_commit_that_is_cancelled_is_followed_up(opened: Open) -> None:
    storage, other = await opened(), await opened()
    commit = asyncio.create_task(storage.commit(one(esim("a"), 1)))
    await asyncio.sleep(0)
    commit.cancel()
    with pytest.raises(asyncio.CancelledError):
        await commit

    assert (await refused(storage)).endswith(": the operation was cancelled")
    assert await storage.probe() is False
    await followed(storage)
    assert await content(storage) == await content(other)


async def test_a_load_that_is_broken_off_must_be_repeated(
    place: Place, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CHUNK_ROWS", 1)
    storage = await opened()
    await storage.commit(Changes((esim("a"), esim("b")), {BASE: 1}))

    given_up = storage.load()
    await anext(given_up)
    await given_up.aclose()  # type: ignore[attr-defined]  # an iterator to callers
    await refused(storage)
    assert await storage.probe() is True
    assert await content(storage) == ([row("a"), row("b")], {BASE: 1})

    cut = storage.load()
    await anext(cut)
    place.cut_all()
    with pytest.raises(StorageUnavailable):
        [chunk async for chunk in cut]
    assert await storage.probe() is True
    assert await content(storage) == ([row("a"), row("b")], {BASE: 1})
    assert await storage.follow() == Chunk()


async def test_a_load_that_was_given_up_long_ago_does_not_hurt_a_new_connection(
    opened: Open,
) -> None:
    storage = await opened()
    await storage.commit(one(esim("a")))
    given_up = storage.load()
    await anext(given_up)
    storage._fail(None)
    assert await storage.probe() is True
    await given_up.aclose()  # type: ignore[attr-defined]  # an iterator to callers
    assert await content(storage) == ([row("a")], {})


@pytest.mark.parametrize("delivered", [True, False])
async def test_a_commit_of_unknown_outcome_is_followed_up_and_counted_once(
    place: Place, *, delivered: bool
) -> None:
    async with cutting_proxy(place.server.port) as (proxy, port):
        url = place.url.replace(f":{place.server.port}/", f":{port}/")
        storage = await PostgresStorage.open(url, Shard())
        await content(storage)
        await storage.commit(one(esim("before"), 1))
        proxy.cut_at, proxy.deliver = b"NOTIFY", delivered
        changes = Changes((esim("before", 1, b"2"), esim("a")), {BASE: 10})
        with pytest.raises(StorageUnavailable):
            await storage.commit(changes)

        assert await storage.probe() is False, "there is nothing to load"
        if delivered:
            assert await storage.commit(changes) == (row("before", 2, b"2"), row("a"))
            assert await followed(storage) == ([row("a"), row("before", 2, b"2")], {BASE: 10})
        else:
            assert await followed(storage) == ([], {})
            assert await storage.commit(changes) == ()
        assert await followed(storage) == ([], {})
        assert await content(storage) == ([row("a"), row("before", 2, b"2")], {BASE: 11})
        await storage.close()
