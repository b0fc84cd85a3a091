"""Each change is synced before the step that relies on it, in the recorded order of system calls.

A power cut at the right moment would show a missing sync too, but a test rarely hits that moment.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tracing import calls, ended, environment, traced

import exporter

ROOT = Path(exporter.__file__).parents[1]

OPEN = """
import asyncio, os, sys
from pathlib import Path
from exporter.storage.contract import Change, Changes, Chunk, Row, Table
from exporter.storage.sqlite.copying import SqliteTarget
from exporter.storage.sqlite.storage import SqliteStorage

folder = Path(sys.argv[1])

def esim(name):
    return Changes((Change(Table.ESIM, ("v", name), 0, b"x" * 9000),))

async def main():
    storage = await SqliteStorage.open(folder / "a.db")
"""

KILLED = """
    await storage.commit(esim("before"))
    os._exit(0)

asyncio.run(main())
"""

RESTARTED = """
    await storage.commit(esim("after"))
    await storage.backup(folder / "b.db")
    await storage.commit(esim("last"))
    await storage.close()
    target = await SqliteTarget.open(folder / "c.db")
    await target.write(Chunk((Row(Table.ESIM, ("v", "copied"), 1, b"x" * 9000),)))
    await target.keep()
    (folder / "done").touch()
    await target.close()

asyncio.run(main())
"""


def run(script: str, folder: Path, *before: str) -> None:
    command = [*before, sys.executable, "-c", OPEN + script, str(folder)]
    environ = {**os.environ, **environment(), "PYTHONPATH": str(ROOT)}
    subprocess.run(command, env=environ, check=True)


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The calls on files of a folder, such as ``rename b.db``. The folder itself is ``.``.

    One process was killed after a commit. The recorded one opens the storage, commits, makes a
    backup, commits, closes, and writes a copy.
    """
    folder, record = tmp_path_factory.mktemp("synced"), tmp_path_factory.mktemp("record") / "calls"
    run(KILLED, folder)
    run(RESTARTED, folder, *traced(record))
    ended(record)
    about = [call for call in calls(record) if Path(call.path).is_relative_to(folder)]
    return [f"{c.name} {Path(c.path).relative_to(folder)}" for c in about if not c.failed]


@pytest.mark.parametrize(
    ("change", "syncs", "step", "times"),
    [
        # The log that was written over itself, before the note names a commit in it.
        ("write a.db-wal", "fsync a.db-wal", "pwrite64 a.db-end", 1),
        # The names of the note and of the new log, before the first commit.
        ("openat a.db-end", "fsync .", "pwrite64 a.db-wal", 1),
        ("openat a.db-wal", "fsync .", "pwrite64 a.db-wal", 1),
        # The database that the log was written back to, before the log is emptied.
        ("pwrite64 a.db", "fdatasync a.db", "ftruncate a.db-wal", 3),
        # The log, before a commit is noted as acknowledged.
        ("pwrite64 a.db-wal", "fdatasync a.db-wal", "pwrite64 a.db-end", 3),
        # The backup before it gets its name, and its name before the next commit.
        ("pwrite64 b.db.part", "fsync b.db.part", "rename b.db", 1),
        ("rename b.db", "fsync .", "pwrite64 a.db-wal", 1),
        # The copied file before it gets its name, and its name before the copy is reported.
        ("pwrite64 c.db-copying", "fdatasync c.db-copying", "rename c.db", 1),
        ("rename c.db", "fsync .", "openat done", 1),
    ],
)
def test_a_change_is_synced_before_the_step_that_relies_on_it(
    change: str, syncs: str, step: str, times: int, steps: list[str]
) -> None:
    """Every ``step`` after a ``change`` has the sync between the last change and itself."""
    changed, synced, checked = False, False, 0
    for call in steps:
        if call == step and changed:
            assert synced, f"{step} came before {syncs}"
            changed, checked = False, checked + 1
        if call == change:
            changed, synced = True, False
        elif call == syncs:
            synced = True
    assert checked == times
