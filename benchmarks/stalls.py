"""Run the exporter with a watch inside its event loop that notes when it was kept from turning.

``python -m benchmarks.stalls FILE ARGUMENT...`` runs ``esim-exporter ARGUMENT...`` and appends
a line to FILE for each time a wake-up came over 2 ms late: when (monotonic clock, the same in
all processes) and by how much, in seconds.
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
"""Share of a core that the watch itself stays below, generously."""

_EVERY: Final = 0.002
_WORTH: Final = 0.002


def longest(file: Path, since: float, until: float) -> float:
    """Return the longest stall that was noted between two times; 0 if there was none."""
    lines = [line.split() for line in file.read_text().splitlines()] if file.exists() else []
    return max((float(late) for at, late in lines if since <= float(at) <= until), default=0.0)


async def _watch(file: Path) -> None:
    with file.open("a", buffering=1) as lines:
        while True:
            before = time.monotonic()
            await asyncio.sleep(_EVERY)
            now = time.monotonic()
            if (late := now - before - _EVERY) > _WORTH:
                lines.write(f"{now} {late}\n")


class _WatchedRunner(asyncio.Runner):  # type: ignore[misc]  # final, but there is no other way in
    """A runner that runs the watch beside what it is given."""

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
    """Become the exporter."""
    _WatchedRunner.file = Path(sys.argv.pop(1))
    asyncio.Runner = _WatchedRunner  # type: ignore[misc]
    runpy.run_module("exporter", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
