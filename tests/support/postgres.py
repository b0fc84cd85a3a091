"""A real PostgreSQL for tests: a server of their own, started, paused and killed at will."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from functools import cache
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import programs
from running import WAIT

if TYPE_CHECKING:
    from collections.abc import Iterator

USER = "esim"

_NOBODY = 65534
"""Who runs it where the tests are run by root, whom PostgreSQL refuses."""


class Postgres:
    """One server, in a folder of its own, on a port that stays the same."""

    def __init__(self, folder: Path, *settings: str, primary: Postgres | None = None) -> None:
        """``settings`` are written as ``name=value``; with a ``primary``, follow it."""
        self._programs, self._environ = _installed()
        self._folder = folder
        self._settings = settings
        self._numbers = count(1)
        self.port = _free_port()
        self.process: subprocess.Popen[bytes] | None = None
        if os.geteuid() == 0:
            os.chown(folder, _NOBODY, _NOBODY)
        data = str(folder / "data")
        if primary:
            self._run("pg_basebackup", "-d", primary.url(), "-D", data, "-R", "-c", "fast", "-N")
        else:
            passwords = ("-A", "trust", "-U", USER, "-E", "UTF8", "--locale=C", "--no-sync")
            self._run("initdb", "-D", data, *passwords)

    def url(self, database: str = "postgres", host: str = "127.0.0.1") -> str:
        """Return the ``--storage.url`` of a database."""
        return f"postgresql://{USER}@{host}:{self.port}/{database}"

    def new_database(self) -> str:
        """Make an empty database and return its URL."""
        name = f"test{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def execute(self, statement: str, url: str = "") -> str:
        """Run a statement and return what psql prints, one line a row."""
        psql = (self._programs / "psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", url or self.url())
        done = subprocess.run(
            [*psql, "-c", statement], check=True, capture_output=True, env=self._environ
        )
        return done.stdout.decode().strip()

    def start(self) -> None:
        """Start the server and wait until it answers."""
        flags = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": "50",
            "shared_buffers": "32MB",
        }
        flags |= dict(setting.split("=", 1) for setting in self._settings)
        options = [f"--{name}={value}" for name, value in flags.items()]
        with (self._folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [self._programs / "postgres", "-D", str(self._folder / "data"), *options],
                stdout=log,
                stderr=log,
                # In a group that is orphaned while a member is stopped, the system lets it go on.
                start_new_session=True,
                **self._identity(),
            )
        deadline = time.monotonic() + WAIT
        while not self._answers():
            assert self.process.poll() is None, (self._folder / "log").read_text()
            assert time.monotonic() < deadline, "PostgreSQL did not start"
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop the server, disconnecting everybody."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """End the server with all its processes as a power cut does, but for the disk's cache."""
        self._signal_all(signal.SIGKILL)
        if self.process:
            self.process.wait(WAIT)
            self.process = None

    def pause(self) -> None:
        """Let nothing in the server run."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it run again."""
        self._signal_all(signal.SIGCONT)

    def promote(self) -> None:
        """Let a server that follows another go on alone."""
        self.execute("SELECT pg_promote()")

    def _end(self, number: signal.Signals) -> None:
        if self.process:
            self.process.send_signal(number)
            self.process.wait(WAIT)
            self.process = None

    def _signal_all(self, number: signal.Signals) -> None:
        if self.process is None:
            return
        pid = self.process.pid
        if number is not signal.SIGCONT:
            os.kill(pid, signal.SIGSTOP)  # first, that it starts no more of them, and keeps them
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for child in children:
            with suppress(ProcessLookupError):  # it ended just now
                os.kill(int(child), number)
        os.kill(pid, number)

    def _answers(self) -> bool:
        ready: list[str | Path]
        ready = [self._programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(ready, check=False, env=self._environ).returncode == 0

    def _run(self, name: str, *arguments: str) -> None:
        command: list[str | Path] = [self._programs / name, *arguments]
        done = subprocess.run(command, capture_output=True, check=False, **self._identity())
        assert done.returncode == 0, done.stderr.decode()

    def _identity(self) -> dict[str, Any]:
        ours: dict[str, Any] = {"env": self._environ, "cwd": self._folder}
        if os.geteuid() == 0:
            ours |= {"user": _NOBODY, "group": _NOBODY, "extra_groups": []}
        return ours


@cache
def _installed() -> tuple[Path, dict[str, str]]:
    """Return the folder of the programs and the environment in which they find their libraries."""
    program = programs.require("postgres").resolve()
    environ = programs.environment(program)
    if os.geteuid() or not program.is_relative_to(programs.CACHE):
        return program.parent, environ
    # Who runs it may not be allowed to look into this checkout.
    unpacked = programs.CACHE / program.relative_to(programs.CACHE).parts[0]
    copy = Path(tempfile.mkdtemp(prefix="esim-postgres-programs-"))
    copy.chmod(0o755)
    atexit.register(shutil.rmtree, copy, ignore_errors=True)
    shutil.copytree(unpacked, copy, symlinks=True, dirs_exist_ok=True)
    libraries = environ.get("LD_LIBRARY_PATH", "").replace(str(unpacked), str(copy))
    moved = copy / program.parent.relative_to(unpacked)
    return moved, environ | {"LD_LIBRARY_PATH": libraries}


@contextmanager
def running(*settings: str, primary: Postgres | None = None) -> Iterator[Postgres]:
    """Run a server, a standby where there is a ``primary``, and remove all it leaves."""
    folder = Path(tempfile.mkdtemp(prefix="esim-postgres-"))  # of a path that others may enter
    try:
        server = Postgres(folder, *settings, primary=primary)
        server.start()
        try:
            yield server
        finally:
            server.kill()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
