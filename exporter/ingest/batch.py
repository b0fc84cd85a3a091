"""What is merged into a batch: deliveries and commands, and what becomes of each."""

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


@dataclass(frozen=True, slots=True)
class VerifiedDelivery:
    """A verified delivery: the event that was read from it, or why none could be."""

    vendor: str
    body: bytes
    received: float
    """Unix seconds."""
    content: Event | EventError

    @property
    def event(self) -> Event:
        """Return the event. Raises why there is none."""
        if isinstance(self.content, EventError):
            raise self.content
        return self.content


T_co = TypeVar("T_co", covariant=True)


class Command(Protocol[T_co]):
    """A change that a person asks for, in its place among the deliveries of a batch."""

    def apply(self, draft: Draft, rejections: RejectedDeliveriesDraft) -> T_co:
        """Make the change and return what is said of it once it is on disk.

        Raises ``EventError`` or ``Missing``, having changed nothing.
        """
        ...


Work = VerifiedDelivery | Command[Any]


def events_of(batch: Iterable[Work]) -> Iterator[Event]:
    """Yield the events of deliveries from which one could be read."""
    for work in batch:
        if isinstance(work, VerifiedDelivery) and not isinstance(work.content, EventError):
            yield work.content


def merge(work: Work, draft: Draft, rejections: RejectedDeliveriesDraft) -> object:
    """Return what became of it, or the exception that says why nothing did.

    A delivery that cannot be taken is kept among the rejections. Raises ``NotFetched``.
    """
    try:
        if not isinstance(work, VerifiedDelivery):
            return work.apply(draft, rejections)
        draft.note_delivery(work.vendor)
        return draft.merge(work.event)
    except NotFetched:
        raise
    except EventError as error:
        if isinstance(work, VerifiedDelivery):
            rejections.add(_rejection(work, error))
        return error
    except Missing as error:
        return error
    except Exception as error:  # noqa: BLE001  # whatever it is, it must not stop all others
        # Its own words might quote the event.
        said = fields(error=type(error).__name__, at=raised_at(error))
        log.error("event could not be merged", extra=said)  # noqa: TRY400
        invalid = InvalidEvent((FieldError((), "the exporter cannot process this event"),))
        if isinstance(work, VerifiedDelivery):
            rejections.add(_rejection(work, invalid))
        return invalid


def _rejection(delivery: VerifiedDelivery, error: EventError) -> RejectedDelivery:
    return RejectedDelivery(
        vendor=delivery.vendor,
        reason="malformed" if isinstance(error, MalformedEvent) else "invalid",
        errors=error.errors if isinstance(error, InvalidEvent) else (FieldError((), str(error)),),
        body=delivery.body,
        first_received=int(delivery.received),
        last_received=int(delivery.received),
    )
