"""Noticing that files were changed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

_PAUSE = 5.0
"""Seconds between looks."""


async def watch(files: Callable[[], Iterable[Path]], changed: Callable[[], None]) -> None:
    """Call ``changed`` when any of ``files`` was written, replaced or removed.

    The call may change which files there are.
    """
    seen = {path: _signature(path) for path in files()}
    while True:
        await asyncio.sleep(_PAUSE)
        now = {path: _signature(path) for path in files()}
        if now != seen:
            changed()
            # As they were before the call: what happened since then is another change.
            now = {path: now.get(path) or _signature(path) for path in files()}
        seen = now


def _signature(path: Path) -> tuple[int, ...]:
    """Return what differs when a file was replaced or written."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return (status.st_ino, status.st_mtime_ns, status.st_size)
