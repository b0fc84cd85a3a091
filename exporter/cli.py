"""The command ``esim-exporter`` and its subcommands."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
import time
from functools import partial
from typing import TYPE_CHECKING

import exporter
from exporter import logs
from exporter.app.opening import open_storage, shard_of
from exporter.errors import ExporterError, SettingsError, StorageHangs
from exporter.fleet import process_memory
from exporter.logs import fields, raised_at
from exporter.settings import loading
from exporter.storage.shutdown import INTERRUPTED, close_in_time, leave

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from exporter.settings.loading import Settings

log = logging.getLogger(__name__)

UNUSABLE = 2
"""Exit status for arguments or settings that cannot be used."""

_USAGE = f"""\
usage: esim-exporter COMMAND [ARGUMENTS]

Prometheus gateway for travel eSIM webhook feeds, version {exporter.__version__}.

commands:
  serve      receive webhooks and serve metrics
  check      say whether the settings for serve can be used
  simulate   send signed events as the vendor would
  demo       serve and simulate together, to look around
  storage    copy a fleet from one storage to another

esim-exporter COMMAND --help explains a command; --version prints the version.
"""


def main(argv: Sequence[str] | None = None, environ: Mapping[str, str] = os.environ) -> int:
    """Run a subcommand and return the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    name = arguments.pop(0) if arguments else "--help"
    if name in {"--version", "version"}:
        print(f"esim-exporter, version {exporter.__version__}")  # noqa: T201  # the answer
        return 0
    if name in {"--help", "-h", "help"}:
        print(_USAGE, end="")  # noqa: T201  # likewise
        return 0
    commands: dict[str, Callable[[Sequence[str], Mapping[str, str]], int]]
    commands = {
        "serve": _serve,
        "check": _check,
        "simulate": _simulate,
        "demo": _demo,
        "storage": _storage,
    }
    if name not in commands:
        print(f"esim-exporter: no such command: {name}\n\n{_USAGE}", end="", file=sys.stderr)  # noqa: T201
        return UNUSABLE
    return commands[name](arguments, environ)


def _serve(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    load = partial(loading.load, argv, environ)
    try:
        chosen = load()
        if chosen.config.check:
            return _check(argv, environ)
        shard_of(chosen)  # raises where the host name holds no number
    except SettingsError as error:
        return _unusable("serve", error)
    logs.configure(chosen.log.level, chosen.log.format)
    return leave(_served(chosen, load))


def _served(chosen: Settings, load: Callable[[], Settings]) -> int:
    """Serve until the end, and return the exit status; a thread may hang then."""
    try:
        with asyncio.Runner(loop_factory=_new_event_loop) as runner:
            runner.run(_run(chosen, load))
    except ExporterError as error:
        log.critical("cannot go on", extra=fields(error=error))
        return UNUSABLE if isinstance(error, SettingsError) else 1
    except asyncio.CancelledError:
        log.info("stopped")  # before all was ready
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001  # whatever it is, no thread may hold up the end
        # Its own words might quote an eSIM.
        said = fields(error=type(error).__name__, at=raised_at(error), cure="restart")
        log.critical("cannot go on", extra=said)
        return 1
    return 0


def _check(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    from exporter.http.protection import guards  # noqa: PLC0415  # serve starts sooner without

    try:
        chosen = loading.load(argv, environ, "esim-exporter check")
        shard_of(chosen)  # raises where the host name holds no number
        loading.read_secrets(chosen)
        loading.read_iccid_hash_key(chosen)
        guards(chosen)
    except SettingsError as error:
        return _unusable("check", error)
    print("The settings can be used.")  # noqa: T201  # the answer
    return 0


def _unusable(command: str, error: SettingsError) -> int:
    for line in str(error).splitlines():
        print(f"esim-exporter {command}: {line}", file=sys.stderr)  # noqa: T201  # no log yet
    return UNUSABLE


async def _run(chosen: Settings, load: Callable[[], Settings]) -> None:
    if this := asyncio.current_task():
        # Until the exporter asks for it: a container's first process is not ended by default.
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
    storage, shared = await open_storage(chosen)
    try:
        with process_memory.collector_paused():
            # Imports most of the program.
            from exporter.app.build import build  # noqa: PLC0415
            from exporter.app.run import run  # noqa: PLC0415
        await run(build(chosen, storage, time.time, load, shared))
    except StorageHangs:
        raise  # to close it would hang as well
    except BaseException:
        await close_in_time(storage)
        raise


def _new_event_loop() -> asyncio.AbstractEventLoop:
    """Return the fastest event loop there is."""
    try:
        import uvloop  # noqa: PLC0415  # there is none for some platforms
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def _simulate(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    from exporter.simulate import command as simulate  # noqa: PLC0415  # likewise

    parser = argparse.ArgumentParser(
        "esim-exporter simulate",
        description="Send the signed events of a synthetic fleet, as the vendor would.",
    )
    simulate.add_arguments(parser)
    return simulate.main(parser.parse_args(argv), environ)


def _storage(argv: Sequence[str], _: Mapping[str, str]) -> int:
    from exporter.copying import command as copying  # noqa: PLC0415  # likewise

    return copying.main(argv)


def _demo(argv: Sequence[str], _: Mapping[str, str]) -> int:
    from exporter.demo import command  # noqa: PLC0415  # likewise

    parser = argparse.ArgumentParser(
        "esim-exporter demo",
        description="Serve on this machine and feed it simulated events, until Ctrl-C.",
    )
    command.add_arguments(parser)
    return command.main(parser.parse_args(argv))
