"""A real PostgreSQL for tests: a server of their own, started, paused and killed at will."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import programs

if TYPE_CHECKING:
    from collections.abc import Iterator

USER = "esim"

_WAIT = 60.0
"""Seconds to wait for anything, far above what it takes on a busy machine."""

_NOBODY = 65534
"""Who runs it where the tests are run by root, whom PostgreSQL refuses."""


class Postgres:
    """One server, in a folder of its own, on a port that stays the same."""

    def __init__(self, folder: Path, *settings: str) -> None:
        """``settings`` are written as ``name=value``."""
        self._programs = programs.require("postgres").resolve().parent
        self._folder = folder
        self._settings = settings
        self._numbers = count(1)
        self.port = _free_port()
        self.process: subprocess.Popen[bytes] | None = None
        if os.geteuid() == 0:
            os.chown(folder, _NOBODY, _NOBODY)
        passwords = ("-A", "trust", "-U", USER, "-E", "UTF8", "--locale=C", "--no-sync")
        self._run("initdb", "-D", str(folder / "data"), *passwords)

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
            [*psql, "-c", statement], check=True, capture_output=True, env=self._environment()
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
                **self._identity(),
            )
        deadline = time.monotonic() + _WAIT
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
            self.process.wait(_WAIT)
            self.process = None

    def pause(self) -> None:
        """Let nothing in the server run."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it run again."""
        self._signal_all(signal.SIGCONT)

    def _end(self, number: signal.Signals) -> None:
        if self.process:
            self.process.send_signal(number)
            self.process.wait(_WAIT)
            self.process = None

    def _signal_all(self, number: signal.Signals) -> None:
        if self.process is None:
            return
        pid = self.process.pid
        if number is signal.SIGSTOP or number is signal.SIGKILL:
            os.kill(pid, number)  # first, that it starts no more of them
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for child in children:
            os.kill(int(child), number)
        if number is signal.SIGCONT:
            os.kill(pid, number)

    def _answers(self) -> bool:
        ready: list[str | Path]
        ready = [self._programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(ready, check=False, env=self._environment()).returncode == 0

    def _run(self, name: str, *arguments: str) -> None:
        command: list[str | Path] = [self._programs / name, *arguments]
        done = subprocess.run(command, capture_output=True, check=False, **self._identity())
        assert done.returncode == 0, done.stderr.decode()

    def _environment(self) -> dict[str, str]:
        return programs.environment(self._programs / "postgres")

    def _identity(self) -> dict[str, Any]:
        ours: dict[str, Any] = {"env": self._environment(), "cwd": self._folder}
        if os.geteuid() == 0:
            ours |= {"user": _NOBODY, "group": _NOBODY, "extra_groups": []}
        return ours


@contextmanager
def running(*settings: str) -> Iterator[Postgres]:
    """Run a server, and remove all it leaves."""
    folder = Path(tempfile.mkdtemp(prefix="esim-postgres-"))  # of a path that others may enter
    try:
        server = Postgres(folder, *settings)
        server.start()
        try:
            yield server
        finally:
            server.resume()
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
