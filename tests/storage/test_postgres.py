"""The storage in PostgreSQL, beyond what test_storage checks for every storage."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest
from cutting_proxy import cutting_proxy
from postgres import running
from running import WAIT, until
from stored import content

from exporter.errors import ExporterError, SettingsError, StorageDamaged, StorageUnavailable
from exporter.model.shards import SLOTS, Shard, slot_of
from exporter.storage.contract import Change, Changes, Chunk, Row, Sizes, Table
from exporter.storage.postgres import server
from exporter.storage.postgres import storage as module
from exporter.storage.postgres.storage import PostgresStorage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from postgres import Postgres

    from exporter.storage.contract import Key

BASE = ("consumed", "v", "p")
PASSWORD = "s3cret"


@dataclass(frozen=True)
class Place:
    """A schema for one test, and what an administrator does in it."""

    server: Postgres
    database: str
    schema: str

    @property
    def url(self) -> str:
        return f"{self.database}?search_path={self.schema}"

    def execute(self, statement: str) -> str:
        return self.server.execute(f"SET search_path = {self.schema}; {statement}", self.database)

    def cut_all(self) -> None:
        """Make the server end all connections of this program."""
        self.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'esim-exporter'"
        )

    def age(self) -> None:
        """Make all commits two hours old."""
        self.execute("UPDATE esim_exporter_commits SET at = at - interval '2 hours'")


class Open(Protocol):
    async def __call__(self, shard: Shard = ..., *, load: bool = ...) -> PostgresStorage: ...


@pytest.fixture(scope="module")
def places(postgres: Postgres) -> Iterator[Place]:
    database = postgres.new_database()

    def made() -> Iterator[Place]:
        for number in count():
            postgres.execute(f"CREATE SCHEMA place{number}", database)
            yield Place(postgres, database, f"place{number}")

    return made()


@pytest.fixture
def place(places: Iterator[Place]) -> Place:
    return next(places)


@pytest.fixture
async def opened(place: Place) -> AsyncIterator[Open]:
    """A function that opens and loads a storage; each call opens another one."""
    storages: list[PostgresStorage] = []

    async def once_more(shard: Shard = Shard(), *, load: bool = True) -> PostgresStorage:  # noqa: B008  # a value
        storage = await PostgresStorage.open(place.url, shard)
        storages.append(storage)
        if load:
            await content(storage)
        return storage

    yield once_more
    for storage in storages:
        await storage.close()


def esim(name: str, expected: int = 0, data: bytes | None = b"1") -> Change:
    return Change(Table.ESIM, ("v", name), expected, data)


def row(name: str, version: int = 1, data: bytes = b"1") -> Row:
    return Row(Table.ESIM, ("v", name), version, data)


def one(change: Change, base: int = 0) -> Changes:
    return Changes((change,), {BASE: base} if base else {})


async def followed(storage: PostgresStorage) -> tuple[list[Row], dict[Key, int]]:
    """Follow; return the rows in order, and the bases that changed."""
    chunk = await storage.follow()
    assert chunk is not None
    return sorted(chunk.rows), {key: amount for key, amount in chunk.bases.items() if amount}


async def refused(storage: PostgresStorage) -> str:
    """Return the reason for which commits, following and fetching are refused."""
    reasons = set()
    attempts = (storage.commit(one(esim("x"))), storage.follow(), storage.fetch([]))
    for attempt in attempts:
        with pytest.raises(StorageUnavailable) as caught:
            await attempt
        reasons.add(str(caught.value))
    (reason,) = reasons
    assert "\n" not in reason
    return reason


async def test_a_missing_control_row_is_reported(place: Place, opened: Open) -> None:
    storage = await opened()
    kept = place.execute("DELETE FROM esim_exporter_control RETURNING layout")
    with pytest.raises(StorageUnavailable, match="is empty: restore"):
        await storage.commit(one(esim("a")))
    with pytest.raises(StorageUnavailable, match="is empty: restore"):
        await storage.probe()
    place.execute(f"INSERT INTO esim_exporter_control VALUES (1, {kept}, 0, 0)")
    assert not await storage.probe()
    assert await storage.commit(one(esim("a"))) == ()


ROW = "INSERT INTO esim_exporter_rows VALUES"
SUM = "INSERT INTO esim_exporter_bases VALUES"


@pytest.mark.parametrize(
    "statement",
    [
        f"{ROW} (99, 'v', -1, 1, 9, '1')",
        f"{ROW} (0, 'one part', -1, 1, 9, '1')",
        f"{ROW} (0, '\\x760000ff', -1, 1, 9, '1')",
        f"{SUM} ('\\x760000ff', 0, 9, 1)",
        f"{SUM} ('\\x6300007600007000007a', 0, 9, 1)",
        f"{SUM} ('\\x63000076000070', 0, 9, 'NaN')",
    ],
)
async def test_rows_that_this_program_cannot_have_written_are_reported(
    place: Place, opened: Open, statement: str
) -> None:
    storage = await opened()
    place.execute(f"{statement}; INSERT INTO esim_exporter_commits VALUES (9, 9, now())")
    with pytest.raises(StorageDamaged, match="restore the database, or remove the row"):
        await storage.follow()
    with pytest.raises(StorageDamaged, match="restore the database, or remove the row"):
        await opened()


async def test_a_commit_leaves_no_old_version_of_the_control_row(
    place: Place, opened: Open
) -> None:
    storage = await opened()
    before = place.execute("SELECT ctid FROM esim_exporter_control")
    for version in range(3):
        await storage.commit(one(esim("a", version)))
    assert place.execute("SELECT ctid FROM esim_exporter_control") == before


# Following others


async def test_a_commit_is_followed_by_another_process_once(opened: Open) -> None:
    writer, reader = await opened(), await opened()
    await writer.commit(one(esim("a"), 7))
    await writer.commit(Changes((esim("a", 1, b"2"), esim("b")), {BASE: 1}))

    assert await followed(reader) == ([row("a", 2, b"2"), row("b")], {BASE: 8})
    assert await reader.follow() == Chunk()

    await writer.commit(Changes((esim("a", 2, None),), {BASE: -3}))
    assert await followed(reader) == ([row("a", 0, b"")], {BASE: -3})
    assert await reader.follow() == Chunk()


async def test_what_was_committed_before_the_load_is_not_followed(opened: Open) -> None:
    await (await opened()).commit(one(esim("a"), 7))
    storage = await opened()
    assert await storage.follow() == Chunk()


async def test_own_commits_are_not_followed_while_no_other_process_commits(opened: Open) -> None:
    storage = await opened()
    for version in range(3):
        assert await storage.commit(one(esim("a", version), 5)) == ()
    assert await storage.follow() == Chunk()


async def test_bases_are_followed_once_when_both_processes_commit(opened: Open) -> None:
    here, there = await opened(), await opened()
    memory = {here: 0, there: 0}
    for number, (storage, amount) in enumerate(
        [(here, 1), (there, 10), (here, 100), (here, 1000), (there, 10_000)]
    ):
        assert await storage.commit(one(esim(str(number)), amount)) == ()
        memory[storage] += amount
    for storage in (here, there):
        for _ in range(2):
            memory[storage] += (await followed(storage))[1].get(BASE, 0)
        assert memory[storage] == 11_111


async def test_a_commit_to_a_row_that_others_changed_is_a_conflict_until_it_was_followed(
    opened: Open,
) -> None:
    here, there = await opened(), await opened()
    await there.commit(one(esim("a")))

    assert await here.commit(Changes((esim("b"), esim("a", 0, b"mine")))) == (row("a"),)
    assert await here.commit(one(esim("a", 0, b"mine"))) == (row("a"),)
    assert await followed(here) == ([row("a")], {})
    assert await here.commit(one(esim("a", 1, b"mine"))) == ()
    assert await followed(there) == ([row("a", 2, b"mine")], {})


async def test_a_row_may_be_committed_to_again_and_again_while_others_commit_to_others(
    opened: Open,
) -> None:
    here, there = await opened(), await opened()
    for version in range(4):
        assert await here.commit(one(esim("a", version))) == ()
        assert await there.commit(one(esim("b", version))) == ()


async def test_a_second_life_at_the_same_version_is_a_conflict(opened: Open) -> None:
    here, there = await opened(), await opened()
    await here.commit(one(esim("a", 0, b"first")))
    await followed(there)
    await there.commit(one(esim("a", 1, None)))
    await there.commit(one(esim("a", 0, b"second")))

    assert await here.commit(one(esim("a", 1, b"of the first"))) == (row("a", 1, b"second"),)
    assert await followed(here) == ([row("a", 1, b"second")], {})
    assert await here.commit(one(esim("a", 1, b"of the second"))) == ()


async def test_a_row_that_came_and_went_meanwhile_is_a_conflict(opened: Open) -> None:
    here, there = await opened(), await opened()
    await there.commit(one(esim("a")))
    await there.commit(one(esim("a", 1, None)))

    assert await here.commit(one(esim("a"))) == (row("a", 0, b""),)
    assert await followed(here) == ([row("a", 0, b"")], {})
    assert await here.commit(one(esim("a"))) == ()


async def test_commits_at_the_same_time_reach_every_process(place: Place, opened: Open) -> None:
    place.execute(
        f"ALTER ROLE esim IN DATABASE {place.database.rpartition('/')[2]}"
        " SET default_transaction_isolation = 'serializable'"  # the storage must not depend on it
    )
    storages = [await opened() for _ in range(4)]

    async def commit(storage: PostgresStorage, name: str) -> dict[Row, None]:
        seen: dict[Row, None] = {}
        for number in range(10):
            changes = Changes((esim(f"{name}{number}"),), {BASE: 1, ("a", "v", name): 1})
            assert await storage.commit(changes) == ()
            seen[row(f"{name}{number}")] = None
            seen |= dict.fromkeys((await followed(storage))[0])
        return seen

    seen = await asyncio.gather(*map(commit, storages, "abcd"))
    for storage, before in zip(storages, seen, strict=True):
        after = before | dict.fromkeys((await followed(storage))[0])
        names = {f"{name}{number}" for name in "abcd" for number in range(10)}
        assert {found.key[1] for found in after} == names
    place.execute(f"ALTER ROLE esim IN DATABASE {place.database.rpartition('/')[2]} RESET ALL")
    _, bases = await content(storages[0])
    assert bases == {BASE: 40} | {("a", "v", name): 10 for name in "abcd"}


async def test_other_processes_are_notified_of_a_commit(opened: Open) -> None:
    here, there = await opened(), await opened()
    hinted = asyncio.Event()
    own: list[None] = []
    there.on_change = hinted.set
    here.on_change = lambda: own.append(None)
    await here.commit(one(esim("a")))
    await asyncio.wait_for(hinted.wait(), WAIT)
    await here.follow()
    assert own == []


async def test_everything_is_loaded_again_where_too_much_has_changed(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_FOLLOWED", 2)
    here, there = await opened(), await opened()
    for batch in ("abc", "de"):
        await there.commit(Changes(tuple(esim(name) for name in batch)))
        # After a load there is no limit.
        assert await followed(here) == ([row(name) for name in batch], {})
    await there.commit(Changes(tuple(esim(name) for name in "fgh"), {BASE: 1}))

    assert await here.follow() is None
    rows, bases = await content(here)
    assert (len(rows), bases) == (8, {BASE: 1})
    assert await here.follow() == Chunk()


async def test_the_limit_applies_after_a_follow_without_changes(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_FOLLOWED", 2)
    here, there = await opened(), await opened()
    assert await here.follow() == Chunk()
    await there.commit(Changes(tuple(esim(name) for name in "abc")))

    assert await here.follow() is None


async def test_deleted_rows_and_old_commits_are_pruned(place: Place, opened: Open) -> None:
    late, writer = await opened(), await opened()
    for number in range(3):
        await writer.commit(one(esim(str(number))))
        await writer.commit(one(esim(str(number), 1, None)))
    await writer.commit(one(esim("kept")))
    place.age()
    await writer.commit(one(esim("new")))
    await writer.commit(one(esim("new", 1, None)))
    tender = await opened()
    await tender.follow()

    assert place.execute("SELECT count(*) FROM esim_exporter_rows WHERE data IS NULL") == "1"
    assert place.execute("SELECT min(seq), max(seq) FROM esim_exporter_commits") == "7|9"
    assert await late.follow() is None, "it would miss what was removed"
    assert await content(late) == ([row("kept")], {})
    assert await late.follow() == Chunk()
    assert await writer.follow() == Chunk()


async def test_pruning_removes_a_limited_number_at_a_time(
    place: Place, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PRUNE_ROWS", 2)
    storage = await opened()
    for number in range(5):
        await storage.commit(one(esim(str(number))))
    place.age()
    left = []
    for _ in range(4):
        await storage.follow()
        left.append(place.execute("SELECT count(*) FROM esim_exporter_commits"))
    assert left == ["4", "2", "1", "1"]


async def test_an_older_copy_of_the_database_is_loaded_again(
    place: Place, opened: Open, caplog: pytest.LogCaptureFixture
) -> None:
    writer, reader = await opened(), await opened()
    await writer.commit(one(esim("kept"), 1))
    place.execute("CREATE TABLE copy_rows AS SELECT * FROM esim_exporter_rows")
    await writer.commit(one(esim("lost"), 2))
    await followed(reader)
    place.execute(
        "TRUNCATE esim_exporter_rows; INSERT INTO esim_exporter_rows SELECT * FROM copy_rows;"
        " DELETE FROM esim_exporter_commits WHERE seq = 2;"
        " UPDATE esim_exporter_bases SET amount = 1, seq = 1"
    )
    assert await reader.follow() is None

    # Other processes commit until a commit has the same number again.
    other = await opened()
    await other.commit(one(esim("other"), 10))
    for storage in (reader, writer):
        assert await storage.probe() is True
        assert await content(storage) == ([row("kept"), row("other")], {BASE: 11})
        assert await storage.follow() == Chunk()
    assert any(message.startswith("database went back, or") for message in caplog.messages)


# Rows of other shards


def shard_with(name: str) -> tuple[Shard, Shard]:
    """Of two shards, return the one that keeps an eSIM, then the other one."""
    shards = Shard(0, 2), Shard(1, 2)
    return shards if shards[0].keeps("v", name) else shards[::-1]


async def test_rows_of_other_shards_are_fetched_to_be_changed(opened: Open) -> None:
    own, other = shard_with("a")
    keeper, visitor = await opened(own), await opened(other)
    await keeper.commit(one(esim("a", 0, b"old")))
    wanted = [(Table.ESIM, ("v", "a")), (Table.TOMBSTONE, ("v", "a", ""))]

    assert await visitor.fetch(wanted) == (row("a", 1, b"old"),)
    assert await visitor.commit(one(esim("a", 1, b"new"))) == ()
    assert await followed(visitor) == ([], {})
    assert await followed(keeper) == ([row("a", 2, b"new")], {})


async def test_a_fetched_row_that_others_change_is_a_conflict(opened: Open) -> None:
    own, other = shard_with("a")
    keeper, visitor = await opened(own), await opened(other)
    await keeper.commit(one(esim("a", 0, b"first")))
    assert len(await visitor.fetch([(Table.ESIM, ("v", "a"))])) == 1
    await keeper.commit(one(esim("a", 1, None)))
    await keeper.commit(one(esim("a", 0, b"second")))

    assert await visitor.commit(one(esim("a", 1, b"x"))) == (row("a", 1, b"second"),)
    assert await visitor.fetch([(Table.ESIM, ("v", "a"))]) == (row("a", 1, b"second"),)
    assert await visitor.commit(one(esim("a", 1, b"third"))) == ()
    assert await followed(keeper) == ([row("a", 2, b"third")], {})


async def test_a_fetched_row_that_was_missing_and_others_wrote_is_a_conflict(
    opened: Open,
) -> None:
    own, other = shard_with("a")
    keeper, visitor = await opened(own), await opened(other)
    assert await visitor.fetch([(Table.ESIM, ("v", "a"))]) == ()
    await keeper.commit(one(esim("a")))
    assert await visitor.commit(one(esim("a", 0, b"x"))) == (row("a"),)


async def test_shards_load_and_follow_their_own_rows_and_shared_rows(opened: Open) -> None:
    whole = await opened()
    shards = [await opened(Shard(number, 4)) for number in range(4)]
    names = [f"e{number}" for number in range(100)]
    esims = tuple(esim(name) for name in names)
    graves = tuple(Change(Table.TOMBSTONE, ("v", name, "p"), 0, b"1") for name in names)
    package = Change(Table.PACKAGE, ("v", "p"), 0, b"1")
    bases: dict[Key, int] = {("consumed", "v", "p", str(slot)): slot + 1 for slot in range(SLOTS)}
    assert await whole.commit(Changes((*esims, *graves, package), bases)) == ()

    for following in (True, False):
        rows: list[Row] = []
        amounts: dict[Key, int] = {}
        for storage in shards:
            own, counted = await (followed if following else content)(storage)
            assert len(own) > 20
            assert counted.keys().isdisjoint(amounts)
            assert Row(package.table, package.key, 1, b"1") in own
            rows += own
            amounts |= counted
        assert len(rows) == 2 * len(names) + 4
        assert {found.key for found in rows} == {
            *(change.key for change in (*esims, *graves)),
            package.key,
        }
        assert amounts == bases


async def test_a_shard_counts_in_its_bases_what_it_commits_for_itself_only(opened: Open) -> None:
    own, other = shard_with("a")
    slot = str(slot_of("v", "a"))
    keeper, visitor = await opened(own), await opened(other)
    await visitor.commit(Changes(bases={("consumed", "v", "p", slot): 5}))
    await keeper.commit(Changes(bases={("consumed", "v", "p", slot): 1}))
    assert await followed(visitor) == ([], {})
    assert await followed(keeper) == ([], {("consumed", "v", "p", slot): 5})


# A server that goes away


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
    monkeypatch.setattr(server, "TO_READ", 0.1)
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

    assert (await refused(storage)).endswith(": given up")
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


# Opening


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
    with pytest.raises(StorageDamaged, match=r"newer version \(layout 2, this one knows 1\)"):
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


# The rest


async def test_sizes_are_of_all_tables_after_the_first_follow(opened: Open) -> None:
    storage = await opened()
    assert storage.sizes() == Sizes(0, 0)
    await storage.commit(Changes(tuple(esim(str(n), 0, b"x" * 1000) for n in range(100))))
    await storage.follow()
    assert storage.sizes().storage > 100_000
    assert storage.sizes().wal == 0


async def test_a_backup_is_left_to_the_tools_of_postgresql(opened: Open) -> None:
    storage = await opened()
    with pytest.raises(StorageUnavailable, match=r"no backup to a\.db: use pg_dump"):
        await storage.backup(Path("a.db"))
    assert await storage.commit(one(esim("a"))) == ()


async def test_writes_nothing_for_no_changes(place: Place, opened: Open) -> None:
    storage = await opened()
    assert await storage.commit(Changes()) == ()
    assert place.execute("SELECT max(seq) FROM esim_exporter_commits") == "0"


async def test_is_closed_where_the_server_is_gone(place: Place, opened: Open) -> None:
    storage = await opened()
    place.cut_all()
    await storage.close()
    assert (await refused(storage)).endswith(": closed")
