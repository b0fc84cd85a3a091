"""Expiry: when allowances and eSIMs leave ``/metrics``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING

from exporter.model.events import TERMINAL

if TYPE_CHECKING:
    from exporter.model.records import Allowance, Esim

DEFAULT_TERMINAL_HOURS = 24
DEFAULT_SILENT_DAYS = 30
DEFAULT_STALE_HOURS = 9
"""Vendors report every four hours: a stale eSIM missed two reports."""

LONGEST_PAUSE = 1800.0
"""Seconds between two readings of the clock. A longer pause counts as an interruption, in which
no delivery could arrive. A busy machine delays a reading by far less. Clocks that are set wrong
are often wrong by an hour, which is more."""


@dataclass(frozen=True, slots=True)
class Retention:
    """How long records that no longer change are kept, in seconds.

    The time counts from when an event that changed the record was last received. It does not
    count from the event's own time, so that an old sample posted by hand is visible.
    """

    terminal: float = DEFAULT_TERMINAL_HOURS * 3600
    """After an eSIM became DELETED, REVOKED or EXPIRED."""
    silent: float = DEFAULT_SILENT_DAYS * 86400
    """After the last event that changed something."""
    tombstones: float = 90 * 86400
    """After expiry: how long late events are recognised, and counters can continue."""

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
        allowances = esim.allowances
        if len(allowances) == 1 and esim.status not in TERMINAL:  # the usual case, checked first
            return allowances[0].received + self.silent
        if not allowances:
            return self.esim_deadline(esim)
        return min([self.allowance_deadline(a, esim) for a in allowances])

    @property
    def without_silence(self) -> Retention:
        """Return the retention under which no silent eSIM and no tombstone expires."""
        return replace(self, silent=inf, tombstones=inf)


class ExpiryHold:
    """Keeps silent eSIMs for a while after an interruption in which no delivery could arrive.

    After a stop of a month, a suspended machine or a clock that jumped ahead, every eSIM would
    have been silent for too long. The vendor first gets time to report them.
    """

    def __init__(self) -> None:
        self._last: float | None = None
        self._until = 0.0

    def note_time(self, now: float, grace: float, last_delivery: float | None) -> float:
        """Note the time; return the seconds of the interruption that just ended, 0 for none.

        ``grace`` is how long to hold after a start and after an interruption, in seconds. Times
        are unix seconds. At the first call, ``last_delivery`` takes the place of the time noted
        before. When the clock is set back, the end of the hold moves back with it.
        """
        first = self._last is None
        last = last_delivery if self._last is None else self._last
        self._last = now
        pause = 0.0 if last is None else now - last
        if first or pause > LONGEST_PAUSE:
            self._until = now + grace
        elif pause < 0:
            self._until += pause
        return pause if pause > LONGEST_PAUSE else 0.0

    @property
    def active(self) -> bool:
        """Return whether silent eSIMs are kept, as of the time noted last."""
        return self._last is not None and self._last < self._until
