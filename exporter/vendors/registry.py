"""Every vendor that the exporter knows. A new vendor package adds its entry here."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from exporter.vendors.roamify import ROAMIFY

if TYPE_CHECKING:
    from exporter.vendors.vendor import Reading, Vendor

VENDORS: tuple[Vendor, ...] = (ROAMIFY,)
"""The first one is older than the others: the settings of its secrets have second names, which
do not hold its name."""

NAMES: tuple[str, ...] = tuple(vendor.name for vendor in VENDORS)

SIMULATED: Vendor = ROAMIFY
"""The vendor whose deliveries ``simulate`` and ``demo`` send."""


def configured(vendor: Vendor, reading: Reading) -> Vendor:
    """Return a vendor whose deliveries are read as the operator decided."""
    return replace(vendor, parse=partial(vendor.parse, reading=reading))
