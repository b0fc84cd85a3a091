"""Servers in their own processes: pin them to a core, read their use in /proc, end them."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import subprocess
import time
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CORES: Final = sorted(os.sched_getaffinity(0))
PINNED: Final = len(CORES) > 1
"""Whether there are two cores: the first for servers, the second for all load."""

QUIET: Final = 0.02
"""A server that uses less than this share of a core counts as quiet."""

_POLL: Final = 0.02
"""Seconds between two questions whether a server is ready. The answers cost time that is measured,
so it must not be shorter."""
_STOP: Final = 20.0
"""Seconds until a server that was asked to end is killed."""


class Unavailable(Exception):
    """A figure cannot be measured here. The message says why."""


@dataclass(frozen=True, slots=True)
class ProcessEnvironment:
    """The working directory and the environment variables of the processes of a run."""

    folder: Path
    environ: dict[str, str]


@dataclass(frozen=True, slots=True)
class Server:
    """A running server."""

    name: str
    process: subprocess.Popen[bytes]
    port: int
    """Port of metrics and of the question whether it is ready."""
    log: Path
    start_seconds: float = 0.0
    """From the start of the process until it was ready."""

    @property
    def cpu(self) -> float:
        """Return the processor seconds that all threads have used so far."""
        tasks = Path(f"/proc/{self.process.pid}/task")
        try:
            spent = [int((task / "schedstat").read_bytes().split()[0]) for task in tasks.iterdir()]
        except (OSError, IndexError):  # this kernel has no schedstat, or a thread just ended
            fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return sum(spent) / 1e9

    @property
    def rss(self) -> int:
        """Return the resident memory, bytes."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def wait_until_quiet(self, window: float, share: float = QUIET, *, most: float = 120.0) -> None:
        """Wait until it has used less than ``share`` of a core for ``window`` seconds.

        Raises ``Unavailable`` when that does not happen within ``most`` seconds.
        """
        seen: deque[tuple[float, float]] = deque([(time.monotonic(), self.cpu)])
        deadline = seen[0][0] + most
        while time.monotonic() < deadline:
            time.sleep(window / 20)
            seen.append((time.monotonic(), self.cpu))
            while len(seen) > 1 and seen[1][0] <= seen[-1][0] - window:
                seen.popleft()
            elapsed = seen[-1][0] - seen[0][0]
            if elapsed >= window and seen[-1][1] - seen[0][1] < share * elapsed:
                return
            self.check()
        raise Unavailable(f"{self.name} was not quiet within {most:g} s")

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stop the process during the block, so that its background work cannot slow a peer."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def check(self) -> None:
        """Raise ``Unavailable`` with the end of its log if it has ended."""
        if (status := self.process.poll()) is not None:
            tail = self.log.read_text(errors="replace").strip().splitlines()[-1:]
            raise Unavailable(f"{self.name} ended with {status}: {' '.join(tail)[-300:]}")


def without_settings() -> dict[str, str]:
    """Return the environment without its settings of an exporter."""
    return {k: v for k, v in os.environ.items() if not k.startswith("ESIM_EXPORTER_")}


def pin_load() -> None:
    """Keep this process, and the processes that it starts, off the servers' core."""
    if PINNED:
        os.sched_setaffinity(0, {CORES[1]})


@contextmanager
def unpinned() -> Iterator[None]:
    """Let this process, and the processes that it starts during the block, use all cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, CORES)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def busy(seconds: float = 1.0) -> float:
    """Return the share of the machine that other processes use, measured for ``seconds``."""
    before = _processor_times()
    time.sleep(seconds)
    idle, total = (after - b for after, b in zip(_processor_times(), before, strict=True))
    return 1 - idle / total if total else 0.0


def _processor_times() -> tuple[int, int]:
    """Return two numbers of ticks since the machine started: idle ones, and all."""
    line = Path("/proc/stat").read_text(encoding="utf-8").partition("\n")[0]
    ticks = [int(field) for field in line.split()[1:9]]
    return ticks[3] + ticks[4], sum(ticks)


def free_port() -> int:
    """Return a free port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


@contextmanager
def serving(
    name: str,
    command: Sequence[str],
    *,
    port: int,
    environment: ProcessEnvironment,
    ready: str = "/",
    within: float = 60.0,
) -> Iterator[Server]:
    """Run a server until the end of the block. It is ready when the path ``ready`` answers 200.

    Raises ``Unavailable`` if it ends before, or is not ready ``within`` that many seconds.
    """
    log = environment.folder / f"{name}-{port}.log"
    process = None
    try:
        with log.open("wb") as stream, _interrupted_later():
            started = time.monotonic()
            process = subprocess.Popen(  # noqa: S603  # our own command
                [*pinning(), *command],
                cwd=environment.folder,
                env=environment.environ,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,  # Ctrl-C must not reach it: this process ends it
            )
        server = Server(name, process, port, log)
        _wait_until_ready(server, ready, started + within)
        yield Server(name, process, port, log, time.monotonic() - started)
    finally:
        if process:
            end(process)


@contextmanager
def _interrupted_later() -> Iterator[None]:
    """Hold back signals until the end of the block, in which a process starts.

    Otherwise one that comes at this moment would leave a process that nobody knows.
    """
    held: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda n, _: held.append(n)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if held:
            signal.raise_signal(held[0])


def end(process: subprocess.Popen[Any]) -> None:
    """End a process. If it does not end in time, kill it and everything that it started."""
    process.send_signal(signal.SIGCONT)
    process.terminate()
    try:
        process.wait(_STOP)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def pinning() -> list[str]:
    """Return the words before a command that make it run on the servers' core."""
    taskset = shutil.which("taskset")
    load_is_apart = os.sched_getaffinity(0) != set(CORES)
    return [taskset, "--cpu-list", str(CORES[0])] if load_is_apart and taskset else []


def _wait_until_ready(server: Server, path: str, deadline: float) -> None:
    while time.monotonic() < deadline:
        server.check()
        if _answers(server.port, path):
            return
        time.sleep(_POLL)
    raise Unavailable(f"{server.name} was not ready in time")


def _answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
