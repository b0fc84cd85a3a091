"""Which PostgreSQL servers and databases a storage opens, and which it refuses."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from postgres import running
from postgres_places import PASSWORD, esim, one, refused, row
from running import until
from stored import content

from exporter.errors import ExporterError, SettingsError, StorageDamaged, StorageUnavailable
from exporter.model.shards import Shard
from exporter.storage.postgres import server
from exporter.storage.postgres.storage import PostgresStorage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from postgres import Postgres
    from postgres_places import Open, Place


async def test_several_processes_may_open_an_empty_database_at_once(
    place: Place, opened: Open
) -> None:
    storages = await asyncio.gather(*[opened() for _ in range(6)])
    assert place.execute("SELECT layout, probes FROM esim_exporter_control") == "1|0"
    for number, storage in enumerate(storages):
        assert await storage.commit(one(esim(str(number)))) == ()
    assert len((await content(storages[0]))[0]) == 6


async def test_tables_of_a_newer_version_are_refused(place: Place, opened: Open) -> None:
    await opened()
    place.execute("UPDATE esim_exporter_control SET layout = 2")
    with pytest.raises(StorageDamaged, match=r"it has schema 2, and this version, .* up to 1; "):
        await opened()


async def test_commits_before_a_load_are_refused(opened: Open) -> None:
    await (await opened()).commit(one(esim("a")))
    storage = await opened(load=False)
    assert await storage.commit(one(esim("a", 1))) == (row("a"),)
    assert await storage.follow() is None
    assert await storage.probe() is True


async def unusable(url: str) -> ExporterError:
    with pytest.raises(ExporterError) as caught:
        await PostgresStorage.open(url, Shard())
    assert "\n" not in str(caught.value)
    assert PASSWORD not in str(caught.value)
    return caught.value


async def test_commits_that_a_crash_could_lose_are_refused(place: Place) -> None:
    error = await unusable(f"{place.url}&synchronous_commit=off")
    assert isinstance(error, SettingsError)
    assert "synchronous_commit is off, so a crash would lose commits: turn it on" in str(error)
    assert place.execute("SELECT to_regclass('esim_exporter_control') IS NULL") == "t"

    with running("fsync=off") as careless:
        assert "fsync is off" in str(await unusable(careless.url()))


async def test_a_server_that_turns_unsafe_meanwhile_is_refused_by_the_probe(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = await opened()
    storage._fail(None)
    monkeypatch.setattr(server, "OLDEST", 99)
    with pytest.raises(StorageUnavailable, match="99 is needed"):
        await storage.probe()
    await refused(storage)
    monkeypatch.undo()
    assert await storage.probe() is False


async def test_a_database_that_is_read_only_is_waited_for(place: Place) -> None:
    storage = await PostgresStorage.open(f"{place.url}&default_transaction_read_only=on", Shard())
    for _ in range(2):
        with pytest.raises(StorageUnavailable, match="takes no writes"):
            await storage.probe()
    await storage.close()


@pytest.mark.parametrize(
    "rest", ["?sslmode=nonsense", "?target_session_attrs=nonsense", "?sslmode=verify-full&port=x"]
)
async def test_an_unusable_url_is_a_settings_error(postgres: Postgres, rest: str) -> None:
    url = postgres.url().replace("esim@", f"esim:{PASSWORD}@") + rest
    error = await unusable(url)
    assert isinstance(error, SettingsError)
    assert str(error).startswith("--storage.url: ")


@pytest.fixture
def roles(postgres: Postgres) -> Iterator[None]:
    """Create a role ``guarded`` that needs a password, and a ``stranger`` without rights."""
    for role in ("guarded", "stranger"):
        postgres.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'right'")
    rules = Path(postgres.execute("SHOW hba_file"))
    before = rules.read_text()
    rules.write_text(f"host all guarded 127.0.0.1/32 scram-sha-256\n{before}")
    loaded = postgres.execute("SELECT pg_conf_load_time()")
    postgres.execute("SELECT pg_reload_conf()")
    until(lambda: postgres.execute("SELECT pg_conf_load_time()") != loaded)
    yield
    rules.write_text(before)
    postgres.execute("SELECT pg_reload_conf(); DROP ROLE guarded, stranger")


@pytest.mark.usefixtures("roles")
async def test_a_refused_login_is_reported_in_one_line(place: Place) -> None:
    server = place.server
    address = f"{server.port}/{place.database.rpartition('/')[2]}"
    server.execute(
        "REVOKE CREATE ON SCHEMA public FROM public", place.database
    )  # the default since PostgreSQL 15

    for url, reason in (
        (f"guarded:{PASSWORD}@127.0.0.1:{address}", "password authentication failed"),
        (f"stranger:{PASSWORD}@127.0.0.1:{address}", "permission denied"),
        (f"esim:{PASSWORD}@127.0.0.1:{server.port}/nowhere", 'database "nowhere" does not exist'),
        (f"nobody:{PASSWORD}@127.0.0.1:{address}", 'role "nobody" does not exist'),
    ):
        error = await unusable(f"postgresql://{url}")
        assert isinstance(error, StorageUnavailable)
        assert str(error).startswith("PostgreSQL at 127.0.0.1:")
        assert reason in str(error)


@pytest.mark.usefixtures("roles")
async def test_a_probe_notices_missing_privileges(place: Place, opened: Open) -> None:
    await opened()
    name = place.database.rpartition("/")[2]
    url = f"postgresql://stranger:{PASSWORD}@127.0.0.1:{place.server.port}/{name}"
    place.execute(
        f"GRANT USAGE ON SCHEMA {place.schema} TO stranger; "
        f"GRANT ALL ON ALL TABLES IN SCHEMA {place.schema} TO stranger"
    )
    storage = await PostgresStorage.open(f"{url}?search_path={place.schema}", Shard())
    await content(storage)
    assert await storage.commit(one(esim("a"))) == ()

    place.execute("REVOKE INSERT ON esim_exporter_rows FROM stranger")
    with pytest.raises(StorageUnavailable, match="permission denied"):
        await storage.commit(one(esim("b")))
    with pytest.raises(StorageUnavailable, match="this role may not"):
        await storage.probe()

    place.execute("GRANT INSERT ON esim_exporter_rows TO stranger")
    assert not await storage.probe()
    assert await storage.commit(one(esim("b"))) == ()
    await storage.close()
    place.execute("DROP OWNED BY stranger")


async def test_an_unreachable_server_is_reported_in_one_line(postgres: Postgres) -> None:
    for rest, reason in (
        (f"{postgres.port}/postgres?sslmode=require", "rejected SSL upgrade"),
        ("1/postgres", "Connect call failed"),
    ):
        url = f"postgresql://esim:{PASSWORD}@127.0.0.1:{rest}"
        storage = await PostgresStorage.open(url, Shard())
        message = await refused(storage)
        assert message.startswith("PostgreSQL at 127.0.0.1:")
        assert reason in message
        assert PASSWORD not in message
        await storage.close()
