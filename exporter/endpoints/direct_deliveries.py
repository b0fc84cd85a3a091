"""The direct way of a delivery, past most of Quart.

:func:`answer_directly` sets Quart's ``asgi_http_class``, so that a delivery skips Quart's routing,
its request and response objects, and its two tasks for each request.

A durable event takes 674 us of processor time in Quart's own way and 412 us in the direct way. It
takes 250 us if the listener also hands over head and body together, as
``exporter.http.whole_request`` does for a request that arrives whole.

The price is this module. It repeats for ASGI messages what the route of
:mod:`exporter.endpoints.webhook` does with Quart's objects, so change both together.
``tests/endpoints/test_webhook_directly.py`` compares their answers and counters.
"""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any

from exporter.endpoints.delivery_answers import ACCEPTED
from exporter.endpoints.webhook import ClientGone, client_of, linger, rules_of
from exporter.http.quart_application import Connection
from exporter.http.whole_request import BODY_EXTENSION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from quart import Quart

    from exporter.endpoints.webhook import Webhook
    from exporter.selfmetrics import SelfMetrics


def answer_directly(app: Quart, webhooks: Iterable[Webhook], metrics: SelfMetrics) -> None:
    """Make an application that has the webhooks' routes answer deliveries in the direct way."""
    by_path = {
        f"{webhook.vendor.webhook_path}{end}": webhook for webhook in webhooks for end in ("", "/")
    }
    by_start = {
        webhook.vendor.webhook_path: webhook
        for webhook in webhooks
        if webhook.vendor.authentication.token_in_path
    }
    counter = cache(metrics.requests.labels)

    class WebhookConnection(Connection):
        """One request. Quart makes an object of its ``asgi_http_class`` for each."""

        async def __call__(self, receive: Any, send: Any) -> None:
            path, token = self.scope["path"], None
            webhook = by_path.get(path)
            if webhook is None:
                start, _, token = path.removesuffix("/").rpartition("/")
                webhook = by_start.get(start) if token else None
            if webhook is None or self.scope["method"] != "POST":
                await super().__call__(receive, send)
                return
            with suppress(ClientGone):
                code = await _exchange(webhook, token, self.scope, receive, send)
                rule = rules_of(webhook.vendor)[0 if token is None else -1]
                counter(rule, "POST", str(code)).inc()

    app.asgi_http_class = WebhookConnection


async def _exchange(
    webhook: Webhook,
    token: str | None,
    scope: Any,
    receive: Callable[[], Any],
    send: Callable[[Any], Any],
) -> int:
    """Read a delivery from ASGI messages, answer it, and return the status of the answer."""
    chunks = _BodyChunks(receive)
    whole = scope.get("extensions", {}).get(BODY_EXTENSION)
    answer = await webhook.answer(
        scope["headers"],
        whole["body"] if whole else chunks,
        token=token,
        client=client_of(scope),
    )
    encoded = _ACCEPTED_HEADERS if answer is ACCEPTED else _encoded(answer.headers)
    await send({"type": "http.response.start", "status": answer.code, "headers": encoded})
    more = answer.lingering
    await send({"type": "http.response.body", "body": answer.body, "more_body": more})
    if answer.lingering:
        await linger(chunks)
        await send({"type": "http.response.body", "body": b"", "more_body": False})
    return answer.code


def _encoded(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in headers.items()]


_ACCEPTED_HEADERS = _encoded(ACCEPTED.headers)


class _BodyChunks:
    """Iterates over the chunks of a body. After a timeout the iteration can be resumed."""

    def __init__(self, receive: Callable[[], Any]) -> None:
        self._receive = receive
        self._more = True

    def __aiter__(self) -> _BodyChunks:
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
