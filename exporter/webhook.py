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
from time import perf_counter
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json
from quart import Blueprint, Response, request

from exporter.errors import (
    EventError,
    FieldError,
    InvalidEvent,
    MalformedEvent,
    Overloaded,
    StorageUnavailable,
)
from exporter.events import OtherEvent, StatusEvent, UsageEvent
from exporter.intake import Delivery
from exporter.logs import fields

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from exporter.events import Event
    from exporter.intake import Intake
    from exporter.selfmetrics import SelfMetrics
    from exporter.vendors import Vendor

log = logging.getLogger(__name__)

SUCCESS = b'{"code":200,"status":"success"}\n'

RETRY_AFTER = 5
"""Seconds after which a refused delivery is worth another try."""

_LINGER = 5.0
"""Seconds to go on reading what a client sends after it was refused, so that it gets to read
the answer: closing with unread input resets the connection."""


class Refused(Exception):
    """A delivery that is refused before it is parsed; nothing of it is kept."""


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


class Webhook:
    """The endpoint of one vendor."""

    def __init__(
        self,
        vendor: Vendor,
        access: Access,
        intake: Intake,
        metrics: SelfMetrics,
        clock: Callable[[], float],
    ) -> None:
        self.access = access
        self._vendor = vendor
        self._intake = intake
        self._metrics = metrics
        self._clock = clock

    def blueprint(self) -> Blueprint:
        """Return the routes: deliveries, and an answer to those who probe the URL."""
        blueprint = Blueprint(f"webhook_{self._vendor.name}", __name__)
        path = f"/webhooks/{self._vendor.name}"
        blueprint.add_url_rule(path, "probe", _probe, methods=["GET", "HEAD"])
        blueprint.add_url_rule(path, "receive", self._receive, methods=["POST"])
        return blueprint

    async def _receive(self) -> Response:
        started = perf_counter()
        answer = await self._answer()
        if answer.reason:
            self._metrics.rejected.labels(self._vendor.name, answer.reason).inc()
            log.warning(
                "delivery rejected",
                extra=fields(
                    vendor=self._vendor.name,
                    code=answer.code,
                    reason=answer.reason,
                    error=answer.error,
                ),
            )
        self._metrics.webhook_duration.observe(perf_counter() - started)
        return _response(answer)

    async def _answer(self) -> Answer:
        try:
            await self._take(await self._verified_body())
        except (Refused, EventError, StorageUnavailable, Overloaded) as error:
            code, reason = _REFUSALS[type(error)]
            errors = error.errors if isinstance(error, InvalidEvent) else ()
            lingering = isinstance(error, BodyTooLarge | BodyTooSlow)
            return Answer(code, reason, str(error), errors, lingering)
        return Answer(200)

    async def _verified_body(self) -> bytes:
        access = self.access
        body = await _read_body(access.max_body_bytes, access.read_timeout)
        if not access.secrets:
            return body
        header = self._vendor.signature_header
        secret = self._vendor.verify(body, request.headers.get(header), access.secrets)
        if secret is None:
            raise Unverified(f"{header} is missing or does not fit the body")
        self._metrics.signatures.labels(self._vendor.name, str(secret)).inc()
        return body

    async def _take(self, body: bytes) -> None:
        now = self._clock()
        content = self._parse(body, now)
        result = await self._intake.submit(Delivery(self._vendor.name, body, now, content))
        assert not isinstance(content, EventError)  # those are raised by submit
        event_type = _event_type(content)
        self._metrics.events.labels(self._vendor.name, event_type, result.value).inc()
        if not isinstance(content, OtherEvent):
            self._metrics.event_delay.observe(max(0.0, now - content.time))

    def _parse(self, body: bytes, now: float) -> Event | EventError:
        try:
            return self._vendor.parse(body, now)
        except EventError as error:
            return error


def _event_type(event: Event) -> str:
    if isinstance(event, UsageEvent):
        return "usage"
    if isinstance(event, StatusEvent):
        return "status"
    return event.event_type


async def _probe() -> Response:
    return _response(Answer(200))


async def _read_body(most: int, seconds: float) -> bytes:
    """Return the body. Raises ``BodyTooLarge``, before it is read where its length is known."""
    too_large = BodyTooLarge(f"the body is larger than {most} bytes")
    if (request.content_length or 0) > most:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.body:
                body += chunk
                if len(body) > most:
                    raise too_large
    except TimeoutError:
        raise BodyTooSlow(f"the body did not arrive within {seconds:g} s") from None
    return bytes(body)


def _response(answer: Answer) -> Response:
    headers = {"Content-Type": "application/json", "Content-Length": str(len(answer.body))}
    if answer.code == 503:  # noqa: PLR2004  # Service Unavailable
        headers["Retry-After"] = str(RETRY_AFTER)
    body = _lingering(answer.body, aiter(request.body)) if answer.lingering else answer.body
    return Response(body, answer.code, headers)


async def _lingering(answer: bytes, unread: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield answer
    with suppress(TimeoutError):
        async with asyncio.timeout(_LINGER):
            async for _ in unread:
                pass
