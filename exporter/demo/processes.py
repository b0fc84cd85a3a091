"""Starts programs, waits until they are ready, and ends them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING

from exporter.settings import ENVIRONMENT_PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path
    from typing import BinaryIO

    Process = subprocess.Popen[bytes]

_READY = 60.0
"""Seconds that a program has to become ready."""

_END = 15.0
"""Seconds that a program has to end after SIGTERM."""


OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Sends requests without a proxy, because the programs run on this machine."""


class NotReadyError(Exception):
    """A program that is needed ended, or did not become ready in time."""


def run_exporter(*arguments: str, log: BinaryIO | None = None) -> AbstractContextManager[Process]:
    """Run a subcommand of this program until the end of the block.

    It writes to ``log``, by default to the terminal.
    """
    environ = {k: v for k, v in os.environ.items() if not k.startswith(ENVIRONMENT_PREFIX)}
    command = [sys.executable, "-m", "exporter", *arguments]
    # In a session of its own, so that Ctrl-C reaches only this program, which then ends it.
    return _ended(
        subprocess.Popen(command, env=environ, stdout=log, stderr=log, start_new_session=True)  # noqa: S603  # our own command
    )


@contextmanager
def run_program(
    program: str, arguments: Sequence[str], folder: Path, name: str
) -> Iterator[Process]:
    """Run another program until the end of the block. It writes to ``name``.log in ``folder``."""
    with (
        (folder / f"{name}.log").open("w") as log,
        _ended(
            subprocess.Popen(  # noqa: S603  # found on the PATH
                [program, *arguments],
                cwd=folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        ) as process,
    ):
        yield process


def wait_until_ready(process: Process, url: str) -> bool:
    """Wait until ``url`` is answered with 200; return ``False`` if the process ends or is late."""
    deadline = time.monotonic() + _READY
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with OPENER.open(url, timeout=1):
                return True
        except OSError:
            time.sleep(0.1)
    return False


def is_there(url: str) -> bool:
    """Tell whether ``url`` is answered with 200, after redirections."""
    try:
        with OPENER.open(url, timeout=_READY):
            return True
    except OSError:
        return False


def free_port(preferred: int) -> int:
    """Return a free port of the loopback interface: ``preferred``, or another one."""
    try:
        return _bound(preferred)
    except OSError:
        return _bound(0)


def asked_port(port: int, flag: str) -> int:
    """Return the port that the user gave with ``flag``. Raises ``NotReadyError`` if it is taken."""
    try:
        return _bound(port)
    except (OSError, OverflowError) as error:
        raise NotReadyError(
            f"{flag}: cannot listen on port {port} of this machine: {error}; give another port"
        ) from None


def _bound(port: int) -> int:
    with socket.create_server(("127.0.0.1", port)) as server:
        found: int = server.getsockname()[1]
        return found


@contextmanager
def _ended(process: Process) -> Iterator[Process]:
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(_END)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
