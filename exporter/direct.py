"""The short way of a delivery: past Quart's request machinery, which costs more than the rest.

Quart's own extension point, ``asgi_http_class``, hands over each request before anything is
made of it. A delivery is answered here, byte for byte as the route in
:mod:`exporter.webhook` would; everything else goes the ordinary way.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from quart.asgi import ASGIHTTPConnection

from exporter.webhook import ACCEPTED, ClientGone, linger

if TYPE_CHECKING:
    from collections.abc import Callable

    from quart import Quart

    from exporter.selfmetrics import SelfMetrics
    from exporter.webhook import Answer, Webhook

WHOLE_BODY = "exporter.whole-body"
"""Extension of a scope that says the ``body``, where it had arrived with the head: it need not be
waited for, and can be received as well."""


def answer_directly(app: Quart, webhook: Webhook, metrics: SelfMetrics) -> None:
    """Let an application that has the webhook's routes take deliveries the short way."""
    path = webhook.path
    counter = cache(metrics.requests.labels)

    class Connection(ASGIHTTPConnection):
        async def __call__(self, receive: Any, send: Any) -> None:
            if self.scope["method"] != "POST" or self.scope["path"] != path:
                await super().__call__(receive, send)
                return
            try:
                code = await _serve(webhook, self.scope, receive, send)
            except ClientGone:
                return
            counter(path, "POST", str(code)).inc()

    app.asgi_http_class = Connection


async def _serve(
    webhook: Webhook, scope: Any, receive: Callable[[], Any], send: Callable[[Any], Any]
) -> int:
    named: dict[bytes, bytes] = dict(reversed(scope["headers"]))  # the first of a name counts
    signature = named.get(webhook.vendor.signature_header.lower().encode())
    length = named.get(b"content-length", b"")
    chunks = _Body(receive)
    answer = await webhook.answer(
        None if signature is None else signature.decode("latin1"),
        int(length) if length.isdigit() else None,
        scope["extensions"][WHOLE_BODY]["body"] if _whole(scope) else chunks,
    )
    headers = _ACCEPTED_HEADERS if answer is ACCEPTED else _encoded(answer)
    await send({"type": "http.response.start", "status": answer.code, "headers": headers})
    body = {"type": "http.response.body", "body": answer.body, "more_body": answer.lingering}
    await send(body)
    if answer.lingering:
        await linger(chunks)
        await send({"type": "http.response.body", "body": b"", "more_body": False})
    return answer.code


def _whole(scope: Any) -> bool:
    return WHOLE_BODY in scope.get("extensions", ())


def _encoded(answer: Answer) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in answer.headers.items()]


_ACCEPTED_HEADERS = _encoded(ACCEPTED)


class _Body:
    """The chunks of a request's body; one that was given up on can be read on."""

    def __init__(self, receive: Callable[[], Any]) -> None:
        self._receive = receive
        self._more = True

    def __aiter__(self) -> _Body:
        return self

    async def __anext__(self) -> bytes:
        if not self._more:
            raise StopAsyncIteration
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        self._more = message.get("more_body", False)
        chunk: bytes = message.get("body", b"")
        return chunk
