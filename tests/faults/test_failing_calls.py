"""Writes and syncs that fail: the answer is 503, never a false 200, and no restart is needed.

A failed sync loses content if the power fails right after. So an acknowledged event must survive a
power cut even then. Also the retry of a refused event must be on the disk before its 200.
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
"""Number of calls in a row that fail."""

CUTS = 8
"""Power cuts in each run during its recovery."""

MOST = 250
"""Acknowledged events after which the failing call must have come, if it comes at all."""


def recovered(after: int) -> Enough:
    """Return a condition that holds once a commit failed and more events were acknowledged.

    It checks too that ``/metrics`` answers all the time.
    """
    marks: list[int] = []

    def enough(server: Serving, ledger: Ledger) -> bool:
        assert server.get("/metrics").status_code == 200
        if not marks and server.logged("commit failed"):
            marks.append(ledger.answers)
        return ledger.answers >= (marks[0] + after if marks else MOST)

    return enough


@dataclass(slots=True)
class Course:
    """Totals over many runs."""

    places: int = 0
    failed: int = 0
    refused: int = 0
    starts: int = 0
    looked_at: int = 0
    """Number of eSIMs with acknowledged events that were checked, over all power cuts."""
    behind: int = 0
    """Number of them that lack an acknowledged event."""
    wrong: list[str] = field(default_factory=list)
    """Why starts after power cuts were refused, and the damage that they reported."""

    async def run(self, folder: Path, fault: str, before: Ledger, chance: Chance) -> None:
        """Inject a fault into a server, and check what it leaves behind."""
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
        assert course.looked_at > 0
        assert (course.behind, course.wrong) == (0, [])


def log_before_database(recording: Recording) -> bool:
    """Return whether the log was written again after each failed sync, before it was written back.

    Only writing it again puts it on the disk. Otherwise a power cut during the writing back would
    leave a torn database, and no log to repair it.
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
    """Return whether the folder was synced after each removal of a log, before the next 200.

    Without the sync, a power cut could bring the removed log back. Events in the log that replaced
    it would then be lost.
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
    """Check that a refused start logged one line that names the file and the way out."""
    (record,) = [r for r in map(logfmt, log) if r["msg"] == "cannot go on"]
    assert "esim-exporter.db" in record["error"]
    assert "check that" in record["error"]
