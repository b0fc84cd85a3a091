"""Roamify: its entry in the registry, its signature, and its wire format."""

from __future__ import annotations

from exporter.vendors.roamify.meanings import VENDOR
from exporter.vendors.roamify.parsing import EVENT_TYPES, parse
from exporter.vendors.roamify.signature import SIGNATURE_HEADER, sign, verify, well_formed
from exporter.vendors.vendor import Vendor

__all__ = (
    "EVENT_TYPES",
    "ROAMIFY",
    "SIGNATURE_HEADER",
    "VENDOR",
    "parse",
    "sign",
    "verify",
    "well_formed",
)

ROAMIFY = Vendor(
    name=VENDOR,
    signature_header=SIGNATURE_HEADER,
    event_types=EVENT_TYPES,
    verify=verify,
    well_formed=well_formed,
    parse=parse,
    sign=sign,
    report_interval=4 * 3600,
)
