"""The command ``esim-exporter storage copy``."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

from exporter.copying.copy_fleet import copy_fleet
from exporter.errors import ExitStatus, ExporterError, SettingsError
from exporter.model.shards import Shard
from exporter.storage.sqlite.copying import SqliteSource, SqliteTarget
from exporter.storage.urls import PostgresDatabase, SqliteFile, parse_storage_url

if TYPE_CHECKING:
    from collections.abc import Sequence

    from exporter.copying.copy_fleet import Contents, CopySource, CopyTarget

_PROG: Final = "esim-exporter storage copy"

_CLEAR: Final = "\r\x1b[K"
"""Go to the beginning of the terminal's line and erase it (ECMA-48)."""

_INTERVAL: Final = 0.2
"""Seconds between progress lines."""

_DESCRIPTION = """\
Copy a fleet, with its counters and rejected deliveries, to an empty storage, and check that both
give the same metrics. Either storage may be SQLite or PostgreSQL. FROM and TO are URLs as for
--storage.url. Stop all exporters on FROM first; the command only reads it.

If the command succeeds, TO holds the whole fleet. If it fails or is stopped, it removes everything
it wrote to TO. If PostgreSQL does not confirm the last step, the command says that the copy may or
may not exist; run it again to find out: it refuses a TO that holds a fleet."""


def main(argv: Sequence[str]) -> int:
    """Copy; return 0, 1 if the copy failed, 2 for unusable arguments, 130 if it was stopped."""
    args = _parser().parse_args(argv)
    terminal = _Terminal()
    try:
        contents = asyncio.run(_run(args, terminal))
    except asyncio.CancelledError:
        terminal.say("stopped; the copy was discarded")
        return ExitStatus.INTERRUPTED
    except ExporterError as error:
        terminal.say(str(error))
        return error.exit_status
    terminal.clear()
    sys.stdout.write(
        f"copied: {contents}\nThe metrics of both are the same, byte for byte.\n"
        f"fingerprint: {contents.fingerprint}\n"
    )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "esim-exporter storage", description="Work on the storage of a stopped exporter."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser(
        "copy",
        help="copy a fleet to another storage",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("source", metavar="FROM", help="URL of the storage to copy")
    command.add_argument(
        "target",
        metavar="TO",
        help="URL of the storage to fill: a new file, or a database without a fleet",
    )
    command.add_argument(
        "--without-damaged",
        action="store_true",
        help="leave out damaged rows of FROM; without this flag, damage fails the copy",
    )
    return parser


async def _run(args: argparse.Namespace, terminal: _Terminal) -> Contents:
    task = asyncio.ensure_future(_copy(args, terminal))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    return await task


async def _copy(args: argparse.Namespace, terminal: _Terminal) -> Contents:
    source_location = _location("FROM", args.source)
    target_location = _location("TO", args.target)
    async with AsyncExitStack() as stack:
        source = await _open_source(source_location, terminal)
        stack.push_async_callback(source.close)
        target = await _open_target(target_location)
        stack.push_async_callback(target.close)
        return await copy_fleet(
            source,
            target,
            time.time(),
            without_damaged=args.without_damaged,
            damage=terminal.say,
            progress=terminal.show,
        )


async def _open_source(location: SqliteFile | PostgresDatabase, terminal: _Terminal) -> CopySource:
    if isinstance(location, SqliteFile):
        return SqliteSource(location.path)
    from exporter.storage.postgres.copying import PostgresSource  # noqa: PLC0415  # optional

    source = await PostgresSource.open(location.url, Shard())
    if replicas := await source.count_replicas():
        connected = "1 replica is" if replicas == 1 else f"{replicas} replicas are"
        terminal.say(
            f"{connected} connected to FROM: stop all of them now; if one still commits, the copy "
            "is discarded"
        )
    return source


async def _open_target(location: SqliteFile | PostgresDatabase) -> CopyTarget:
    if isinstance(location, SqliteFile):
        return await SqliteTarget.open(location.path)
    from exporter.storage.postgres.copying import PostgresTarget  # noqa: PLC0415  # optional

    return await PostgresTarget.open(location.url, Shard())


def _location(name: str, url: str) -> SqliteFile | PostgresDatabase:
    """Return the storage that an argument names. Raises ``SettingsError``."""
    try:
        return parse_storage_url(url)
    except ValueError as error:
        raise SettingsError(f"{name}: {error}") from None


class _Terminal:
    """Writes messages to standard error, and progress too if that is a terminal."""

    def __init__(self) -> None:
        self._shows = sys.stderr.isatty()
        self._shown = 0.0

    def say(self, line: str) -> None:
        """Write a message."""
        self.clear()
        sys.stderr.write(f"{_PROG}: {' '.join(line.splitlines())}\n")

    def show(self, done: str, rows: int) -> None:
        """Write the progress, replacing the last one, if ``_INTERVAL`` has passed."""
        now = time.monotonic()
        if self._shows and now >= self._shown + _INTERVAL:
            self._shown = now
            sys.stderr.write(f"{_CLEAR}{rows} rows {done}")
            sys.stderr.flush()

    def clear(self) -> None:
        """Erase the progress."""
        if self._shown:
            sys.stderr.write(_CLEAR)
            self._shown = 0.0
