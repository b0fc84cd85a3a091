"""Run an exporter: start its parts, wait for a stop, and end without losing anything."""

from __future__ import annotations

import asyncio
import logging
import sys
from functools import partial
from typing import TYPE_CHECKING

from exporter.app.background import keep_rendered, start_in_background, watch
from exporter.app.metric_values import listener_values
from exporter.app.sites import build_sites, build_status_pages
from exporter.errors import ExporterError, SettingsError, StorageHangs
from exporter.http.listeners import Listener, allow_open_files, listen, on_signals, serve_until
from exporter.logs import fields
from exporter.storage.shutdown import CLOSE_TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from exporter.app.build import Exporter
    from exporter.app.sites import Site

log = logging.getLogger(__name__)

_SWITCH_INTERVAL = 0.0005
"""Seconds for which a thread keeps the interpreter while another one waits for it. A commit's
thread waits about ten times, and each time this long while a scrape is rendered."""


async def run(exporter: Exporter) -> None:
    """Serve until :meth:`Exporter.stop`, a signal, or ``/-/quit``; then lose nothing and return.

    Raises ``SettingsError`` where a listener cannot be bound, ``StorageError`` where the state
    cannot be loaded, and ``StorageHangs`` where the storage does not close. In all other cases
    the storage is closed.
    """
    sys.setswitchinterval(_SWITCH_INTERVAL)
    pages = build_status_pages(exporter)
    listeners = _bind(build_sites(exporter, pages))
    allow_open_files(listeners)
    exporter.metrics.show_listeners(partial(listener_values, listeners))
    on_signals(exporter.stop, exporter.reloader.reload_unasked)
    for listener in listeners:
        log.info("listening", extra=fields(listener=listener.name, address=listener.address))
    close_listeners = asyncio.Event()
    intake = asyncio.create_task(exporter.intake.run())
    servers = asyncio.create_task(serve_until(close_listeners, listeners))
    asked = asyncio.create_task(exporter.stop_asked.wait())
    background = start_in_background(
        keep_rendered(exporter.intake),
        watch(exporter.reloader.files, exporter.reloader.reload_unasked),
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


def _bind(sites: Iterable[Site]) -> list[Listener]:
    """Bind all applications to their addresses, or none. Raises ``SettingsError``."""
    bound: list[Listener] = []
    try:
        for each in sites:
            listener = listen(
                each.name, each.app, each.address, each.protection, each.max_connections
            )
            bound.append(listener)
    except SettingsError:
        for listener in bound:
            listener.socket.close()
        raise
    return bound


async def _finish(exporter: Exporter, intake: asyncio.Task[None]) -> None:
    """Commit the last batch and close the storage; give up where the storage hangs."""
    exporter.intake.stop()
    # Do not wait for a database that failed: the events of its last commit were refused already.
    if exporter.intake.state is None or (exporter.intake.replica and exporter.intake.failed):
        intake.cancel()
    closing = asyncio.ensure_future(_close(exporter, intake))
    done, _ = await asyncio.wait([closing], timeout=CLOSE_TIMEOUT)
    if not done:
        hangs = "the storage did not finish; nothing acknowledged is lost"
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
