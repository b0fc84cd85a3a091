"""What a batch consists of, deliveries and commands, and how each is merged."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from exporter.errors import EventError, FieldError, InvalidEvent, MalformedEvent, Missing
from exporter.fleet.drafts import NotFetched
from exporter.ingest.rejected_deliveries import RejectedDelivery
from exporter.logs import fields, raised_at

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from exporter.fleet.drafts import Draft
    from exporter.ingest.rejected_deliveries import RejectedDeliveriesDraft
    from exporter.model.events import Event

log = logging.getLogger(__name__)

MAX_BATCH = 256
"""Deliveries and commands in one batch. Merging more at once would block the event loop for too
long."""


@dataclass(frozen=True, slots=True)
class VerifiedDelivery:
    """A delivery whose signature is right: its event, or the reason why it holds none."""

    vendor: str
    body: bytes
    received: float
    """Unix seconds."""
    content: Event | EventError

    @property
    def event(self) -> Event:
        """Return the event. Raises the ``EventError`` if there is none."""
        if isinstance(self.content, EventError):
            raise self.content
        return self.content


T_co = TypeVar("T_co", covariant=True)


class Command(Protocol[T_co]):
    """A change that a person asks for. It is merged in its turn among the deliveries."""

    def apply(self, draft: Draft, rejected: RejectedDeliveriesDraft) -> T_co:
        """Make the change in the drafts, and return the answer to give after the commit.

        Raises ``EventError`` or ``Missing``, having changed nothing.
        """
        ...


BatchItem = VerifiedDelivery | Command[Any]


def events_of(batch: Iterable[BatchItem]) -> Iterator[Event]:
    """Yield the events of all deliveries that hold one."""
    for item in batch:
        if isinstance(item, VerifiedDelivery) and not isinstance(item.content, EventError):
            yield item.content


def merge(item: BatchItem, draft: Draft, rejected: RejectedDeliveriesDraft) -> object:
    """Merge one item into the drafts; return its answer, or the exception that is its answer.

    A delivery that cannot be merged is added to the rejected deliveries. Raises ``NotFetched``.
    """
    try:
        if not isinstance(item, VerifiedDelivery):
            return item.apply(draft, rejected)
        draft.note_delivery(item.vendor)
        return draft.merge(item.event)
    except NotFetched:
        raise
    except EventError as error:
        if isinstance(item, VerifiedDelivery):
            rejected.add(_rejected(item, error))
        return error
    except Missing as error:
        return error
    except Exception as error:  # noqa: BLE001  # one bad item must not stop all others
        # The text of the exception might quote the event, so only its type is logged.
        where = fields(error=type(error).__name__, at=raised_at(error))
        log.error("event could not be merged", extra=where)  # noqa: TRY400
        invalid = InvalidEvent((FieldError((), "the exporter cannot process this event"),))
        if isinstance(item, VerifiedDelivery):
            rejected.add(_rejected(item, invalid))
        return invalid


def _rejected(delivery: VerifiedDelivery, error: EventError) -> RejectedDelivery:
    return RejectedDelivery(
        vendor=delivery.vendor,
        reason="malformed" if isinstance(error, MalformedEvent) else "invalid",
        errors=error.errors if isinstance(error, InvalidEvent) else (FieldError((), str(error)),),
        body=delivery.body,
        first_received=int(delivery.received),
        last_received=int(delivery.received),
    )
