"""Roamify: its entry in the registry, its signature, its wire format, and what that means."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.vendors.roamify.signature import AUTHENTICATION, SIGNATURE_HEADER, sign
from exporter.vendors.roamify.translation import EVENT_TYPES, VENDOR, parse
from exporter.vendors.vendor import Vendor

if TYPE_CHECKING:
    from exporter.vendors.simulation import Habits

__all__ = ("EVENT_TYPES", "ROAMIFY", "SIGNATURE_HEADER", "VENDOR", "parse", "sign")


def _habits() -> Habits:
    from exporter.vendors.roamify.simulated import HABITS  # noqa: PLC0415  # only to simulate

    return HABITS


ROAMIFY = Vendor(
    name=VENDOR,
    title="Roamify",
    event_types=EVENT_TYPES,
    authentication=AUTHENTICATION,
    parse=parse,
    report_interval=4 * 3600,
    names_units=True,
    habits=_habits,
)
