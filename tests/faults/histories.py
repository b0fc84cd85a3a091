"""What a SQLite storage went through, with copies of its files at many moments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from exporter.storage.contract import Change, Changes, Table
from exporter.storage.sqlite.storage import SqliteStorage

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from measuring import Chance

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


def assert_clear(reason: str, folder: Path) -> None:
    """Check that a refusal is one line that names the file and the way out."""
    assert "\n" not in reason
    assert str(folder / NAME) in reason
    assert any(way in reason for way in ("restore a backup", "restored a backup", "put the"))
