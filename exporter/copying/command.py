"""The command ``esim-exporter storage copy``."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

from exporter.copying.copying import copy
from exporter.errors import ExporterError, SettingsError
from exporter.model.shards import Shard
from exporter.storage.sqlite.copying import SqliteSource, SqliteTarget
from exporter.storage.urls import PostgresDatabase, SqliteFile, parse_storage_url

if TYPE_CHECKING:
    from collections.abc import Sequence

    from exporter.copying.contents import Contents
    from exporter.copying.copying import Source, Target

_PROG: Final = "esim-exporter storage copy"

_UNUSABLE: Final = 2
"""Exit status for arguments that cannot be used."""

_INTERRUPTED: Final = 130
"""Exit status after SIGINT, as shells have it."""

_CLEAR: Final = "\r\x1b[K"
"""Back to the beginning of the terminal's line, and erase it (ECMA-48)."""

_INTERVAL: Final = 0.2
"""Seconds between progress lines."""

_DESCRIPTION = """\
Copy a fleet with all that belongs to it from one storage to an empty one, of the same kind or the
other, and compare what both say on /metrics. Storages are written as for --storage.url. The source
is only read; stop all exporters on it first."""


def main(argv: Sequence[str]) -> int:
    """Copy, and return the exit status: 0, 1 where nothing was copied, 2 for bad arguments."""
    args = _parser().parse_args(argv)
    terminal = _Terminal()
    try:
        contents = asyncio.run(_run(args, terminal))
    except asyncio.CancelledError:
        terminal.say("stopped; nothing was kept")
        return _INTERRUPTED
    except ExporterError as error:
        terminal.say(str(error))
        return _UNUSABLE if isinstance(error, SettingsError) else 1
    terminal.clear()
    sys.stdout.write(
        f"copied: {contents}\nThe metrics of both are the same, byte for byte.\n"
        f"fingerprint: {contents.fingerprint}\n"
    )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "esim-exporter storage", description="Work on the storage of an exporter that is stopped."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("copy", help="copy a fleet", description=_DESCRIPTION)
    command.add_argument("source", metavar="FROM", help="storage to copy, which is only read")
    command.add_argument("target", metavar="TO", help="storage to fill: a new file or empty tables")
    command.add_argument(
        "--without-damaged",
        action="store_true",
        help="leave out what is damaged in the source, instead of copying nothing",
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
    if isinstance(source_location, PostgresDatabase):
        terminal.say("stop all replicas on the source: what they commit from now on is not copied")
    async with AsyncExitStack() as stack:
        source = await _open_source(source_location)
        stack.push_async_callback(source.close)
        target = await _open_target(target_location)
        stack.push_async_callback(target.close)
        return await copy(
            source,
            target,
            time.time(),
            without_damaged=args.without_damaged,
            damage=terminal.say,
            progress=terminal.show,
        )


async def _open_source(location: SqliteFile | PostgresDatabase) -> Source:
    if isinstance(location, SqliteFile):
        return SqliteSource(location.path)
    from exporter.storage.postgres.copying import PostgresSource  # noqa: PLC0415  # it is an option

    return await PostgresSource.open(location.url, Shard())


async def _open_target(location: SqliteFile | PostgresDatabase) -> Target:
    if isinstance(location, SqliteFile):
        return await SqliteTarget.open(location.path)
    from exporter.storage.postgres.copying import PostgresTarget  # noqa: PLC0415  # it is an option

    return await PostgresTarget.open(location.url, Shard())


def _location(name: str, url: str) -> SqliteFile | PostgresDatabase:
    """Return the storage that an argument names. Raises ``SettingsError``."""
    try:
        return parse_storage_url(url)
    except ValueError as error:
        raise SettingsError(f"{name}: {error}") from None


class _Terminal:
    """Writes lines about the work to standard error; how far it is, on a terminal only."""

    def __init__(self) -> None:
        self._shows = sys.stderr.isatty()
        self._shown = 0.0

    def say(self, line: str) -> None:
        """Write a line that stays."""
        self.clear()
        sys.stderr.write(f"{_PROG}: {' '.join(line.splitlines())}\n")

    def show(self, done: str, rows: int) -> None:
        """Write how many rows are done, if it is time."""
        now = time.monotonic()
        if self._shows and now >= self._shown + _INTERVAL:
            self._shown = now
            sys.stderr.write(f"{_CLEAR}{rows} rows {done}")
            sys.stderr.flush()

    def clear(self) -> None:
        """Take away what was shown last."""
        if self._shown:
            sys.stderr.write(_CLEAR)
            self._shown = 0.0
