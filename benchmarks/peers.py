"""Peers: other programs that are started for comparison."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.load import Load
from benchmarks.process import Unavailable, end, free_port, pinning, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.bench import Bench
    from benchmarks.process import Server

NGINX: Final = "nginx"
PUSHGATEWAY: Final = "pushgateway"
BARE: Final = "bare Quart"
CLIENT: Final = "prometheus_client"

_NAMES: Final = {NGINX: ("nginx",), PUSHGATEWAY: ("prometheus-pushgateway", "pushgateway")}
"""Names of the programs: Debian's first, then the project's own."""

_UNPACKED: Final = Path(__file__).resolve().parent.parent / ".cache" / "programs"
"""Where ``tests/support/programs.py`` unpacks Debian packages."""

_NGINX_CONFIG: Final = """
daemon off; master_process off; worker_processes 1; pid nginx.pid; error_log stderr error;
events {{ worker_connections 512; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000;
  client_body_temp_path tmp; proxy_temp_path tmp; fastcgi_temp_path tmp; uwsgi_temp_path tmp;
  scgi_temp_path tmp;
  server {{ listen 127.0.0.1:{port}; root {root}; location = / {{ return 200; }} }}
}}
"""


def find(peer: str) -> str:
    """Return the path of a peer's program. Raises ``Unavailable`` if it is not installed."""
    folders = [f"{each}" for each in _UNPACKED.glob("*/usr/*bin")]
    for name in _NAMES[peer]:
        for path in (None, "/usr/sbin:/usr/local/sbin", ":".join(folders)):
            if found := shutil.which(name, path=path):
                return found
    raise Unavailable(f"{_NAMES[peer][0]} is not installed")


@contextmanager
def nginx(bench: Bench) -> Iterator[tuple[Server, Path]]:
    """Run nginx; yield the server and the folder whose files it serves."""
    program, port = find(NGINX), free_port()
    root = bench.folder / f"nginx-{port}"
    root.mkdir()
    config = root / "nginx.conf"
    config.write_text(_NGINX_CONFIG.format(port=port, root=root))
    command = [program, "-p", str(root), "-c", str(config)]
    with serving(NGINX, command, port=port, environment=bench.environment) as server:
        yield server, root


@contextmanager
def pushgateway(bench: Bench) -> Iterator[Server]:
    """Run a pushgateway in its fastest mode. It checks nothing and keeps nothing on disk."""
    port = free_port()
    command = [
        find(PUSHGATEWAY),
        f"--web.listen-address=127.0.0.1:{port}",
        "--push.disable-consistency-check",
        "--persistence.file=",  # Debian's default keeps groups on disk and loads them at the start
        "--log.level=error",
    ]
    with serving(
        PUSHGATEWAY, command, port=port, environment=bench.environment, ready="/-/ready"
    ) as server:
        yield server


@contextmanager
def bare_endpoint(bench: Bench) -> Iterator[Server]:
    """Run a Quart endpoint that parses JSON and does nothing else."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.bare", str(port)]
    with serving("bare-quart", command, port=port, environment=bench.environment) as server:
        yield server


class ClientGauges:
    """A process that holds the fleet in prometheus-client gauges."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.memory = int(self._read()["filled"])
        """Bytes that the filled registry takes."""

    def expose(self) -> float:
        """Return the seconds that ``generate_latest`` takes."""
        assert self._process.stdin
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._read()["seconds"])

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise Unavailable(f"{CLIENT} could not hold the fleet")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def client_gauges(bench: Bench, esims: int) -> Iterator[ClientGauges]:
    """Run a process that fills a prometheus-client registry with that many eSIMs."""
    arguments = [str(esims), str(bench.profile.history - 1), str(bench.base)]
    process = subprocess.Popen(  # noqa: S603  # our own command
        [*pinning(), sys.executable, "-m", "benchmarks.gauges", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=bench.environment.folder,
        env=bench.environment.environ,
        start_new_session=True,
    )
    with process:
        try:
            yield ClientGauges(process)
        finally:
            end(process)


def push_all(bench: Bench, gateway: Server, groups: int) -> None:
    """Push the series of that many eSIMs. Raises ``Unavailable`` if a push is refused."""
    options = Load(
        gateway.port,
        kind="push",
        count=groups,
        esims=groups,
        each=True,
        connections=16,
        seconds=600,
    )
    outcome = bench.send(options)
    if outcome.errors or outcome.answered < groups:
        raise Unavailable(f"{groups} pushes were answered with {outcome.codes}")
