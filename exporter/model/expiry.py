"""When allowances and eSIMs leave ``/metrics``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING

from exporter.model.events import TERMINAL

if TYPE_CHECKING:
    from exporter.model.records import Allowance, Esim

DEFAULT_TERMINAL_HOURS = 24
DEFAULT_SILENT_DAYS = 30

LEAP = 1800.0
"""Seconds between one look at the clock and the next above which time has passed unseen; far
above what a busy machine delays a look, and below the hour by which clocks are set wrong."""


@dataclass(frozen=True, slots=True)
class Retention:
    """How long what no longer changes is kept, in seconds.

    Counted from when an event that changed it was last received, not from the event's own
    time, so that an old sample posted by hand is visible.
    """

    terminal: float = DEFAULT_TERMINAL_HOURS * 3600
    """After an eSIM became DELETED, REVOKED or EXPIRED."""
    silent: float = DEFAULT_SILENT_DAYS * 86400
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
        allowances = esim.allowances
        if len(allowances) == 1 and esim.status not in TERMINAL:  # nearly all there are
            return allowances[0].received + self.silent
        if not allowances:
            return self.esim_deadline(esim)
        return min([self.allowance_deadline(a, esim) for a in allowances])

    @property
    def without_silence(self) -> Retention:
        """Return the one under which nothing is too old only because it was not heard of."""
        return replace(self, silent=inf, tombstones=inf)


class ExpiryHold:
    """Keeps what fell silent for a while after time in which nobody could be heard.

    After a stop of a month, a suspended machine or a clock that leapt ahead, every eSIM would
    be silent for too long at once, before the vendor had a chance to report one of them.
    """

    def __init__(self) -> None:
        self._last: float | None = None
        self._until = 0.0

    def note_time(self, now: float, grace: float, heard: float | None) -> float:
        """Note the time; return the seconds that passed unseen, 0 where none did.

        ``grace`` is how long to hold after a start and after such time; ``heard`` is when a
        delivery last arrived, as the time before the first look is not known. Times are unix
        seconds. Where the clock is set back, the hold is as long as it was to be.
        """
        first, last = self._last is None, heard if self._last is None else self._last
        self._last = now
        unseen = 0.0 if last is None else now - last
        if first or unseen > LEAP:
            self._until = now + grace
        elif unseen < 0:
            self._until += unseen
        return unseen if unseen > LEAP else 0.0

    @property
    def on(self) -> bool:
        """Return whether it held at the last look."""
        return self._last is not None and self._last < self._until
