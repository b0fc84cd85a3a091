"""Rules for every vendor of the registry."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import altered_documents
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.errors import EventError
from exporter.model.events import UsageEvent, event_type_of
from exporter.vendors.authentication import Presented, Received
from exporter.vendors.registry import FIRST, NAMES, VENDORS, configured
from exporter.vendors.vendor import Reading

if TYPE_CHECKING:
    from exporter.vendors.vendor import Vendor

NOW = 1_800_000_000.0
SECRET = "8910300000012345678"  # looks like an ICCID
PAYLOADS = Path(__file__).parent.parent / "payloads"

for_each_vendor = pytest.mark.parametrize("vendor", VENDORS, ids=lambda vendor: vendor.name)


def samples(vendor: Vendor) -> list[bytes]:
    """Return the documented deliveries of a vendor: those of its folder."""
    folder = PAYLOADS if vendor is FIRST else PAYLOADS / vendor.name
    return list(altered_documents.payloads(folder).values())


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
    vendor = FIRST
    document = json.loads((PAYLOADS / "usage.json").read_bytes())
    document["data"]["data_units"] = "kB"
    body, now = json.dumps(document).encode(), document["data"]["timestamp"]
    decimal = configured(vendor, Reading(1000))
    assert decimal.parse(body, now) == vendor.parse(body, now, Reading(1000))
    assert decimal.parse(body, now) != vendor.parse(body, now)


@for_each_vendor
def test_a_sample_has_a_documented_type_and_the_name_of_its_vendor(vendor: Vendor) -> None:
    events = []
    for body in samples(vendor):
        try:
            events.append(vendor.parse(body, NOW))
        except EventError:
            continue  # its own tests say why
    assert {event.vendor for event in events} == {vendor.name}
    assert {event_type_of(event) for event in events} <= set(vendor.event_types)
    assert any(isinstance(event, UsageEvent) for event in events)


@for_each_vendor
@settings(deadline=None)
@given(data=st.data())
def test_any_json_value_at_any_place_is_accepted_or_refused(
    vendor: Vendor, data: st.DataObject
) -> None:
    bodies = samples(vendor)
    body = data.draw(altered_documents.altered(bodies) | altered_documents.damaged(bodies))
    unknown: list[str] = []
    altered_documents.assert_taken_or_refused(
        lambda: vendor.parse(body, NOW, unknown=unknown.append), NOW
    )


@for_each_vendor
@pytest.mark.parametrize(
    "value", [f"{SECRET}x\0", int(SECRET) * 10**10, [SECRET], {SECRET: SECRET}]
)
def test_an_error_does_not_repeat_a_value(vendor: Vendor, value: Any) -> None:
    for body in samples(vendor):
        for error in altered_documents.errors_with_value_everywhere(
            lambda altered: vendor.parse(altered, NOW), body, value
        ):
            assert SECRET not in error
