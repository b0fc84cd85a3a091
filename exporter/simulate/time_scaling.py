"""Makes time pass faster in a simulation: hours of the fleet's life fit into minutes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from exporter.simulate.deliveries import SimulatedDelivery

_TIMES: Final = re.compile(rb'"(timestamp|start|end)":(\d+)')
"""The fields with unix seconds in the vendor's bodies, as the simulation writes them."""


class ScaledDeliveries(Iterator["SimulatedDelivery"]):
    """Yield deliveries with all times moved towards ``origin``, unix seconds.

    A time ``faster`` seconds after ``origin`` becomes a time one second after it. This applies to
    the time of sending and to times in bodies. Dates in usage lists stay, because they are days.
    """

    def __init__(
        self, deliveries: Iterator[SimulatedDelivery], *, origin: float, faster: float
    ) -> None:
        self._deliveries, self._origin, self._faster = deliveries, origin, faster

    def __next__(self) -> SimulatedDelivery:
        delivery = next(self._deliveries)
        body = _TIMES.sub(self._scaled_field, delivery.body)
        return replace(delivery, at=self._scaled(delivery.at), body=body)

    def _scaled_field(self, found: re.Match[bytes]) -> bytes:
        return b'"%s":%d' % (found[1], self._scaled(int(found[2])))

    def _scaled(self, at: float) -> float:
        return self._origin + (at - self._origin) / self._faster
