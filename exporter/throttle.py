"""Keeps what strangers can cause from filling the log."""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

MOST = 20
"""Lines of one kind in a window."""

WINDOW = 60.0
"""Seconds."""


@dataclass(slots=True)
class _Kind:
    since: float
    told: int = 0
    held_back: int = 0


class Throttle:
    """Lets through some of each kind in a window of time, and counts those it holds back."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        """``clock`` gives seconds, and never steps."""
        self._clock = clock
        self._kinds: dict[str, _Kind] = {}

    def admit(self, kind: str) -> int | None:
        """Return how many of a kind were held back since the last that was let through.

        ``None`` where this one is to be held back.
        """
        now = self._clock()
        seen = self._kinds.setdefault(kind, _Kind(now))
        if now - seen.since >= WINDOW:
            seen.since, seen.told = now, 0
        if seen.told == MOST:
            seen.held_back += 1
            return None
        held_back, seen.held_back = seen.held_back, 0
        seen.told += 1
        return held_back
