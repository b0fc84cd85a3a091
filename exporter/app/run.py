"""Run an exporter: start its parts, wait for a stop, and end without losing anything.

While requests are served, background tasks render what events changed and return free memory.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from functools import partial
from time import monotonic, perf_counter, thread_time
from typing import TYPE_CHECKING, Any
from weakref import ref

from exporter.app.listener_applications import (
    build_applications,
    build_status_pages,
    warn_of_unprotected_changes,
)
from exporter.app.reload import files_to_reload, reload_unasked, watch
from exporter.errors import ExporterError, SettingsError, StorageHangs
from exporter.fleet import process_memory
from exporter.http.listeners import Listener, allow_open_files, listen, on_signals, serve_until
from exporter.logs import fields, fields_of_error
from exporter.storage.shutdown import CLOSE_TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable

    from exporter.app.build import Exporter
    from exporter.app.listener_applications import ListenerApplication
    from exporter.ingest.commit import CommittedState
    from exporter.ingest.intake import Intake
    from exporter.selfmetrics import Values

log = logging.getLogger(__name__)

_SWITCH_INTERVAL = 0.0005
"""Seconds for which a thread keeps the interpreter while another one waits for it. During a
scrape, the thread of a commit waits about ten times, each time this long."""

_FREE_PAUSE = 2.0
"""Seconds between two times that free memory is returned to the system. That takes 0.2 ms if there
is none. After a shorter pause, there is less to return."""

_GATHERED = 1.0
"""Seconds for which changes are gathered before they are rendered: several events of one block
then cost little more than one."""

_PAUSE = 0.1
"""Seconds between two looks for changes to render."""

_STEP = 0.001
"""Seconds of processor time after which rendering lets deliveries through."""

_REST = 1
_REST_BUSY = 60
"""After each step, rendering rests as many times as long as the step took: the first number, and
the second one times the fourth power of the share of rests that ended late. So rendering uses up
to half a core while there is little else to do. While events need the whole core, it uses 2 % of
it: deliveries are answered, and the age of what a scrape shows grows."""

_LATE = 0.0003
"""Seconds. A rest that ends so much later shows that the event loop was busy. The share of a core
that the process uses would not show it: that is small too while other processes need the core."""

_LAST_RESTS = 16
"""About so many rests count in the share of those that ended late."""


async def run(exporter: Exporter) -> None:
    """Serve until :meth:`Exporter.stop`, a signal, or ``/-/quit``; then commit what waits.

    Raises ``SettingsError`` if a listener cannot be bound, ``StorageError`` if the state cannot be
    loaded, and ``StorageHangs`` if the storage does not close. In all other cases the storage is
    closed.
    """
    sys.setswitchinterval(_SWITCH_INTERVAL)
    pages = build_status_pages(exporter)
    listeners = _bind(build_applications(exporter, pages))
    allow_open_files(listeners)
    exporter.metrics.show(partial(_connection_values, listeners))
    reload = partial(reload_unasked, exporter)
    on_signals(exporter.stop, reload)
    for listener in listeners:
        log.info("listening", extra=fields(listener=listener.name, address=listener.address))
    warn_of_unprotected_changes(exporter)
    close_listeners = asyncio.Event()
    intake = asyncio.create_task(exporter.intake.run())
    servers = asyncio.create_task(serve_until(close_listeners, listeners))
    asked = asyncio.create_task(exporter.stop_asked.wait())
    background = start_in_background(
        keep_rendered(exporter.intake),
        keep_memory_returned(),
        watch(partial(files_to_reload, exporter), reload),
        pages.watch(),
    )
    await asyncio.wait([intake, servers, asked], return_when=asyncio.FIRST_COMPLETED)
    log.info("stopping")
    exporter.stop()
    if not intake.done() and not servers.done():
        await asyncio.sleep(exporter.settings.started.web.shutdown_delay)
    close_listeners.set()
    await asyncio.wait([servers])
    for task in background:
        task.cancel()
    await _finish(exporter, intake)
    await asyncio.gather(*background, return_exceptions=True)
    servers.result()
    log.info("stopped")


def _bind(applications: Iterable[ListenerApplication]) -> list[Listener]:
    """Bind all applications to their addresses, or none. Raises ``SettingsError``."""
    bound: list[Listener] = []
    try:
        for application in applications:
            bound.append(listen(*application))  # noqa: PERF401  # those bound before must be closed
    except SettingsError:
        for listener in bound:
            listener.socket.close()
        raise
    return bound


def _connection_values(listeners: Iterable[Listener]) -> dict[str, Values]:
    """Return the present values of the metrics about the listeners."""
    connections = {each.name: each.connections for each in listeners}
    tls = {each.name: each.protection.current.tls for each in listeners}
    return {
        "http_connections": {name: each.open for name, each in connections.items()},
        "http_connections_refused_total": {
            name: each.refused for name, each in connections.items()
        },
        "http_connections_displaced_total": {
            name: each.displaced for name, each in connections.items()
        },
        "tls_certificate_expiry_timestamp_seconds": {
            name: each.expiry for name, each in tls.items() if each
        },
    }


async def _finish(exporter: Exporter, intake: asyncio.Task[None]) -> None:
    """Commit the last batch and close the storage; give up if the storage hangs."""
    exporter.intake.stop()
    # Do not wait for a database that failed: the events of its last commit were refused already.
    if exporter.intake.state is None or (exporter.intake.replica and exporter.intake.failed):
        intake.cancel()
    closing = asyncio.ensure_future(_close(exporter, intake))
    done, _ = await asyncio.wait([closing], timeout=CLOSE_TIMEOUT)
    if not done:
        hangs = "the storage did not close in time; nothing acknowledged is lost"
        error = intake.exception() if intake.done() and not intake.cancelled() else None
        if isinstance(error, ExporterError):  # it failed before the stop
            hangs = f"{error}; {hangs}"
        raise StorageHangs(hangs) from error
    closing.result()


async def _close(exporter: Exporter, intake: asyncio.Task[None]) -> None:
    await asyncio.wait([intake])
    await exporter.storage.close()
    if not intake.cancelled():
        intake.result()


def start_in_background(*work: Coroutine[Any, Any, None]) -> list[asyncio.Task[None]]:
    """Start tasks that run until they are cancelled. One that fails is logged; the others go on."""
    tasks = [asyncio.create_task(each) for each in work]
    for task in tasks:
        task.add_done_callback(_log_failure)
    return tasks


async def keep_rendered(intake: Intake) -> None:
    """Render what events changed, oldest first, so that scrapes render little or nothing."""
    settled: ref[CommittedState] | None = None
    pace = _Pace()
    while True:
        if state := intake.state:
            await _render_changes(state, intake, pace)
            ready = intake.state is state and state.exposition.ready()
            if ready and (settled is None or settled() is not state):
                settled = ref(state)
                process_memory.exempt_present_objects()
            del state  # a state that is replaced must be freed during the pause
        await asyncio.sleep(_PAUSE)


class _Pace:
    """Rests between the steps of rendering, longer while the event loop is busy."""

    def __init__(self) -> None:
        self._late = 0.0
        """Share of the last rests that ended late."""

    async def rest(self, took: float) -> None:
        """Rest after a step that took so many seconds of processor time."""
        seconds = took * (_REST + _REST_BUSY * self._late**4)
        until = perf_counter() + seconds
        await asyncio.sleep(seconds)
        late = perf_counter() - until > _LATE
        self._late += (late - self._late) / _LAST_RESTS


async def _render_changes(state: CommittedState, intake: Intake, pace: _Pace) -> None:
    """Render what has been gathered. Stop when another state replaces this one."""
    exposition = state.exposition
    started, began = exposition.ready(), thread_time()
    while (oldest := exposition.oldest) is not None:
        if started and monotonic() - oldest < _GATHERED:
            return
        for _ in exposition.refresh_oldest():
            took = thread_time() - began
            if took < _STEP:
                continue
            if started:
                await pace.rest(took)
            else:
                await intake.yield_to_deliveries()
            if intake.state is not state:
                return
            began = thread_time()


async def keep_memory_returned() -> None:
    """Return free memory to the system from time to time."""
    while True:
        await asyncio.to_thread(process_memory.return_free_pages)
        await asyncio.sleep(_FREE_PAUSE)


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        log.critical("background task failed", extra=fields_of_error(error, cure="restart"))
