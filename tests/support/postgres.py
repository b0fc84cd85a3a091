"""A real PostgreSQL server for tests, which they can start, pause and kill."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from functools import cache
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import programs
from free_ports import free_port
from running import WAIT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

USER = "esim"

_NOBODY = 65534
"""User of the server if root runs the tests. PostgreSQL refuses to run as root."""


class Postgres:
    """One server with its own folder. Its port stays the same after a restart."""

    def __init__(self, folder: Path, *settings: str, primary: Postgres | None = None) -> None:
        """``settings`` are written as ``name=value``. With a ``primary``, this is its standby."""
        self._programs, self._environ = _installed()
        self._folder = folder
        self._settings = settings
        self._numbers = count(1)
        self.port = free_port()
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

    @property
    def environ(self) -> dict[str, str]:
        """Return an environment in which a shell finds ``psql``, ``pg_dump`` and ``pg_restore``."""
        path = f"{self._programs}:{os.environ['PATH']}"
        return self._environ | {"PATH": path}

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

    def dump(self, url: str) -> bytes:
        """Return a database as SQL that every ``psql`` can read."""
        pg_dump = (self._programs / "pg_dump", "--no-owner", "--no-privileges", url)
        dumped = subprocess.run(pg_dump, check=True, capture_output=True, env=self._environ).stdout
        # Older versions of psql do not know these commands.
        restrict = (b"\\restrict ", b"\\unrestrict ")
        return b"".join(n for n in dumped.splitlines(keepends=True) if not n.startswith(restrict))

    def run_script(self, script: bytes, url: str) -> None:
        """Run SQL as :meth:`dump` returns it."""
        psql = (self._programs / "psql", "-Xq", "-v", "ON_ERROR_STOP=1", "-d", url)
        subprocess.run(psql, check=True, capture_output=True, env=self._environ, input=script)

    def add_files(self, files: Mapping[str, Path]) -> None:
        """Copy files into the data folder under these names. Only the server may read them."""
        for name, source in files.items():
            copy = self._folder / "data" / name
            copy.write_bytes(source.read_bytes())
            copy.chmod(0o600)
            if os.geteuid() == 0:
                os.chown(copy, _NOBODY, _NOBODY)

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
                # When a process group loses its parent, the system continues its paused members.
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
        """Kill all processes of the server. Unlike in a power cut, the page cache survives."""
        self._signal_all(signal.SIGKILL)
        if self.process:
            self.process.wait(WAIT)
            self.process = None

    def pause(self) -> None:
        """Pause all processes of the server."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        """Continue all processes of the server."""
        self._signal_all(signal.SIGCONT)

    def promote(self) -> None:
        """Make a standby the primary."""
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
            os.kill(pid, signal.SIGSTOP)  # first, so that it starts and reaps no process meanwhile
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for child in children:
            with suppress(ProcessLookupError):  # it has just ended
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
    # The server's user may have no access to this checkout.
    unpacked = programs.CACHE / program.relative_to(programs.CACHE).parts[0]
    copy = Path(tempfile.mkdtemp(prefix="esim-postgres-programs-"))
    copy.chmod(0o755)
    atexit.register(shutil.rmtree, copy, ignore_errors=True)
    shutil.copytree(unpacked, copy, symlinks=True, dirs_exist_ok=True)
    libraries = environ.get("LD_LIBRARY_PATH", "").replace(str(unpacked), str(copy))
    moved = copy / program.parent.relative_to(unpacked)
    return moved, environ | {"LD_LIBRARY_PATH": libraries}


@contextmanager
def running(
    *settings: str, primary: Postgres | None = None, files: Mapping[str, Path] | None = None
) -> Iterator[Postgres]:
    """Run a server, then remove its files. With a ``primary`` it is a standby.

    ``files`` are copied into its data folder, under these names.
    """
    folder = Path(tempfile.mkdtemp(prefix="esim-postgres-"))  # other users may enter this path
    try:
        server = Postgres(folder, *settings, primary=primary)
        server.add_files(files or {})
        server.start()
        try:
            yield server
        finally:
            server.kill()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
