"""Processes that help to load: what they do is what is done without them."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from generated_events import START, VENDORS
from running_fleet import ARRIVAL
from working_intake import text_of, until

from exporter.errors import StorageDamaged
from exporter.events import Snapshot, Status, StatusEvent, UsageEvent
from exporter.expiry import Retention
from exporter.exposition import Exposition
from exporter.families import Identity
from exporter.fleet import Fleet, Policy
from exporter.helper import Job, encode
from exporter.helpers import helped, load, processors
from exporter.rejections import Rejections
from exporter.restoration import Restoration
from exporter.state import State
from exporter.storage import Change, Changes, Table
from exporter.storage.sqlite import SqliteStorage

if TYPE_CHECKING:
    from exporter.events import Event

PAGE = 8192

MANY = 700
"""eSIMs: more than a process reads at once, and more than fill a block."""

HUGE = 2**63
"""Bytes; used twice it outgrows 64 bits."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a file.db"


def events(count: int) -> list[Event]:
    """Events of so many eSIMs, of every kind of use there is."""
    chance = random.Random(7)  # the same each time
    made: list[Event] = []
    for number in range(count):
        vendor, esim_id = chance.choice(VENDORS), f"{number * 7919 % 1000:03}é{number}"
        for package in chance.sample(("p1", "p 2", "p3"), chance.choice((0, 1, 1, 2))):
            allowed = chance.choice((None, 0, 100, HUGE))
            places = (("Åland", number),) if chance.random() < 0.5 else ()
            for at, left in enumerate((chance.choice((None, 0, 5, 50, 100)), allowed, 5), START):
                snapshot = Snapshot(False, allowed, left, 10, 3, None, None, None, None, places)
                usage = UsageEvent(vendor, at, esim_id, package, snapshot, package_name="P")
                made.append(usage)
        made.append(StatusEvent(vendor, START, esim_id, chance.choice([*Status])))
    return made


async def fill(path: Path, count: int, policy: Policy | None = None) -> None:
    """Store a fleet some of which has expired, and close the storage."""
    storage = await SqliteStorage.open(path)
    fleet = Fleet(policy or Policy(), VENDORS)
    draft = fleet.draft(ARRIVAL)
    for event in events(count):
        draft.merge(event)
    await storage.commit(draft.changes())
    fleet.publish(draft)
    later = fleet.expire(ARRIVAL + 25 * 3600)
    await storage.commit(later.changes())
    await storage.close()


async def loaded(
    path: Path,
    count: int | None,
    policy: Policy | None = None,
    vendors: tuple[str, ...] = VENDORS,
    expected: Retention | None = None,
) -> tuple[Fleet, int, list[str]]:
    """Load with so many helpers; return the fleet, how many helped, and the damage.

    ``expected`` is the retention that they were told of.
    """
    storage = await SqliteStorage.open(path)
    restoration = Restoration(policy or Policy(), vendors)
    damage: list[str] = []
    try:
        help_ = helped(storage, expected or restoration.retention, vendors, count)
        async for chunk in await load(storage, restoration, help_):
            restoration.take(chunk)
            damage += chunk.damaged
    finally:
        await storage.close()
    return restoration.finish(), restoration.helpers, damage


def looks(fleet: Fleet) -> tuple[object, ...]:
    """Everything that can be seen of a fleet."""
    state = State(fleet, Exposition(fleet, Identity(), 3600), Rejections(3))
    return (
        text_of(state, ARRIVAL),
        [*fleet.esims],
        [*fleet.over],
        [*fleet.tombstones.items()],
        fleet.registers,
        fleet.admissions,
        [esim.key for esim in fleet.next_waiting(1000)],
        sorted(esim.key for esim in fleet.esims.due(ARRIVAL + 40 * 86400, 1000)),
    )


def behind_its_back(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        for statement in statements:
            other.execute(statement)


def children() -> set[int]:
    """The processes that this one has begun and that still run."""
    tasks = Path(f"/proc/{os.getpid()}/task").iterdir()
    return {int(pid) for task in tasks for pid in (task / "children").read_text().split()}


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("esims", [0, 1, 3, MANY])
@pytest.mark.parametrize("cap", [0, 100])
async def test_a_fleet_is_the_same_with_help_and_without(
    path: Path, count: int, esims: int, cap: int
) -> None:
    policy = Policy(max_esims=cap)
    await fill(path, esims, policy)
    alone, nobody, _ = await loaded(path, 0, policy)
    helped, helpers, damage = await loaded(path, count, policy)
    assert (nobody, helpers, damage) == (0, count, [])
    assert looks(helped) == looks(alone)


async def test_a_cap_that_has_changed_is_obeyed(path: Path) -> None:
    await fill(path, MANY, Policy(max_esims=50))
    for cap in (0, 20, 300):
        policy = Policy(max_esims=cap)
        helped, helpers, _ = await loaded(path, 3, policy)
        alone, _, _ = await loaded(path, 0, policy)
        assert helpers == 3
        assert looks(helped) == looks(alone)


async def test_another_retention_than_helpers_were_told_of_is_obeyed(path: Path) -> None:
    await fill(path, MANY)
    policy = Policy(Retention(silent=3600))
    fleet, helpers, _ = await loaded(path, 2, policy, expected=Retention(silent=7200))
    alone, _, _ = await loaded(path, 0, policy)
    assert helpers == 0
    assert looks(fleet) == looks(alone)


async def test_what_helpers_gave_is_not_kept_beside_the_fleet(path: Path) -> None:
    await fill(path, MANY)
    storage = await SqliteStorage.open(path)
    restoration = Restoration(Policy(), VENDORS)
    begun = asyncio.create_task(helped(storage, restoration.retention, VENDORS, 2))
    async for chunk in await load(storage, restoration, begun):
        restoration.take(chunk)
    await storage.close()
    help_ = begun.result()
    assert help_
    assert help_.packed == []
    assert len(restoration.finish().esims)


async def test_a_vendor_that_is_not_known_any_more_is_counted(path: Path) -> None:
    await fill(path, MANY)
    every, _, _ = await loaded(path, 0)
    for count in (0, 2):
        fleet, _, _ = await loaded(path, count, vendors=VENDORS[1:])
        assert fleet.totals.vendors.keys() == set(VENDORS)
        assert looks(fleet) == looks(every)


async def test_a_fleet_that_was_loaded_with_help_goes_on_as_another(path: Path) -> None:
    await fill(path, MANY)
    fleets = [(await loaded(path, count))[0] for count in (0, 2)]
    seen = []
    for fleet in fleets:
        draft = fleet.draft(ARRIVAL + 10)
        for event in [*events(MANY // 2), StatusEvent("roamify", START + 99, "n", Status.EXPIRED)]:
            draft.merge(event)
        fleet.publish(draft)
        for _ in range(100):
            fleet.publish(fleet.expire(ARRIVAL + 26 * 3600))
        seen.append(looks(fleet))
    assert seen[0] == seen[1]


@pytest.mark.parametrize(
    ("quota", "most"),
    [("max 100000", 99), ("100000 100000", 1), ("50000 100000", 1), ("150000 100000", 1), ("", 99)],
)
def test_a_containers_limit_is_kept(tmp_path: Path, quota: str, most: int) -> None:
    file = tmp_path / "cpu.max"
    if quota:
        file.write_text(f"{quota}\n")
    assert processors(file) == min(most, len(os.sched_getaffinity(0)))


async def test_a_small_fleet_is_loaded_without_help(path: Path) -> None:
    await fill(path, MANY)
    fleet, helpers, _ = await loaded(path, None)
    assert helpers == 0
    assert len(fleet.esims)


async def test_what_is_in_the_log_only_is_not_left_to_helpers(path: Path) -> None:
    await fill(path, 3)
    storage = await SqliteStorage.open(path)
    assert await storage.division()
    await storage.commit(Changes((Change(Table.FEED, ("new",), 0, b"[1,1]"),)))
    assert await storage.division() is None
    await storage.close()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("UPDATE esim SET data = replace(data, 'p1', 'p9') WHERE rowid_ = 1", "does not match"),
        ("DELETE FROM esim WHERE rowid_ = 1", "should hold"),
        ("UPDATE esim SET version = 9 WHERE rowid_ = 1", "does not match"),
        ("DELETE FROM seal", "should hold None"),
    ],
)
async def test_damage_is_found_and_said_as_without_help(path: Path, change: str, said: str) -> None:
    await fill(path, MANY)
    last = "esim_id = (SELECT esim_id FROM esim WHERE data LIKE '%p1%' ORDER BY 1 DESC LIMIT 1)"
    behind_its_back(path, change.replace("rowid_ = 1", last))
    other = Path(shutil.copy(path, path.with_name("other.db")))
    helped, helpers, damage = await loaded(path, 2)
    alone, _, expected = await loaded(other, 0)
    assert helpers == 0
    assert damage == expected
    assert said in damage[0]
    assert looks(helped) == looks(alone)


def damage_a_page(path: Path) -> None:
    content = bytearray(path.read_bytes())
    at = content.rindex("é".encode()) // PAGE * PAGE
    content[at : at + 8] = b"\xff" * 8
    path.write_bytes(content)


async def test_a_damaged_page_is_said_as_without_help(path: Path) -> None:
    await fill(path, MANY)
    damage_a_page(path)
    with pytest.raises(StorageDamaged, match="is damaged"):
        await loaded(path, 2)


async def test_a_row_of_a_later_version_is_said_as_without_help(path: Path) -> None:
    storage = await SqliteStorage.open(path)
    row = Change(Table.ESIM, ("roamify", "e"), 0, b"[999]")
    await storage.commit(Changes((row,)))
    await storage.close()
    with pytest.raises(StorageDamaged, match="written by a version this one cannot read"):
        await loaded(path, 2)


@pytest.mark.parametrize(
    "program",
    [
        "",  # there is none
        "#!/bin/sh\nexit 1\n",
        "#!/bin/sh\nprintf '\\000\\000\\001\\000half'\n",
        f'#!/bin/sh\n{sys.executable} "$@" | head -c 40000\n',
    ],
)
async def test_lost_helpers_are_done_without(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    await fill(path, MANY)
    alone, _, _ = await loaded(path, 0)
    helper = tmp_path / "helper"
    if program:
        helper.write_text(program)
        helper.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(helper))
    fleet, helpers, damage = await loaded(path, 2)
    assert (helpers, damage) == (0, [])
    assert looks(fleet) == looks(alone)


async def test_a_start_that_is_given_up_leaves_no_process_behind(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(path, 3)
    helper = tmp_path / "helper"
    helper.write_text("#!/bin/sh\nexec sleep 1000\n")
    helper.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(helper))
    before = children()
    loading = asyncio.create_task(loaded(path, 2))
    await until(lambda: len(children() - before) == 2)
    helpers = children() - before
    loading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loading
    assert not helpers & children()


async def test_a_helper_that_nobody_waits_for_ends_without_a_word(path: Path) -> None:
    await fill(path, MANY)
    job = Job(str(path), 0, MANY, Policy().retention, VENDORS)
    read, write = os.pipe()
    os.close(read)
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "exporter.helper"],
        input=encode(job),
        stdout=write,
        stderr=subprocess.PIPE,
        check=False,
        timeout=60,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (1, b"")
