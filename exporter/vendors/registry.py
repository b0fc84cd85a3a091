"""Every vendor that the exporter knows. A new vendor module adds its entry here."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from exporter.vendors.roamify import ROAMIFY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from exporter.vendors.vendor import Vendor

VENDORS: tuple[Vendor, ...] = (ROAMIFY,)

NAMES: tuple[str, ...] = tuple(vendor.name for vendor in VENDORS)

SIMULATED: Vendor = ROAMIFY
"""The vendor whose deliveries ``simulate`` and ``demo`` send."""


def with_unit_bases(unit_bases: Mapping[str, int]) -> tuple[Vendor, ...]:
    """Return all vendors. ``unit_bases`` has the bytes of a kB (1024 or 1000) by vendor name."""
    return tuple(
        replace(vendor, parse=partial(vendor.parse, unit_base=unit_bases[vendor.name]))
        for vendor in VENDORS
    )
