"""Damage anywhere in the file or its log is reported, and nothing else is lost."""

from __future__ import annotations

import contextlib
import re
import shutil
import sqlite3
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from measuring import SHARE, grouped, times
from running import event, serving, until

from exporter.errors import StorageError
from exporter.storage.sqlite.inspection import HEADER_SIZE
from exporter.storage.sqlite.storage import SqliteStorage

if TYPE_CHECKING:
    from pathlib import Path

    from measuring import Chance, Measured

    from exporter.storage.contract import Row

ESIMS = 150 if SHARE else 60
NAME = "esim-exporter.db"
LOG = f"{NAME}-wal"
PAGE = 8192

_MISSING = re.compile(r"should hold (\d+) rows and holds (\d+)")


@dataclass(frozen=True, slots=True)
class Content:
    """What a start loads."""

    rows: dict[tuple[str, ...], bytes]
    """Version and data of each row, and each base, by table and key."""
    damaged: list[str]
    notes: list[str]


async def content(folder: Path) -> Content:
    """Open the storage, load it and close it. Raises ``StorageError``."""
    storage = await SqliteStorage.open(folder / NAME)
    found = Content({}, [], [])
    try:
        async for chunk in storage.load():
            found.rows.update({(r.table, *r.key): _state(r) for r in chunk.rows})
            found.rows.update({("base", *k): str(n).encode() for k, n in chunk.bases.items()})
            found.damaged.extend(chunk.damaged)
            found.notes.extend(chunk.notes)
    finally:
        await storage.close()
    return found


def _state(row: Row) -> bytes:
    return b"%d:%b" % (row.version, row.data)


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folders with all kinds of rows: the file alone, and a file with the log of a kill."""
    root = tmp_path_factory.mktemp("intact")
    folder = root / LOG
    folder.mkdir()
    flags = ("--retention.terminal=100ms",)
    with serving(folder, *flags) as server:
        for number in range(ESIMS):
            server.post(event(esim_id=f"esim-{number}", package_id=f"package-{number % 7}"))
        server.post(event(esim_id="gone", status="EXPIRED"))
        server.post(b'{"not": "an event"}')
        until(lambda: server.own()["tombstones"] > 0)
        assert server.end() == 0
    shutil.copytree(folder, root / NAME)
    with serving(folder, *flags) as server:
        for number in range(0, ESIMS, 3):
            server.post(event(esim_id=f"esim-{number}", timestamp=1_700_000_900))
        server.kill()
    return root


@dataclass(slots=True)
class Verdict:
    """The consequence of one damage."""

    outcome: str
    lost: int = 0
    """Number of rows that are missing or differ."""
    reported: int = 0
    """Number of rows that were reported as damaged or missing."""


def damage(path: Path, chance: Chance) -> str:
    """Flip a bit at a random place of a file, or cut the file off there; return which."""
    data = bytearray(path.read_bytes())
    at = chance.randrange(len(data))
    if chance.random() < 0.5:
        path.write_bytes(data[:at])
        return "cut"
    data[at] ^= 1 << chance.randrange(8)
    path.write_bytes(data)
    return "flip"


def assert_clear(reason: str, folder: Path) -> None:
    """Check that a refusal is one line that names the file and the way out."""
    assert "\n" not in reason
    assert str(folder / NAME) in reason
    assert any(way in reason for way in ("restore a backup", "put the database", "move it"))


async def judged(folder: Path, before: Content) -> Verdict:
    """Start on damaged files, and check what is promised about them."""
    size = (folder / NAME).stat().st_size
    try:
        found = await content(folder)
    except StorageError as error:
        assert_clear(str(error), folder)
        size_now = (folder / NAME).stat().st_size
        kept = size_now >= size  # the log may have been written back
        return Verdict("refused" if kept else "refused and not kept")
    lost = {key for key, state in before.rows.items() if found.rows.get(key) != state}
    assert not set(found.rows) - set(before.rows)
    assert len(found.rows) > 0
    if not lost and not found.damaged:
        return Verdict("harmless")
    assert found.damaged, lost
    again = await content(folder)
    assert (again.rows, again.damaged) == (found.rows, [])
    return Verdict("started", len(lost), sum(map(reported, found.damaged)))


def reported(line: str) -> int:
    """Return the number of rows that a line of the report is about."""
    if count := _MISSING.search(line):
        return abs(int(count[1]) - int(count[2]))
    return 1


async def damaged_anywhere(
    name: str, intact: Path, folder: Path, chance: Chance
) -> tuple[Counter[str], int]:
    """Damage one file at random places, again and again; count the outcomes and the lost rows."""
    before = await content(shutil.copytree(intact / name, folder / name))
    assert before.damaged == []
    outcomes: Counter[str] = Counter()
    lost = 0
    for number in range(times(40, 1000)):
        place = shutil.copytree(intact / name, folder / f"{name}-{number}")
        kind = damage(place / name, chance)
        verdict = await judged(place, before)
        if (kind, name) == ("flip", NAME):
            assert verdict.lost <= verdict.reported, "more is lost than was damaged"
        outcomes[f"{kind} {verdict.outcome}"] += 1
        lost += verdict.lost
        shutil.rmtree(place)
    return outcomes, lost


async def test_damage_anywhere_is_reported_and_nothing_else_is_lost(
    intact: Path, tmp_path: Path, chance: Chance, measured: Measured
) -> None:
    for name, called in ((NAME, "the file"), (LOG, "the log")):
        outcomes, lost = await damaged_anywhere(name, intact, tmp_path, chance)
        counts = ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()))
        measured(
            f"damage to {called}",
            f"{grouped(outcomes.total())} places: {counts}; {lost} rows left out, all of them "
            f"reported, seed {chance.number}",
        )
        assert not any("not kept" in outcome for outcome in outcomes)


def flip_in(path: Path, places: range, chance: Chance) -> tuple[int, int]:
    """Flip a bit of a byte that is not zero, or that is in the header of the file; return which."""
    data = path.read_bytes()
    at = chance.choice([at for at in places if data[at] or at < HEADER_SIZE])
    bit = chance.randrange(8)
    flip(path, at, bit)
    return at, bit


def flip(path: Path, at: int, bit: int) -> None:
    """Flip a bit of a byte."""
    data = bytearray(path.read_bytes())
    data[at] ^= 1 << bit
    path.write_bytes(data)


async def test_damage_to_the_page_of_the_schema_is_refused_or_reported(
    intact: Path, tmp_path: Path, chance: Chance, measured: Measured
) -> None:
    before = await content(shutil.copytree(intact / NAME, tmp_path / "before"))
    outcomes: Counter[str] = Counter()
    for number in range(times(40, 1000)):
        place = shutil.copytree(intact / NAME, tmp_path / f"{number}")
        flipped = flip_in(place / NAME, range(PAGE), chance)
        verdict = await judged(place, before)
        if verdict.outcome == "refused":
            flip(place / NAME, *flipped)
            assert await content(place) == before
        outcomes[verdict.outcome] += 1
        shutil.rmtree(place)
    measured(
        "damage to the page of the schema",
        f"{grouped(outcomes.total())} flipped bits: {dict(outcomes)}, seed {chance.number}",
    )
    assert outcomes["refused"] > 0


async def test_a_table_that_begins_at_a_page_of_another_one_is_refused(
    intact: Path, tmp_path: Path
) -> None:
    before = await content(shutil.copytree(intact / NAME, tmp_path / "before"))
    with contextlib.closing(sqlite3.connect(tmp_path / "before" / NAME)) as database:
        tables = database.execute("SELECT name, rootpage FROM sqlite_master").fetchall()
        (pages,) = database.execute("PRAGMA page_count").fetchone()
    assert pages > len(tables) + 2
    for name, own in tables:
        for page in {*range(2, pages + 1)} - {own}:
            place = shutil.copytree(intact / NAME, tmp_path / f"{name}-{page}")
            begin_at(place / NAME, name, page)
            outcome = (await judged(place, before)).outcome
            assert (name, page, outcome) == (name, page, "refused")
            begin_at(place / NAME, name, own)
            assert await content(place) == before
            shutil.rmtree(place)


def begin_at(path: Path, table: str, page: int) -> None:
    """Let a table begin at another page."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA writable_schema = ON")
        database.execute(
            "UPDATE sqlite_master SET rootpage = ? WHERE name = ?",
            (page, table),
        )
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def test_a_start_that_damage_prevents_logs_one_line(intact: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(intact / NAME, tmp_path / "cut")
    with (folder / NAME).open("r+b") as file:
        file.truncate(file.seek(0, 2) // 2)
    before = (folder / NAME).read_bytes()

    with serving(folder, ready="") as server:
        assert server.ended() == 1
        (record,) = server.logged("cannot go on")

    assert_clear(record["error"], folder)
    assert (folder / NAME).read_bytes() == before
