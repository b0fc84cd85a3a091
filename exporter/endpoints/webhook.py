"""The endpoint that vendors send events to.

Read the body, verify its signature, parse, wait for the commit, answer. Every answer is
JSON, ``{"code": <status>, "status": "success" | "error", ...}``; 200 is said only once the
event is on disk.

"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from time import perf_counter
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json
from quart import Blueprint, Response, request
from quart.asgi import ASGIHTTPConnection

from exporter.errors import (
    EventError,
    FieldError,
    InvalidEvent,
    MalformedEvent,
    Overloaded,
    StorageUnavailable,
)
from exporter.http.whole_requests import WHOLE_BODY
from exporter.ingest.batch import VerifiedDelivery
from exporter.logs import Throttle, fields
from exporter.model.events import OtherEvent, event_type_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from quart import Quart

    from exporter.ingest.intake import Intake
    from exporter.ingest.recent_deliveries import RecentDeliveries
    from exporter.model.events import Event
    from exporter.selfmetrics import SelfMetrics
    from exporter.vendors.vendor import Vendor

log = logging.getLogger(__name__)

SUCCESS = b'{"code":200,"status":"success"}\n'

RETRY_AFTER = 5
"""Seconds after which a refused delivery is worth another try."""

LINGER = 5.0
"""Seconds to go on reading from a client that was refused before it had sent everything."""


class Refused(Exception):
    """A delivery that is refused before it is parsed; nothing of it is kept."""


class ClientGone(Exception):
    """The client closed the connection before its body was read; there is nobody to answer."""


class BodyTooLarge(Refused):
    """The body is larger than allowed."""


class BodyTooSlow(Refused):
    """The body did not arrive in time."""


class Unverified(Refused):
    """The signature is missing or does not fit."""


_REFUSALS: dict[type[Exception], tuple[int, str]] = {
    BodyTooLarge: (413, "too_large"),
    BodyTooSlow: (408, "timeout"),
    Unverified: (401, "signature"),
    MalformedEvent: (400, "malformed"),
    InvalidEvent: (422, "invalid"),
    StorageUnavailable: (503, "storage"),
    Overloaded: (503, "overload"),
}
"""Status and label of ``webhook_rejected_total`` for everything that is not answered with 200."""

_STORAGE_FAILS = "the event cannot be stored now, send it again later"
"""Told outside instead of the reason, which names files of this machine."""


@dataclass(slots=True)
class Access:
    """What a delivery must satisfy; replaced on reload."""

    secrets: Sequence[bytes]
    """Any of them may have signed; none at all accepts unsigned deliveries."""
    max_body_bytes: int
    read_timeout: float
    """Seconds."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a delivery is answered with, and what is counted and logged of it."""

    code: int
    reason: str = ""
    """Label of ``webhook_rejected_total``; empty for an accepted delivery."""
    error: str = ""
    errors: Sequence[FieldError] = ()
    lingering: bool = False
    """Whether the client may still be sending."""

    @property
    def body(self) -> bytes:
        """Return the JSON document."""
        if not self.reason:
            return SUCCESS
        error = _STORAGE_FAILS if self.reason == "storage" else self.error
        document: dict[str, Any] = {"code": self.code, "status": "error", "error": error}
        if self.errors:
            document["errors"] = [{"loc": e.loc, "msg": e.msg} for e in self.errors]
        return to_json(document) + b"\n"

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers that go with it."""
        headers = {"content-type": "application/json", "content-length": str(len(self.body))}
        if self.code == 503:  # noqa: PLR2004  # Service Unavailable
            headers["retry-after"] = str(RETRY_AFTER)
        return headers


ACCEPTED = Answer(200)


class Webhook:
    """The endpoint of one vendor."""

    def __init__(
        self,
        vendor: Vendor,
        access: Access,
        intake: Intake,
        metrics: SelfMetrics,
        clock: Callable[[], float],
        *,
        deliveries: RecentDeliveries,
    ) -> None:
        self.access = access
        self.vendor = vendor
        self._intake = intake
        self._metrics = metrics
        self._deliveries = deliveries
        self._clock = clock
        self._throttle = Throttle()
        # To find a counter by its labels takes longer than to count.
        self._signatures = cache(metrics.signatures.labels)
        self._events = cache(metrics.events.labels)

    def blueprint(self) -> Blueprint:
        """Return the routes: deliveries, and an answer to those who probe the URL."""
        blueprint = Blueprint(f"webhook_{self.vendor.name}", __name__)
        blueprint.add_url_rule(self.path, "probe", _probe, methods=["GET", "HEAD"])
        blueprint.add_url_rule(self.path, "receive", self._receive, methods=["POST"])
        return blueprint

    @property
    def path(self) -> str:
        """Return the path that the vendor sends to."""
        return f"/webhooks/{self.vendor.name}"

    async def answer(
        self, signature: str | None, length: int | None, body: AsyncIterator[bytes] | bytes
    ) -> Answer:
        """Return what a delivery is answered, given two of its headers and its body.

        The body is in chunks, as they arrive, or what was there at once.
        """
        started = perf_counter()
        content: Event | EventError | None = None
        try:
            verified = await self._verified(signature, length, body)
            now = self._clock()
            content = self._parse(verified, now)
            outcome = await self._take(verified, now, content)
            answer = ACCEPTED
        except (Refused, EventError, StorageUnavailable, Overloaded) as error:
            answer = _refusal(error)
            outcome = answer.reason
            self._metrics.rejected.labels(self.vendor.name, answer.reason).inc()
            self._tell(answer)
        duration = perf_counter() - started
        self._metrics.webhook_duration.observe(duration)
        self._deliveries.note(
            self.vendor.name,
            content,
            code=answer.code,
            outcome=outcome,
            error=answer.error,
            duration=duration,
        )
        return answer

    def _tell(self, answer: Answer) -> None:
        """Log a refusal, unless there were many of its kind of late: the metrics count all."""
        held_back = self._throttle.admit(answer.reason)
        if held_back is None:
            return
        said = {"code": answer.code, "reason": answer.reason, "error": answer.error}
        if held_back:
            said["not_logged"] = held_back
        log.warning("delivery rejected", extra=fields(vendor=self.vendor.name, **said))

    async def _receive(self) -> Response:
        signature = request.headers.get(self.vendor.signature_header)
        body = aiter(request.body)
        answer = await self.answer(signature, request.content_length, body)
        unread = body if answer.lingering else None
        return Response(_content(answer, unread), answer.code, answer.headers)

    async def _verified(
        self, signature: str | None, length: int | None, body: AsyncIterator[bytes] | bytes
    ) -> bytes:
        access = self.access
        if not isinstance(body, bytes):
            body = await _read(body, length or 0, access.max_body_bytes, access.read_timeout)
        elif len(body) > access.max_body_bytes:
            raise _too_large(access.max_body_bytes)
        if not access.secrets:
            return body
        secret = self.vendor.verify(body, signature, access.secrets)
        if secret is None:
            header = self.vendor.signature_header
            raise Unverified(f"{header} is missing or does not fit the body")
        self._signatures(self.vendor.name, str(secret)).inc()
        return body

    async def _take(self, body: bytes, now: float, content: Event | EventError) -> str:
        result = await self._intake.submit(VerifiedDelivery(self.vendor.name, body, now, content))
        assert not isinstance(content, EventError)  # those are raised by submit
        event_type = event_type_of(content)
        self._events(self.vendor.name, event_type, result.value).inc()
        if not isinstance(content, OtherEvent):
            self._metrics.event_delay.observe(max(0.0, now - content.time))
        return result.value

    def _parse(self, body: bytes, now: float) -> Event | EventError:
        try:
            return self.vendor.parse(body, now)
        except EventError as error:
            return error


def _refusal(error: Exception) -> Answer:
    code, reason = _REFUSALS[type(error)]
    errors = error.errors if isinstance(error, InvalidEvent) else ()
    lingering = isinstance(error, BodyTooLarge | BodyTooSlow)
    return Answer(code, reason, str(error), errors, lingering)


async def _probe() -> Response:
    return Response(ACCEPTED.body, ACCEPTED.code, ACCEPTED.headers)


async def _read(chunks: AsyncIterator[bytes], length: int, most: int, seconds: float) -> bytes:
    """Return the body. Raises ``BodyTooLarge``, before it is read where its length is known."""
    if length > most:
        raise _too_large(most)
    body = b""
    try:
        async with asyncio.timeout(seconds):
            async for chunk in chunks:
                body += chunk
                if len(body) > most:
                    raise _too_large(most)
    except TimeoutError:
        raise BodyTooSlow(f"the body did not arrive within {seconds:g} s") from None
    return body


def _too_large(most: int) -> BodyTooLarge:
    return BodyTooLarge(f"the body is larger than {most} bytes")


async def _content(answer: Answer, unread: AsyncIterator[bytes] | None) -> AsyncIterator[bytes]:
    yield answer.body
    if unread:
        await linger(unread)


async def linger(unread: AsyncIterator[bytes]) -> None:
    """Read on what a client sends after it was refused, for ``LINGER`` seconds at most.

    Closing with unread input resets the connection, and the client would not get to read
    the answer.
    """
    with suppress(TimeoutError, ClientGone):
        async with asyncio.timeout(LINGER):
            async for _ in unread:
                pass


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
