"""The endpoint that vendors send events to.

A delivery is handled in five steps: read the body, verify the signature, parse, wait for the
commit, answer. The answer is 200 only if the event is on disk. Of a delivery whose signature is
wrong, nothing is kept: it is only counted.

A delivery reaches :meth:`Webhook.answer` in one of two ways, which answer the same byte for byte:

* Quart's own way. :meth:`Webhook.blueprint` adds an ordinary route.
* The direct way of :mod:`exporter.endpoints.direct_deliveries`, which is faster.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from time import perf_counter
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json
from quart import Blueprint, Response, request

from exporter.endpoints.delivery_answers import (
    ACCEPTED,
    Answer,
    BodyTooLarge,
    BodyTooSlow,
    EncodedBody,
    Refused,
    UnknownSender,
    Unsigned,
    WrongSignature,
    refusal,
)
from exporter.errors import EventError, Overloaded, StorageUnavailable
from exporter.ingest.batch import VerifiedDelivery
from exporter.logs import Throttle, fields
from exporter.model.events import OtherEvent, StatusEvent, UsageEvent, event_type_of, reported
from exporter.model.refusals import REFUSALS
from exporter.vendors.authentication import Presented, Received

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from exporter.endpoints.sender_addresses import SenderAddresses
    from exporter.ingest.intake import Intake
    from exporter.ingest.recent_deliveries import RecentDeliveries
    from exporter.model.events import Event
    from exporter.selfmetrics import SelfMetrics
    from exporter.vendors.vendor import Vendor

log = logging.getLogger(__name__)

_UNKNOWN_SENDER = "the settings do not allow deliveries from this address"

LINGER = 5.0
"""Seconds for which the rest of a body is read after its delivery was refused."""


class ClientGone(Exception):
    """The client closed the connection before its body was read. It gets no answer."""


@dataclass(slots=True)
class Access:
    """What a delivery must satisfy; replaced by a reload."""

    secrets: Sequence[bytes]
    """One of them must fit a delivery. If empty, deliveries are accepted from anyone."""
    max_body_bytes: int
    read_timeout: float
    """Seconds within which a body must arrive."""
    senders: SenderAddresses | None = None
    """The addresses that may send; ``None`` for all."""


def rules_of(vendor: Vendor) -> Sequence[str]:
    """Return the paths of a vendor's deliveries, as Quart writes them: without and with a token."""
    path = vendor.webhook_path
    return (path, f"{path}/<token>") if vendor.authentication.token_in_path else (path,)


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
        stopwatch: Callable[[], float] = perf_counter,
    ) -> None:
        """``clock`` returns unix seconds, ``stopwatch`` seconds of a clock that never jumps."""
        self.access = access
        self.vendor = vendor
        self._intake = intake
        self._metrics = metrics
        self._deliveries = deliveries
        self._clock = clock
        self._stopwatch = stopwatch
        self._throttle = Throttle()
        # Finding a counter by its labels takes longer than counting.
        self._signatures = cache(metrics.signatures.labels)
        self._events = cache(metrics.events.labels)
        self._last_delay = cache(metrics.last_event_delay.labels)
        # At 0 from the start, so that Prometheus sees the first failures of an outage.
        for code in {ACCEPTED.code, *(refused.code for refused in REFUSALS.values())}:
            metrics.requests.labels(rules_of(vendor)[-1], "POST", str(code))
        self._count_unknown_field = metrics.unknown_fields(vendor.name)

    def blueprint(self) -> Blueprint:
        """Return the routes of Quart's own way: one takes deliveries, one answers a GET."""
        blueprint = Blueprint(f"webhook_{self.vendor.name}", __name__)
        for endpoint, answer, methods in (
            ("probe", _probe, ["GET", "HEAD"]),
            ("receive", self._receive, ["POST"]),
        ):
            for rule in rules_of(self.vendor):
                blueprint.add_url_rule(
                    *(rule, endpoint, answer),
                    methods=methods,
                    strict_slashes=False,  # takes a slash at the end too
                )
        return blueprint

    async def answer(
        self,
        headers: Sequence[tuple[bytes, bytes]],
        body: AsyncIterator[bytes] | bytes,
        *,
        token: str | None = None,
        client: str | None = None,
    ) -> Answer:
        """Return the answer to a delivery.

        ``headers`` have names in lower case. ``body`` is the whole body, or an iterator over its
        chunks as they arrive; the iterator may raise ``ClientGone``. ``token`` is the part of the
        path behind the vendor's name. ``client`` is the address that the connection comes from.
        """
        started = self._stopwatch()
        content: Event | EventError | None = None
        try:
            values = dict(reversed(headers))
            _refuse_encoded(values.get(b"content-encoding"))
            senders = self.access.senders
            if senders and not senders.allow(client, headers):
                await self._note_other_sender(values, body, token)
                raise UnknownSender(_UNKNOWN_SENDER)
            verified = await self._verified(values, body, token)
            now = self._clock()
            content = self._parse(verified, now, self._count_unknown_field)
            outcome = await self._commit(verified, now, content)
            answer = ACCEPTED
        except (Refused, EventError, StorageUnavailable, Overloaded) as error:
            answer = refusal(error)
            outcome = answer.reason
            self._metrics.rejected.labels(self.vendor.name, answer.reason).inc()
            self._log_refusal(answer)
        duration = self._stopwatch() - started
        self._metrics.webhook_duration.observe(duration)
        self._deliveries.add(
            self.vendor.name,
            content,
            code=answer.code,
            outcome=outcome,
            error=answer.error,
            duration=duration,
        )
        return answer

    async def _receive(self, token: str | None = None) -> Response:
        headers, body = list(request.scope["headers"]), aiter(request.body)
        answer = await self.answer(headers, body, token=token, client=client_of(request.scope))
        return Response(_content(answer, body), answer.code, answer.headers)

    async def _verified(
        self,
        headers: Mapping[bytes, bytes],
        body: AsyncIterator[bytes] | bytes,
        token: str | None,
    ) -> bytes:
        """Return the whole body of a delivery that is allowed. Raises ``Refused``."""
        access = self.access
        body = await self._whole(headers, body)
        if not access.secrets:
            return body
        received = Received(headers, body, self._clock(), token)
        authentication = self.vendor.authentication
        secret = authentication.verify(received, access.secrets)
        if secret is None:
            raise self._unverified(received)
        self._signatures(self.vendor.name, str(secret)).inc()
        return body

    async def _whole(
        self, headers: Mapping[bytes, bytes], body: AsyncIterator[bytes] | bytes
    ) -> bytes:
        """Return the whole body. Raises ``Refused`` if it is too large or too slow."""
        access = self.access
        if not isinstance(body, bytes):
            stated = headers.get(b"content-length", b"")
            length = int(stated) if stated.isdigit() else 0
            return await _read(body, length, access.max_body_bytes, access.read_timeout)
        if len(body) > access.max_body_bytes:
            raise _too_large(access.max_body_bytes)
        return body

    async def _note_other_sender(
        self,
        headers: Mapping[bytes, bytes],
        body: AsyncIterator[bytes] | bytes,
        token: str | None,
    ) -> None:
        """Count a delivery from an address that is not allowed, if the vendor may have moved.

        Then it has the right token, and is about a known eSIM. Of others, the body is not read.
        """
        received = Received(headers, b"", self._clock(), token)
        if self.vendor.authentication.verify(received, self.access.secrets) is None:
            return
        with suppress(Refused):  # the answer is the same
            if self._is_of_known_esim(await self._whole(headers, body)):
                self._metrics.unverified_known_esims.labels(self.vendor.name).inc()

    def _unverified(self, received: Received) -> Refused:
        """Return why a delivery without a right proof is refused, and count what it is.

        A scanner does not know the eSIMs of the fleet. So a well-formed proof with an event of a
        known eSIM tells of a vendor whose secret changed. The answer is the same.
        """
        authentication = self.vendor.authentication
        presented = authentication.presented(received)
        if presented is Presented.NOTHING:
            return Unsigned(authentication.failure)
        if presented is Presented.WELL_FORMED and self._is_of_known_esim(received.body):
            self._metrics.unverified_known_esims.labels(self.vendor.name).inc()
        return WrongSignature(authentication.failure)

    def _is_of_known_esim(self, body: bytes) -> bool:
        event, state = self._parse(body, self._clock()), self._intake.state
        return (
            isinstance(event, UsageEvent | StatusEvent)
            and state is not None
            and state.fleet.esim((event.vendor, event.esim_id)) is not None
        )

    def _parse(
        self, body: bytes, now: float, unknown: Callable[[str], None] | None = None
    ) -> Event | EventError:
        """Return the event, or the error that the intake keeps with the rejected delivery.

        ``unknown`` gets the name of each field that the vendor does not document.
        """
        try:
            return self.vendor.parse(body, now, unknown=unknown)
        except EventError as error:
            return error

    async def _commit(self, body: bytes, now: float, content: Event | EventError) -> str:
        """Wait until the event is on disk, and return what became of it."""
        result = await self._intake.submit(VerifiedDelivery(self.vendor.name, body, now, content))
        assert not isinstance(content, EventError)  # submit raises it
        self._events(self.vendor.name, event_type_of(content), result.value).inc()
        if self.vendor.has_event_time and not isinstance(content, OtherEvent):
            delay = now - reported(content)
            self._metrics.event_delay.observe(max(0.0, delay))
            self._last_delay(self.vendor.name).set(delay)
        return result.value

    def _log_refusal(self, answer: Answer) -> None:
        """Log a refusal, unless many with this reason were logged lately; metrics count all."""
        held_back = self._throttle.admit(answer.reason)
        if held_back is None:
            return
        facts = {"code": answer.code, "reason": answer.reason, "error": answer.error}
        if held_back:
            facts["not_logged"] = held_back
        log.warning("delivery rejected", extra=fields(vendor=self.vendor.name, **facts))


def _refuse_encoded(encoding: bytes | None) -> None:
    """Raise ``EncodedBody`` if the body is compressed, or encoded in another way."""
    if encoding and encoding.strip().lower() not in {b"", b"identity"}:
        raise EncodedBody(
            "the body has a Content-Encoding: send it as it is signed, without compression"
        )


async def _read(chunks: AsyncIterator[bytes], length: int, most: int, seconds: float) -> bytes:
    """Return the whole body.

    Raises ``BodyTooLarge`` above ``most`` bytes, at once if ``length`` is greater, and
    ``BodyTooSlow`` after ``seconds``.
    """
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


async def linger(unread: AsyncIterator[bytes]) -> None:
    """Read and drop the rest of a refused body, for ``LINGER`` seconds at most.

    If the server closed the connection while input is unread, the client would see a reset and
    might not read the answer.
    """
    with suppress(TimeoutError, ClientGone):
        async with asyncio.timeout(LINGER):
            async for _ in unread:
                pass


def client_of(scope: Any) -> str | None:
    """Return the address that a connection comes from."""
    client = scope.get("client")
    return client[0] if client else None


# Vendors that are off


def switched_off(vendor: Vendor) -> Blueprint:
    """Return the routes of a vendor without a secret: they say how to switch it on."""
    blueprint = Blueprint(f"webhook_{vendor.name}", __name__)
    error = f"{vendor.title} is off: set --{vendor.name}.secret-file"
    document = {"code": HTTPStatus.NOT_FOUND, "status": "error", "error": error}

    async def refuse(**_: str) -> Response:  # the token does not matter
        content = to_json(document) + b"\n"
        return Response(content, HTTPStatus.NOT_FOUND, content_type="application/json")

    for rule in rules_of(vendor):
        methods = ["GET", "HEAD", "POST"]
        blueprint.add_url_rule(rule, "off", refuse, methods=methods, strict_slashes=False)
    return blueprint


# Quart's own way


async def _probe(**_: str) -> Response:  # the token does not matter
    return Response(ACCEPTED.body, ACCEPTED.code, ACCEPTED.headers)


async def _content(answer: Answer, unread: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield answer.body
    if answer.lingering:
        await linger(unread)
