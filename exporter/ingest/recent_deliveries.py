"""The deliveries that were answered last, for people who ask whether the feed works.

In memory and bounded. Nothing of a body is kept but the event's type and the eSIM's id.
Those that were refused before anybody knew who sent them have a place of their own, so
that strangers cannot push out what the vendor sent.
"""

from __future__ import annotations

from collections import deque
from heapq import merge
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from exporter.errors import EventError
from exporter.model.events import event_type_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from exporter.model.events import Event

MAX_VERIFIED = 1000
"""Verified deliveries that are remembered."""

MAX_UNVERIFIED = 200
"""Others that are remembered."""

_UNVERIFIED_REASONS = frozenset({"signature", "too_large", "timeout"})


class AnsweredDelivery(NamedTuple):
    """A delivery and what it was answered."""

    received: float
    """When its head had arrived, unix seconds."""
    vendor: str
    event_type: str
    """Empty where it could not be read, as the next."""
    esim_id: str
    """Empty as well where the event is not about one eSIM."""
    code: int
    """HTTP status."""
    outcome: str
    """What became of it, a ``result`` of ``webhook_events_total`` after a 200; or why it was
    refused, a ``reason`` of ``webhook_rejected_total``."""
    error: str
    """Why it was refused, for people; empty after a 200."""
    duration: float
    """Seconds until its answer."""


class RecentDeliveries:
    """Remembers the last deliveries."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._verified: deque[AnsweredDelivery] = deque(maxlen=MAX_VERIFIED)
        self._unverified: deque[AnsweredDelivery] = deque(maxlen=MAX_UNVERIFIED)

    def note(
        self,
        vendor: str,
        content: Event | EventError | None,
        *,
        code: int,
        outcome: str,
        error: str,
        duration: float,
    ) -> None:
        """Remember a delivery that is being answered; ``content`` is what was read from it.

        Runs for every delivery: it must cost next to nothing.
        """
        deliveries = self._unverified if outcome in _UNVERIFIED_REASONS else self._verified
        deliveries.append(
            AnsweredDelivery(
                self._clock() - duration,
                vendor,
                ""
                if content is None or isinstance(content, EventError)
                else event_type_of(content),
                getattr(content, "esim_id", ""),
                code,
                outcome,
                error,
                duration,
            )
        )

    def __len__(self) -> int:
        return len(self._verified) + len(self._unverified)

    def newest(
        self, most: int, wanted: Callable[[AnsweredDelivery], bool] = lambda _: True
    ) -> list[AnsweredDelivery]:
        """Return up to ``most`` deliveries that are wanted, the one last answered first."""
        answered = merge(
            reversed(self._verified), reversed(self._unverified), key=_answered, reverse=True
        )
        return list(islice(filter(wanted, answered), most))


def _answered(delivery: AnsweredDelivery) -> float:
    return delivery.received + delivery.duration
