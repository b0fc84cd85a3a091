"""Every answer of a server with a known fleet and a clock that stands still, written to files.

The files under ``tests/endpoints/recorded`` were written by an earlier commit. A change of the
inside must not change them, byte for byte. To write them from another checkout::

    python tests/support/recorded_answers.py CHECKOUT FOLDER

The server runs as a process of its own with the code of CHECKOUT. What differs from run to run
is blanked: durations, sizes of files, the folder of the storage.
"""

from __future__ import annotations

import gzip
import hmac
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = 1_760_000_000
"""The server's clock, unix seconds."""

SECRET = "correct horse battery staple"  # of a test
HERE = Path(__file__).resolve().parents[1]
BODIES = HERE / "endpoints" / "recorded" / "bodies.jsonl"
PAYLOADS = HERE / "payloads"

_SERVE = (
    "import sys, time; clock = float(sys.argv.pop(1)); time.time = lambda: clock; "
    "from exporter.__main__ import main; sys.exit(main())"
)
_FLAGS = (
    *("--web.enable-admin-api", "--metrics.esim-labels=reference_id,iccid"),
    *("--limits.max-esims=25", "--webhook.read-timeout=200ms", "--webhook.max-body-bytes=4096"),
    *("--fleet.stale-after=4h", "--storage.url=sqlite:///fleet.db"),
)
_BLANKED = (
    (re.compile(r'"duration":[0-9.e-]+'), '"duration":0'),
    (re.compile(r'"(size_bytes|wal_size_bytes)":\d+'), r'"\1":0'),
    (re.compile(r'"received":\d+\.\d+'), '"received":0'),
    (re.compile(r'"path":"[^"]*/'), '"path":"'),
)
_KEPT_HEADERS = ("allow", "content-type", "connection", "retry-after", "vary", "www-authenticate")

_OPENMETRICS = "application/openmetrics-text;version=1.0.0"


class Server:
    """A server that runs the code of a checkout."""

    def __init__(self, checkout: Path, folder: Path) -> None:
        self.folder = folder
        self.web, self.webhook = _free_port(), _free_port()
        environ = {k: v for k, v in os.environ.items() if not k.startswith(("ESIM_", "PYTHONPATH"))}
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-c", _SERVE, str(NOW), "serve", "--log.level=error", *_FLAGS),
                f"--web.listen-address=127.0.0.1:{self.web}",
                f"--webhook.listen-address=127.0.0.1:{self.webhook}",
            ],
            cwd=folder,
            env=environ | {"PYTHONPATH": str(checkout), "ESIM_EXPORTER_WEBHOOK_SECRET": SECRET},
        )

    def wait_until_ready(self) -> None:
        """Return as soon as the server is ready; fail when it ended."""
        while self.process.poll() is None:
            try:
                if self.ask(self.web, "GET", "/-/ready")["status"] == 200:
                    return
            except OSError:
                pass
            time.sleep(0.05)
        raise RuntimeError("the server ended before it was ready")

    def ask(
        self,
        port: int,
        method: str,
        target: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        """Send a request and return its answer, without what differs from run to run."""
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
            connection.request(method, target, body, headers or {})
            return _answer(connection.getresponse())

    def deliver(self, body: bytes, **headers: str) -> dict[str, Any]:
        """Post a body to the webhook with its signature; ``headers`` replace its own."""
        return self.ask(self.webhook, "POST", "/webhooks/roamify", body, signed(body) | headers)

    def deliver_slowly(self, body: bytes) -> dict[str, Any]:
        """Post half a body, and wait for the answer."""
        head = "".join(f"{k}: {v}\r\n" for k, v in signed(body).items())
        with socket.create_connection(("127.0.0.1", self.webhook), 60) as connection:
            connection.sendall(
                f"POST /webhooks/roamify HTTP/1.1\r\nHost: x\r\n{head}"
                f"Content-Length: {len(body)}\r\n\r\n".encode()
                + body[: len(body) // 2]
            )
            response = http.client.HTTPResponse(connection, method="POST")
            response.begin()
            return _answer(response)


def signed(body: bytes) -> dict[str, str]:
    """Return the header that a delivery is signed with."""
    return {"X-Roamify-Signature": hmac.digest(SECRET.encode(), body, "sha256").hex()}


@contextmanager
def running(checkout: Path) -> Iterator[Server]:
    """Run a server until the end of the block."""
    with tempfile.TemporaryDirectory() as folder:
        server = Server(checkout, Path(folder))
        try:
            server.wait_until_ready()
            yield server
        finally:
            server.process.send_signal(signal.SIGTERM)
            server.process.wait()


def record(checkout: Path) -> dict[str, str]:
    """Return the content of each file."""
    with running(checkout) as server:
        before = _api(server, "esims", "packages", "status")  # of an empty fleet
        webhook = _webhook(server)
        files = {
            f"{group}.{name}.txt": _text(server, group, accept)
            for group in ("attention", "esims", "fleet")
            for name, accept in (("text", "text/plain"), ("openmetrics", _OPENMETRICS))
        }
        files["api.json"] = _written(before | _every_api_answer(server))
        (server.folder / "fleet.db").rename(server.folder / "away.db")
        webhook["storage replaced"] = server.deliver(
            _payload("usage").replace(b'"esim_id": "', b'"esim_id": "new-')
        )
        files["webhook.json"] = _written(webhook)
        return files


def _webhook(server: Server) -> dict[str, Any]:
    usage = _payload("usage")
    path, port = "/webhooks/roamify", server.webhook
    found: dict[str, Any] = {}
    for sample in sorted(PAYLOADS.glob("*.json")):
        found[sample.stem] = server.deliver(sample.read_bytes())
    fleet = [json.loads(line).encode() for line in BODIES.read_text("utf-8").splitlines()]
    found["fleet"] = [server.deliver(body)["status"] for body in fleet]
    found |= {
        "duplicate": server.deliver(usage),
        "unknown type": server.deliver(b'{"event_category":"esim","event_type":"teleported"}'),
        "probe": server.ask(port, "GET", path),
        "head": server.ask(port, "HEAD", path),
        "put": server.ask(port, "PUT", path, b"{}"),
        "other path": server.ask(port, "POST", "/webhooks/other", usage, signed(usage)),
        "root": server.ask(port, "GET", "/"),
        "metrics on the public listener": server.ask(port, "GET", "/metrics"),
        "unsigned": server.ask(port, "POST", path, usage),
        "wrong signature": server.deliver(usage, **{"X-Roamify-Signature": "0" * 64}),
        "no signature": server.deliver(usage, **{"X-Roamify-Signature": "?"}),
        "not JSON": server.deliver(b"{'single': 'quotes'}"),
        "empty": server.deliver(b""),
        "cut off": server.deliver(usage[:100]),
        "a list": server.deliver(b"[]"),
        "too large": server.deliver(b" " * 4097),
        "too slow": server.deliver_slowly(usage),
    }
    for name, data in _UNFIT.items():
        document = json.loads(usage)
        document["data"] |= data
        found[f"unfit: {name}"] = server.deliver(json.dumps(document).encode())
    return found


_UNFIT: dict[str, dict[str, object]] = {
    "no ids": {"esim_id": None, "package_id": ""},
    "wrong types": {"esim_id": 7, "status": ["x"], "timestamp": "soon", "usage_list": {}},
    "the future": {"timestamp": NOW + 2 * 86400},
    "the past": {"timestamp": 12},
    "amounts": {
        "usage_data": {"isUnlimited": "maybe", "allowed_data": "x", "remaining_data": 1e30}
    },
    "units": {"data_units": "furlongs", "voice_units": 3},
    "no usage data": {"usage_data": None},
    "rows": {"usage_list": [7, {"location": "X"}, {"data_used": -1, "location": "Y" * 300}]},
    "long": {"esim_id": "x" * 300, "package_name": "a\0b"},
}


def _every_api_answer(server: Server) -> dict[str, Any]:
    found = _api(
        server,
        *("status", "esims", "packages", "rejected", "openapi.json"),
        *(
            "esims?limit=3",
            "esims?sort=data_used_share&order=desc&limit=7",
            "esims?sort=last_event",
        ),
        *("esims?status=EXPIRED", "esims?over_limit=true", "esims?min_data_used_share=0.5"),
        *("esims?prefix=0", "esims?vendor=roamify&limit=2", "esims?vendor=nobody"),
        *("esims?limit=0", "esims?limit=x", "esims?sort=x", "esims?nothing=1", "esims?after=x"),
        *("esims?limit=1&limit=2", "esims?status=", "esims?min_data_used_share=2"),
        *("events?outcome=invalid", "events?outcome=signature", "events?outcome=accepted&limit=9"),
        *("esims/nobody", "events?limit=100000", "rejected?offset=3&limit=2"),
        *("nothing", "rejected/nothing"),
    )
    shown = json.loads(found["GET /api/v1/esims"]["body"])["data"]
    following = [shown["next"]] if shown["next"] else []
    found |= _api(server, *(f"esims?after={after}" for after in following))
    found |= _api(server, *(f"esims/{esim['esim_id']}" for esim in shown["esims"][:10]))
    kept = json.loads(found["GET /api/v1/rejected"]["body"])["data"]["rejected"]
    ids = sorted(each["id"] for each in kept)
    found |= _api(server, *(f"rejected/{each}" for each in ids))
    found |= _api(server, f"rejected/{ids[0]}/replay", "admin/backup", method="POST")
    found |= _api(server, "rejected/0/replay", "esims", "status", method="POST")
    found |= _api(server, f"rejected/{ids[1]}", "rejected/0", "esims/nobody", method="DELETE")
    return found | _api(server, f"esims/{shown['esims'][0]['esim_id']}", method="DELETE")


def _api(server: Server, *targets: str, method: str = "GET") -> dict[str, Any]:
    paths = [f"/api/v1/{target}" for target in targets]
    return {f"{method} {path}": server.ask(server.web, method, path) for path in paths}


def _text(server: Server, group: str, accept: str) -> str:
    """Return a group's text, which is the same with and without gzip."""
    target = f"/metrics?collect[]={group}"
    plain = server.ask(server.web, "GET", target, headers={"Accept": accept})
    packed = server.ask(
        server.web, "GET", target, headers={"Accept": accept, "Accept-Encoding": "gzip"}
    )
    if plain != packed:
        raise RuntimeError(f"{target} differs with gzip")
    text: str = plain["body"]
    return text


def _answer(response: http.client.HTTPResponse) -> dict[str, Any]:
    body = response.read()
    if response.headers.get("Content-Encoding") == "gzip":
        body = gzip.decompress(body)
    text = body.decode()
    for pattern, blank in _BLANKED:
        text = pattern.sub(blank, text)
    headers = {k: v for k, v in response.headers.items() if k.lower() in _KEPT_HEADERS}
    if "allow" in headers:  # in no order
        headers["allow"] = ", ".join(sorted(headers["allow"].split(", ")))
    return {"status": response.status, "headers": headers, "body": text}


def _payload(name: str) -> bytes:
    return (PAYLOADS / f"{name}.json").read_bytes()


def _written(answers: dict[str, Any]) -> str:
    return json.dumps(answers, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


if __name__ == "__main__":
    checkout, folder = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
    for name, content in record(checkout).items():
        (folder / name).write_text(content, "utf-8")
