"""How much came in of late, seen by looking at a counter now and then.

Who counts pays nothing for it: the counter is there for Prometheus anyway.
"""

from __future__ import annotations

from collections import deque

STEP = 10
"""Seconds between two looks."""

MINUTES = 60
"""How far back it reaches."""

_MINUTE = 60
_WINDOW = 5 * _MINUTE


class EventRate:
    """Looks at one counter. Times are seconds of any clock that never steps."""

    def __init__(self) -> None:
        self._looks: deque[tuple[float, float]] = deque(maxlen=MINUTES * _MINUTE // STEP + 1)

    def note(self, at: float, total: float) -> None:
        """Take the counter's value ``total`` at ``at``; once in :data:`STEP` seconds."""
        self._looks.append((at, total))

    def per_minute(self, at: float, total: float) -> float:
        """Return the rise per minute over the last five, or since the first look."""
        if not self._looks:
            return 0.0
        begun, before = self._before(at - _WINDOW)
        return (total - before) * _MINUTE / max(at - begun, STEP)

    def minutes(self, at: float, total: float) -> tuple[int | None, ...]:
        """Return the rise in each of the last minutes, oldest first; ``None`` before the start."""
        if not self._looks:
            return (None,) * MINUTES
        begun = self._looks[0][0]
        marks = [at - _MINUTE * back for back in range(MINUTES, 0, -1)]
        values = [self._before(mark)[1] for mark in marks]
        return tuple(
            round(after - before) if end > begun else None
            for before, after, end in zip(
                values, [*values[1:], total], [*marks[1:], at], strict=True
            )
        )

    def _before(self, at: float) -> tuple[float, float]:
        """Return the last look that is not after ``at``, the first where there is none."""
        chosen = self._looks[0]
        for look in self._looks:
            if look[0] > at:
                break
            chosen = look
        return chosen
