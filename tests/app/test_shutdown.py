"""The end of a process: it waits for threads that are about to end, not for threads that hang."""

from __future__ import annotations

import subprocess
import sys
from typing import Any, cast

import pytest
from running import WAIT

from exporter import cli

ABOUT_TO_END = """
import sys
import threading
from exporter.storage.shutdown import end_process

def waited_for():
    frame = sys._current_frames()[threading.main_thread().ident]
    while frame and frame.f_code is not threading.Thread.join.__code__:
        frame = frame.f_back
    return frame

def end_last():
    while not waited_for():
        pass

threading.Thread(target=end_last).start()
sys.exit(end_process(int(sys.argv[1])))
"""

HANGING = """
import sys
import threading
from exporter.storage.shutdown import end_process

threading.Thread(target=sys.stdin.read).start()
sys.exit(end_process(int(sys.argv[1])))
"""


@pytest.mark.parametrize("status", [0, 1, 2])
def test_a_thread_that_is_about_to_end_changes_nothing(status: int) -> None:
    command = [sys.executable, "-c", ABOUT_TO_END, str(status)]

    assert subprocess.run(command, check=False, timeout=WAIT).returncode == status


@pytest.mark.parametrize(("status", "left"), [(0, 1), (1, 1), (2, 2)])
def test_a_thread_that_hangs_is_not_waited_for(status: int, left: int) -> None:
    command = [sys.executable, "-c", HANGING, str(status)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE
    ) as process:  # nothing is ever written to it
        assert process.wait(WAIT) == left


def test_an_unexpected_error_is_logged_without_message(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Wrong:
        def __getattr__(self, _: str) -> object:
            raise LookupError("the-iccid")

    assert cli._serve_until_stopped(cast("Any", Wrong()), cast("Any", None)) == 1

    (record,) = [r for r in caplog.records if r.message == "cannot go on"]
    assert "LookupError" in str(vars(record))
    assert "the-iccid" not in str(vars(record))
