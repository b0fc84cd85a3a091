"""Which files a SQLite storage opens, and which it refuses."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import exporter
from exporter.errors import StorageDamaged, StorageError, StorageLocked, StorageUnavailable
from exporter.storage.contract import Change, Changes, Table
from exporter.storage.sqlite.connection import Findings, _require_durability, connect
from exporter.storage.sqlite.last_acknowledged import note_path
from exporter.storage.sqlite.schema import APPLICATION_ID
from exporter.storage.sqlite.storage import SqliteStorage

if TYPE_CHECKING:
    from collections.abc import Iterator

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(exporter.__file__).parents[1])}
CHANGES = Changes((Change(Table.ESIM, ("v", "e"), 0, b"{}"),), {("b",): 1})

OPENER = """
import asyncio, sys
from pathlib import Path
from exporter.errors import StorageError
from exporter.storage.sqlite.storage import SqliteStorage

async def main(path):
    try:
        storage = await SqliteStorage.open(path)
    except StorageError as error:
        print(type(error).__name__, error, flush=True)
        return
    print("open", flush=True)
    sys.stdin.readline()
    await storage.close()

asyncio.run(main(Path(sys.argv[1])))
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.db"


def tree(folder: Path) -> dict[str, bytes | None]:
    """The content of every file below a folder; ``None`` for a folder."""
    return {
        str(file.relative_to(folder)): file.read_bytes() if file.is_file() else None
        for file in folder.rglob("*")
    }


def put(path: Path, content: bytes) -> None:
    path.write_bytes(content)


async def refused(path: Path, error: type[StorageError]) -> str:
    """The reason for which ``path`` is refused. Checks that no file there changed."""
    before = tree(path.parent)
    with pytest.raises(error) as caught:
        await SqliteStorage.open(path)
    assert tree(path.parent) == before
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


async def make(path: Path) -> None:
    storage = await SqliteStorage.open(path)
    assert await storage.commit(CHANGES) == ()
    await storage.close()


@contextmanager
def holder(path: Path) -> Iterator[None]:
    """Another process that has the storage open."""
    with subprocess.Popen(
        [sys.executable, "-c", OPENER, str(path)],
        env=ENVIRONMENT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        yield
        process.communicate("\n")
    assert process.returncode == 0


@contextmanager
def unprivileged() -> Iterator[None]:
    """Become a user to whom permissions apply. They do not apply to root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users can reach. They cannot reach ``tmp_path``."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


async def test_only_the_owner_may_read_a_new_file_and_its_log(path: Path) -> None:
    storage = await SqliteStorage.open(path)
    await storage.commit(CHANGES)
    modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.glob("*")}
    await storage.close()

    assert modes == {"a.db": 0o600, "a.db-wal": 0o600, "a.db-end": 0o600}


async def test_a_person_can_read_the_file_with_sqlite(path: Path) -> None:
    await make(path)
    with closing(sqlite3.connect(path)) as reader:
        rows = reader.execute("SELECT vendor, esim_id, version, data FROM esim").fetchall()
        bases = reader.execute("SELECT key, amount FROM bases").fetchall()
        (page_size,) = reader.execute("PRAGMA page_size").fetchone()
        (application,) = reader.execute("PRAGMA application_id").fetchone()

    assert rows == [("v", "e", 1, "{}")]
    assert bases == [('["b"]', "1")]
    assert (page_size, application) == (8192, APPLICATION_ID)


async def test_opens_an_empty_file(path: Path) -> None:
    put(path, b"")
    await make(path)


async def test_finds_the_log_of_a_link_where_its_target_is(path: Path) -> None:
    await make(path)
    link = path.parent / "elsewhere" / "link.db"
    link.parent.mkdir()
    link.symlink_to(path)
    storage = await SqliteStorage.open(link)
    assert await storage.probe() is False
    assert storage.sizes().wal > 0
    await storage.close()


async def test_a_second_process_is_refused_at_once(path: Path) -> None:
    with holder(path):
        reason = await refused(path, StorageLocked)
        assert reason == (
            f"{path} is in use by another process; stop it, or give this one another --storage.url"
        )
    await make(path)


async def test_the_log_of_a_running_process_is_not_taken_for_damaged(path: Path) -> None:
    log = path.with_name("a.db-wal")
    with holder(path):
        put(log, b"half of a write" * 1000)
        await refused(path, StorageLocked)
        put(log, b"")


async def test_a_file_that_another_program_uses_is_refused(path: Path) -> None:
    await make(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode = DELETE")
        other.execute("BEGIN IMMEDIATE")
        # The system shows no lock to its own process, but SQLite knows its own locks.
        await refused(path, StorageLocked)


async def test_no_other_program_can_use_an_open_file(path: Path) -> None:
    storage = await SqliteStorage.open(path)
    with (
        closing(sqlite3.connect(path, timeout=0)) as other,
        pytest.raises(sqlite3.OperationalError, match="locked"),
    ):
        other.execute("SELECT * FROM esim")
    with pytest.raises(StorageLocked):
        await SqliteStorage.open(path)
    await storage.close()


async def test_another_process_may_take_the_file_between_close_and_reopen(path: Path) -> None:
    storage = await SqliteStorage.open(path)
    await storage._run(storage._disconnect)
    storage._suspect = True
    with holder(path):
        for _ in range(2):
            with pytest.raises(StorageUnavailable, match="in use by another process"):
                await storage.probe()
        with pytest.raises(StorageUnavailable, match="in use by another process"):
            await storage.commit(CHANGES)
        with pytest.raises(StorageUnavailable, match="in use by another process"):
            [chunk async for chunk in storage.load()]
    assert await storage.probe() is True
    assert await storage.commit(CHANGES) == ()
    await storage.close()


def permit(path: Path, mode: int) -> None:
    """Change the mode of a closed database, and of the note beside it."""
    path.chmod(mode)
    note_path(path).chmod(mode)


async def test_refuses_a_missing_folder(tmp_path: Path) -> None:
    reason = await refused(tmp_path / "missing" / "a.db", StorageUnavailable)
    assert "No such file or directory" in reason
    assert "check that its folder exists" in reason


async def test_refuses_a_folder_instead_of_a_file(path: Path) -> None:
    os.mkdir(path)  # noqa: PTH102  # pathlib is taken to block in async functions
    assert "Is a directory" in await refused(path, StorageUnavailable)


async def test_refuses_a_file_it_may_not_write(open_folder: Path) -> None:
    path = open_folder / "a.db"
    await make(path)
    permit(path, 0o444)
    with unprivileged():
        reason = await refused(path, StorageUnavailable)
    assert "Permission denied" in reason


async def test_refuses_a_folder_it_may_not_write(open_folder: Path) -> None:
    path = open_folder / "a.db"
    await make(path)
    permit(path, 0o666)
    os.chmod(open_folder, 0o555)  # noqa: PTH101  # likewise
    with unprivileged():
        reason = await refused(path, StorageUnavailable)
        await refused(open_folder / "b.db", StorageUnavailable)
    assert "this user may write there" in reason


@pytest.mark.parametrize("garbage", [b"x", b"not a database, " * 1000, b"\0" * 8192])
async def test_refuses_a_file_that_is_not_a_database(path: Path, garbage: bytes) -> None:
    put(path, garbage)
    assert "is not a database of this program" in await refused(path, StorageDamaged)


@pytest.mark.parametrize("journal", ["DELETE", "WAL"])
async def test_refuses_the_database_of_another_program(path: Path, journal: str) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.execute(f"PRAGMA journal_mode = {journal}")
        other.execute("CREATE TABLE theirs (x)")
        other.execute("PRAGMA application_id = 7")
    assert "move the file away" in await refused(path, StorageDamaged)


async def test_refuses_a_newer_schema(path: Path) -> None:
    await make(path)
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA user_version = 3")
    assert "it has schema 3, and this version" in await refused(path, StorageUnavailable)


@pytest.mark.parametrize("version", [0, -1])
async def test_refuses_a_schema_that_never_existed(path: Path, version: int) -> None:
    await make(path)
    with closing(sqlite3.connect(path)) as other:
        other.execute(f"PRAGMA user_version = {version}")
    assert f"it has schema {version}, which never existed" in await refused(path, StorageDamaged)


@pytest.mark.parametrize("left", [None, b""])
async def test_refuses_a_log_without_its_database(path: Path, left: bytes | None) -> None:
    log = path.with_name("a.db-wal")
    put(log, b"\x37\x7f\x06\x82" * 5000)
    if left is not None:
        put(path, left)
    with pytest.raises(StorageDamaged, match=r"its log a\.db-wal is not"):
        await SqliteStorage.open(path)
    assert tree(path.parent) == {"a.db": b"", "a.db-wal": b"\x37\x7f\x06\x82" * 5000}


def test_refuses_what_cannot_be_made_durable() -> None:
    with (
        closing(sqlite3.connect(":memory:")) as memory,
        pytest.raises(StorageUnavailable, match=r"cannot be made durable .*'memory'"),
    ):
        _require_durability(memory, Path("a.db"))


def test_reads_back_the_settings_that_make_a_commit_durable(path: Path) -> None:
    opened = connect(path)
    with closing(opened.file), closing(opened.log_file), closing(opened.connection) as connection:
        names = ("locking_mode", "journal_mode", "synchronous", "wal_autocheckpoint")
        found = [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names]
    assert (found, opened.findings) == ([b"exclusive", b"wal", 2, 0], Findings())


def downgraded(path: Path) -> None:
    """Make a closed file one of version 1, with a row that only its log holds."""
    note_path(path).unlink()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("DELETE FROM seal WHERE name = 'commit'")
        other.execute("ALTER TABLE seal DROP COLUMN stamp")
        other.execute("DROP TABLE starts")
        other.execute("PRAGMA user_version = 1")
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        other.execute("INSERT INTO probe VALUES (1, 17)")
        files = {name: path.with_name(name).read_bytes() for name in ("a.db", "a.db-wal")}
    assert files["a.db-wal"]
    for name, content in files.items():
        path.with_name(name).write_bytes(content)


async def test_upgrades_a_file_of_version_1_and_its_log(path: Path) -> None:
    await make(path)
    downgraded(path)
    for _ in range(2):
        storage = await SqliteStorage.open(path)
        chunks = [chunk async for chunk in storage.load()]
        await storage.close()
        assert [row.key for chunk in chunks for row in chunk.rows] == [("v", "e")]
        assert [line for chunk in chunks for line in (*chunk.damaged, *chunk.notes)] == []
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("PRAGMA user_version").fetchone() == (2,)
        assert other.execute("SELECT writes FROM probe").fetchone() == (17,)


async def test_a_file_of_version_1_does_not_take_a_log_of_version_2(path: Path) -> None:
    await make(path)
    downgraded(path)
    old = tree(path.parent)["a.db"]
    path.with_name("a.db-wal").unlink()
    storage = await SqliteStorage.open(path)
    assert await storage.commit(Changes(bases={("b",): 1})) == ()
    files = tree(path.parent)
    await storage.close()
    for name, content in files.items():
        put(path.with_name(name), content or b"")
    put(path, old or b"")

    assert "do not belong together" in await refused(path, StorageDamaged)


async def test_a_log_that_another_program_left_is_refused(path: Path) -> None:
    await make(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("INSERT INTO probe VALUES (1, 17)")
        files = tree(path.parent)
    for name in ("a.db", "a.db-wal"):
        put(path.with_name(name), files[name] or b"")

    assert "do not belong together" in await refused(path, StorageDamaged)
