"""Every vendor that the exporter knows. A new vendor package adds its entry here."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from exporter.vendors.esim_access import ESIM_ACCESS
from exporter.vendors.esim_go import ESIM_GO
from exporter.vendors.roamify import ROAMIFY

if TYPE_CHECKING:
    from exporter.vendors.vendor import Reading, Vendor

FIRST: Vendor = ROAMIFY
"""The vendor that was once the only one. Its secrets have older settings beside those that every
vendor has: ``--webhook.secret-file``, ``ESIM_EXPORTER_WEBHOOK_SECRET`` and
``--webhook.allow-unsigned``. ``simulate`` plays it unless it is told otherwise."""

VENDORS: tuple[Vendor, ...] = (FIRST, ESIM_ACCESS, ESIM_GO)

SIMULATED: tuple[Vendor, ...] = tuple(vendor for vendor in VENDORS if vendor.habits is not None)
"""Those that ``simulate`` and ``demo`` can play."""

NAMES: tuple[str, ...] = tuple(vendor.name for vendor in VENDORS)


def sample_event(now: int) -> bytes:
    """Return an event of ``FIRST`` for a first try: usage of an eSIM named ``demo-esim``.

    Its time is ``now``, unix seconds.
    """
    from exporter.vendors.roamify.simulated import sample  # noqa: PLC0415  # only for the demo

    return sample(now)


def configured(vendor: Vendor, reading: Reading) -> Vendor:
    """Return a vendor whose deliveries are read as the operator decided."""
    return replace(vendor, parse=partial(vendor.parse, reading=reading))
