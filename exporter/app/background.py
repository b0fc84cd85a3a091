"""What runs beside requests: rendering after changes, returning free memory, watching files."""

from __future__ import annotations

import asyncio
import logging
from time import perf_counter
from typing import TYPE_CHECKING, Any
from weakref import ref

from exporter.fleet import process_memory
from exporter.logs import fields, raised_at

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Iterator
    from pathlib import Path

    from exporter.ingest.committed_state import CommittedState
    from exporter.ingest.intake import Intake

log = logging.getLogger(__name__)

_PAUSE = 2.0
"""Seconds between two rounds of rendering. Each round also returns free memory to the system.
Without free memory that takes 0.2 ms; the shorter the pause, the less there is to return."""

_PAUSE_OF_WATCH = 5.0
"""Seconds between two checks of the files."""

_REST = 4
_REST_BUSY = 20
"""After each step, rendering rests this many times as long as the step took. It makes scrapes
cheaper, but may cost at most a fifth of a core, and a twentieth while events arrive."""


def start_in_background(*work: Coroutine[Any, Any, None]) -> list[asyncio.Task[None]]:
    """Start tasks that run until they are cancelled. One that fails is logged; the others go on."""
    tasks = [asyncio.create_task(each) for each in work]
    for task in tasks:
        task.add_done_callback(_log_failure)
    return tasks


async def keep_rendered(intake: Intake) -> None:
    """Render what events changed, so that a scrape finds little to render, and tidy the memory."""
    settled: ref[CommittedState] | None = None
    while True:
        if state := intake.state:
            if state.exposition.pending:
                await _render(state.exposition.refresh(), state, intake)
                if (settled is None or settled() is not state) and intake.state is state:
                    settled = ref(state)
                    process_memory.exempt_present_objects()
            del state  # a state that is replaced must be freed during the pause
        await asyncio.to_thread(process_memory.return_free_pages)
        await asyncio.sleep(_PAUSE)


async def _render(steps: Iterator[None], state: CommittedState, intake: Intake) -> None:
    """Take the steps, with a rest after each. Stop when another state replaces this one."""
    began = perf_counter()
    for _ in steps:
        if intake.state is not state:
            return
        rest = _REST_BUSY if intake.busy else _REST
        await asyncio.sleep(rest * (perf_counter() - began))
        began = perf_counter()


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        # The error's message is not logged: it might quote an eSIM.
        details = fields(error=type(error).__name__, at=raised_at(error), cure="restart")
        log.critical("background task failed", extra=details)


async def watch(files: Callable[[], Iterable[Path]], changed: Callable[[], None]) -> None:
    """Call ``changed`` whenever any of the files was written, replaced or removed.

    ``changed`` may change which files ``files`` returns.
    """
    seen = {path: _signature(path) for path in files()}
    while True:
        await asyncio.sleep(_PAUSE_OF_WATCH)
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
