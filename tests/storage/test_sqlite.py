from __future__ import annotations

import asyncio
import os
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exporter.errors import SettingsError, StorageUnavailable
from exporter.storage import Change, Changes, Row, Sizes, Storage, Table
from exporter.storage.connection import LOG_LIMIT
from exporter.storage.sqlite import SqliteStorage, from_url

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from exporter.storage import Key

KEYS: dict[Table, Key] = {
    Table.ESIM: ("roamify", "e1"),
    Table.TOMBSTONE: ("roamify", "e1", ""),
    Table.PACKAGE: ("roamify", "p1"),
    Table.PARTNER: ("roamify", "USD"),
    Table.FEED: ("roamify",),
    Table.REJECTED: ("0123abcd",),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.db"


@pytest.fixture
async def storage(path: Path) -> AsyncIterator[SqliteStorage]:
    storage = await SqliteStorage.open(path)
    yield storage
    await storage.close()


async def content(storage: Storage) -> tuple[list[Row], dict[Key, int]]:
    rows: list[Row] = []
    bases: dict[Key, int] = {}
    async for chunk in storage.load():
        assert chunk.damaged == ()
        rows += chunk.rows
        bases |= chunk.bases
    return rows, bases


async def reopened(storage: SqliteStorage, path: Path) -> tuple[list[Row], dict[Key, int]]:
    await storage.close()
    again = await SqliteStorage.open(path)
    found = await content(again)
    await again.close()
    return found


def size(path: Path) -> int:
    return path.stat().st_size


def files(folder: Path, pattern: str = "*") -> dict[str, int]:
    """The names and the permissions of files."""
    return {file.name: file.stat().st_mode & 0o777 for file in folder.glob(pattern)}


def esim(name: str, expected: int, data: bytes | None = b"{}") -> Change:
    return Change(Table.ESIM, ("v", name), expected, data)


async def test_gives_back_every_kind_of_row_and_the_bases(
    storage: SqliteStorage, path: Path
) -> None:
    rows = tuple(Change(table, key, 0, b'["%b"]' % table.encode()) for table, key in KEYS.items())
    bases = {("data", "roamify", "p1"): 10**40, ("location", "Åland"): -5}

    assert await storage.commit(Changes(rows, bases)) == ()

    expected = [Row(row.table, row.key, 1, row.data or b"") for row in rows]
    assert await reopened(storage, path) == (expected, bases)


async def test_keys_and_data_are_any_text_and_any_bytes(storage: SqliteStorage, path: Path) -> None:
    names = ["", "'\";--", "a\0b", "Åland Islands", "\U0001f600" * 256, "\n\t", "NULL", "1", "01"]
    data = bytes(range(256)) * 3
    rows = (*(esim(name, 0, data) for name in names), esim("empty", 0, b""))
    bases: dict[Key, int] = {(name, name): 1 for name in names}

    assert await storage.commit(Changes(rows, bases)) == ()

    found, amounts = await reopened(storage, path)
    assert {row.key[1]: row.data for row in found} == dict.fromkeys(names, data) | {"empty": b""}
    assert amounts == bases


async def test_partner_keys_of_two_and_three_parts_are_told_apart(
    storage: SqliteStorage, path: Path
) -> None:
    keys = [("v", "USD"), ("v", "event"), ("v", "event", "low_balance"), ("v", "event", "top_up")]
    await storage.commit(Changes(tuple(Change(Table.PARTNER, key, 0, b"1") for key in keys)))

    rows, _ = await reopened(storage, path)
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
    storage: SqliteStorage, table: Table, key: Key
) -> None:
    with pytest.raises(ValueError, match=f"a key of table {table} cannot have"):
        await storage.commit(Changes((esim("e", 0), Change(table, key, 0, b""))))
    assert await content(storage) == ([], {})


async def test_refuses_changes_that_cannot_be_meant(storage: SqliteStorage) -> None:
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


async def test_writes_nothing_for_no_changes(storage: SqliteStorage) -> None:
    before = storage.sizes()
    assert await storage.commit(Changes()) == ()
    assert storage.sizes() == before


async def test_the_version_rises_with_each_commit_to_a_key(storage: SqliteStorage) -> None:
    for version in range(3):
        assert await storage.commit(Changes((esim("e", version, b"%d" % version),))) == ()
    assert (await content(storage))[0] == [Row(Table.ESIM, ("v", "e"), 3, b"2")]

    assert await storage.commit(Changes((esim("e", 3, None),))) == ()
    assert (await content(storage))[0] == []
    assert await storage.commit(Changes((esim("e", 0, b"new"),))) == ()
    assert (await content(storage))[0] == [Row(Table.ESIM, ("v", "e"), 1, b"new")]


async def test_a_conflict_returns_the_rows_that_differ_and_writes_nothing(
    storage: SqliteStorage, path: Path
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
    assert await reopened(storage, path) == before


async def test_bases_are_added_up(storage: SqliteStorage, path: Path) -> None:
    await storage.commit(Changes(bases={("a",): 2**63, ("b", "c"): -1}))
    await storage.commit(Changes(bases={("a",): 2**63, ("b", "c"): 1}))
    await storage.commit(Changes(bases={("a",): -1}))

    assert await reopened(storage, path) == ([], {("a",): 2**64 - 1, ("b", "c"): 0})


async def test_loads_in_the_order_of_table_and_key_in_many_chunks(storage: SqliteStorage) -> None:
    names = [f"{n * 7919 % 5003:05d}" for n in range(5003)] + ["Å", "\U0001f600", "ﬀ"]
    await storage.commit(Changes(tuple(esim(name, 0) for name in names)))
    others = [Change(table, key, 0, b"1") for table, key in KEYS.items()]
    await storage.commit(Changes(tuple(reversed(others)), {("b",): 1}))
    order = list(Table)

    chunks = [chunk async for chunk in storage.load()]

    rows = [row for chunk in chunks for row in chunk.rows]
    assert rows == sorted(rows, key=lambda row: (order.index(row.table), row.key))
    assert len(rows) == len(names) + len(others)
    assert max(len(chunk.rows) for chunk in chunks) == 2000
    assert chunks[-1].bases == {("b",): 1}


async def test_the_event_loop_runs_while_rows_are_loaded(storage: SqliteStorage) -> None:
    await storage.commit(Changes(tuple(esim(str(n), 0) for n in range(6000))))
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    seen = [turns async for _ in storage.load()]
    counting.cancel()
    assert seen == sorted(set(seen))


async def test_a_load_that_is_given_up_holds_nothing_back(
    storage: SqliteStorage, path: Path
) -> None:
    await storage.commit(Changes(tuple(esim(str(n), 0) for n in range(6000))))
    given_up = storage.load()
    await anext(given_up)
    assert len((await content(storage))[0]) == 6000
    assert [chunk async for chunk in given_up] == []

    given_up = storage.load()
    await anext(given_up)
    assert len((await reopened(storage, path))[0]) == 6000
    await given_up.aclose()  # type: ignore[attr-defined]  # an iterator to callers


async def test_a_cancelled_caller_does_not_stop_a_commit(
    storage: SqliteStorage, path: Path
) -> None:
    commit = asyncio.create_task(
        storage.commit(Changes(tuple(esim(str(n), 0, b"x" * 3000) for n in range(500))))
    )
    await asyncio.sleep(0)
    commit.cancel()
    with pytest.raises(asyncio.CancelledError):
        await commit

    assert len((await reopened(storage, path))[0]) == 500


async def test_an_opening_that_is_cancelled_lets_go_of_the_file(path: Path) -> None:
    opening = asyncio.create_task(SqliteStorage.open(path))
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening

    with closing(sqlite3.connect(path, timeout=0)) as other:
        assert other.execute("SELECT count(*) FROM esim").fetchone() == (0,)


async def test_the_log_is_written_back_and_does_not_grow_for_ever(
    storage: SqliteStorage, path: Path
) -> None:
    data = b"x" * 4000
    for version in range(24):
        rows = tuple(esim(str(n), version, data) for n in range(400))
        assert await storage.commit(Changes(rows)) == ()
        assert storage.sizes().wal < 2 * LOG_LIMIT
    assert size(path) > 400 * len(data)

    await storage.close()
    assert files(path.parent) == {"a.db": 0o600}


async def test_sizes_are_those_of_the_files_or_zero(storage: SqliteStorage, path: Path) -> None:
    await storage.commit(Changes((esim("e", 0),)))
    assert storage.sizes() == Sizes(size(path), size(path.with_name("a.db-wal")))
    assert storage.sizes().wal > 0
    await storage.close()
    os.remove(path)  # noqa: PTH107  # pathlib is taken to block in async functions
    assert storage.sizes() == Sizes(0, 0)


async def test_closing_twice_is_fine_and_anything_after_it_is_refused(
    storage: SqliteStorage, path: Path
) -> None:
    await asyncio.gather(storage.close(), storage.close())
    await storage.close()
    with pytest.raises(StorageUnavailable, match=r"a\.db is closed"):
        await storage.commit(Changes((esim("e", 0),)))
    with pytest.raises(StorageUnavailable, match=r"a\.db is closed"):
        await content(storage)
    assert files(path.parent) == {"a.db": 0o600}


async def test_a_probe_of_a_sound_storage_needs_no_reload(
    storage: SqliteStorage, path: Path
) -> None:
    before = storage.sizes()
    assert await storage.probe() is False
    assert await storage.probe() is False
    assert storage.sizes().wal > before.wal
    assert await reopened(storage, path) == ([], {})


async def test_a_backup_opens_by_itself(storage: SqliteStorage, tmp_path: Path) -> None:
    await storage.commit(Changes((esim("e", 0, b"1"),), {("b",): 7}))
    backup = tmp_path / "backup.db"
    await storage.backup(backup)
    await storage.commit(Changes((esim("e", 1, b"2"),)))

    assert files(tmp_path, "backup*") == {"backup.db": 0o600}
    with closing(sqlite3.connect(f"{backup.as_uri()}?mode=ro&immutable=1", uri=True)) as reader:
        assert reader.execute("SELECT data FROM esim").fetchall() == [("1",)]
        assert reader.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    copy = await SqliteStorage.open(backup)
    assert await content(copy) == ([Row(Table.ESIM, ("v", "e"), 1, b"1")], {("b",): 7})
    await copy.close()


async def test_a_backup_overwrites_nothing(storage: SqliteStorage, tmp_path: Path) -> None:
    there = tmp_path / "there.db"
    there.write_text("precious")
    for place in (there, tmp_path / "a.db", tmp_path / "missing" / "b.db"):
        with pytest.raises(StorageUnavailable, match=rf"no backup to .*{place.name}: "):
            await storage.backup(place)
    assert there.read_text() == "precious"
    assert await storage.commit(Changes((esim("e", 0),))) == ()


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///esim-exporter.db", "esim-exporter.db"),
        ("sqlite:///var/a b.db", "var/a b.db"),
        ("sqlite:////var/lib/esim.db", "/var/lib/esim.db"),
    ],
)
def test_a_url_names_a_relative_or_an_absolute_file(url: str, path: str) -> None:
    assert from_url(url) == Path(path)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "a.db",
        "sqlite://a.db",
        "sqlite:///",
        "sqlite:////",
        "sqlite:///folder/",
        "sqlite:///:memory:",
        "sqlite:///a.db?mode=ro",
        "sqlite:///a.db#x",
        "sqlite:///a\0.db",
        "postgresql://host/db",
    ],
)
def test_any_other_url_is_refused_with_what_is_accepted(url: str) -> None:
    with pytest.raises(SettingsError, match=r"must be sqlite:///file\.db"):
        from_url(url)


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
    """Changes that expect the version of the model, or one off."""
    rows = []
    for (table, number), (off, data) in writes.items():
        key = (*KEYS[table][:-1], f"k{number}")
        version = model.get((table, key), (0, b""))[0]
        expected = max(0, version + off)
        if data is not None or expected:
            rows.append(Change(table, key, expected, data))
    return Changes(tuple(rows), bases)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(actions)
async def test_holds_what_a_dictionary_would(
    actions: list[str | tuple[dict[tuple[Table, int], tuple[int, bytes | None]], dict[Key, int]]],
) -> None:
    model: dict[tuple[Table, Key], tuple[int, bytes]] = {}
    amounts: dict[Key, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.db"
        storage = await SqliteStorage.open(path)
        for action in actions:
            if isinstance(action, str):
                await storage.close()
                storage = await SqliteStorage.open(path)
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
        rows, bases = await reopened(storage, path)
    assert {(row.table, row.key): (row.version, row.data) for row in rows} == model
    assert bases == amounts


@pytest.mark.parametrize("gone", ["a.db", "a.db-wal"])
async def test_a_file_that_was_removed_is_not_written_to_any_more(
    storage: SqliteStorage, path: Path, gone: str
) -> None:
    await storage.commit(Changes((esim("a", 0),)))
    there, away = path.with_name(gone), path.with_name("away")
    there.rename(away)
    for attempt in (storage.commit(Changes((esim("b", 0),))), storage.probe()):
        with pytest.raises(StorageUnavailable, match=f"{gone} was removed or replaced"):
            await attempt

    away.rename(there)
    assert await storage.probe()
    assert await storage.commit(Changes((esim("b", 0),))) == ()
    rows, _ = await reopened(storage, path)
    assert [row.key[1] for row in rows] == ["a", "b"]


def replace_with_nothing(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.touch()


async def test_a_file_that_was_replaced_is_not_written_to(
    storage: SqliteStorage, path: Path
) -> None:
    await storage.commit(Changes((esim("a", 0),)))
    replace_with_nothing(path)
    with pytest.raises(StorageUnavailable, match="removed or replaced"):
        await storage.commit(Changes((esim("b", 0),)))
    assert size(path) == 0


async def test_a_new_storage_in_an_empty_file_is_noted(path: Path) -> None:
    replace_with_nothing(path)
    storage = await SqliteStorage.open(path)
    notes = [note async for chunk in storage.load() for note in chunk.notes]
    await storage.close()
    assert notes == [f"{path} was an empty file: a new storage begins in it"]
