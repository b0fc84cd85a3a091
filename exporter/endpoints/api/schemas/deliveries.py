"""Answered and rejected deliveries in the answers of the API."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from exporter.endpoints.api.schemas import DOCUMENTED

if TYPE_CHECKING:
    from exporter.ingest.recent_deliveries import AnsweredDelivery
    from exporter.ingest.rejected_deliveries import RejectedDelivery


@dataclass(frozen=True, slots=True)
class EventItem:
    """A delivery and what it was answered."""

    __pydantic_config__ = DOCUMENTED

    received: float
    vendor: str
    event_type: str | None
    """null where it could not be read."""
    esim_id: str | None
    """null where it could not be read, or the event is not about one eSIM."""
    code: int
    """HTTP status."""
    outcome: str
    """After a 200 a result of esim_exporter_webhook_events_total, else a reason of
    esim_exporter_webhook_rejected_total."""
    error: str | None
    """Why it was refused."""
    duration: float
    """Seconds until its answer."""

    @classmethod
    def of(cls, delivery: AnsweredDelivery) -> EventItem:
        """Return the list entry of an answered delivery."""
        return cls(
            received=delivery.received,
            vendor=delivery.vendor,
            event_type=delivery.event_type or None,
            esim_id=delivery.esim_id or None,
            code=delivery.code,
            outcome=delivery.outcome,
            error=delivery.error or None,
            duration=delivery.duration,
        )


@dataclass(frozen=True, slots=True)
class EventList:
    """Deliveries, the one last answered first."""

    __pydantic_config__ = DOCUMENTED

    events: list[EventItem]


@dataclass(frozen=True, slots=True)
class Problem:
    """One reason why a document does not fit."""

    __pydantic_config__ = DOCUMENTED

    loc: list[str | int]
    """Path into the document."""
    msg: str


@dataclass(frozen=True, slots=True)
class RejectedItem:
    """A rejected delivery that is kept; equal bodies are kept once."""

    __pydantic_config__ = DOCUMENTED

    id: str
    """SHA-256 of the body, in hex."""
    vendor: str
    reason: str
    """malformed (answered with 400) or invalid (422)."""
    errors: list[Problem]
    first_received: int
    last_received: int
    deliveries: int
    """How often it came."""
    body_bytes: int

    @classmethod
    def of(cls, rejection: RejectedDelivery) -> RejectedItem:
        """Return a rejected delivery without its body."""
        return cls(
            id=rejection.digest,
            vendor=rejection.vendor,
            reason=rejection.reason,
            errors=[Problem(list(error.loc), error.msg) for error in rejection.errors],
            first_received=rejection.first_received,
            last_received=rejection.last_received,
            deliveries=rejection.deliveries,
            body_bytes=len(rejection.body),
        )


@dataclass(frozen=True, slots=True)
class RejectedList:
    """Rejected deliveries, the one last received first."""

    __pydantic_config__ = DOCUMENTED

    rejected: list[RejectedItem]
    total: int
    """How many are kept."""


@dataclass(frozen=True, slots=True)
class RejectedData:
    """A rejected delivery with its body."""

    __pydantic_config__ = DOCUMENTED

    rejected: RejectedItem
    body: str
    """May hold an ICCID."""
    encoding: Literal["utf-8", "base64"]
    """How the body is written; base64 where it is not UTF-8."""

    @classmethod
    def of(cls, rejection: RejectedDelivery) -> RejectedData:
        """Return a rejected delivery with its body."""
        item = RejectedItem.of(rejection)
        try:
            return cls(item, rejection.body.decode(), "utf-8")
        except UnicodeDecodeError:
            return cls(item, b64encode(rejection.body).decode(), "base64")


@dataclass(frozen=True, slots=True)
class Replayed:
    """A rejected delivery that was taken after all."""

    __pydantic_config__ = DOCUMENTED

    id: str
    result: str
    """As in esim_exporter_webhook_events_total."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """A rejected delivery that is kept no longer."""

    __pydantic_config__ = DOCUMENTED

    id: str
