"""eSIM Go: its entry in the registry, its signature, its wire format, and what that means."""

from __future__ import annotations

from exporter.vendors.esim_go.signature import AUTHENTICATION, SIGNATURE_HEADER
from exporter.vendors.esim_go.translation import EVENT_TYPES, VENDOR, parse
from exporter.vendors.vendor import Vendor

__all__ = ("ESIM_GO", "EVENT_TYPES", "SIGNATURE_HEADER", "VENDOR", "parse")

ESIM_GO = Vendor(
    name=VENDOR,
    title="eSIM Go",
    event_types=EVENT_TYPES,
    authentication=AUTHENTICATION,
    parse=parse,
    has_event_time=False,
    named_by_iccid=True,
    secret_note=(  # noqa: S106  # this is a text about secrets
        "The secret is the API key, which can also place orders, so protect the file. A new key "
        "changes the signature at once: add it before you change it at the vendor."
    ),
)
