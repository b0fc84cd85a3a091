"""eSIM Go: its entry in the registry, its signature, its wire format, and what that means."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.vendors.esim_go.signature import AUTHENTICATION, SIGNATURE_HEADER
from exporter.vendors.esim_go.translation import EVENT_TYPES, VENDOR, parse
from exporter.vendors.vendor import Vendor

if TYPE_CHECKING:
    from exporter.vendors.simulation import Habits

__all__ = ("ESIM_GO", "EVENT_TYPES", "SIGNATURE_HEADER", "VENDOR", "parse")


def _habits() -> Habits:
    from exporter.vendors.esim_go.simulated import HABITS  # noqa: PLC0415  # only to simulate

    return HABITS


ESIM_GO = Vendor(
    name=VENDOR,
    title="eSIM Go",
    event_types=EVENT_TYPES,
    authentication=AUTHENTICATION,
    parse=parse,
    habits=_habits,
    has_event_time=False,
    named_by_iccid=True,
    secret_note=(  # noqa: S106  # this is a text about secrets
        "The secret is the API key, which can also place orders, so protect the file. A new key "
        "changes the signature at once: add it before you change it at the vendor."
    ),
)
