"""A large fleet is loaded by several processes, where there are processors for them."""

from __future__ import annotations

import asyncio
import os
import subprocess
from typing import TYPE_CHECKING

from running import COMMAND, SECRET, WAIT, serving

from exporter.events import Snapshot, UsageEvent
from exporter.fleet import Fleet, Policy
from exporter.helpers import FEW, processors
from exporter.storage.sqlite import SqliteStorage

if TYPE_CHECKING:
    from pathlib import Path

ESIMS = 2 * FEW
"""As few as are worth it."""

FLAGS = ("--limits.max-esims=0", "--retention.silent=100y")

NOW = 1_790_000_000


async def fill(path: Path) -> None:
    fleet = Fleet(Policy(), ("roamify",))
    snapshot = Snapshot(False, 1000, 900, None, None, None, None, None, None, (("France", 100),))
    draft = fleet.draft(NOW)
    for number in range(ESIMS):
        package = f"p{number % 7}"
        draft.merge(UsageEvent("roamify", NOW, f"e{number}", package, snapshot))
    storage = await SqliteStorage.open(path)
    await storage.commit(draft.changes())
    await storage.close()


def test_a_large_fleet_is_the_same_with_help_and_without(tmp_path: Path) -> None:
    asyncio.run(fill(tmp_path / "esim-exporter.db"))
    texts = []
    for command, helpers in (
        (("taskset", "-c", str(min(os.sched_getaffinity(0))), *COMMAND), 0),
        (COMMAND, 2 if processors() > 1 else 0),
    ):
        with serving(tmp_path, *FLAGS, command=command) as server:
            (loaded,) = server.logged("state loaded")
            assert (loaded["esims"], loaded["helpers"]) == (str(ESIMS), str(helpers))
            texts.append(server.state())
    assert len(texts[0].splitlines()) > ESIMS
    assert texts[0] == texts[1]


def test_settings_that_turn_out_to_be_unusable_stop_a_start_that_is_helped(tmp_path: Path) -> None:
    path = tmp_path / "esim-exporter.db"
    asyncio.run(fill(path))
    done = subprocess.run(
        [*COMMAND, f"--storage.url=sqlite:///{path}", "--web.config.file=/no/such"],
        env=os.environ | {"ESIM_EXPORTER_WEBHOOK_SECRET": SECRET.decode()},
        capture_output=True,  # and so waits for everybody that could write there
        timeout=WAIT,
        check=False,
    )
    assert done.returncode == 2
    assert b"/no/such" in done.stderr
    assert b"Traceback" not in done.stderr
