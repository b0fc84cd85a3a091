"""A real ``esim-exporter serve`` in a process of its own: its sockets, its log, its end."""

from __future__ import annotations

import copy
import http.client
import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import httpx

from exporter.vendors import roamify

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

T = TypeVar("T")

SECRET = b"correct horse battery staple"
WEBHOOK = "/webhooks/roamify"
PAYLOADS = Path(__file__).parents[1] / "payloads"
USAGE = (PAYLOADS / "usage.json").read_bytes()
SUCCESS = b'{"code":200,"status":"success"}'

COMMAND = (sys.executable, "-m", "exporter", "serve")

WAIT = 240.0
"""Seconds to wait for anything. Waiting ends as soon as it happened, so a busy machine may miss
this limit only if something hangs."""

STOP = 60.0
"""Seconds that a stop may take, on a busy machine too."""

_FIELD = re.compile(r'([^\s=]+)=("(?:[^"\\]|\\.)*"|\S*)(?: |$)')
_numbers = itertools.count(1)


def until(condition: Callable[[], T | None], seconds: float = WAIT) -> T:
    """Poll until ``condition`` returns something true, and return that."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, "what was waited for did not happen"
        time.sleep(0.01)
    return result


def event(*, fresh: bool = True, **data: object) -> dict[str, Any]:
    """Return the vendor's sample event, of an eSIM not seen before unless told otherwise."""
    document: dict[str, Any] = copy.deepcopy(json.loads(USAGE))
    if fresh:
        document["data"]["esim_id"] = f"esim-{next(_numbers)}"
    document["data"] |= data
    return document


def encoded(document: object) -> bytes:
    """Write a document as the vendor would, keeping what is not text in UTF-8 escaped."""
    return json.dumps(document).encode()


def logfmt(line: str) -> dict[str, str]:
    """Read a line of logfmt; raises where any of it is something else."""
    pairs = list(_FIELD.finditer(line))
    assert "".join(pair.group() for pair in pairs) == line, f"not logfmt: {line!r}"
    return {pair[1]: json.loads(pair[2]) if pair[2].startswith('"') else pair[2] for pair in pairs}


def samples(text: str) -> dict[str, float]:
    """Return the value of every series in an exposition, by the series as it is written."""
    lines = (line for line in text.splitlines() if line and not line.startswith("#"))
    return {series: float(value) for series, _, value in (line.rpartition(" ") for line in lines)}


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer read off a raw socket."""

    code: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def connect(url: str) -> socket.socket:
    """Open a connection to the listener that a URL names."""
    parts = urlsplit(url)
    return socket.create_connection((parts.hostname, parts.port), WAIT)


def read_answer(connection: socket.socket, method: str = "POST") -> Answer:
    """Read one answer; raises ``http.client.HTTPException`` where it is cut or none."""
    with closing(http.client.HTTPResponse(connection, method=method)) as response:
        response.begin()
        return Answer(response.status, response.headers, response.read())


def request_head(body: bytes, *more: str, length: bool = True, secret: bytes = SECRET) -> bytes:
    """Return the head of a signed delivery of ``body``, with more header lines."""
    lines = [
        f"POST {WEBHOOK} HTTP/1.1",
        "Host: exporter",
        f"{roamify.SIGNATURE_HEADER}: {roamify.sign(body, secret)}",
        *([f"Content-Length: {len(body)}"] if length else []),
        *more,
    ]
    return "\r\n".join([*lines, "", ""]).encode()


class Serving:
    """One process. The address of each listener is the system's choice."""

    def __init__(
        self,
        folder: Path,
        flags: tuple[str, ...],
        environ: Mapping[str, str],
        command: Sequence[str] = COMMAND,
    ) -> None:
        """Start it with ``folder`` as working directory, where its database lies."""
        ours = {k: v for k, v in os.environ.items() if not k.startswith("ESIM_EXPORTER_")}
        self.folder = folder
        self.lines: list[str] = []
        """Its log so far."""
        self.parse: Callable[[str], dict[str, Any]]
        self.parse = json.loads if "--log.format=json" in flags else logfmt
        self.process = subprocess.Popen(
            [*command, *flags],
            cwd=folder,
            env={**ours, **environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.client = httpx.Client(timeout=WAIT, trust_env=False)
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()

    @property
    def records(self) -> list[dict[str, Any]]:
        """Return its log so far, parsed."""
        return [self.parse(line) for line in list(self.lines)]

    def url(self, listener: str) -> str:
        """Return where a listener listens."""
        return f"http://{self.addresses()[listener]}"

    @property
    def internal(self) -> str:
        return self.url("internal")

    @property
    def public(self) -> str:
        return self.url("public")

    @property
    def webhook(self) -> str:
        return self.public + WEBHOOK

    def wait_until_ready(self, ready: str = "/-/ready") -> None:
        """Wait for the listeners and then for the state to be loaded."""
        until(lambda: self._alive() and len(self.addresses()) > 1)
        until(lambda: self._alive() and self.get(ready).status_code == httpx.codes.OK)

    def logged(self, message: str) -> list[dict[str, Any]]:
        """Return the records with a message."""
        return [record for record in self.records if record["msg"] == message]

    def get(self, path: str, **options: Any) -> httpx.Response:
        """Ask the internal listener."""
        return self.client.get(self.internal + path, **options)

    def post(self, body: bytes | dict[str, Any], secret: bytes = SECRET) -> httpx.Response:
        """Deliver an event, signed."""
        content = body if isinstance(body, bytes) else encoded(body)
        signed = {roamify.SIGNATURE_HEADER: roamify.sign(content, secret)}
        return self.client.post(self.webhook, content=content, headers=signed)

    def state(self) -> str:
        """Return all that deliveries can change for users: the groups about eSIMs.

        Wait until a large fleet is rendered after a start.
        """
        groups = {"collect[]": ["attention", "esims", "fleet"]}

        def rendered() -> httpx.Response | None:
            response = self.get("/metrics", params=groups)
            unready = response.status_code == httpx.codes.SERVICE_UNAVAILABLE
            return None if unready else response

        response = until(rendered)
        assert response.status_code == httpx.codes.OK
        return response.text

    def own(self) -> dict[str, float]:
        """Return the exporter's metrics about itself, without their prefix."""
        text = self.get("/metrics", params={"collect[]": "exporter"}).text
        return {k.removeprefix("esim_exporter_"): v for k, v in samples(text).items()}

    def rejected(self, reason: str, vendor: str = "roamify") -> float:
        """Return how many deliveries were rejected for a reason."""
        return self.own()[f'webhook_rejected_total{{reason="{reason}",vendor="{vendor}"}}']

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit status; fails where the stop takes long."""
        self.client.close()
        self.send(number)
        status = self.process.wait(STOP)
        self._reader.join()
        return status

    def kill(self) -> None:
        """End it as a power cut would, as far as the process can tell."""
        assert self.end(signal.SIGKILL) == -signal.SIGKILL

    def ended(self) -> int:
        """Return the exit status of one that ends by itself."""
        status = self.process.wait(WAIT)
        self._reader.join()
        return status

    def complaints(self) -> list[str]:
        """Return what a correct program never logs."""
        wrong = (
            "Traceback",
            "failed unexpectedly",
            "exception=",
            "never retrieved",
            "destroyed",
            "ERROR",
        )
        return [line for line in self.lines if any(word in line for word in wrong)]

    def _alive(self) -> bool:
        assert self.process.poll() is None, "\n".join(self.lines)
        return True

    def addresses(self) -> dict[str, str]:
        """Return where its listeners listen, by their names."""
        listening = [self.parse(line) for line in list(self.lines) if "listening" in line]
        return {record["listener"]: record["address"] for record in listening}

    def _read_log(self) -> None:
        assert self.process.stdout
        with self.process.stdout as stream:
            for line in stream:
                self.lines.append(line.rstrip("\n"))


LOOPBACK = ("--web.listen-address=127.0.0.1:0", "--webhook.listen-address=127.0.0.1:0")
SIGNED = {"ESIM_EXPORTER_WEBHOOK_SECRET": SECRET.decode()}


@contextmanager
def serving(
    folder: Path,
    *flags: str,
    environ: Mapping[str, str] = SIGNED,
    ready: str = "/-/ready",
    command: Sequence[str] = COMMAND,
) -> Iterator[Serving]:
    """Serve on loopback; at the end the process is gone, and has complained of nothing."""
    process = Serving(folder, (*LOOPBACK, *flags), environ, command)
    try:
        if ready:
            process.wait_until_ready(ready)
        yield process
        if process.process.poll() is None:
            status = process.end()
            assert status == 0, "\n".join([*process.lines, f"exit status {status}"])
        assert not process.complaints(), "\n".join(process.lines)
    finally:
        process.client.close()
        process.process.kill()
        process.process.wait()
