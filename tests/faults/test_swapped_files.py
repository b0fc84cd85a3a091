"""The database file, its log and its note come from different moments, or from another file.

Whatever is put together: a start loads a state that there was, whole. It says so if that state
lacks an acknowledged commit that one of the three files tells of. It says nothing if it does not.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from histories import FILES, LOG, NAME, NOTE, History, assert_clear, loaded, put, taken
from measuring import grouped, times

from exporter.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from histories import Moment
    from measuring import Chance, Measured


def written_back(folder: Path) -> bool:
    """Open the files with SQLite, as ``sqlite3`` does, which writes the log back."""
    with closing(sqlite3.connect(folder / NAME)) as other:
        other.execute("SELECT count(*) FROM esim").fetchall()
    return not (folder / LOG).exists()


@pytest.fixture
async def moments(tmp_path: Path, chance: Chance, monkeypatch: pytest.MonkeyPatch) -> list[Moment]:
    """Moments of a file, of one that began as its copy, and of a foreign one."""
    histories = []
    for name in ("own", "foreign"):
        # The log is never written back, or after nearly each commit.
        limit = chance.choice((120_000, 8 << 20))
        monkeypatch.setattr("exporter.storage.sqlite.storage.LOG_LIMIT", limit)
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


async def judged(folder: Path, moments: list[Moment], chosen: Mapping[str, Moment]) -> str:
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

    def holds(moment: Moment) -> bool:
        told_of = moment.states[-1]
        return any(told_of in h and h.index(told_of) <= h.index(state) for h in histories)

    if damaged:
        assert (await loaded(folder)) == (state, [])
        missing = any("lacks commit" in line for line in damaged)
        assert not missing or not holds(chosen[NOTE]), "nothing is missing that the note tells of"
        return "told"
    for name, moment in chosen.items():
        # The database file of a running exporter tells of nothing that is in its log.
        if before.get(name) and (name != NAME or moment.closed):
            assert holds(moment), f"commits that {name} tells of are missing in silence"
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
        outcomes[await judged(folder, moments, chosen)] += 1
        shutil.rmtree(folder)
    measured(
        "swapped files",
        f"{grouped(outcomes.total())} swaps of file, log and note: {dict(outcomes)}, none of them "
        f"in silence and none told falsely, seed {chance.number}",
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
