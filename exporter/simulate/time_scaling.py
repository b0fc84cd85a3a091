"""A fleet that lives faster than the clock: hours of it pass in minutes, its own times included."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from exporter.simulate.delivery import SimulatedDelivery

_TIMES: Final = re.compile(rb'"(timestamp|start|end)":(\d+)')
"""Unix seconds in the vendor's bodies as the simulation writes them."""


class FasterTime(Iterator["SimulatedDelivery"]):
    """Yield deliveries whose times are moved towards ``origin``, unix seconds.

    What lies ``faster`` seconds after it then lies one second after it, whether it is the time
    of sending or a time in a body. Dates of usage lists stay, as they are days.
    """

    def __init__(
        self, deliveries: Iterator[SimulatedDelivery], *, origin: float, faster: float
    ) -> None:
        self._deliveries, self._origin, self._faster = deliveries, origin, faster

    def __next__(self) -> SimulatedDelivery:
        delivery = next(self._deliveries)
        body = _TIMES.sub(self._moved, delivery.body)
        return replace(delivery, at=self._compressed(delivery.at), body=body)

    def _moved(self, found: re.Match[bytes]) -> bytes:
        return b'"%s":%d' % (found[1], self._compressed(int(found[2])))

    def _compressed(self, at: float) -> float:
        return self._origin + (at - self._origin) / self._faster
