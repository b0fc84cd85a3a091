"""Damage to the file or its log: never silent, and never more than what is damaged."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from exporter.errors import StorageDamaged, StorageUnavailable
from exporter.storage.contract import Change, Changes, Row, Table
from exporter.storage.sqlite.copying import SqliteSource
from exporter.storage.sqlite.last_acknowledged import AcknowledgedNote, last_acknowledged
from exporter.storage.sqlite.schema import ALL_TABLES, TABLES, checksum
from exporter.storage.sqlite.storage import SqliteStorage

if TYPE_CHECKING:
    from pathlib import Path

    from exporter.storage.contract import Key

ICCID = "8988303000000614227"
PAGE = 8192


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.db"


def esim(name: str, expected: int = 0, data: bytes = b"old") -> Change:
    return Change(Table.ESIM, ("v", name), expected, data)


async def make(path: Path, *batches: Changes) -> None:
    storage = await SqliteStorage.open(path)
    for changes in batches:
        assert await storage.commit(changes) == ()
    await storage.close()


THREE = Changes((esim("a"), esim(ICCID), esim("c")), {("b",): 7, ("c",): 8})


async def loaded(storage: SqliteStorage) -> tuple[list[Row], dict[Key, int], list[str]]:
    rows: list[Row] = []
    bases: dict[Key, int] = {}
    damaged: list[str] = []
    async for chunk in storage.load():
        rows += chunk.rows
        bases |= chunk.bases
        damaged += [*chunk.damaged, *chunk.notes]
    return rows, bases, damaged


async def names(path: Path) -> tuple[list[str], list[str]]:
    """The names of the eSIMs that load, and the damage that is reported."""
    storage = await SqliteStorage.open(path)
    try:
        rows, _, damaged = await loaded(storage)
    finally:
        await storage.close()
    return [row.key[1] for row in rows], damaged


def behind_its_back(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        for statement in statements:
            other.execute(statement)


def restore_definition(path: Path) -> None:
    """Give the table of eSIMs its definition back, and leave its rows as they are."""
    definition = TABLES[Table.ESIM].create.replace("'", "''")
    behind_its_back(
        path,
        "PRAGMA writable_schema = ON",
        f"UPDATE sqlite_schema SET sql = '{definition}' WHERE name = 'esim'",
    )


async def copied(path: Path) -> None:
    source = SqliteSource(path)
    try:
        async for _ in source.load():
            pass
    finally:
        await source.close()


def replace_bytes(path: Path, old: bytes, new: bytes) -> None:
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new))


def test_the_checksum_depends_on_where_each_part_ends() -> None:
    rows = [
        (("a", "bc"), 1, b"d"),
        (("ab", "c"), 1, b"d"),
        (("a", "bc1"), 1, b"d"),
        (("a", "bc"), 11, b"d"),
        (("a", "bc"), 1, b"1:d"),
        (("a", ""), 1, b"bcd"),
    ]
    assert len({checksum(table, *row) for table in ALL_TABLES for row in rows}) == len(rows) * len(
        ALL_TABLES
    )


@pytest.mark.parametrize(
    "change",
    [
        "data = 'olD'",
        "data = NULL",
        "data = 7",
        "data = x'00'",
        "version = 2",
        "version = 'x'",
        "crc = crc + 1",
        "crc = NULL",
        "esim_id = 'other'",
        "esim_id = CAST(x'ff' AS TEXT)",
        "esim_id = x'ff'",
    ],
)
async def test_a_damaged_row_is_reported_and_left_out(path: Path, change: str) -> None:
    await make(path, THREE)
    behind_its_back(
        path,
        "PRAGMA writable_schema = ON",
        "UPDATE sqlite_schema SET sql = replace(sql, ' NOT NULL', '') WHERE name = 'esim'",
    )
    behind_its_back(path, f"UPDATE esim SET {change} WHERE esim_id = '{ICCID}'")
    restore_definition(path)

    found, damaged = await names(path)

    assert found == ["a", "c"]
    (line,) = damaged
    assert line.startswith("table esim: the row with key digest ")
    assert line.endswith(" does not match its checksum and was left out")
    assert ICCID not in line
    assert "old" not in line


async def test_a_flipped_byte_in_the_file_is_reported(path: Path) -> None:
    await make(path, Changes((esim("a"), esim("b", data=b"precious"), esim("c"))))
    replace_bytes(path, b"precious", b"preciOus")

    found, damaged = await names(path)

    assert (found, len(damaged)) == (["a", "c"], 1)


async def test_a_damaged_row_is_set_aside_and_can_be_written_again(path: Path) -> None:
    await make(path, THREE)
    behind_its_back(path, f"UPDATE esim SET data = 'olD' WHERE esim_id = '{ICCID}'")
    assert len((await names(path))[1]) == 1

    await make(path, Changes((esim(ICCID, 0, b"new"), esim("a", 1, b"new"))))

    assert await names(path) == ([ICCID, "a", "c"], [])
    with closing(sqlite3.connect(path)) as other:
        ((name, content),) = other.execute("SELECT name, content FROM damaged").fetchall()
    assert name == "esim"
    assert "b'olD'" in content


async def test_a_damaged_base_is_reported_and_left_out(path: Path) -> None:
    await make(path, THREE)
    behind_its_back(path, "UPDATE bases SET amount = '9' WHERE amount = '8'")
    storage = await SqliteStorage.open(path)

    _, bases, damaged = await loaded(storage)
    assert bases == {("b",): 7}
    assert len(damaged) == 1
    assert "table bases: the row with key digest" in damaged[0]

    assert await storage.commit(Changes(bases={("c",): 1})) == ()
    _, bases, damaged = await loaded(storage)
    assert (bases, damaged) == ({("b",): 7, ("c",): 1}, [])
    await storage.close()


@pytest.mark.parametrize("key", ["x'00'", "x'ff'", "CAST(esim_id AS BLOB)", "7"])
async def test_a_row_whose_key_is_no_text_is_reported_once(path: Path, key: str) -> None:
    await make(path, THREE, Changes((esim("d"),)))
    behind_its_back(
        path,
        "CREATE TABLE odd (vendor, esim_id, version, crc, data, PRIMARY KEY (vendor, esim_id)) "
        "WITHOUT ROWID",
        f"INSERT INTO odd SELECT vendor, iif(esim_id = 'd', {key}, esim_id), version, crc, data "
        "FROM esim",
        "DROP TABLE esim",
        "ALTER TABLE odd RENAME TO esim",
    )
    restore_definition(path)

    found, damaged = await names(path)

    assert found == [ICCID, "a", "c"]
    assert len(damaged) == 1
    assert await names(path) == (found, [])
    await make(path, Changes((esim("d"),)))
    assert await names(path) == ([*found, "d"], [])


@pytest.mark.parametrize(
    ("damaged", "other"), [("3", "1"), ("1", "3"), ("5", "4"), ("0", "4"), ("2", "3")]
)
async def test_a_damaged_key_that_equals_a_good_one_removes_only_the_damaged_row(
    path: Path, damaged: str, other: str
) -> None:
    await make(path, Changes(tuple(esim(f"e{number}") for number in range(6))))
    replace_bytes(path, b"ve" + damaged.encode(), b"ve" + other.encode())

    found, reported = await names(path)

    assert found == [f"e{number}" for number in range(6) if str(number) != damaged]
    assert len(reported) == 1
    assert await names(path) == (found, [])
    await make(path, Changes((esim(f"e{damaged}"), esim(f"e{other}", 1))))


@pytest.mark.parametrize("table", ["esim", "bases"])
async def test_a_row_that_vanished_is_reported_once(path: Path, table: str) -> None:
    await make(path, THREE)
    behind_its_back(path, f"DELETE FROM {table} WHERE crc = (SELECT max(crc) FROM {table})")

    _, damaged = await names(path)
    held = {"esim": 3, "bases": 2}[table]
    assert damaged == [f"table {table} should hold {held} rows and holds {held - 1}"]
    assert (await names(path))[1] == []


async def test_a_row_that_went_back_to_an_older_state_is_reported(path: Path) -> None:
    await make(path, THREE)
    behind_its_back(path, "CREATE TABLE old AS SELECT * FROM esim WHERE esim_id = 'a'")
    await make(path, Changes((esim("a", 1, b"new"),)))
    behind_its_back(path, "INSERT OR REPLACE INTO esim SELECT * FROM old")

    _, damaged = await names(path)

    assert damaged == ["table esim holds rows that are not the ones last committed"]


async def test_a_seal_that_vanished_is_reported(path: Path) -> None:
    await make(path, THREE)
    behind_its_back(path, "DELETE FROM seal WHERE name = 'feed'")

    assert (await names(path))[1] == ["table feed should hold None rows and holds 0"]
    assert (await names(path))[1] == []


async def test_deleted_rows_leave_the_seal_intact(path: Path) -> None:
    deletes = (Change(Table.ESIM, ("v", "a"), 2, None), Change(Table.ESIM, ("v", "c"), 1, None))
    await make(path, THREE, Changes((esim("a", 1),)), Changes(deletes))

    assert await names(path) == ([ICCID], [])


@pytest.mark.parametrize("base", [False, True])
async def test_damage_found_by_a_commit_is_set_aside_by_a_reload(path: Path, base: bool) -> None:
    await make(path, THREE)
    storage = await SqliteStorage.open(path)
    table, row = ("bases", "amount = '8'") if base else ("esim", f"esim_id = '{ICCID}'")

    def damage() -> None:
        assert storage._connection is not None
        storage._connection.execute(f"UPDATE {table} SET version = 5 WHERE {row}")
        storage._files.remember()

    await storage._run(damage)
    changes = Changes(bases={("c",): 1}) if base else Changes((esim(ICCID, 1, b"new"), esim("d")))
    with pytest.raises(StorageUnavailable, match=f"cannot be written: table {table}: the row"):
        await storage.commit(changes)

    assert await storage.probe() is True
    rows, _, damaged = await loaded(storage)
    assert [line for line in damaged if "does not match its checksum" in line]
    assert "d" not in {row.key[1] for row in rows}
    again = changes if base else Changes((esim(ICCID, 0, b"new"), esim("d")))
    assert await storage.commit(again) == ()
    assert (await loaded(storage))[2] == []
    await storage.close()


async def full(path: Path) -> None:
    """A file with many pages."""
    rows = tuple(esim(f"{n:04d}", data=b"%04d" % n * 150) for n in range(2000))
    await make(path, Changes(rows))


@pytest.mark.parametrize("left", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("odd", [0, 100])
async def test_a_file_that_was_cut_off_is_damaged(path: Path, left: float, odd: int) -> None:
    await full(path)
    with path.open("r+b") as file:
        file.truncate(int(file.seek(0, 2) * left) // PAGE * PAGE + odd)

    with pytest.raises(StorageDamaged, match=r"a\.db is damaged .*restore a backup.*\.recover"):
        await names(path)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b", crc INTEGER", b", crb INTEGER", "the definition of table esim is not the one .*"),
        (b"vendor TEXT NOT", b"vendor TEXT\nNOT", "the definition of table esim is not the one .*"),
        (b"EATE TABLE esim (", b"EATE TABLE esim\n\n", "malformed database schema"),
        (b"PRIMARY KEY (vendor", b"PRIMARY KEY (vend\xefr", "text that is not UTF-8"),
    ],
)
async def test_a_flipped_bit_in_the_definition_of_a_table_is_damage(
    path: Path, old: bytes, new: bytes, reason: str
) -> None:
    await make(path, Changes((esim("a"),)))
    replace_bytes(path, old, new)

    with pytest.raises(StorageDamaged, match=rf"a\.db is damaged \({reason}\): .*restore a backup"):
        await names(path)
    with pytest.raises(StorageDamaged, match=rf"a\.db is damaged \({reason}\): .*restore a backup"):
        await copied(path)


async def test_two_tables_on_one_page_are_damage(path: Path) -> None:
    await make(path, Changes((esim("a"),)))
    behind_its_back(
        path,
        "PRAGMA writable_schema = ON",
        "UPDATE sqlite_schema SET rootpage = (SELECT rootpage FROM sqlite_schema "
        "WHERE name = 'feed') WHERE name = 'esim'",
    )
    with pytest.raises(StorageDamaged, match=r"begins at a page of another .*restore a backup"):
        await names(path)


@pytest.mark.parametrize("change", ["UPDATE seal SET stamp = x'00'", "DELETE FROM seal"])
async def test_a_damaged_number_of_the_last_commit_is_reported_once(
    path: Path, change: str
) -> None:
    await make(path, THREE)
    before = last_acknowledged(path)
    behind_its_back(path, f"{change} WHERE name = 'commit'")

    lines = [
        f"{path}: the number of the last commit is damaged, so it may lack acknowledged commits"
    ]
    source = SqliteSource(path)
    chunks = [chunk async for chunk in source.load()]
    await source.close()
    assert [line for chunk in chunks for line in chunk.damaged] == lines
    assert await names(path) == ([ICCID, "a", "c"], lines)
    assert await names(path) == ([ICCID, "a", "c"], [])
    await make(path, Changes((esim("d"),)))
    after = last_acknowledged(path)
    assert before
    assert after
    assert after.number > before.number


async def test_pages_of_garbage_are_damage(path: Path) -> None:
    await full(path)
    with path.open("r+b") as file:
        file.seek(PAGE * 50)
        file.write(b"\xa5" * PAGE * 100)

    with pytest.raises(StorageDamaged, match=r"a\.db is damaged .*restore a backup"):
        await names(path)


async def test_damage_that_a_commit_finds_is_told_with_the_way_out(path: Path) -> None:
    await full(path)
    with path.open("r+b") as file:
        file.seek(PAGE * 50)
        file.write(b"\xa5" * PAGE * 100)
    storage = await SqliteStorage.open(path)

    with pytest.raises(StorageUnavailable, match=r"a\.db is damaged .*restore a backup"):
        await storage.commit(Changes(tuple(esim(f"{n:04d}", 1) for n in range(2000))))

    await storage.close()


async def crashed(path: Path, *batches: Changes) -> None:
    """Make the files as they are after these commits and ``kill -9``."""
    live = path.with_name("live.db")
    storage = await SqliteStorage.open(live)
    for changes in batches:
        assert await storage.commit(changes) == ()
    for suffix in ("", "-wal", "-end"):
        shutil.copy(f"{live}{suffix}", f"{path}{suffix}")
    await storage.close()


def contents(*paths: Path) -> list[bytes]:
    return [path.read_bytes() for path in paths]


def flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


async def test_a_log_is_read_after_a_crash(path: Path) -> None:
    await crashed(path, THREE, Changes((esim("d"),)))
    assert await names(path) == ([ICCID, "a", "c", "d"], [])


async def test_a_log_repairs_a_stamp_that_a_power_cut_left_half_written(path: Path) -> None:
    await crashed(path, THREE)
    flip(path, contents(path)[0].rindex(b"commit") + 20)
    assert await names(path) == ([ICCID, "a", "c"], [])


async def test_a_log_damaged_early_stops_the_start_and_is_left_alone(path: Path) -> None:
    await crashed(path, THREE, Changes((esim("d"),)), Changes((esim("e"),)))
    log = path.with_name("a.db-wal")
    flip(log, 32 + 24 + 100)
    before = contents(path, log)

    with pytest.raises(StorageDamaged, match=r"a\.db-wal is damaged at frame 1 of "):
        await SqliteStorage.open(path)

    assert contents(path, log) == before


async def test_a_torn_end_of_the_log_is_reported_and_the_rest_loads(path: Path) -> None:
    await crashed(path, THREE, Changes((esim("d"),)))
    log = path.with_name("a.db-wal")
    flip(log, log.stat().st_size - 100)
    acknowledged = last_acknowledged(path)
    assert acknowledged
    AcknowledgedNote(path).start(acknowledged._replace(number=1))

    found, damaged = await names(path)

    assert found == [ICCID, "a", "c"]
    (line,) = damaged
    assert "the transaction there was not finished and was left out" in line
    assert await names(path) == ([ICCID, "a", "c"], [])
