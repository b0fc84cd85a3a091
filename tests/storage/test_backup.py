"""Backups of a SQLite file: complete and independent of its log, or nothing at all."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import programs
import pytest
from file_size_limit import file_size_limit
from stored import content

import exporter
from exporter.errors import StorageUnavailable
from exporter.storage.contract import Change, Changes, Row, Table
from exporter.storage.sqlite.storage import SqliteStorage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROOT = Path(exporter.__file__).parents[1]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.fixture
async def storage(tmp_path: Path) -> AsyncIterator[SqliteStorage]:
    storage = await SqliteStorage.open(tmp_path / "a.db")
    yield storage
    await storage.close()


def esim(number: int, expected: int = 0, data: bytes = b"x" * 3000) -> Change:
    return Change(Table.ESIM, ("v", str(number)), expected, data)


def many(count: int) -> Changes:
    return Changes(tuple(map(esim, range(count))))


def files(folder: Path, pattern: str) -> dict[str, int]:
    """The names and the permissions of files."""
    return {file.name: file.stat().st_mode & 0o777 for file in folder.glob(pattern)}


async def rows_in(path: Path) -> int:
    storage = await SqliteStorage.open(path)
    rows, _ = await content(storage)
    await storage.close()
    return len(rows)


async def test_a_backup_opens_by_itself(storage: SqliteStorage, tmp_path: Path) -> None:
    await storage.commit(Changes((esim(7, 0, b"1"),), {("b",): 7}))
    backup = tmp_path / "backup.db"
    await storage.backup(backup)
    await storage.commit(Changes((esim(7, 1, b"2"),)))

    assert files(tmp_path, "backup*") == {"backup.db": 0o600}
    with closing(sqlite3.connect(f"{backup.as_uri()}?mode=ro&immutable=1", uri=True)) as reader:
        assert reader.execute("SELECT data FROM esim").fetchall() == [("1",)]
        assert reader.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    copy = await SqliteStorage.open(backup)
    assert await content(copy) == ([Row(Table.ESIM, ("v", "7"), 1, b"1")], {("b",): 7})
    await copy.close()


async def test_a_backup_overwrites_nothing(storage: SqliteStorage, tmp_path: Path) -> None:
    there = tmp_path / "there.db"
    there.write_text("precious")
    for place in (there, tmp_path / "a.db", tmp_path / "missing" / "b.db"):
        with pytest.raises(StorageUnavailable, match=rf"no backup to .*{place.name}: "):
            await storage.backup(place)
    assert there.read_text() == "precious"
    assert await storage.commit(Changes((esim(7),))) == ()


async def test_a_failed_backup_leaves_no_file_and_commits_go_on(
    storage: SqliteStorage, tmp_path: Path
) -> None:
    await storage.commit(many(100))
    backup = tmp_path / "b.db"
    with (
        file_size_limit(200_000),
        pytest.raises(StorageUnavailable, match=r"the backup to .*b\.db failed: disk I/O error"),
    ):
        await storage.backup(backup)

    assert files(tmp_path, "b*") == {}
    assert await storage.commit(Changes((esim(0, 1),))) == ()
    await storage.backup(backup)
    assert await rows_in(backup) == 100


BACKUP = """
import asyncio, sys
from pathlib import Path
from exporter.errors import StorageUnavailable
from exporter.storage.sqlite.storage import SqliteStorage

async def main(path):
    storage = await SqliteStorage.open(path / "a.db")
    try:
        await storage.backup(path / "b.db")
    except StorageUnavailable as error:
        print(error)
    await storage.close()

asyncio.run(main(Path(sys.argv[1])))
"""


@pytest.mark.parametrize(
    ("fault", "left"),
    [
        ("unlink:error=EIO:when=1", set()),  # SQLite leaves b.db.part-journal
        ("ftruncate:error=EIO", set()),  # SQLite leaves b.db.part-wal and b.db.part-shm
        ("unlink:error=EIO", {"b.db.part-journal"}),  # it cannot be removed
    ],
)
def test_a_failed_backup_leaves_no_side_files(fault: str, left: set[str], tmp_path: Path) -> None:
    strace = programs.require("strace")
    paths = [f"-P{tmp_path / 'b.db.part'}{end}" for end in ("-journal", "-wal", "-shm")]
    calls = ["-e", "trace=unlink,ftruncate", "-e", f"inject={fault}", *paths]

    done = subprocess.run(
        [strace, "-f", "-qq", "-o", os.devnull, *calls, sys.executable, "-c", BACKUP, tmp_path],
        env=programs.environment(strace) | ENVIRONMENT,
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == f"the backup to {tmp_path / 'b.db'} failed: disk I/O error\n"
    assert {file.name for file in tmp_path.iterdir()} == {"a.db", "a.db-end", *left}


CUT_OFF = """
import asyncio, resource, signal, sys
from pathlib import Path
from exporter.storage.sqlite.storage import SqliteStorage

async def main(path):
    storage = await SqliteStorage.open(path / "a.db")
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # which ends the process
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, -1))
    await storage.backup(path / "b.db")

asyncio.run(main(Path(sys.argv[1])))
"""


async def test_a_backup_that_was_cut_off_does_not_look_like_one(tmp_path: Path) -> None:
    storage = await SqliteStorage.open(tmp_path / "a.db")
    await storage.commit(many(100))
    await storage.close()

    ended = subprocess.run([sys.executable, "-c", CUT_OFF, str(tmp_path)], check=False)  # noqa: ASYNC221  # nothing else runs in this loop

    assert ended.returncode == -signal.SIGXFSZ
    assert not (tmp_path / "b.db").exists()
    assert (tmp_path / "b.db.part").exists()
    assert await rows_in(tmp_path / "a.db") == 100
