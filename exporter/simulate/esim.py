"""One synthetic eSIM: its allowance, its usage, and when its next event is due.

Data amounts are MB of 1 048 576 bytes, as the vendor reports them; times are unix seconds.
Between two reports an eSIM uses data at a constant rate. So it is known in advance when its usage
crosses a threshold.
"""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from exporter.model.events import Status

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

    from exporter.simulate.catalogue import CataloguePackage, Location

THRESHOLDS: Final = (0.25, 0.5, 0.75, 0.9, 1.0)
"""Used shares of the data allowance at which the vendor sends a usage event at once."""

REPORT_INTERVAL: Final = 4 * 3600
"""Seconds between two usage events of an activated eSIM (vendor's documentation)."""

DAY: Final = 86400

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


@dataclass(slots=True, eq=False)
class SimulatedEsim:
    """The state of one eSIM. It changes in place as simulated time passes."""

    number: int
    package: CataloguePackage
    pace: float
    """MB per second on average."""
    fate: Status
    """The terminal status in which it ends."""
    status: Status = Status.NEW
    location: int = 0
    """Index into the package's locations."""
    allowed: float = 0
    used: float = 0
    sms_used: int = 0
    voice_used: int = 0
    """Minutes."""
    rows: array[int] = field(default_factory=lambda: array("I"))
    """The usage list, in triples: day since 1970, index of location, KiB."""
    since: float = 0
    """The time until which ``used`` is up to date."""
    rate: float = 0
    """MB per second until the next report."""
    reported: float = 0
    """When the last usage event was sent. The next reporting window begins then."""
    report_at: float = 0
    ends: float = 0
    crossed: int = 0
    """How many of ``THRESHOLDS`` have been reported."""

    @property
    def current_location(self) -> Location:
        """Return the location of the eSIM."""
        return self.package.locations[self.location]

    def next_due(self) -> float:
        """Return when the next report, threshold or the end is due."""
        return min(self.report_at, self._crossing(), self.ends)

    def _crossing(self) -> float:
        if self.package.data is None or self.crossed == len(THRESHOLDS) or not self.rate:
            return math.inf
        return self.since + (THRESHOLDS[self.crossed] * self.allowed - self.used) / self.rate

    def consume(self, to: float) -> None:
        """Use data at the present rate until ``to``, up to the allowance."""
        amount = self.rate * (to - self.since)
        if self.package.data is not None:
            amount = max(0, min(amount, self.allowed - self.used))
        self.used += amount
        self.since = to
        self.record(to, amount)

    def cross(self, at: float) -> None:
        """Use data until ``at``, when usage reaches the next threshold exactly."""
        self.consume(at)
        self.used = max(self.used, THRESHOLDS[self.crossed] * self.allowed)
        self.crossed += 1

    def recount(self) -> None:
        """Count the crossed thresholds again, after ``allowed`` or ``used`` was set."""
        self.crossed = sum(share * self.allowed <= self.used for share in THRESHOLDS)

    def plan(self, at: float, rng: random.Random) -> None:
        """Choose the location and the rate until the next report."""
        if len(self.package.locations) > 1 and rng.random() < 0.1:  # noqa: PLR2004  # moves on
            self.location = rng.randrange(len(self.package.locations))
        hour = int(at / 3600 + self.current_location.utc_offset) % 24
        self.rate = self.pace * ACTIVITY[hour] * rng.expovariate(1)

    def talk(self, at: float, rng: random.Random) -> None:
        """Use some of the messages and minutes that are included."""
        activity = ACTIVITY[int(at / 3600 + self.current_location.utc_offset) % 24]
        if self.package.sms:
            sent = int(rng.expovariate(1) * activity)
            self.sms_used = min(self.package.sms, self.sms_used + sent)
        if self.package.voice:
            spoken = int(rng.expovariate(0.5) * activity)
            self.voice_used = min(self.package.voice, self.voice_used + spoken)

    def renew(self) -> None:
        """Start the package again, with full amounts and full duration."""
        self.ends += self.package.days * DAY
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

    def usage_list(self) -> Iterator[tuple[int, Location, float]]:
        """Yield (day since 1970, location, MB used), the oldest day first."""
        rows = self.rows
        for k in range(0, len(rows), 3):
            yield rows[k], self.package.locations[rows[k + 1]], round(rows[k + 2] / 1024, 2)
