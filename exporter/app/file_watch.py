"""Notice that files were changed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

_PAUSE = 5.0
"""Seconds between two checks."""


async def watch(files: Callable[[], Iterable[Path]], changed: Callable[[], None]) -> None:
    """Call ``changed`` whenever any of the files was written, replaced or removed.

    ``changed`` may change which files ``files`` returns.
    """
    seen = {path: _signature(path) for path in files()}
    while True:
        await asyncio.sleep(_PAUSE)
        now = {path: _signature(path) for path in files()}
        if now != seen:
            changed()
            # Keep the signatures from before the call: a change during the call is another one.
            now = {path: now.get(path) or _signature(path) for path in files()}
        seen = now


def _signature(path: Path) -> tuple[int, ...]:
    """Return values that change when a file is replaced or written."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return (status.st_ino, status.st_mtime_ns, status.st_size)
