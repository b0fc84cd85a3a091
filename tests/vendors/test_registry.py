"""Rules for every vendor of the registry."""

from __future__ import annotations

import json
from pathlib import Path

from exporter.vendors.registry import NAMES, SIMULATED, VENDORS, with_unit_bases

BODY = (Path(__file__).parent.parent / "payloads/usage.json").read_bytes()


def test_names_are_unique_and_event_types_sorted() -> None:
    assert len(set(NAMES)) == len(NAMES) == len(VENDORS)
    for vendor in VENDORS:
        assert list(vendor.event_types) == sorted(vendor.event_types), vendor.name


def test_what_a_vendor_signs_it_verifies() -> None:
    for vendor in VENDORS:
        signature = vendor.sign(b"body", b"second")
        assert vendor.verify(b"body", signature, [b"first", b"second"]) == 1, vendor.name
        assert vendor.verify(b"body", signature, [b"first"]) is None, vendor.name
        assert vendor.well_formed(signature), vendor.name
        assert not vendor.well_formed(""), vendor.name


def test_unit_base_is_given_by_vendor() -> None:
    document = json.loads(BODY)
    document["data"]["data_units"] = "kB"
    body, now = json.dumps(document).encode(), document["data"]["timestamp"]
    (decimal,) = with_unit_bases({SIMULATED.name: 1000})
    assert decimal.parse(body, now) == SIMULATED.parse(body, now, unit_base=1000)
    assert decimal.parse(body, now) != SIMULATED.parse(body, now)
