"""When allowances and eSIMs leave ``/metrics``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from exporter.records import Allowance, Esim


@dataclass(frozen=True, slots=True)
class Retention:
    """How long what no longer changes is kept, in seconds.

    Counted from when an event that changed it was last received, not from the event's own
    time, so that an old sample posted by hand is visible.
    """

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
        return min([self.allowance_deadline(a, esim) for a in esim.allowances])
