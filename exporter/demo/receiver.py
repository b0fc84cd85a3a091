"""The receiver of the demonstration: prints the pages and tickets that Alertmanager sends."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterator

_WORDS = {("/pager", "firing"): "PAGE", ("/tickets", "firing"): "ticket"}
"""By path and status; all else is resolved."""

_SHOWN = 3
"""Alerts of a notification that are told one by one."""


@contextmanager
def receiving(stream: TextIO) -> Iterator[str]:
    """Print notifications to ``stream`` until the end of the block; gives the receiver's URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(HTTPStatus.OK)
            self.end_headers()
            stream.write("".join(f"{line}\n" for line in told(self.path, body)))
            stream.flush()

        def log_message(self, *_: object) -> None:
            """Say nothing: what matters is printed."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def told(path: str, notification: dict[str, Any]) -> Iterator[str]:
    """Yield lines about a notification of Alertmanager's webhook, version 4."""
    alerts = notification["alerts"]
    for alert in alerts[:_SHOWN]:
        word = _WORDS.get((path, alert["status"]), "resolved")
        yield f"{word:>8}  {alert['labels']['alertname']}: {alert['annotations']['description']}"
    more = len(alerts[_SHOWN:]) + notification["truncatedAlerts"]
    if more:
        yield f"{'':8}  and {more} more of the same kind"
