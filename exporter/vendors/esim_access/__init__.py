"""eSIM Access: its entry in the registry, its wire format, and what that means."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.vendors.authentication import PathToken
from exporter.vendors.esim_access.translation import EVENT_TYPES, VENDOR, parse
from exporter.vendors.vendor import Vendor

if TYPE_CHECKING:
    from exporter.vendors.simulation import Habits

__all__ = ("ESIM_ACCESS", "EVENT_TYPES", "VENDOR", "parse")


def _habits() -> Habits:
    from exporter.vendors.esim_access.simulated import HABITS  # noqa: PLC0415  # only to simulate

    return HABITS


ESIM_ACCESS = Vendor(
    name=VENDOR,
    title="eSIM Access",
    event_types=EVENT_TYPES,
    authentication=PathToken(),
    parse=parse,
    habits=_habits,
)
