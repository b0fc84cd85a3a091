"""Writes and syncs that fail: 503 and never a false 200, and no restart to recover.

What is acknowledged must survive a power cut right after, where a failed sync lost what it was
for: not even the retry of an event that was refused may be answered before it is on the disk.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from evidence import acknowledged, after_cuts, loaded, recorded
from feeding import Ledger
from measuring import SHARE, times
from running import logfmt

if TYPE_CHECKING:
    from pathlib import Path

    from evidence import Enough, Recording
    from measuring import Chance, Measured
    from running import Serving

ERRORS = ("ENOSPC", "EIO", "EROFS")
CALLS = ("pwrite64", "fdatasync")
PLACES = 50
RUN = 3
"""How many calls in a row fail."""

CUTS = 8
"""Power cuts in each run, while it recovers."""

MOST = 250
"""Acknowledged events after which the call that was to fail would have come."""


def recovered(after: int) -> Enough:
    """Have enough once a commit failed and events were taken again, with metrics all the time."""
    marks: list[int] = []

    def enough(server: Serving, ledger: Ledger) -> bool:
        assert server.get("/metrics").status_code == 200
        if not marks and server.logged("commit failed"):
            marks.append(ledger.answers)
        return ledger.answers >= (marks[0] + after if marks else MOST)

    return enough


@dataclass(slots=True)
class Course:
    """What happened over many runs."""

    places: int = 0
    failed: int = 0
    refused: int = 0
    starts: int = 0
    looked_at: int = 0
    """eSIMs with acknowledged events, after power cuts."""
    behind: int = 0
    """How many of them were behind what was acknowledged."""
    wrong: list[str] = field(default_factory=list)
    """Starts that were refused or told of damage, after power cuts."""

    async def run(self, folder: Path, fault: str, before: Ledger, chance: Chance) -> None:
        """Let calls fail in a process of its own, and look at what is left."""
        ledger = Ledger(before=dict(before.acknowledged), sent=dict(before.sent))
        recording = recorded(folder, chance, recovered(20), fault, ledger=ledger)
        self.places += 1
        if not recording.codes:
            self.starts += 1
            assert_clear(recording.log)
        assert recording.codes <= {200, 503}
        self.refused += 503 in recording.codes
        self.failed += recording.failures()
        assert log_before_database(recording)
        assert names_before_answers(recording)
        places = chance.choices(recording.recovery(), k=CUTS)
        found = await after_cuts(recording, chance, places, folder)
        self.looked_at += found.looked_at
        self.behind += found.behind
        self.wrong += [*found.refused, *found.damaged]
        kept, damaged = await loaded(folder / "served" / "esim-exporter.db")
        assert damaged == []
        assert not ledger.missing({esim_id: step for esim_id, (step, _) in kept.items()})
        assert not ledger.surplus({esim_id: counter for esim_id, (_, counter) in kept.items()})


async def test_no_event_is_acknowledged_that_is_not_on_the_disk(
    tmp_path: Path, chance: Chance, measured: Measured
) -> None:
    before = recorded(tmp_path, chance, acknowledged(20)).ledger
    places = [(error, place) for error in ERRORS for place in range(1, PLACES + 1)]
    for call in CALLS if SHARE else chance.sample(CALLS, 1):
        course = Course()
        for error, place in chance.sample(places, times(1, len(places))):
            folder = tmp_path / f"{call}-{error}-{place}"
            shutil.copytree(tmp_path / "served", folder / "served")
            fault = f"{call}:error={error}:when={place}..{place + RUN - 1}"
            await course.run(folder, fault, before, chance)
            shutil.rmtree(folder)
        measured(
            f"{call} fails",
            f"{course.places} of {len(places)} places (ENOSPC, EIO, EROFS), {course.failed} failed "
            f"calls, {course.refused} times events were refused and then taken, {course.starts} "
            f"starts refused, {course.looked_at} eSIMs looked at after power cuts, {course.behind} "
            f"behind what was acknowledged, seed {chance.number}",
        )
        assert course.failed > 0
        assert (course.behind, course.wrong) == (0, [])


def log_before_database(recording: Recording) -> bool:
    """Return whether nothing was written back from a log that a failed sync may have lost.

    Only writing it again puts it on the disk; a power cut while it is written back would leave
    a torn database and nothing to repair it with.
    """
    database = str(recording.folder / "esim-exporter.db")
    lost = written_again = False
    for call in recording.calls:
        match call.path.removeprefix(database), call.name:
            case "-wal", "fsync" | "fdatasync":
                if call.failed:
                    lost, written_again = True, False
                elif written_again:
                    lost = False
            case "-wal", "write" if not call.failed:
                written_again = True
            case "", "pwrite64" if lost:
                return False
    return True


def names_before_answers(recording: Recording) -> bool:
    """Return whether no event was acknowledged while a power cut could bring a log back.

    One that was removed is gone when the folder is on the disk. Until then what is written to
    the log that was made in its place could not be found.
    """
    removed = False
    for call in recording.calls:
        if call.path == str(recording.folder) and "sync" in call.name and not call.failed:
            removed = False
        elif call.name.startswith("unlink") and call.path.endswith("-wal"):
            removed = True
        elif removed and recording.acknowledges(call):
            return False
    return True


def assert_clear(log: list[str]) -> None:
    """Check that a start was refused in one line that names the file and what to do."""
    (record,) = [r for r in map(logfmt, log) if r["msg"] == "cannot go on"]
    assert "esim-exporter.db" in record["error"]
    assert "check that" in record["error"]
