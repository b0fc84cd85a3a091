"""The partner's account at a vendor. It pays for the eSIMs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.vendors.simulation import HOUR

if TYPE_CHECKING:
    import random

    from exporter.simulate.timeline import Timeline
    from exporter.vendors.simulation import Notifications


class Account:
    """The balance, and the events about it."""

    def __init__(
        self, timeline: Timeline, notifications: Notifications, rng: random.Random, esims: int
    ) -> None:
        self._timeline, self._notifications, self._rng = timeline, notifications, rng
        self._threshold = float(max(50, esims))
        self._balance = 3 * self._threshold
        self._warned = False

    def pay(self, at: float, price: float) -> None:
        """Pay ``price``. Tops up the balance first if it is too low."""
        if self._balance < price:
            self._report(at, "insufficient_balance")
            self._top_up(at)
        self._balance -= price
        if self._balance < self._threshold and not self._warned:
            self._warned = True
            self._report(at, "low_balance")
            self._timeline.at(at + self._rng.uniform(4 * HOUR, 48 * HOUR), self._top_up)

    def _top_up(self, at: float) -> None:
        self._balance += 2 * self._threshold
        self._warned = False
        self._report(at, "top_up")

    def _report(self, at: float, event_type: str) -> None:
        bodies = self._notifications.balance(at, event_type, self._balance, self._threshold)
        self._timeline.send(at, bodies)
