"""eSIM Access: its entry in the registry, its wire format, and what that means."""

from __future__ import annotations

from exporter.vendors.authentication import PathToken
from exporter.vendors.esim_access.translation import EVENT_TYPES, VENDOR, parse
from exporter.vendors.vendor import Vendor

__all__ = ("ESIM_ACCESS", "EVENT_TYPES", "VENDOR", "parse")

ESIM_ACCESS = Vendor(
    name=VENDOR,
    title="eSIM Access",
    event_types=EVENT_TYPES,
    authentication=PathToken(),
    parse=parse,
)
