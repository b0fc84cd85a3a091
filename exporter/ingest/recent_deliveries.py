"""The deliveries that were answered last, for people who ask whether the feed works.

They are kept in memory, up to a limit. Of a body only the event type and the eSIM id are kept.
Deliveries without a valid signature have a limit of their own, so that strangers cannot push out
the vendor's deliveries.
"""

from __future__ import annotations

from collections import deque
from heapq import merge
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from exporter.errors import EventError
from exporter.model.events import event_type_of
from exporter.model.refusals import REFUSALS

if TYPE_CHECKING:
    from collections.abc import Callable

    from exporter.model.events import Event

MAX_VERIFIED = 1000
"""Verified deliveries that are kept."""

MAX_UNVERIFIED = 200
"""Other deliveries that are kept."""

_UNVERIFIED_REASONS = frozenset(
    reason for reason, refusal in REFUSALS.items() if not refusal.verified
)


class AnsweredDelivery(NamedTuple):
    """A delivery and its answer."""

    received: float
    """When its HTTP headers had arrived, unix seconds."""
    vendor: str
    event_type: str
    """Empty if the event could not be read."""
    esim_id: str
    """Empty if the event could not be read, or is not about one eSIM."""
    code: int
    """HTTP status."""
    outcome: str
    """After a 200 a ``result`` of ``webhook_events_total``, else a ``reason`` of
    ``webhook_rejected_total``."""
    error: str
    """Why it was refused, as text for people; empty after a 200."""
    duration: float
    """Seconds from ``received`` to the answer."""


class RecentDeliveries:
    """Keeps the last deliveries."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._verified: deque[AnsweredDelivery] = deque(maxlen=MAX_VERIFIED)
        self._unverified: deque[AnsweredDelivery] = deque(maxlen=MAX_UNVERIFIED)

    def add(
        self,
        vendor: str,
        content: Event | EventError | None,
        *,
        code: int,
        outcome: str,
        error: str,
        duration: float,
    ) -> None:
        """Add a delivery that is being answered now; ``content`` is its event, if it was read.

        Runs for every delivery, so it does as little as possible.
        """
        deliveries = self._unverified if outcome in _UNVERIFIED_REASONS else self._verified
        event = None if isinstance(content, EventError) else content
        deliveries.append(
            AnsweredDelivery(
                self._clock() - duration,
                vendor,
                event_type_of(event) if event else "",
                getattr(event, "esim_id", ""),
                code,
                outcome,
                error,
                duration,
            )
        )

    def newest(
        self, most: int, wanted: Callable[[AnsweredDelivery], bool] = lambda _: True
    ) -> list[AnsweredDelivery]:
        """Return up to ``most`` deliveries that are ``wanted``, the newest answer first."""
        answered = merge(
            reversed(self._verified),
            reversed(self._unverified),
            key=lambda delivery: delivery.received + delivery.duration,
            reverse=True,
        )
        return list(islice(filter(wanted, answered), most))
