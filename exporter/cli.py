"""The command ``esim-exporter`` and its subcommands."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from functools import partial
from typing import TYPE_CHECKING

from exporter import __version__, logs
from exporter.app.revision import outdated_copy
from exporter.errors import ExitStatus, ExporterError, SettingsError, StorageHangs
from exporter.logs import fields, fields_of_error
from exporter.settings import loading
from exporter.storage.shutdown import close_or_abandon, end_process

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from exporter.settings.definitions import Settings

log = logging.getLogger(__name__)

_USAGE = f"""\
usage: esim-exporter COMMAND [ARGUMENTS]

Prometheus gateway for travel eSIM webhook feeds, version {__version__}.

commands:
  serve      receive webhooks and serve metrics; with --config.check, only check the settings
  simulate   send the events of a synthetic fleet
  demo       serve and simulate on this machine, to look around
  storage    copy a fleet from one storage to another
  mixin      write rules, routes and dashboards for your values

esim-exporter COMMAND --help explains a command; --version prints the version.
"""


def main(argv: Sequence[str] | None = None, environ: Mapping[str, str] = os.environ) -> int:
    """Run a subcommand and return the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    name = arguments.pop(0) if arguments else "--help"
    status: int = ExitStatus.DONE
    if name != "serve" and (advice := outdated_copy()):
        sys.stderr.write(f"esim-exporter: {advice}\n")
    match name:
        case "--help" | "-h" | "help":
            sys.stdout.write(_USAGE)
        case "--version" | "version":
            sys.stdout.write(f"esim-exporter, version {__version__}\n")
        case "serve":
            status = _serve(arguments, environ)
        # Commands import their packages when they run: serve starts sooner without the others.
        case "simulate":
            from exporter.simulate import command as simulate  # noqa: PLC0415  # see above

            status = simulate.main(arguments, environ)
        case "demo":
            from exporter.demo import command as demo  # noqa: PLC0415  # see above

            status = demo.main(arguments)
        case "storage":
            from exporter.copying import command as copying  # noqa: PLC0415  # see above

            status = copying.main(arguments)
        case "mixin":
            from exporter.mixin import command as mixin  # noqa: PLC0415  # see above

            status = mixin.main(arguments)
        case _:
            sys.stderr.write(f"esim-exporter: no such command: {name}\n\n{_USAGE}")
            status = ExitStatus.UNUSABLE
    return status


def _serve(argv: Sequence[str], environ: Mapping[str, str]) -> int:
    load = partial(loading.load, argv, environ)
    try:
        settings = load()
        loading.shard_of(settings)  # raises if the host name holds no number
        if settings.config.check:
            return _check(settings)
    except SettingsError as error:
        for line in str(error).splitlines():
            sys.stderr.write(f"esim-exporter serve: {line}\n")
        return error.exit_status
    logs.configure(settings.log.level, settings.log.format)
    if advice := outdated_copy():
        log.warning(advice)
    return end_process(_serve_until_stopped(settings, load))


def _serve_until_stopped(settings: Settings, load: Callable[[], Settings]) -> int:
    """Serve, log why it ended, and return the exit status. A thread of the storage may hang."""
    try:
        with asyncio.Runner(loop_factory=_new_event_loop) as runner:
            runner.run(_run(settings, load))
    except ExporterError as error:
        log.critical("cannot go on", extra=fields(error=error))
        return error.exit_status
    except asyncio.CancelledError:  # SIGTERM, before the exporter handles signals
        log.info("stopped")
    except KeyboardInterrupt:
        return ExitStatus.INTERRUPTED
    except Exception as error:  # noqa: BLE001  # the process must end even when a thread hangs
        log.critical("cannot go on", extra=fields_of_error(error, cure="restart"))
        return ExitStatus.FAILED
    return ExitStatus.DONE


async def _run(settings: Settings, load: Callable[[], Settings]) -> None:
    if this := asyncio.current_task():
        # By default SIGTERM does not end the first process of a container.
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
    # These import most of the program, which the other commands do not need.
    from exporter.app.build import build, open_storage  # noqa: PLC0415  # see above
    from exporter.app.run import run  # noqa: PLC0415  # see above

    storage, shared = await open_storage(settings)
    try:
        await run(build(settings, storage, time.time, load, shared))
    except StorageHangs:
        raise  # closing would hang too
    except BaseException:
        await close_or_abandon(storage)
        raise


def _new_event_loop() -> asyncio.AbstractEventLoop:
    """Return the fastest event loop that is installed."""
    try:
        import uvloop  # noqa: PLC0415  # not available on every platform
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def _check(settings: Settings) -> int:
    """Check the files that the settings name. Raises ``SettingsError``."""
    from exporter.http.protection import read_protections  # noqa: PLC0415  # only a check needs it

    for vendor in settings.vendors_on:
        loading.read_secrets(settings, vendor)
    loading.read_iccid_hash_key(settings)
    read_protections(settings.web.config_file, settings.webhook.config_file)
    sys.stdout.write(
        "The web configuration can be used. Nothing else was checked.\n"
        if settings.web_configuration_alone
        else "The settings can be used.\n"
    )
    return ExitStatus.DONE
