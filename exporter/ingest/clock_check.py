"""Tells whether this machine's clock seems to be behind, by the times of the newest events."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from exporter.errors import FutureEvent
from exporter.model.events import MAX_AHEAD, OtherEvent

if TYPE_CHECKING:
    from collections.abc import Callable

    from exporter.errors import EventError
    from exporter.model.events import Event

_NEWEST = 20
"""Events that are judged. If the clock is right, one wrong sender is not the most of them."""

_FEWEST = 3
"""Fewer events do not tell."""


class ClockCheck:
    """The times of the newest events, judged by the present time of this machine.

    So the judgement changes as soon as somebody corrects the clock.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        """``clock`` gives unix seconds."""
        self._clock = clock
        self._times: deque[int] = deque(maxlen=_NEWEST)

    def note(self, content: Event | EventError) -> None:
        """Note the time of a verified delivery, accepted or refused for its time."""
        if isinstance(content, FutureEvent) or not isinstance(content, (Exception, OtherEvent)):
            self._times.append(content.time)

    @property
    def behind(self) -> bool:
        """Return whether most of the newest events are too far in the future to be accepted."""
        latest = self._clock() + MAX_AHEAD
        ahead = sum(time > latest for time in self._times)
        return len(self._times) >= _FEWEST and 2 * ahead > len(self._times)
