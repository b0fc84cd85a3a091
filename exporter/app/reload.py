"""A reload: read the settings again, and apply those that can change while the exporter runs."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from exporter import logs
from exporter.errors import SettingsError
from exporter.logs import fields, fields_of_error
from exporter.settings.loading import changed_but_fixed, secret_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from exporter.app.build import Exporter

log = logging.getLogger(__name__)

_PAUSE = 5.0
"""Seconds between two checks of the files."""


def reload(exporter: Exporter) -> None:
    """Apply changed settings, secrets, certificates and users.

    Raises ``SettingsError`` if that fails, whatever the reason; the last good ones then stay in
    force.
    """
    try:
        _reload(exporter)
    except SettingsError as error:
        exporter.metrics.reload_successful.set(0)
        log.error("reload failed", extra=fields(error=error))  # noqa: TRY400  # no traceback
        raise
    except Exception as error:
        exporter.metrics.reload_successful.set(0)
        log.error("reload failed", extra=fields_of_error(error))  # noqa: TRY400  # it has one
        raise SettingsError("the reload failed in an unexpected way, see the log") from error


def _reload(exporter: Exporter) -> None:
    live = exporter.settings
    settings = exporter.load_settings()
    accesses = live.accesses(settings)
    read = {name: each.read() for name, each in exporter.protections.items()}
    turned_on = set(settings.vendors_on) - set(live.started.vendors_on)
    secrets_of_others = sorted(f"--{vendor.name}.secret-file" for vendor in turned_on)
    for flag in (*changed_but_fixed(live.started, settings), *secrets_of_others):
        log.warning("change needs a restart", extra=fields(setting=flag))
    logs.configure(settings.log.level, live.started.log.format)
    live.current = settings
    for webhook in exporter.webhooks:
        webhook.access = accesses[webhook.vendor.name]
    for name, protection in read.items():
        exporter.protections[name].apply(protection)
    if state := exporter.intake.state:
        state.fleet.set_policy(live.policy())
        state.exposition.stale_after = settings.fleet.stale_after
    exporter.show_settings_applied()
    secrets = sum(len(access.secrets) for access in accesses.values())
    log.info("reloaded", extra=fields(secrets=secrets))


def reload_unasked(exporter: Exporter) -> None:
    """Reload for a signal or a changed file: a failure is logged and shown in a metric."""
    with suppress(SettingsError):
        reload(exporter)


def files_to_reload(exporter: Exporter) -> list[Path]:
    """Return the files that a reload would read."""
    files = [path for each in exporter.protections.values() for path in each.files]
    return [*files, *secret_files(exporter.settings.current)]


async def watch(files: Callable[[], Iterable[Path]], changed: Callable[[], None]) -> None:
    """Call ``changed`` whenever any of the files was written, replaced or removed.

    ``changed`` may change which files ``files`` returns.
    """
    seen = {path: _file_state(path) for path in files()}
    while True:
        await asyncio.sleep(_PAUSE)
        now = {path: _file_state(path) for path in files()}
        if now != seen:
            changed()
            # Keep what was seen before the call, so that a change during the call is noticed too.
            now = {path: now.get(path) or _file_state(path) for path in files()}
        seen = now


def _file_state(path: Path) -> tuple[int, ...]:
    """Return values that change when a file is replaced or written."""
    try:
        status = path.stat()
    except OSError:
        return ()
    # A program may set the time of modification, but not that of the change of the inode.
    return (status.st_ino, status.st_mtime_ns, status.st_ctime_ns, status.st_size)
