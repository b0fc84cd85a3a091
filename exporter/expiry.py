"""When allowances and eSIMs leave, and which are due.

Work is proportional to what expires: each eSIM is looked at when its deadline of the time
it was noted has come, not at every tick.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from exporter.records import Allowance, Esim, EsimKey


@dataclass(frozen=True, slots=True)
class Retention:
    """How long what no longer changes is kept, in seconds."""

    terminal: float = 24 * 3600
    """After an eSIM became DELETED, REVOKED or EXPIRED."""
    silent: float = 30 * 86400
    """After the last event that changed something."""
    tombstones: float = 90 * 86400
    """After expiry: how long late events are recognised and counters go on."""

    def allowance_deadline(self, allowance: Allowance, esim: Esim) -> float:
        """Return when an allowance expires, unix seconds."""
        if esim.terminal:
            return max(allowance.received, esim.received) + self.terminal
        return allowance.received + self.silent

    def esim_deadline(self, esim: Esim) -> float:
        """Return when an eSIM without allowances expires, unix seconds."""
        return esim.received + (self.terminal if esim.terminal else self.silent)

    def deadline(self, esim: Esim) -> float:
        """Return when something of an eSIM next expires, unix seconds."""
        if not esim.allowances:
            return self.esim_deadline(esim)
        return min(self.allowance_deadline(a, esim) for a in esim.allowances)


class Wheel:
    """eSIMs by the time at which to look whether they expire.

    An eSIM's place is never after its deadline; events move deadlines on without moving
    the place, so a look may find that it is not due yet.
    """

    def __init__(self, retention: Retention) -> None:
        self._width = min(60.0, max(0.1, min(retention.terminal, retention.silent) / 100))
        self._slots: dict[int, set[EsimKey]] = {}

    @property
    def width(self) -> float:
        """Return how late a look may come, seconds."""
        return self._width

    def note(self, key: EsimKey, deadline: float) -> None:
        """Look at this eSIM once ``deadline`` has passed."""
        self._slots.setdefault(int(deadline // self._width), set()).add(key)

    def due(self, now: float, most: int) -> list[EsimKey]:
        """Take out the eSIMs to look at now, oldest first, at least ``most`` if there are."""
        current = int(now // self._width)
        taken: list[EsimKey] = []
        for slot in sorted(slot for slot in self._slots if slot < current):
            taken.extend(sorted(self._slots.pop(slot)))
            if len(taken) >= most:
                break
        return taken
