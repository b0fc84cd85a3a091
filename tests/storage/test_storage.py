"""What every storage promises, checked for SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stored import content

from exporter.errors import StorageUnavailable
from exporter.model.shards import Shard
from exporter.storage.contract import Change, Changes, Row, Storage, Table
from exporter.storage.postgres.storage import PostgresStorage
from exporter.storage.sqlite.storage import SqliteStorage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from exporter.storage.contract import Key

    Open = Callable[[], Awaitable[Storage]]

KEYS: dict[Table, Key] = {
    Table.ESIM: ("roamify", "e1"),
    Table.TOMBSTONE: ("roamify", "e1", ""),
    Table.PACKAGE: ("roamify", "p1"),
    Table.PARTNER: ("roamify", "USD"),
    Table.FEED: ("roamify",),
    Table.REJECTED: ("0123abcd",),
}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def new_place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[], Open]:
    """A function that creates an empty place, and returns a function that opens a storage there."""
    numbers = count()
    if request.param == "sqlite":
        folder = tmp_path_factory.mktemp("places")

        def place() -> Open:
            path = folder / f"{next(numbers)}.db"
            return lambda: SqliteStorage.open(path)

        return place
    server = request.getfixturevalue("postgres")

    database = server.new_database()

    def schema() -> Open:  # creating a database takes ten times as long
        name = f"place{next(numbers)}"
        server.execute(f"CREATE SCHEMA {name}", database)
        return lambda: PostgresStorage.open(f"{database}?search_path={name}", Shard())

    return schema


@pytest.fixture
def place(new_place: Callable[[], Open]) -> Open:
    return new_place()


@pytest.fixture
async def storage(place: Open) -> AsyncIterator[Storage]:
    storage = await loaded(place)
    yield storage
    await storage.close()


async def loaded(place: Open) -> Storage:
    storage = await place()
    await content(storage)
    return storage


async def reopened(storage: Storage, place: Open) -> tuple[list[Row], dict[Key, int]]:
    await storage.close()
    again = await place()
    found = await content(again)
    await again.close()
    return found


def esim(name: str, expected: int, data: bytes | None = b"{}") -> Change:
    return Change(Table.ESIM, ("v", name), expected, data)


async def test_gives_back_every_kind_of_row_and_the_bases(storage: Storage, place: Open) -> None:
    rows = tuple(Change(table, key, 0, b'["%b"]' % table.encode()) for table, key in KEYS.items())
    bases = {("data", "roamify", "p1"): 10**40, ("location", "Åland"): -5}

    assert await storage.commit(Changes(rows, bases)) == ()

    expected = [Row(row.table, row.key, 1, row.data or b"") for row in rows]
    assert await reopened(storage, place) == (expected, bases)


async def test_keys_and_data_are_any_text_and_any_bytes(storage: Storage, place: Open) -> None:
    odd = ["", "'\";--", "a\0b", "\0", "a\0", "Åland Islands", "\U0001f600" * 256, "\n\t"]
    names = [*odd, "NULL", "1", "01"]
    data = bytes(range(256)) * 3
    rows = (*(esim(name, 0, data) for name in names), esim("empty", 0, b""))
    bases: dict[Key, int] = {(name, name): 1 for name in names}

    assert await storage.commit(Changes(rows, bases)) == ()

    found, amounts = await reopened(storage, place)
    assert {row.key[1]: row.data for row in found} == dict.fromkeys(names, data) | {"empty": b""}
    assert amounts == bases


async def test_the_longest_keys_that_a_vendor_can_send_fit(storage: Storage, place: Open) -> None:
    longest = "\U0001f600" * 256
    key = ("roamify", longest, longest)
    await storage.commit(Changes((Change(Table.TOMBSTONE, key, 0, b"1"),)))

    assert await reopened(storage, place) == ([Row(Table.TOMBSTONE, key, 1, b"1")], {})


async def test_partner_keys_of_two_and_three_parts_are_different(
    storage: Storage, place: Open
) -> None:
    keys = [("v", "USD"), ("v", "event"), ("v", "event", "low_balance"), ("v", "event", "top_up")]
    await storage.commit(Changes(tuple(Change(Table.PARTNER, key, 0, b"1") for key in keys)))

    rows, _ = await reopened(storage, place)
    assert [row.key for row in rows] == keys


@pytest.mark.parametrize(
    ("table", "key"),
    [
        (Table.ESIM, ("v",)),
        (Table.ESIM, ("v", "e", "p")),
        (Table.PARTNER, ("v",)),
        (Table.PARTNER, ("v", "event", "")),
        (Table.FEED, ()),
    ],
)
async def test_refuses_a_key_that_does_not_fit_its_table(
    storage: Storage, table: Table, key: Key
) -> None:
    with pytest.raises(ValueError, match=f"a key of table {table} cannot have"):
        await storage.commit(Changes((esim("e", 0), Change(table, key, 0, b""))))
    assert await content(storage) == ([], {})


async def test_refuses_changes_that_contradict_each_other(storage: Storage) -> None:
    for rows, reason in (
        ((esim("e", 0), esim("e", 1)), "changed twice"),
        ((esim("e", 0), esim("f", 0, None)), "cannot be deleted"),
        ((esim("e", 0), esim("\ud800", 0)), "surrogates not allowed"),
    ):
        with pytest.raises(ValueError, match=reason):
            await storage.commit(Changes(rows))
    with pytest.raises(ValueError, match="surrogates not allowed"):
        await storage.commit(Changes((esim("e", 0),), {("\ud800",): 1}))
    assert await content(storage) == ([], {})
    assert await storage.commit(Changes((esim("e", 0),))) == ()


async def test_the_version_rises_with_each_commit_to_a_key(storage: Storage) -> None:
    for version in range(3):
        assert await storage.commit(Changes((esim("e", version, b"%d" % version),))) == ()
    assert (await content(storage))[0] == [Row(Table.ESIM, ("v", "e"), 3, b"2")]

    assert await storage.commit(Changes((esim("e", 3, None),))) == ()
    assert (await content(storage))[0] == []
    assert await storage.commit(Changes((esim("e", 0, b"new"),))) == ()
    assert (await content(storage))[0] == [Row(Table.ESIM, ("v", "e"), 1, b"new")]


async def test_a_conflict_returns_the_rows_that_differ_and_writes_nothing(
    storage: Storage, place: Open
) -> None:
    await storage.commit(Changes((esim("a", 0, b"a1"), esim("b", 0, b"b1"), esim("c", 0, b"c1"))))
    await storage.commit(Changes((esim("b", 1, b"b2"), esim("c", 1, None))))
    before = await content(storage)
    fine = (esim("a", 1, b"a2"), esim("new", 0, b"new"))
    b2, gone = Row(Table.ESIM, ("v", "b"), 2, b"b2"), Row(Table.ESIM, ("v", "c"), 0, b"")

    for conflicting, expected in (
        ((esim("b", 1, b"x"),), (b2,)),
        ((esim("b", 0, b"x"),), (b2,)),
        ((esim("b", 1, None),), (b2,)),
        ((esim("c", 1, b"x"),), (gone,)),
        ((esim("c", 1, None), esim("b", 3, b"x")), (gone, b2)),
    ):
        changes = Changes((*fine, *conflicting), {("base",): 1})
        assert await storage.commit(changes) == expected

    assert await content(storage) == before
    assert await reopened(storage, place) == before


async def test_bases_are_added_up(storage: Storage, place: Open) -> None:
    await storage.commit(Changes(bases={("a",): 2**63, ("b", "c"): -1}))
    await storage.commit(Changes(bases={("a",): 2**63, ("b", "c"): 1}))
    await storage.commit(Changes(bases={("a",): -1}))

    assert await reopened(storage, place) == ([], {("a",): 2**64 - 1, ("b", "c"): 0})


async def test_loads_in_the_order_of_table_and_key_in_many_chunks(storage: Storage) -> None:
    names = [f"{n * 7919 % 5003:05d}" for n in range(5003)]
    names += ["Å", "\U0001f600", "ﬀ", "a", "a\0", "a\0b", "aa"]
    await storage.commit(Changes(tuple(esim(name, 0) for name in names)))
    others = [Change(table, key, 0, b"1") for table, key in KEYS.items()]
    await storage.commit(Changes(tuple(reversed(others)), {("b",): 1}))
    order = list(Table)

    chunks = [chunk async for chunk in storage.load()]

    rows = [row for chunk in chunks for row in chunk.rows]
    assert rows == sorted(rows, key=lambda row: (order.index(row.table), row.key))
    assert len(rows) == len(names) + len(others)
    assert max(len(chunk.rows) for chunk in chunks) in {512, 1000}
    assert chunks[-1].bases == {("b",): 1}


async def test_the_event_loop_runs_while_rows_are_loaded(storage: Storage) -> None:
    await storage.commit(Changes(tuple(esim(str(n), 0) for n in range(6000))))
    turns = 0

    async def counted() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(counted())
    seen = [turns async for _ in storage.load()]
    counting.cancel()
    assert seen == sorted(set(seen))


async def test_closing_twice_is_fine_and_anything_after_it_is_refused(storage: Storage) -> None:
    await asyncio.gather(storage.close(), storage.close())
    await storage.close()
    with pytest.raises(StorageUnavailable, match="closed"):
        await storage.commit(Changes((esim("e", 0),)))
    with pytest.raises(StorageUnavailable, match="closed"):
        await content(storage)


async def test_a_probe_of_a_sound_storage_needs_no_reload(storage: Storage, place: Open) -> None:
    assert await storage.probe() is False
    assert await storage.probe() is False
    assert await storage.commit(Changes((esim("e", 0),))) == ()
    assert len((await reopened(storage, place))[0]) == 1


tables = st.sampled_from(list(Table))
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
actions = st.lists(
    st.one_of(
        st.just("reopen"),
        st.tuples(
            st.dictionaries(
                st.tuples(tables, st.integers(0, 3)),
                st.tuples(st.integers(-1, 1) | st.just(0), st.none() | st.binary(max_size=9)),
                max_size=6,
            ),
            st.dictionaries(st.tuples(texts), st.integers(), max_size=3),
        ),
    ),
    max_size=12,
)


def changes_from(
    writes: dict[tuple[Table, int], tuple[int, bytes | None]],
    bases: dict[Key, int],
    model: dict[tuple[Table, Key], tuple[int, bytes]],
) -> Changes:
    """Changes that expect the version in the model, or a version beside it."""
    rows = []
    for (table, number), (off, data) in writes.items():
        key = (*KEYS[table][:-1], f"k{number}")
        version = model.get((table, key), (0, b""))[0]
        expected = max(0, version + off)
        if data is not None or expected:
            rows.append(Change(table, key, expected, data))
    return Changes(tuple(rows), bases)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(actions)
async def test_holds_what_a_dictionary_would(
    new_place: Callable[[], Open],
    actions: list[str | tuple[dict[tuple[Table, int], tuple[int, bytes | None]], dict[Key, int]]],
) -> None:
    model: dict[tuple[Table, Key], tuple[int, bytes]] = {}
    amounts: dict[Key, int] = {}
    place = new_place()
    storage = await loaded(place)
    for action in actions:
        if isinstance(action, str):
            await storage.close()
            storage = await loaded(place)
            continue
        changes = changes_from(*action, model)
        held = {(c.table, c.key): model.get((c.table, c.key), (0, b"")) for c in changes.rows}
        differing = tuple(
            Row(c.table, c.key, *held[c.table, c.key])
            for c in changes.rows
            if held[c.table, c.key][0] != c.expected
        )
        assert await storage.commit(changes) == differing
        if differing:
            continue
        for change in changes.rows:
            model.pop((change.table, change.key), None)
            if change.data is not None:
                model[change.table, change.key] = (change.expected + 1, change.data)
        for key, amount in changes.bases.items():
            amounts[key] = amounts.get(key, 0) + amount
    rows, bases = await reopened(storage, place)
    assert {(row.table, row.key): (row.version, row.data) for row in rows} == model
    assert bases == amounts
