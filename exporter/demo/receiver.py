"""Receives the notifications of Alertmanager, and prints them as pages and tickets."""

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
"""Word by path and status. Every other notification says that an alert is resolved."""

_SHOWN = 3
"""Alerts of one notification that are printed; the others are only counted."""


@contextmanager
def receiving(stream: TextIO) -> Iterator[str]:
    """Print notifications to ``stream`` until the end of the block; yield the receiver's URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(HTTPStatus.OK)
            self.end_headers()
            stream.write("".join(f"{line}\n" for line in lines_about(self.path, body)))
            stream.flush()

        def log_message(self, *_: object) -> None:
            """Log no request."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def lines_about(path: str, notification: dict[str, Any]) -> Iterator[str]:
    """Yield the lines to print for a notification (Alertmanager's webhook format, version 4)."""
    alerts = notification["alerts"]
    for alert in alerts[:_SHOWN]:
        word = _WORDS.get((path, alert["status"]), "resolved")
        yield f"{word:>8}  {alert['labels']['alertname']}: {alert['annotations']['description']}"
    more = len(alerts[_SHOWN:]) + notification["truncatedAlerts"]
    if more:
        yield f"{'':8}  and {more} more of the same kind"
