"""Run the exporter with a task in its event loop that records how long the loop stood still.

``python -m benchmarks.stalls FILE ARGUMENT...`` runs ``esim-exporter ARGUMENT...``. The task wakes
up every 2 ms. For each wake-up that is more than 2 ms late, it appends a line to FILE: the time
(monotonic clock, the same in all processes) and the delay, in seconds.
"""

from __future__ import annotations

import asyncio
import runpy
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")

SHARE: Final = 0.1
"""The task itself uses less than this share of a core."""

_INTERVAL: Final = 0.002
_MIN_DELAY: Final = 0.002


def longest(file: Path, since: float, until: float) -> float:
    """Return the longest stall in the file between two times, seconds; 0 if there is none."""
    lines = [line.split() for line in file.read_text().splitlines()] if file.exists() else []
    return max((float(late) for at, late in lines if since <= float(at) <= until), default=0.0)


async def _watch(file: Path) -> None:
    with file.open("a", buffering=1) as lines:
        while True:
            before = time.monotonic()
            await asyncio.sleep(_INTERVAL)
            now = time.monotonic()
            if (late := now - before - _INTERVAL) > _MIN_DELAY:
                lines.write(f"{now} {late}\n")


class _WatchedRunner(asyncio.Runner):  # type: ignore[misc]  # final, but there is no other hook
    """A runner that also runs the task that records stalls."""

    file = Path()

    def run(self, coro: Coroutine[Any, Any, T], **options: Any) -> T:
        async def both() -> T:
            watch = asyncio.create_task(_watch(self.file))
            try:
                return await coro
            finally:
                watch.cancel()

        return super().run(both(), **options)


def main() -> None:
    """Run the exporter in this process."""
    _WatchedRunner.file = Path(sys.argv.pop(1))
    asyncio.Runner = _WatchedRunner  # type: ignore[misc]  # replaced for this process
    runpy.run_module("exporter", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
