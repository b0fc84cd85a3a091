"""A rollback journal beside the database file is written back to its own file only."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, NamedTuple

import pytest
from stored import content

from exporter.errors import StorageDamaged
from exporter.storage.contract import Change, Changes, Table
from exporter.storage.sqlite.storage import SqliteStorage

if TYPE_CHECKING:
    from pathlib import Path

NAME, JOURNAL, NOTE = "a.db", "a.db-journal", "a.db-end"

KILLED = """
import os, sqlite3, sys
with open(sys.argv[1], "ab"):
    connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA journal_mode = DELETE")
connection.execute("PRAGMA cache_size = 2")
connection.execute("BEGIN IMMEDIATE")
connection.execute("CREATE TABLE theirs (x)")
for statement in sys.argv[2:]:
    connection.execute(statement)
connection.executemany("INSERT INTO theirs VALUES (?)", [("x" * 500,)] * 2000)
os._exit(1)
"""
"""A ``sqlite3`` that is killed while it changes the file, so that its journal is left."""

Files = dict[str, bytes]


class Left(NamedTuple):
    """The files of a storage after a stop, later after more commits, and a backup of those."""

    closed: Files
    later: Files
    backup: Files


async def commit(storage: SqliteStorage, name: str) -> None:
    changes = [Change(Table.ESIM, ("v", f"{name}{number}"), 0, b"x" * 900) for number in range(30)]
    assert await storage.commit(Changes(tuple(changes))) == ()


def taken(folder: Path) -> Files:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def put(folder: Path, files: Files) -> Path:
    folder.mkdir(exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def killed(folder: Path, *statements: str) -> Files:
    """Let a ``sqlite3`` be killed that changes the file in a folder. Return what it leaves."""
    command = [sys.executable, "-c", KILLED, str(folder / NAME), *statements]
    assert subprocess.run(command, check=False).returncode == 1
    assert (folder / JOURNAL).read_bytes()
    return taken(folder)


@pytest.fixture
async def left(tmp_path: Path) -> Left:
    folder = put(tmp_path / "left", {})
    storage = await SqliteStorage.open(folder / NAME)
    await commit(storage, "a")
    await storage.close()
    closed = taken(folder)
    storage = await SqliteStorage.open(folder / NAME)
    await commit(storage, "b")
    await storage.backup(tmp_path / "backup")
    await storage.close()
    return Left(closed, taken(folder), {NAME: (tmp_path / "backup").read_bytes()})


async def rows(folder: Path) -> int:
    """Start on the files in a folder; return the number of rows, none of them damaged."""
    storage = await SqliteStorage.open(folder / NAME)
    try:
        return len((await content(storage))[0])
    finally:
        await storage.close()


async def test_the_journal_of_a_killed_sqlite3_is_written_back(left: Left, tmp_path: Path) -> None:
    files = killed(put(tmp_path / "own", left.closed), "DELETE FROM esim")
    assert files[NAME] != left.closed[NAME]
    assert await rows(tmp_path / "own") == 30


async def test_an_interrupted_creation_is_undone(tmp_path: Path) -> None:
    killed(put(tmp_path / "new", {}))
    assert await rows(tmp_path / "new") == 0


@pytest.mark.parametrize("journal", ["older", "foreign", "creation"])
@pytest.mark.parametrize(
    "beside", ["a closed file", "a file without a note", "a backup", "nothing"]
)
async def test_another_journal_is_refused(
    journal: str, beside: str, left: Left, tmp_path: Path
) -> None:
    if journal == "older":
        made = killed(put(tmp_path / "made", left.closed), "DELETE FROM esim")
    else:
        made = killed(put(tmp_path / "made", {}))
    if journal == "foreign":  # of a transaction that was not the first
        (tmp_path / "made" / JOURNAL).unlink()
        (tmp_path / "made" / NAME).write_bytes(left.closed[NAME])
        made = killed(tmp_path / "made", "PRAGMA user_version = 3", "DELETE FROM esim")
    files = {
        "a closed file": left.later,
        "a file without a note": {NAME: left.later[NAME]},
        "a backup": left.backup,
        "nothing": {NAME: b""},
    }[beside]
    if (journal, beside) == ("creation", "nothing"):
        return  # they belong together
    folder = put(tmp_path / "mixed", files | {JOURNAL: made[JOURNAL]})
    before = taken(folder)
    with pytest.raises(StorageDamaged, match=r"a\.db and its journal a\.db-journal do not"):
        await SqliteStorage.open(folder / NAME)
    assert taken(folder) == before
    (folder / JOURNAL).unlink()  # the way out
    assert await rows(folder) == (0 if beside == "nothing" else 60)
