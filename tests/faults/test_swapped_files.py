"""The database file, its log and its note come from different moments, or from another file.

Whatever is put together: a start loads a state that there was, whole. It says so if that state
lacks an acknowledged commit that one of the three files tells of. It says nothing if it does not.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from measuring import grouped, times

from exporter.errors import StorageError
from exporter.storage.contract import Change, Changes, Table
from exporter.storage.sqlite.storage import SqliteStorage

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from measuring import Chance, Measured

NAME = "a.db"
LOG, NOTE = f"{NAME}-wal", f"{NAME}-end"
FILES = (NAME, LOG, NOTE)

State = dict[str, bytes]
"""Version and data of each eSIM."""


@dataclass(frozen=True, slots=True)
class Moment:
    """Copies of the files at one moment."""

    files: Mapping[str, bytes]
    states: tuple[State, ...]
    """All states up to this one, which is acknowledged."""
    closed: bool
    """Whether the file is complete without its log: after a stop, and in a backup."""


class History:
    """A storage that is used, killed, stopped, backed up and copied."""

    def __init__(self, folder: Path, chance: Chance, states: tuple[State, ...] = ({},)) -> None:
        self.folder = folder
        self.chance = chance
        self.states = states
        self.moments: list[Moment] = []

    async def live(self, starts: int) -> None:
        """Start so often, commit each time, and end with a stop or a kill."""
        for _ in range(starts):
            storage = await SqliteStorage.open(self.folder / NAME)
            self.keep()
            for _ in range(self.chance.randint(0, 12)):
                await self.commit(storage)
                await storage._run(int)  # the log may be written back after a commit
                if self.chance.random() < 0.4:
                    self.keep()
                if self.chance.random() < 0.1:
                    await self.back_up(storage)
            killed = self.keep()
            await storage.close()
            if self.chance.random() < 0.5:
                put(self.folder, killed.files)
            else:
                self.keep(closed=True)

    async def commit(self, storage: SqliteStorage) -> None:
        state = self.states[-1]
        names = self.chance.sample([f"e{number}" for number in range(30)], 3)
        versions = {name: int(state[name].split(b":")[0]) if name in state else 0 for name in names}
        data = self.chance.randbytes(700).hex().encode()
        changes = [Change(Table.ESIM, ("v", name), at, data) for name, at in versions.items()]
        assert await storage.commit(Changes(tuple(changes))) == ()
        new = {name: b"%d:%b" % (at + 1, data) for name, at in versions.items()}
        self.states = (*self.states, state | new)

    async def back_up(self, storage: SqliteStorage) -> None:
        backup = self.folder / "backup.db"
        await storage.backup(backup)
        self.moments.append(Moment({NAME: backup.read_bytes()}, self.states, closed=True))
        backup.unlink()

    def keep(self, *, closed: bool = False) -> Moment:
        moment = Moment(taken(self.folder), self.states, closed)
        self.moments.append(moment)
        return moment


def taken(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES if (folder / name).exists()}


def put(folder: Path, files: Mapping[str, bytes]) -> None:
    for name in FILES:
        (folder / name).unlink(missing_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


async def loaded(folder: Path) -> tuple[State, list[str]]:
    """Start, load and stop; return the state and the damage. Raises ``StorageError``."""
    storage = await SqliteStorage.open(folder / NAME)
    try:
        chunks = [chunk async for chunk in storage.load()]
    finally:
        await storage.close()
    rows = [row for chunk in chunks for row in chunk.rows]
    state = {row.key[1]: b"%d:%b" % (row.version, row.data) for row in rows}
    return state, [line for chunk in chunks for line in chunk.damaged]


def written_back(folder: Path) -> bool:
    """Open the files with SQLite, as ``sqlite3`` does, which writes the log back."""
    with closing(sqlite3.connect(folder / NAME)) as other:
        other.execute("SELECT count(*) FROM esim").fetchall()
    return not (folder / LOG).exists()


@pytest.fixture
async def moments(tmp_path: Path, chance: Chance, monkeypatch: pytest.MonkeyPatch) -> list[Moment]:
    """Moments of a file, of one that began as its copy, and of a foreign one."""
    monkeypatch.setattr("exporter.storage.sqlite.storage.LOG_LIMIT", 120_000)
    histories = []
    for name in ("own", "foreign"):
        (tmp_path / name).mkdir()
        histories.append(History(tmp_path / name, chance))
        await histories[-1].live(times(5, 12))
    own = histories[0]
    copied = chance.choice([moment for moment in own.moments if len(moment.files) == 3])
    (tmp_path / "copied").mkdir()
    put(tmp_path / "copied", copied.files)
    copy = History(tmp_path / "copied", chance, copied.states)
    await copy.live(3)
    return [moment for history in (*histories, copy) for moment in history.moments]


def assert_clear(reason: str, folder: Path) -> None:
    """Check that a refusal is one line that names the file and the way out."""
    assert "\n" not in reason
    assert str(folder / NAME) in reason
    assert any(way in reason for way in ("restore a backup", "restored a backup", "put the"))


async def judged(folder: Path, moments: list[Moment], *used: Moment) -> str:
    """Start on files that moments left; check what is promised, and return the outcome."""
    before = taken(folder)
    try:
        state, damaged = await loaded(folder)
    except StorageError as error:
        assert_clear(str(error), folder)
        assert taken(folder) == before
        return "refused"
    histories = [moment.states for moment in moments if state in moment.states]
    assert histories, "a state that there never was"
    if damaged:
        assert (await loaded(folder)) == (state, [])
        return "told"
    for moment in used:
        acknowledged = moment.states[-1]
        assert any(
            acknowledged in states and states.index(acknowledged) <= states.index(state)
            for states in histories
        ), "acknowledged commits are missing, and nothing says so"
    return "started"


async def test_files_that_do_not_belong_together_are_never_used_in_silence(
    moments: list[Moment], tmp_path: Path, chance: Chance, measured: Measured
) -> None:
    outcomes: Counter[str] = Counter()
    for number in range(times(40, 1000)):
        folder = tmp_path / f"swap-{number}"
        folder.mkdir()
        chosen = dict(zip(FILES, chance.choices(moments, k=3), strict=True))
        if chance.random() < 0.5:  # mostly only one of the files is of another moment
            others = chance.sample(FILES, 2)
            chosen |= dict.fromkeys(others, chance.choice(moments))
        put(folder, {n: m.files[n] for n, m in chosen.items() if n in m.files})
        # The database file of a running exporter tells of nothing that is in its log.
        used = [m for n, m in chosen.items() if m.files.get(n) and (n != NAME or m.closed)]
        outcomes[await judged(folder, moments, *used)] += 1
        shutil.rmtree(folder)
    measured(
        "swapped files",
        f"{grouped(outcomes.total())} swaps of file, log and note: {dict(outcomes)}, none of them "
        f"in silence, seed {chance.number}",
    )
    assert outcomes["refused"] > 0 < outcomes["told"]


async def test_files_that_belong_together_are_used_without_a_word(
    moments: list[Moment], tmp_path: Path, chance: Chance, measured: Measured
) -> None:
    outcomes: Counter[str] = Counter()
    for number in range(times(40, 400)):
        folder = tmp_path / f"whole-{number}"
        folder.mkdir()
        moment = chance.choice(moments)
        put(folder, moment.files)
        kind = "as they were"
        if moment.files.get(LOG) and chance.random() < 0.4:
            assert written_back(folder)
            kind = "log written back by sqlite3"
        elif moment.closed and chance.random() < 0.4:
            (folder / NOTE).unlink(missing_ok=True)
            kind = "a closed file alone"
        assert await loaded(folder) == (moment.states[-1], [])
        outcomes[kind] += 1
        shutil.rmtree(folder)
    measured(
        "files that belong together",
        f"{grouped(outcomes.total())} starts: {dict(outcomes)}, none of them told as damaged, "
        f"seed {chance.number}",
    )
