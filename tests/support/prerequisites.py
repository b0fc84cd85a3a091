"""What a test needs and cannot get, and locks for what several test processes make together.

A test that lacks something is skipped with the reason. In CI, where ``CI=true``, it fails.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import IO, NoReturn

LONGEST_WAIT = 600.0
"""Seconds to wait for a lock. Its holder may be downloading, or compute on a busy machine."""

_given_up: dict[Path, str] = {}
"""Locks that this process waited for in vain, with the reason. It does not wait for them again."""


def lack(missing: str) -> NoReturn:
    """Skip the test because something is ``missing``; in CI, fail it."""
    if os.environ.get("CI") == "true":
        pytest.fail(missing)
    pytest.skip(missing)


@contextmanager
def exclusive(path: Path, seconds: float = LONGEST_WAIT) -> Iterator[None]:
    """Hold the lock file ``path``; after ``seconds`` of waiting, skip the test or fail it in CI.

    The operating system releases the lock of a process that ends, however it ends. So only a
    process that runs but makes no progress can hold it for long.
    """
    if path in _given_up:
        lack(_given_up[path])
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as lock:
        deadline = time.monotonic() + seconds
        while not _acquired(lock):
            if time.monotonic() > deadline:
                lock.seek(0)
                _given_up[path] = (
                    f"process {lock.read().strip()} has held {path} for more than "
                    f"{seconds:g} s; end it and run the tests again"
                )
                lack(_given_up[path])
            time.sleep(0.05)
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


def _acquired(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
