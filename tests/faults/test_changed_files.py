"""Files of a running storage are changed: nothing more is acknowledged, and a loss is told."""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from typing import TYPE_CHECKING

from histories import LOG, NAME, History, assert_clear, loaded, taken
from measuring import grouped, times

from exporter.errors import StorageError, StorageUnavailable
from exporter.storage.sqlite.storage import SqliteStorage

if TYPE_CHECKING:
    from pathlib import Path

    import pytest
    from histories import Moment
    from measuring import Chance, Measured


def change(path: Path, moments: list[Moment], chance: Chance) -> str:
    """Change a file in a random way; return how, or an empty text if it is the same as before."""
    before = path.read_bytes()
    older = [m.files[path.name] for m in moments if path.name in m.files]
    kind = chance.choice(("cut", "copied over", "moved over", "removed", "longer", "overwritten"))
    match kind:
        case "cut":
            os.truncate(path, chance.choice((0, chance.randrange(len(before) + 1))))
        case "copied over":
            path.write_bytes(chance.choice(older))
        case "moved over":
            other = path.with_name("other")
            other.write_bytes(chance.choice(older))
            other.rename(path)
        case "removed":
            path.unlink()
        case "longer":
            path.write_bytes(before + bytes(chance.randint(1, 9000)))
        case _:
            overwrite(path, before, chance)
    same = kind not in {"moved over", "removed"} and path.read_bytes() == before
    return "" if same else kind


def overwrite(path: Path, before: bytes, chance: Chance) -> None:
    """Overwrite a log anywhere and the header of a database file, and keep the size."""
    end = len(before) if path.name == LOG else 100
    start = chance.randrange(end) if path.name == LOG else 0
    with path.open("r+b") as file:
        file.seek(start)
        file.write(chance.choice((bytes(end - start), chance.randbytes(end - start))))
    os.utime(path, (1, 1))  # the clock of file times ticks some hundred times a second only


async def test_nothing_is_acknowledged_after_a_file_was_changed(
    tmp_path: Path, chance: Chance, measured: Measured, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes: Counter[str] = Counter()
    ways: Counter[str] = Counter()
    while ways.total() < times(30, 500):
        folder = tmp_path / f"{outcomes.total()}"
        folder.mkdir()
        history = History(folder, chance)
        # Sometimes the log is never written back, sometimes after nearly each commit.
        limit = chance.choice((120_000, 8 << 20))
        monkeypatch.setattr("exporter.storage.sqlite.storage.LOG_LIMIT", limit)
        await history.live(chance.randint(0, 2))
        storage = await SqliteStorage.open(folder / NAME)
        history.keep()
        for _ in range(chance.randint(1, 15)):
            await history.commit(storage)
            if chance.random() < 0.3:
                await history.back_up(storage)
        await storage._run(int)  # the log may be written back after a commit
        name = chance.choice((NAME, LOG))
        if way := change(folder / name, history.moments, chance):
            ways[f"{way} {name}"] += 1
            try:
                await history.commit(storage)
            except StorageUnavailable as error:
                assert re.search(f"{name} was removed, replaced or chang", str(error))  # noqa: PT017  # it may also be harmless
                noticed = True
            else:
                # Behind its end, a log holds what was written back before. Nothing reads that.
                assert (way, name) == ("overwritten", LOG)
                noticed = False
        left = taken(folder)
        await storage.close()
        if way and noticed:
            assert taken(folder) == left
            outcomes[await started(folder, history)] += 1
        elif way:
            assert await started(folder, history) == "whole"
            outcomes["whole, after a change behind the end of the log"] += 1
        shutil.rmtree(folder)
    measured(
        "files changed under a running storage",
        f"{grouped(ways.total())} changes {dict(ways)}: no commit after one that matters was "
        "acknowledged, and "
        f"the next start was {dict(outcomes)}, seed {chance.number}",
    )


async def started(folder: Path, history: History) -> str:
    """Start on what is left; return whether that was refused, told as damage, or whole."""
    before = taken(folder)
    try:
        state, damaged = await loaded(folder)
    except StorageError as error:
        assert_clear(str(error), folder)
        made = {NAME: b""} if NAME not in before else {}
        assert taken(folder) == before | made
        return "refused"
    if damaged:
        return "told"
    assert state == history.states[-1], "acknowledged commits are missing, and nothing says so"
    return "whole"
