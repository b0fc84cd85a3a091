"""Rules for every vendor of the registry."""

from __future__ import annotations

import json
from pathlib import Path

from exporter.vendors.authentication import Presented, Received
from exporter.vendors.registry import NAMES, VENDORS, configured
from exporter.vendors.vendor import Reading

BODY = (Path(__file__).parent.parent / "payloads/usage.json").read_bytes()


def test_names_are_unique_and_event_types_sorted() -> None:
    assert len(set(NAMES)) == len(NAMES) == len(VENDORS)
    for vendor in VENDORS:
        assert list(vendor.event_types) == sorted(vendor.event_types), vendor.name


def test_what_a_vendor_proves_is_verified() -> None:
    for vendor in VENDORS:
        way = vendor.authentication
        proof = way.prove(b"body", b"second")
        headers = {name.lower().encode(): value.encode() for name, value in proof.headers.items()}
        received = Received(headers, b"body", 0, proof.token or None)
        assert way.verify(received, [b"first", b"second"]) == 1, vendor.name
        assert way.verify(received, [b"first"]) is None, vendor.name
        assert way.presented(received) is Presented.WELL_FORMED, vendor.name
        assert way.presented(Received({}, b"body", 0)) is Presented.NOTHING, vendor.name
        assert way.token_in_path == bool(proof.token), vendor.name


def test_a_vendor_is_read_as_the_operator_decided() -> None:
    vendor = VENDORS[0]
    document = json.loads(BODY)
    document["data"]["data_units"] = "kB"
    body, now = json.dumps(document).encode(), document["data"]["timestamp"]
    decimal = configured(vendor, Reading(1000))
    assert decimal.parse(body, now) == vendor.parse(body, now, Reading(1000))
    assert decimal.parse(body, now) != vendor.parse(body, now)
