from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import prerequisites
import pytest
from running import WAIT

if TYPE_CHECKING:
    from collections.abc import Iterator

HOLDER = """
import pathlib, sys
from prerequisites import exclusive
with exclusive(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "lock"


@pytest.fixture
def holder(lock: Path) -> Iterator[subprocess.Popen[str]]:
    """Run another process that holds the lock and does nothing."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, lock],
        cwd=Path(prerequisites.__file__).parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_lock_that_is_never_released_is_given_up_and_its_holder_named(
    lock: Path, holder: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    named = rf"^process {holder.pid} has held {lock} for more than 0\.1 s"
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match=named), prerequisites.exclusive(lock, 0.1):
        pass
    monkeypatch.delenv("CI")
    # It does not wait a second time.
    with pytest.raises(pytest.skip.Exception, match=named), prerequisites.exclusive(lock, 9999):
        pass


def test_a_lock_of_a_process_that_was_killed_is_free(
    lock: Path, holder: subprocess.Popen[str]
) -> None:
    holder.kill()
    holder.wait(WAIT)
    with prerequisites.exclusive(lock):
        pass
    with prerequisites.exclusive(lock):
        pass
