"""The life of one synthetic eSIM: its usage, and when its next event is due.

Data amounts are MB as the vendor counts them; times are unix seconds. Between two reports an eSIM
uses data at a constant rate. So it is known in advance when its usage crosses a threshold.
"""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from exporter.vendors.simulation import DAY, EsimState, Resource

if TYPE_CHECKING:
    import random

REPORT_INTERVAL: Final = 4 * 3600
"""Seconds between two reports of an activated eSIM. Vendors that report at thresholds only send
nothing then, but people change their rate of usage."""

HOURLY: Final = (
    *(2, 1, 1, 1, 1, 2),  # from midnight
    *(4, 8, 11, 12, 12, 13),
    *(14, 13, 12, 12, 13, 14),  # from noon
    *(15, 16, 17, 15, 10, 5),
)
"""Data that people use in each hour of their day, relative to the other hours."""

ACTIVITY: Final = tuple(
    sum(HOURLY[(hour + k) % 24] for k in range(4)) * 24 / (4 * sum(HOURLY)) for hour in range(24)
)
"""Mean usage over the four hours from each hour on, relative to the mean of the day."""


@dataclass(slots=True, eq=False, kw_only=True)
class SimulatedEsim(EsimState):
    """The state of one eSIM. It changes in place as simulated time passes."""

    pace: float
    """MB per second on average."""
    thresholds: tuple[float, ...]
    """Used shares of the data allowance at which the vendor sends a usage event at once."""
    since: float = 0
    """The time until which ``used`` is up to date."""
    rate: float = 0
    """MB per second until the next report."""
    report_at: float = 0
    crossed: int = 0
    """How many of ``thresholds`` have been reported."""

    def next_due(self) -> float:
        """Return when the next report, threshold or the end is due."""
        return min(self.report_at, self._crossing(), self.ends)

    def _crossing(self) -> float:
        if self.package.data is None or self.crossed == len(self.thresholds) or not self.rate:
            return math.inf
        return self.since + (self.thresholds[self.crossed] * self.allowed - self.used) / self.rate

    def consume(self, to: float) -> None:
        """Use data at the present rate until ``to``, up to the allowance."""
        amount = self.rate * (to - self.since)
        if self.package.data is not None:
            amount = max(0, min(amount, self.allowed - self.used))
        self.used += amount
        self.since = to
        self.record(to, amount)

    def cross(self, at: float) -> float:
        """Use data until ``at``, when usage reaches the next threshold exactly; return that."""
        self.consume(at)
        share = self.thresholds[self.crossed]
        self.used = max(self.used, share * self.allowed)
        self.crossed += 1
        return share

    def recount(self) -> None:
        """Count the crossed thresholds again, after ``allowed`` or ``used`` was set."""
        self.crossed = sum(share * self.allowed <= self.used for share in self.thresholds)

    def plan(self, at: float, rng: random.Random) -> None:
        """Choose the location and the rate until the next report."""
        if len(self.package.locations) > 1 and rng.random() < 0.1:  # noqa: PLR2004  # moves on
            self.location = rng.randrange(len(self.package.locations))
        hour = int(at / 3600 + self.current_location.utc_offset) % 24
        self.rate = self.pace * ACTIVITY[hour] * rng.expovariate(1)

    def talk(self, at: float, rng: random.Random) -> list[tuple[Resource, float]]:
        """Use some of the messages and minutes that are included.

        Returns the resources of which a threshold was crossed, with the highest one.
        """
        activity = ACTIVITY[int(at / 3600 + self.current_location.utc_offset) % 24]
        package, before = self.package, (self.sms_used, self.voice_used)
        if package.sms:
            sent = int(rng.expovariate(1) * activity)
            self.sms_used = min(package.sms, self.sms_used + sent)
        if package.voice:
            spoken = int(rng.expovariate(0.5) * activity)
            self.voice_used = min(package.voice, self.voice_used + spoken)
        spans = (
            (Resource.SMS, before[0], self.sms_used, package.sms),
            (Resource.VOICE, before[1], self.voice_used, package.voice),
        )
        return [
            (resource, max(crossed))
            for resource, old, new, allowed in spans
            if (crossed := [share for share in self.thresholds if old < share * allowed <= new])
        ]

    def add(self, at: float) -> None:
        """Add the data of the package once more, and its days if they are over."""
        self.allowed += self.package.data or 0
        if at >= self.expires:
            self.ends = self.expires = at + self.package.days * DAY
        self.recount()

    def restart(self, at: float) -> None:
        """Start the package again, with full amounts and full duration."""
        self.started = at
        self.restarts += 1
        self.ends = self.expires = at + self.package.days * DAY
        self.used = self.sms_used = self.voice_used = 0
        self.rows = array("I")
        self.recount()

    def record(self, at: float, amount: float) -> None:
        """Add ``amount`` MB to the row of the usage list for the day (UTC) and the location."""
        kib = int(amount * 1024)
        if not kib:
            return
        day = int(at // DAY)
        rows = self.rows
        for k in range(len(rows) - 3, -1, -3):
            if rows[k] != day:
                break
            if rows[k + 1] == self.location:
                rows[k + 2] += kib
                return
        rows.extend((day, self.location, kib))
