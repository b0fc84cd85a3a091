"""Processes that share a PostgreSQL database: each follows the commits of the others."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from postgres_places import BASE, esim, followed, one, row
from running import WAIT
from stored import content

from exporter.storage.contract import Changes, Chunk, Row
from exporter.storage.postgres import storage as module

if TYPE_CHECKING:
    import pytest
    from postgres_places import Open, Place

    from exporter.storage.postgres.storage import PostgresStorage


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
    monkeypatch.setattr(module, "MAX_FOLLOWED_ROWS", 2)
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
    monkeypatch.setattr(module, "MAX_FOLLOWED_ROWS", 2)
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
    assert any(message.startswith("the database lost commits, or") for message in caplog.messages)
