"""What a batch consists of, deliveries and commands, and how each is merged."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from exporter.errors import (
    EventError,
    FieldError,
    FutureEvent,
    InvalidEvent,
    MalformedEvent,
    Missing,
    Overloaded,
)
from exporter.fleet.drafts import NotFetched
from exporter.ingest.rejected_deliveries import FUTURE, RejectedDelivery
from exporter.logs import fields_of_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from exporter.fleet.drafts import Draft
    from exporter.ingest.rejected_deliveries import RejectedDeliveriesDraft
    from exporter.model.events import Event

log = logging.getLogger(__name__)

MAX_BATCH = 256
"""Deliveries and commands in one batch. Merging more at once would block the event loop for too
long."""


@dataclass(frozen=True, slots=True)
class VerifiedDelivery:
    """A delivery with a valid signature: its event, or the reason why it holds none."""

    vendor: str
    body: bytes
    received: float
    """Unix seconds."""
    content: Event | EventError


T = TypeVar("T")

Command: TypeAlias = "Callable[[Draft, RejectedDeliveriesDraft], T]"
"""A change that a person asks for. It is merged in its turn among the deliveries.

It makes the change in the drafts, and returns the answer to give after the commit. If it raises
``EventError`` or ``Missing``, it has changed nothing.
"""

BatchItem: TypeAlias = "VerifiedDelivery | Command[Any]"


def merge(item: BatchItem, draft: Draft, rejected: RejectedDeliveriesDraft) -> object:
    """Merge one item into the drafts; return its answer, or the exception that is its answer.

    A delivery that cannot be merged is added to the rejected deliveries. Raises ``NotFetched``.
    """
    try:
        if not isinstance(item, VerifiedDelivery):
            return item(draft, rejected)
        draft.note_delivery(item.vendor)
        if not isinstance(item.content, EventError):
            return draft.merge(item.content)
        refusal = item.content
    except NotFetched:
        raise
    except Missing as error:
        return error
    except EventError as error:
        refusal = error
    except Exception as error:  # noqa: BLE001  # one bad item must not stop all others
        log.error("event could not be merged", extra=fields_of_error(error))  # noqa: TRY400  # may quote it
        refusal = InvalidEvent((FieldError((), "the exporter cannot process this event"),))
    if isinstance(item, VerifiedDelivery):
        try:
            rejected.add(_rejected(item, refusal))
        except Overloaded as error:
            return error
    return refusal


def _rejected(delivery: VerifiedDelivery, error: EventError) -> RejectedDelivery:
    return RejectedDelivery(
        vendor=delivery.vendor,
        reason=_reason(error),
        errors=error.errors if isinstance(error, InvalidEvent) else (FieldError((), str(error)),),
        body=delivery.body,
        first_received=int(delivery.received),
        last_received=int(delivery.received),
    )


def _reason(error: EventError) -> str:
    if isinstance(error, FutureEvent):
        return FUTURE
    return "malformed" if isinstance(error, MalformedEvent) else "invalid"
