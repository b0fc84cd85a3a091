"""What goes on beside requests: rendering what changed, before a scrape has to."""

from __future__ import annotations

import asyncio
import logging
from time import perf_counter
from typing import TYPE_CHECKING, Any
from weakref import ref

from exporter.fleet import process_memory
from exporter.logs import fields, raised_at

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

    from exporter.ingest.committed_state import CommittedState
    from exporter.ingest.intake import Intake

log = logging.getLogger(__name__)

_PAUSE = 2.0
"""Seconds after all is rendered before what changed meanwhile is. As often free memory is given
back: a fifth of a millisecond where there is none, and the less at a time the more often."""

_REST = 4
_REST_BUSY = 20
"""Rendering in the background rests this many times as long as it works: it makes scrapes
cheaper, and must not cost more than a fifth of a core, a twentieth while events come in."""


def in_background(*work: Coroutine[Any, Any, None]) -> list[asyncio.Task[None]]:
    """Begin work that goes on until it is cancelled; its failure is logged, and ends it alone."""
    tasks = [asyncio.create_task(each) for each in work]
    for task in tasks:
        task.add_done_callback(_report)
    return tasks


async def keep_rendered(intake: Intake) -> None:
    """Render what changes, so that a scrape finds little to do, and tidy up the memory."""
    settled: ref[CommittedState] | None = None
    while True:
        if state := intake.state:
            if state.exposition.pending:
                await _do(state.exposition.refresh(), state, intake)
                if (settled is None or settled() is not state) and intake.state is state:
                    settled = ref(state)
                    process_memory.exempt_present_objects()
            del state  # one that is replaced shall not stay
        await asyncio.to_thread(process_memory.return_free_pages)
        await asyncio.sleep(_PAUSE)


async def _do(steps: Iterator[None], state: CommittedState, intake: Intake) -> None:
    """Work for a state for as long as it is there, resting after each step in proportion."""
    began = perf_counter()
    for _ in steps:
        if intake.state is not state:
            return
        rest = _REST_BUSY if intake.busy else _REST
        await asyncio.sleep(rest * (perf_counter() - began))
        began = perf_counter()


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        # Its own words might quote an eSIM.
        said = fields(error=type(error).__name__, at=raised_at(error), cure="restart")
        log.critical("work in the background ended", extra=said)
