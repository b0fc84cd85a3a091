"""The rate of events in the last hour, from samples of a counter.

The counter exists for Prometheus anyway, so counting costs nothing more.
"""

from __future__ import annotations

from collections import deque

STEP = 10
"""Seconds between two samples."""

MINUTES = 60
"""How many minutes back the samples reach."""

_MINUTE = 60
_WINDOW = 5 * _MINUTE


class EventRate:
    """The rate of one counter. Times are seconds of any clock that never steps."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float]] = deque(maxlen=MINUTES * _MINUTE // STEP + 1)

    def add_sample(self, at: float, total: float) -> None:
        """Keep the counter's value at time ``at``. Call this every :data:`STEP` seconds."""
        self._samples.append((at, total))

    def per_minute(self, at: float, total: float) -> float:
        """Return the increase per minute over the last five minutes, or since the first sample."""
        if not self._samples:
            return 0.0
        begun, before = self._before(at - _WINDOW)
        return (total - before) * _MINUTE / max(at - begun, STEP)

    def minutes(self, at: float, total: float) -> tuple[int | None, ...]:
        """Return the increase in each minute, oldest first; ``None`` before the first sample."""
        if not self._samples:
            return (None,) * MINUTES
        begun = self._samples[0][0]
        marks = [at - _MINUTE * back for back in range(MINUTES, 0, -1)]
        values = [self._before(mark)[1] for mark in marks]
        return tuple(
            round(after - before) if end > begun else None
            for before, after, end in zip(
                values, [*values[1:], total], [*marks[1:], at], strict=True
            )
        )

    def _before(self, at: float) -> tuple[float, float]:
        """Return the last sample that is not after ``at``, or the first if there is none."""
        chosen = self._samples[0]
        for sample in self._samples:
            if sample[0] > at:
                break
            chosen = sample
        return chosen
