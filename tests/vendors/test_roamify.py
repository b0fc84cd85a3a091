from __future__ import annotations

import copy
import hashlib
import hmac
import json
import math
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from exporter.errors import EventError, FieldError, FutureEvent, InvalidEvent, MalformedEvent
from exporter.model.events import (
    MAX_AMOUNT,
    MAX_IDENTIFIER,
    MAX_TIME,
    UNLIMITED_AMOUNT,
    Event,
    OtherEvent,
    PartnerEvent,
    Snapshot,
    Status,
    StatusEvent,
    UsageEvent,
)
from exporter.vendors.authentication import Presented, Received
from exporter.vendors.roamify import EVENT_TYPES, ROAMIFY, SIGNATURE_HEADER, VENDOR, parse, sign
from exporter.vendors.vendor import Reading

PAYLOADS = Path(__file__).parent.parent / "payloads"
NOW = 1_700_000_100.0
MIB = 1024**2
ESIM_ID = "c2a9cdae-430e-4251-bf65-a84df4562ed9"
ABSENT = object()

USAGE = UsageEvent(
    vendor="roamify",
    time=1_700_000_000,
    esim_id=ESIM_ID,
    package_id="esim-afghanistan-7days-1gb-all",
    snapshot=Snapshot(
        data_unlimited=False,
        data_allowed=1_073_741_824,
        data_remaining=536_870_912,
        sms_allowed=100,
        sms_remaining=50,
        voice_allowed=30_000,
        voice_remaining=15_000,
        start=1_699_996_800,
        end=1_700_000_400,
        locations=(("Afghanistan", 314_572_800),),
    ),
    status=Status.ACTIVATED,
    reference_id="ref_1234567890",
    iccid="8991234567890123456",
    package_name="1 GB - 7 Days",
)
STATUS = StatusEvent(
    vendor="roamify",
    time=1_700_000_000,
    esim_id=ESIM_ID,
    status=Status.ACTIVATED,
    reference_id="ref_1234567890",
    iccid="8991234567890123456",
)
PARTNER = PartnerEvent(
    vendor="roamify",
    event_type="low_balance",
    time=1_673_123_456,
    currency="USD",
    balance=50.0,
    threshold=100.0,
)
GOLDEN: dict[str, Event] = {
    "usage": USAGE,
    "usage-flat": USAGE._replace(snapshot=USAGE.snapshot._replace(locations=None)),
    "usage-unlimited": USAGE._replace(
        package_id="esim-canada-15days-un2gb-all",
        package_name="Unlimited Data - 15 Days (2 GB / 128 KBPS)",
        snapshot=Snapshot(
            data_unlimited=True,
            start=1_699_996_800,
            end=1_700_000_400,
            locations=(("Åland Islands", 1_611_137_024),),
        ),
    ),
    "status": STATUS,
    "status-flat": STATUS,
    "partner-low-balance": PARTNER,
    "affiliate-order": OtherEvent(vendor="roamify", event_type="order"),
    "refund-refunded": OtherEvent(vendor="roamify", event_type="refunded"),
}


def payload(name: str) -> bytes:
    return (PAYLOADS / f"{name}.json").read_bytes()


def changed(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in (values | changes).items() if value is not ABSENT}


def document(name: str, **changes: Any) -> dict[str, Any]:
    """Return a nested payload with fields of its ``data`` changed."""
    top: dict[str, Any] = json.loads(payload(name))
    return top | {"data": changed(top["data"], changes)}


def take(top: Any, unit_base: int = 1024) -> Event:
    return parse(json.dumps(top).encode(), NOW, Reading(unit_base))


def usage(**changes: Any) -> UsageEvent:
    event = take(document("usage", **changes))
    assert isinstance(event, UsageEvent)
    return event


def amounts(**changes: Any) -> Snapshot:
    """Return the snapshot of a usage event with fields of its ``usage_data`` changed."""
    return usage(usage_data=changed(document("usage")["data"]["usage_data"], changes)).snapshot


def status(**changes: Any) -> StatusEvent:
    event = take(document("status", **changes))
    assert isinstance(event, StatusEvent)
    return event


def partner(**changes: Any) -> PartnerEvent:
    event = take(document("partner-low-balance", **changes))
    assert isinstance(event, PartnerEvent)
    return event


def refused(top: Any) -> list[tuple[tuple[str | int, ...], str]]:
    with pytest.raises(InvalidEvent) as caught:
        take(top)
    return [(error.loc, error.msg) for error in caught.value.errors]


def refused_usage(**changes: Any) -> list[tuple[tuple[str | int, ...], str]]:
    return refused(document("usage", **changes))


def refused_amounts(**changes: Any) -> list[tuple[tuple[str | int, ...], str]]:
    return refused_usage(usage_data=changed(document("usage")["data"]["usage_data"], changes))


# The vendor's sample payloads


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_parses_the_published_payload(name: str) -> None:
    assert parse(payload(name), NOW) == GOLDEN[name]


def test_every_payload_has_an_expected_event() -> None:
    assert {path.stem for path in PAYLOADS.glob("*.json")} == set(GOLDEN)


def test_event_types_are_the_closed_set_of_labels() -> None:
    assert EVENT_TYPES == (
        "insufficient_balance",
        "low_balance",
        "order",
        "other",
        "refunded",
        "rejected",
        "status",
        "top_up",
        "usage",
    )


# The signature

BODY = '{"location": "Åland Islands"}'.encode()
SIGNATURE = hmac.new(b"new", BODY, hashlib.sha256).hexdigest()


def delivery(signature: str | None, body: bytes = BODY) -> Received:
    value = None if signature is None else signature.encode("utf-8", "surrogateescape")
    return Received({} if value is None else {b"x-roamify-signature": value}, body, NOW)


def verify(signature: str | None, secrets: list[bytes], body: bytes = BODY) -> int | None:
    return ROAMIFY.authentication.verify(delivery(signature, body), secrets)


def presented(signature: str | None) -> Presented:
    return ROAMIFY.authentication.presented(delivery(signature))


def test_names_the_signature_header() -> None:
    assert SIGNATURE_HEADER == "X-Roamify-Signature"


def test_signs_with_lowercase_hex_hmac_sha256_of_the_raw_body() -> None:
    assert sign(BODY, b"new") == SIGNATURE
    # RFC 4231, test case 2
    assert sign(b"what do ya want for nothing?", b"Jefe") == (
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    )


@pytest.mark.parametrize(
    ("secrets", "index"),
    [
        ([b"new"], 0),
        ([b"new", b"old"], 0),
        ([b"old", b"new"], 1),
        ([b"old", b"new", b"new"], 1),
        ([b"old"], None),
        ([b"new\n"], None),
        ([], None),
    ],
)
def test_tells_which_secret_matched(secrets: list[bytes], index: int | None) -> None:
    assert verify(SIGNATURE, secrets) == index


@pytest.mark.parametrize(
    "signature", [SIGNATURE.upper(), f" {SIGNATURE} ", f"\t{SIGNATURE}", SIGNATURE.title()]
)
def test_tolerates_upper_case_and_blanks_around_a_signature(signature: str) -> None:
    assert verify(signature, [b"new"]) == 0
    assert presented(signature) is Presented.WELL_FORMED


@pytest.mark.parametrize(
    "signature",
    [
        *(None, "", " ", SIGNATURE[:-1], SIGNATURE + "0", "0" * 64, f"sha256={SIGNATURE}"),
        *(SIGNATURE[:32] + " " + SIGNATURE[32:], f"{SIGNATURE}\n", "é" * 64, "٣" * 64, "\0" * 64),
        *("\udcff" * 64, "g" * 64, "a" * 100_000),
    ],
)
def test_anything_else_is_no_match(signature: str | None) -> None:
    assert verify(signature, [b"old", b"new"]) is None
    nothing = not (signature or "").strip()
    well_formed = Presented.WELL_FORMED if signature == "0" * 64 else Presented.ILL_FORMED
    assert presented(signature) is (Presented.NOTHING if nothing else well_formed)


def test_a_changed_body_is_no_match() -> None:
    assert verify(SIGNATURE, [b"new"], BODY + b" ") is None


@given(st.binary(max_size=64), st.binary(max_size=80), st.lists(st.binary(max_size=8), max_size=3))
def test_verifying_never_raises(body: bytes, signature: bytes, secrets: list[bytes]) -> None:
    received = Received({b"x-roamify-signature": signature}, body, NOW)
    assert ROAMIFY.authentication.verify(received, secrets) is None


# Nested and flat


@pytest.mark.parametrize("name", ["usage", "status", "partner-low-balance"])
def test_accepts_fields_nested_and_flat(name: str) -> None:
    top = document(name)
    flat = {key: value for key, value in top.items() if key != "data"} | top["data"]
    assert take(flat) == take(flat | {"data": None}) == take(top) == GOLDEN[name]


def test_reads_nothing_from_the_top_level_of_a_nested_event() -> None:
    top = document("usage", esim_id=ABSENT) | {"esim_id": "elsewhere"}
    assert refused(top) == [(("data", "esim_id"), "is required")]


def test_errors_are_located_in_the_document_as_it_is() -> None:
    wrong = {"usage_data": {"allowed_data": "lots"}}
    assert refused_usage(**wrong)[0][0] == ("data", "usage_data", "allowed_data")
    flat = json.loads(payload("usage-flat")) | wrong
    assert refused(flat) == [(("usage_data", "allowed_data"), "must be a number")]


# Both spellings of the event types


@pytest.mark.parametrize(
    ("name", "spelling"),
    [
        *(("usage", "usage"), ("usage", "esim_usage"), ("usage", "USAGE"), ("usage", "Esim_Usage")),
        *(("status", "status"), ("status", "esim_status"), ("status", "ESIM_STATUS")),
    ],
)
@pytest.mark.parametrize("category", ["esim", "ESIM", None, "", ABSENT])
def test_accepts_both_spellings_of_the_event_types(
    name: str, spelling: str, category: object
) -> None:
    top = changed(document(name), {"event_type": spelling, "event_category": category})
    assert take(top) == GOLDEN[name]


# Statuses


@pytest.mark.parametrize("known", [s for s in Status if s is not Status.OTHER])
def test_knows_the_eight_statuses_in_any_case(known: Status) -> None:
    for spelling in (known.value, known.value.lower(), known.value.title()):
        assert usage(status=spelling).status is known
        assert status(status=spelling).status is known


@pytest.mark.parametrize("spelling", ["ACTIVE", "active", "Active"])
def test_active_is_activated(spelling: str) -> None:
    assert usage(status=spelling).status is Status.ACTIVATED
    assert status(status=spelling).status is Status.ACTIVATED


@pytest.mark.parametrize("spelling", ["READY", "DOWNLOADED", "suspended", "OTHER", " ", "NEW\n"])
def test_an_unknown_status_is_other(spelling: str) -> None:
    assert usage(status=spelling).status is Status.OTHER
    assert status(status=spelling).status is Status.OTHER


@pytest.mark.parametrize("value", [None, "", ABSENT])
def test_a_usage_event_may_come_without_a_status(value: object) -> None:
    assert usage(status=value).status is None


@pytest.mark.parametrize("value", [None, "", ABSENT])
def test_a_status_event_needs_a_status(value: object) -> None:
    assert refused(document("status", status=value)) == [(("data", "status"), "is required")]


# Events of the same second


def test_keeps_events_of_the_same_second_apart_by_their_content() -> None:
    flapping = [status(timestamp=1_700_000_000.9, status=s) for s in ("ACTIVATED", "INACTIVE")]
    assert [event.time for event in flapping] == [1_700_000_000, 1_700_000_000]
    assert flapping[0] != flapping[1]


# Units


@pytest.mark.parametrize("unit", ["MB", "mb", "MiB", None, "", ABSENT])
def test_a_megabyte_is_1024_based(unit: object) -> None:
    assert usage(data_units=unit) == USAGE


@pytest.mark.parametrize(
    ("unit", "size"), [("bytes", 1), ("kB", 1024), ("MB", 1024**2), ("GB", 1024**3)]
)
def test_honours_the_data_unit_of_the_event(unit: str, size: int) -> None:
    snapshot = usage(data_units=unit).snapshot
    assert snapshot.data_allowed == 1024 * size
    assert snapshot.data_remaining == 512 * size
    assert snapshot.locations == (("Afghanistan", 300 * size),)


def test_a_setting_makes_the_megabyte_1000_based() -> None:
    event = take(document("usage"), unit_base=1000)
    assert isinstance(event, UsageEvent)
    assert event.snapshot.data_allowed == 1_024_000_000
    assert event.snapshot.locations == (("Afghanistan", 300_000_000),)
    binary = take(document("usage", data_units="MiB"), unit_base=1000)
    assert binary == USAGE


@pytest.mark.parametrize(("unit", "allowed"), [("minutes", 30_000), ("seconds", 500), ("", 30_000)])
def test_honours_the_voice_unit_of_the_event(unit: str, allowed: int) -> None:
    snapshot = usage(voice_units=unit).snapshot
    assert (snapshot.voice_allowed, snapshot.voice_remaining) == (allowed, allowed // 2)


@pytest.mark.parametrize("key", ["data_units", "voice_units", "sms_units"])
@pytest.mark.parametrize("unit", ["Mb", "hours", "furlongs", 1, True, [], {}])
def test_rejects_an_unknown_unit(key: str, unit: object) -> None:
    assert refused_usage(**{key: unit}) == [(("data", key), "is not a known unit")]


# Unlimited and not included


@pytest.mark.parametrize("flag", [True, 1, "true", "TRUE"])
def test_the_flag_makes_data_unlimited(flag: object) -> None:
    snapshot = amounts(isUnlimited=flag)
    assert snapshot.data_unlimited
    assert snapshot.data_allowed is None
    assert snapshot.data_remaining is None
    assert (snapshot.sms_allowed, snapshot.voice_allowed) == (100, 30_000)


@pytest.mark.parametrize("flag", [False, None, 0, "false", ABSENT])
@pytest.mark.parametrize("allowed", [2**53 - 1, str(2**53 - 1), 2**33, -1, -0.5, 8589934592.0])
def test_the_allowance_makes_data_unlimited(flag: object, allowed: object) -> None:
    snapshot = amounts(isUnlimited=flag, allowed_data=allowed, remaining_data=allowed)
    assert snapshot == USAGE.snapshot._replace(
        data_unlimited=True, data_allowed=None, data_remaining=None
    )


def test_the_unlimited_amount_is_one_of_bytes() -> None:
    usage_data = {"allowed_data": UNLIMITED_AMOUNT - 1}
    limited = usage(data_units="bytes", usage_data=usage_data).snapshot
    assert (limited.data_unlimited, limited.data_allowed) == (False, UNLIMITED_AMOUNT - 1)
    usage_data = {"allowed_data": UNLIMITED_AMOUNT}
    unlimited = usage(data_units="bytes", usage_data=usage_data).snapshot
    assert (unlimited.data_unlimited, unlimited.data_allowed) == (True, None)


@pytest.mark.parametrize("remaining", [MAX_AMOUNT, -5, 0, None, ABSENT, "7"])
def test_the_remaining_amount_of_unlimited_data_may_be_any_number(remaining: object) -> None:
    assert amounts(isUnlimited=True, remaining_data=remaining).data_unlimited


def test_the_remaining_amount_of_unlimited_data_must_be_a_number() -> None:
    assert refused_amounts(isUnlimited=True, remaining_data="lots") == [
        (("data", "usage_data", "remaining_data"), "must be a number")
    ]


@pytest.mark.parametrize("flag", ["yes", 2, "", [], {}])
def test_rejects_a_flag_that_is_neither_true_nor_false(flag: object) -> None:
    assert refused_amounts(isUnlimited=flag) == [
        (("data", "usage_data", "isUnlimited"), "must be true or false")
    ]


@pytest.mark.parametrize(
    ("allowed", "remaining"),
    [
        *((-1, -1), (-1, 5), (-0.5, None), (0, 0), (0, -1), (0, None), (0, ABSENT)),
        *((None, 0), (None, -1), (None, None), (ABSENT, ABSENT), ("-1", "0"), (0.0, "0.0")),
    ],
)
@pytest.mark.parametrize("resource", ["sms", "voice"])
def test_sms_and_voice_may_not_be_included(
    resource: str, allowed: object, remaining: object
) -> None:
    snapshot = amounts(**{f"allowed_{resource}": allowed, f"remaining_{resource}": remaining})
    nothing: dict[str, Any] = {f"{resource}_allowed": None, f"{resource}_remaining": None}
    assert snapshot == USAGE.snapshot._replace(**nothing)


@pytest.mark.parametrize(
    ("allowed", "remaining", "expected"),
    [
        *((10, 0, (10, 0)), (10, -3, (10, 0)), (10, None, (10, None)), (0, 4, (0, 4))),
        *((None, 4, (None, 4)), ("10", "4.0", (10, 4)), (10, 20, (10, 20))),
    ],
)
def test_sms_and_voice_are_taken_as_given_otherwise(
    allowed: object, remaining: object, expected: tuple[int | None, int | None]
) -> None:
    snapshot = amounts(allowed_sms=allowed, remaining_sms=remaining)
    assert (snapshot.sms_allowed, snapshot.sms_remaining) == expected
    snapshot = amounts(allowed_voice=allowed, remaining_voice=remaining)
    assert (snapshot.voice_allowed, snapshot.voice_remaining) == tuple(
        value and value * 60 for value in expected
    )


# The usage list


def test_the_usage_list_need_not_add_up_to_what_was_used() -> None:
    snapshot = usage().snapshot
    assert snapshot.data_allowed is not None
    assert snapshot.data_remaining is not None
    assert snapshot.locations is not None
    assert sum(used for _, used in snapshot.locations) == 300 * MIB
    assert snapshot.data_allowed - snapshot.data_remaining == 512 * MIB


def test_sums_the_rows_of_a_location_and_sorts_by_it() -> None:
    rows = [
        {"date": "2023-11-02", "data_used": 1, "location": "Spain"},
        {"date": "2023-11-02", "data_used": "2.5", "location": "France"},
        {"date": "2023-11-03", "data_used": 4, "location": "Spain"},
        {"date": "2023-11-03", "data_used": 0, "location": "Åland Islands"},
    ]
    assert usage(usage_list=rows).snapshot.locations == (
        ("France", 5 * MIB // 2),
        ("Spain", 5 * MIB),
        ("Åland Islands", 0),
    )


def test_converts_each_row_before_it_sums() -> None:
    rows = [{"data_used": 0.5, "location": "Spain"}] * 2 + [{"data_used": 1.5, "location": "Spain"}]
    event = usage(data_units="bytes", usage_list=rows)
    assert event.snapshot.locations == (("Spain", 2),)


@pytest.mark.parametrize("date", ["2023-11-01", "20231101", "yesterday", 5, None, [], ABSENT])
def test_dates_of_the_usage_list_are_ignored(date: object) -> None:
    row = changed({"data_used": 300, "location": "Afghanistan"}, {"date": date})
    assert usage(usage_list=[row]) == USAGE


@pytest.mark.parametrize("rows", [None, ABSENT])
def test_the_usage_list_may_be_missing(rows: object) -> None:
    assert usage(usage_list=rows).snapshot.locations is None


def test_an_empty_usage_list_is_not_a_missing_one() -> None:
    assert usage(usage_list=[]).snapshot.locations == ()


@pytest.mark.parametrize("rows", [{}, "", 0, True, "rows"])
def test_rejects_a_usage_list_that_is_not_a_list(rows: object) -> None:
    assert refused_usage(usage_list=rows) == [(("data", "usage_list"), "must be a list")]


@pytest.mark.parametrize("row", [None, 1, "row", [], True])
def test_rejects_a_row_that_is_not_an_object(row: object) -> None:
    good = {"data_used": 1}
    assert refused_usage(usage_list=[good, row]) == [
        (("data", "usage_list", 1), "must be an object")
    ]


@pytest.mark.parametrize(
    ("used", "msg"),
    [
        *((ABSENT, "is required"), (None, "is required"), (-1, "must not be negative")),
        *((-0.001, "must not be negative"), ("x", "must be a number"), (True, "must be a number")),
        *((MAX_AMOUNT, "is out of range"), (1e300, "is out of range")),
    ],
)
def test_rejects_a_row_without_a_usable_amount(used: object, msg: str) -> None:
    row = changed({"location": "Spain"}, {"data_used": used})
    assert refused_usage(usage_list=[row]) == [(("data", "usage_list", 0, "data_used"), msg)]


def test_rejects_a_usage_list_whose_sum_is_out_of_range() -> None:
    rows = [{"data_used": 2**62, "location": place} for place in ("Spain", "France")]
    assert refused_usage(data_units="bytes", usage_list=rows) == [
        (("data", "usage_list"), "adds up to what is out of range")
    ]
    rows[1]["data_used"] = 2**62 - 1
    event = usage(data_units="bytes", usage_list=rows)
    assert event.snapshot.locations == (("France", 2**62 - 1), ("Spain", 2**62))


# Start and end


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        *((None, None), (ABSENT, None), (0, 0), (-5, -5), (1_699_996_800.9, 1_699_996_800)),
        *((-0.5, -1), ("1699996800", 1_699_996_800), ("-1.5", -2)),
    ],
)
def test_start_and_end_are_taken_as_given(given: object, kept: int | None) -> None:
    snapshot = usage(start=given, end=given).snapshot
    assert (snapshot.start, snapshot.end) == (kept, kept)


@pytest.mark.parametrize("key", ["start", "end"])
def test_rejects_a_start_or_end_that_is_not_a_number(key: str) -> None:
    assert refused_usage(**{key: "soon"}) == [(("data", key), "must be a number")]


def test_start_and_end_of_a_status_event_are_not_used() -> None:
    assert status(start="soon", end=[]) == STATUS


# Identifiers


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        *(("8991234567890123456", "8991234567890123456"), (8991234567890123456,) * 2),
        *((89912345678901234567, "89912345678901234567"), ("0089", "0089"), (0, "0")),
        *((None, None), ("", None), (ABSENT, None), (10**255, str(10**255)), (-1, "-1")),
    ],
)
def test_an_iccid_may_be_a_string_or_an_integer(given: object, kept: object) -> None:
    expected = None if kept is None else str(kept)
    assert usage(iccid=given).iccid == expected
    assert status(iccid=given).iccid == expected


@pytest.mark.parametrize("value", [8.991234567890123e18, True, [], {}])
def test_rejects_an_iccid_of_another_type(value: object) -> None:
    assert refused_usage(iccid=value) == [(("data", "iccid"), "must be a string")]


@pytest.mark.parametrize("value", [10**256, -(10**255), 10**4000, "8" * 257])
def test_rejects_an_iccid_that_is_too_long(value: object) -> None:
    msg = "must have at most 256 characters"
    assert refused_usage(iccid=value) == [(("data", "iccid"), msg)]


@pytest.mark.parametrize("value", [None, "", ABSENT])
def test_a_reference_id_may_be_missing_null_or_empty(value: object) -> None:
    assert usage(reference_id=value).reference_id is None
    assert status(reference_id=value).reference_id is None


@pytest.mark.parametrize("value", [None, "", ABSENT])
def test_a_package_name_may_be_missing_null_or_empty(value: object) -> None:
    assert usage(package_name=value).package_name is None


@pytest.mark.parametrize("key", ["esim_id", "package_id"])
@pytest.mark.parametrize("value", [None, "", ABSENT])
def test_rejects_a_usage_event_without_its_identifiers(key: str, value: object) -> None:
    assert refused_usage(**{key: value}) == [(("data", key), "is required")]


@pytest.mark.parametrize(
    "key", ["esim_id", "package_id", "reference_id", "package_name", "iccid", "status"]
)
def test_rejects_identifiers_that_cannot_be_labels(key: str) -> None:
    assert refused_usage(**{key: "é" * (MAX_IDENTIFIER + 1)}) == [
        (("data", key), "must have at most 256 characters")
    ]
    assert refused_usage(**{key: "a\0"}) == [(("data", key), "must not contain a NUL character")]
    assert refused_usage(**{key: 5.5}) == [(("data", key), "must be a string")]
    assert usage(**{key: "é" * MAX_IDENTIFIER})


# Locations


@pytest.mark.parametrize("location", ["Åland Islands", "Africa Adventure", 'a"b\\c\n', "日本", " "])
def test_locations_are_names_of_any_script(location: str) -> None:
    rows = [{"data_used": 1, "location": location}]
    assert usage(usage_list=rows).snapshot.locations == ((location, MIB),)


@pytest.mark.parametrize("location", [None, "", ABSENT, "unknown"])
def test_a_row_without_a_location_is_unknown(location: object) -> None:
    rows = [changed({"data_used": 1}, {"location": location}), {"data_used": 2}]
    assert usage(usage_list=rows).snapshot.locations == (("unknown", 3 * MIB),)


@pytest.mark.parametrize(
    ("location", "msg"),
    [
        (5, "must be a string"),
        ("a" * 257, "must have at most 256 characters"),
        ("\0", "must not contain a NUL character"),
    ],
)
def test_rejects_a_location_that_cannot_be_a_label(location: object, msg: str) -> None:
    assert refused_usage(usage_list=[{"data_used": 1, "location": location}]) == [
        (("data", "usage_list", 0, "location"), msg)
    ]


# Numbers


@pytest.mark.parametrize("spell", [int, float, str, lambda n: f" {n}.0 ", lambda n: f"{n}e0"])
def test_numbers_may_be_integers_floats_or_strings(spell: Any) -> None:
    data = document("usage")["data"]
    given = {key: spell(data[key]) for key in ("timestamp", "start", "end")}
    usage_data = {
        key: value if key == "isUnlimited" else spell(value)
        for key, value in data["usage_data"].items()
    }
    rows = [row | {"data_used": spell(row["data_used"])} for row in data["usage_list"]]
    assert usage(**given, usage_data=usage_data, usage_list=rows) == USAGE


def test_remaining_may_exceed_allowed() -> None:
    snapshot = amounts(allowed_data=100, remaining_data=150)
    assert (snapshot.data_allowed, snapshot.data_remaining) == (100 * MIB, 150 * MIB)


@pytest.mark.parametrize("remaining", [-1, -0.001, "-7"])
def test_negative_remaining_data_of_a_finite_allowance_is_zero(remaining: object) -> None:
    snapshot = amounts(remaining_data=remaining)
    assert (snapshot.data_unlimited, snapshot.data_remaining) == (False, 0)


@pytest.mark.parametrize(
    ("remaining", "kept"), [(-1, None), (None, None), (ABSENT, None), (0, 0), (5, 5 * MIB)]
)
def test_without_an_allowance_only_what_is_there_remains(
    remaining: object, kept: int | None
) -> None:
    snapshot = amounts(allowed_data=ABSENT, remaining_data=remaining)
    assert (snapshot.data_unlimited, snapshot.data_allowed) == (False, None)
    assert snapshot.data_remaining == kept


def test_an_allowance_of_zero_bytes_is_an_allowance() -> None:
    snapshot = amounts(allowed_data=0, remaining_data=0)
    assert (snapshot.data_unlimited, snapshot.data_allowed) == (False, 0)
    assert snapshot.data_remaining == 0


def test_fractions_of_a_byte_round_half_to_even() -> None:
    event = usage(data_units="bytes", usage_data={"allowed_data": 2.5, "remaining_data": "1.5"})
    assert (event.snapshot.data_allowed, event.snapshot.data_remaining) == (2, 2)


AMOUNT_KEYS = [
    f"{kind}_{resource}"
    for kind in ("allowed", "remaining")
    for resource in ("data", "sms", "voice")
]


@pytest.mark.parametrize("key", AMOUNT_KEYS)
@pytest.mark.parametrize("value", [True, False, "", "NaN", "inf", "0x10", "1_000", [], {}, "1 GB"])
def test_rejects_an_amount_that_is_not_a_number(key: str, value: object) -> None:
    assert refused_amounts(**{key: value}) == [(("data", "usage_data", key), "must be a number")]


@pytest.mark.parametrize("key", AMOUNT_KEYS)
@pytest.mark.parametrize("number", ["1e400", "-1e400", "9" * 1000, "9223372036854775808", "1e19"])
def test_rejects_an_amount_out_of_range(key: str, number: str) -> None:
    for spelling in (number, f'"{number}"'):
        body = json.dumps(document("usage", usage_data={key: "HERE"}))
        with pytest.raises(InvalidEvent) as caught:
            parse(body.replace('"HERE"', spelling).encode(), NOW)
        loc = ("data", "usage_data", key)
        assert caught.value.errors == (FieldError(loc, "is out of range"),)


@pytest.mark.parametrize(
    ("key", "greatest"),
    [
        ("remaining_data", MAX_AMOUNT // MIB),
        ("allowed_sms", MAX_AMOUNT),
        ("remaining_sms", MAX_AMOUNT),
        ("allowed_voice", MAX_AMOUNT // 60),
        ("remaining_voice", MAX_AMOUNT // 60),
    ],
)
def test_the_greatest_amount_is_judged_after_conversion(key: str, greatest: int) -> None:
    assert amounts(**{key: greatest})
    assert refused_amounts(**{key: greatest + 1}) == [
        (("data", "usage_data", key), "is out of range")
    ]


# Unknown keys, order of keys


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_unknown_keys_are_normal(name: str) -> None:
    assert take(_with_unknown_keys(json.loads(payload(name)))) == GOLDEN[name]


def _with_unknown_keys(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_unknown_keys(item) for item in value]
    if isinstance(value, dict):
        return {"new": {"a": [None]}} | {k: _with_unknown_keys(v) for k, v in value.items()}
    return value


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_the_order_of_keys_does_not_matter(name: str) -> None:
    assert take(_reversed_keys(json.loads(payload(name)))) == GOLDEN[name]


def _reversed_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _reversed_keys(value[key]) for key in reversed(value)}
    return value


# Nonsense times


@pytest.mark.parametrize("name", ["usage", "status", "partner-low-balance"])
def test_an_event_whose_only_fault_is_its_time_may_be_right_at_another_clock(name: str) -> None:
    ahead = int(NOW) + 86_401
    with pytest.raises(FutureEvent) as caught:
        take(document(name, timestamp=ahead))
    assert caught.value.time == ahead
    milliseconds = {"timestamp": 1_700_000_000_000}
    second_fault = {"timestamp": ahead, "esim_id": 5, "balance": []}
    for changes in (milliseconds, second_fault):
        with pytest.raises(InvalidEvent) as other:
            take(document(name, **changes))
        assert type(other.value) is InvalidEvent


@pytest.mark.parametrize("name", ["usage", "status", "partner-low-balance"])
@pytest.mark.parametrize(
    ("time", "msg"),
    [
        *((0, "2014"), (-1, "2014"), (1_420_070_399.9, "2014"), ("0", "2014")),
        *((NOW + 86_401, "in the future"), (253_370_764_800, "in the future")),
        *((1_700_000_000_000, "in the future"), (10**999, "out of range")),
        *((None, "required"), (ABSENT, "required"), (True, "a number"), ("now", "a number")),
    ],
)
def test_rejects_an_event_that_would_freeze_an_esim(name: str, time: object, msg: str) -> None:
    [(loc, found)] = refused(document(name, timestamp=time))
    assert loc == ("data", "timestamp")
    assert msg in found


@pytest.mark.parametrize(
    ("given", "time"),
    [
        (1_420_070_400, 1_420_070_400),
        (NOW + 86_400, 1_700_086_500),
        ("1700000000.999", 1_700_000_000),
    ],
)
def test_accepts_times_from_2015_to_a_day_ahead(given: object, time: int) -> None:
    assert usage(timestamp=given).time == time
    assert status(timestamp=given).time == time
    assert partner(timestamp=given).time == time


# Event types that carry no eSIM metrics


@pytest.mark.parametrize(
    ("category", "spelling", "event_type"),
    [
        ("affiliate", "order", "order"),
        ("refund", "refunded", "refunded"),
        ("refund", "rejected", "rejected"),
        (None, "Order", "order"),
        ("refund", "order", "other"),
        ("partner", "usage", "other"),
        ("esim", "low_balance", "other"),
        ("new", "status", "other"),
        ("esim", "activated", "other"),
        (None, "", "other"),
        ("esim", "x" * 10_000, "other"),
        ("esim", "other", "other"),
    ],
)
@pytest.mark.parametrize("data", [None, {}, {"timestamp": "never"}, [], 5, "text"])
def test_accepts_any_event_without_esim_metrics(
    category: str | None, spelling: str, event_type: str, data: object
) -> None:
    top = {"event_category": category, "event_type": spelling, "data": data}
    assert take(top) == OtherEvent(VENDOR, event_type)


# Partner events


@pytest.mark.parametrize("event_type", ["low_balance", "insufficient_balance", "top_up"])
def test_parses_partner_events(event_type: str) -> None:
    event = take(document("partner-low-balance") | {"event_type": event_type})
    assert event == PARTNER._replace(event_type=event_type)


@pytest.mark.parametrize(
    ("given", "balance"), [(-3.5, -3.5), ("12.25", 12.25), (0, 0.0), (7, 7.0), (1e-400, 0.0)]
)
def test_a_balance_is_any_number(given: object, balance: float) -> None:
    read = partner(balance=given).balance
    assert read == balance
    assert isinstance(read, float)


@pytest.mark.parametrize("threshold", [None, ABSENT])
def test_a_threshold_may_be_missing(threshold: object) -> None:
    assert partner(threshold=threshold).threshold is None


def test_a_currency_is_upper_case() -> None:
    assert partner(currency="usd").currency == "USD"


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"balance": None}, (("data", "balance"), "is required")),
        ({"balance": ABSENT}, (("data", "balance"), "is required")),
        ({"balance": "much"}, (("data", "balance"), "must be a number")),
        ({"balance": 10**30}, (("data", "balance"), "is out of range")),
        ({"threshold": "low"}, (("data", "threshold"), "must be a number")),
        ({"currency": None}, (("data", "currency"), "is required")),
        ({"currency": ""}, (("data", "currency"), "is required")),
        ({"currency": 840}, (("data", "currency"), "must be a string")),
        ({"currency": "U" * 17}, (("data", "currency"), "must have at most 16 characters")),
        ({"currency": "ß" * 9}, (("data", "currency"), "must have at most 16 characters")),
        ({"currency": "\0"}, (("data", "currency"), "must not contain a NUL character")),
    ],
)
def test_rejects_a_partner_event_that_does_not_fit(
    changes: dict[str, Any], error: tuple[tuple[str, ...], str]
) -> None:
    assert refused(document("partner-low-balance", **changes)) == [error]


# Bad input


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b" ", b"{", b"not json", b"\xff\xfe", b'{"event_type": "\xff"}', b'"\\ud800"'),
        *(
            b"\xef\xbb\xbf",
            b"{}\xef\xbb\xbf",
            b"{}x",
            b'{"a": NaN}',
            b'{"a": Infinity}',
            b'{"a": -Infinity}',
        ),
        *(b"[" * 100_000, b'{"a":' * 100_000, b"[" * 300 + b"]" * 300, b"{'a': 1}", b"\0"),
        *(b'{"a": 1,}', b'{"a": 0x10}', b"9" * 5000),
    ],
)
def test_rejects_a_body_that_is_not_json(body: bytes) -> None:
    with pytest.raises(MalformedEvent, match=r"^the body is not JSON at line \d+ column \d+$"):
        parse(body, NOW)


@pytest.mark.parametrize("top", [None, True, 1, 1.5, "usage", [], [{}], 10**999])
def test_rejects_a_document_that_is_not_an_object(top: object) -> None:
    assert refused(top) == [((), "must be an object")]


@pytest.mark.parametrize("data", [1, True, "", "text", [], [{}], 0.0])
@pytest.mark.parametrize("name", ["usage", "status", "partner-low-balance"])
def test_rejects_data_that_is_not_an_object(name: str, data: object) -> None:
    top = json.loads(payload(name)) | {"data": data}
    assert refused(top) == [(("data",), "must be an object")]


@pytest.mark.parametrize(
    ("changes", "errors"),
    [
        ({"event_type": ABSENT}, [(("event_type",), "is required")]),
        ({"event_type": None}, [(("event_type",), "is required")]),
        ({"event_type": 5}, [(("event_type",), "must be a string")]),
        ({"event_type": ["usage"]}, [(("event_type",), "must be a string")]),
        ({"event_category": 5}, [(("event_category",), "must be a string")]),
        (
            {"event_type": {}, "event_category": []},
            [(("event_category",), "must be a string"), (("event_type",), "must be a string")],
        ),
    ],
)
def test_rejects_an_event_without_a_type(
    changes: dict[str, Any], errors: list[tuple[tuple[str, ...], str]]
) -> None:
    assert refused(changed(document("usage"), changes)) == errors


@pytest.mark.parametrize(
    ("value", "msg"),
    [
        *((None, "is required"), (ABSENT, "is required"), ([], "must be an object")),
        *(("x", "must be an object"), (1, "must be an object")),
    ],
)
def test_rejects_a_usage_event_without_usage_data(value: object, msg: str) -> None:
    assert refused_usage(usage_data=value) == [(("data", "usage_data"), msg)]


@pytest.mark.parametrize(
    "amounts",
    [
        {},
        {"isUnlimited": False},
        {"allowedData": 1024, "remainingData": 512},
        {"allowed_data": None, "remaining_data": -1, "allowed_sms": -1, "remaining_sms": -1},
        {"allowedData": 1024, "allowed_sms": 0, "remaining_sms": 0, "allowed_voice": -1},
    ],
)
def test_rejects_a_usage_event_without_any_known_amount(amounts: dict[str, object]) -> None:
    assert refused_usage(usage_data=amounts) == [
        (("data", "usage_data"), "holds no amount that is known")
    ]


@pytest.mark.parametrize(
    ("amounts", "expected"),
    [
        ({"isUnlimited": True}, Snapshot(data_unlimited=True)),
        ({"allowed_data": 0}, Snapshot(data_allowed=0)),
        ({"remaining_sms": 4}, Snapshot(sms_remaining=4)),
        ({"allowed_voice": 1}, Snapshot(voice_allowed=60)),
    ],
)
def test_one_known_amount_is_enough(amounts: dict[str, object], expected: Snapshot) -> None:
    snapshot = usage(usage_data=amounts, usage_list=None).snapshot
    assert snapshot == expected._replace(start=1_699_996_800, end=1_700_000_400)


def test_a_byte_order_mark_before_the_document_changes_nothing() -> None:
    assert parse(b"\xef\xbb\xbf" + payload("usage"), NOW) == USAGE


# Fields that are not documented


def noticed(top: object) -> list[str]:
    """Return what the parser notices in a document, be it accepted or not."""
    names: list[str] = []
    with suppress(InvalidEvent):
        parse(json.dumps(top).encode(), NOW, unknown=names.append)
    return sorted(names)


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_nothing_of_a_published_payload_is_unknown(name: str) -> None:
    assert noticed(json.loads(payload(name))) == []


def test_unknown_fields_are_named_by_their_place_once_for_each_document() -> None:
    top = document("usage", roaming=True) | {"version": 2}
    top["data"]["usage_data"]["bonus_data"] = 5
    for row in top["data"]["usage_list"]:
        row["cost"] = 1
    assert noticed(top) == [
        *("data.roaming", "data.usage_data.bonus_data", "data.usage_list.cost", "version"),
    ]
    flat = {**top, **top["data"], "data": None}
    assert noticed(flat) == ["roaming", "usage_data.bonus_data", "usage_list.cost", "version"]


def test_the_unknown_fields_of_a_document_that_does_not_fit_tell_why() -> None:
    renamed = document("usage", usage_data={"allowedData": 10, "remainingData": 5})
    assert noticed(renamed) == ["data.usage_data.allowedData", "data.usage_data.remainingData"]


def test_fields_of_events_that_are_only_counted_are_not_unknown() -> None:
    assert noticed({"event_type": "announced", "data": {"anything": 1}}) == []


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({"remaining_data": ABSENT}, ["usage_data.remaining_data (missing)"]),
        ({"allowed_data": None}, ["usage_data.allowed_data (missing)"]),
        (
            {"allowed_sms": ABSENT, "remaining_voice": ABSENT},
            ["usage_data.allowed_sms (missing)", "usage_data.remaining_voice (missing)"],
        ),
        ({"isUnlimited": True, "remaining_data": ABSENT}, []),
        ({"allowed_data": -1, "remaining_data": ABSENT}, []),
        ({"allowed_sms": -1, "remaining_sms": ABSENT}, []),
        ({"allowed_sms": ABSENT, "remaining_sms": ABSENT}, []),
    ],
)
def test_the_missing_half_of_a_pair_is_noticed(
    changes: dict[str, object], missing: list[str]
) -> None:
    amounts = changed(document("usage")["data"]["usage_data"], changes)
    assert noticed(document("usage", usage_data=amounts)) == missing


@pytest.mark.parametrize(
    "key",
    [
        *("8991234567890123456", ESIM_ID, "", "a b", "data.usage", 'x"y', "größe", "日本", "\0"),
        *("ref_1234567890", "a" * 41, "a\n", "a123"),
    ],
)
def test_a_key_that_could_be_a_value_is_not_named(key: str) -> None:
    assert noticed(document("usage", **{key: 1})) == ["other"]


@settings(deadline=None)
@given(st.dictionaries(st.text(), st.integers()))
def test_names_are_short_and_plain_whatever_a_payload_holds(more: dict[str, int]) -> None:
    top = document("usage", usage_data=document("usage")["data"]["usage_data"] | more)
    for name in noticed(top | more):
        assert re.fullmatch(r"[A-Za-z0-9_.]{1,60}|usage_data\.\w+ \(missing\)", name)


def test_reports_several_errors_in_the_order_of_the_document() -> None:
    top = {
        "data": {
            "usage_list": [{"location": 5, "data_used": -1}, 7],
            "status": 1,
            "usage_data": {"remaining_sms": "x", "allowed_data": "x"},
            "esim_id": 9,
        },
        "event_type": "usage",
    }
    assert [loc for loc, _ in refused(top)] == [
        ("data", "usage_list", 0, "location"),
        ("data", "usage_list", 0, "data_used"),
        ("data", "usage_list", 1),
        ("data", "status"),
        ("data", "usage_data", "remaining_sms"),
        ("data", "usage_data", "allowed_data"),
        ("data", "esim_id"),
        ("data", "timestamp"),
        ("data", "package_id"),
    ]


def test_reports_at_most_twenty_errors_and_those_are_the_first() -> None:
    errors = refused_usage(status=5, usage_list=[5] * 10_000)
    assert [loc for loc, _ in errors] == [
        ("data", "status"),
        *(("data", "usage_list", row) for row in range(19)),
    ]


def test_an_error_names_what_is_wrong_without_repeating_it() -> None:
    secret = "8991234567890123456x"
    for body in (payload("usage").replace(b"8991234567890123456", b"\0"), secret.encode()):
        with pytest.raises(MalformedEvent) as malformed:
            parse(body, NOW)
        assert secret not in str(malformed.value)
        assert malformed.value.__suppress_context__
    for top in _replaced_everywhere(document("usage"), secret):
        try:
            take(top)
        except InvalidEvent as error:
            assert secret not in str(error)  # noqa: PT017  # not every place causes an error


def _replaced_everywhere(top: dict[str, Any], value: Any) -> list[Any]:
    return [_replaced(top, path, value) for path in _paths(top)]


def _paths(value: Any) -> list[tuple[str | int, ...]]:
    """Return the path of every value in a document, the document itself included."""
    children: list[tuple[str | int, Any]] = []
    if isinstance(value, dict):
        children = list(value.items())
    elif isinstance(value, list):
        children = list(enumerate(value))
    return [(), *((key, *path) for key, child in children for path in _paths(child))]


def _replaced(top: Any, path: tuple[str | int, ...], value: Any) -> Any:
    if not path:
        return value
    top = copy.copy(top)
    top[path[0]] = _replaced(top[path[0]], path[1:], value)
    return top


# Any input

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([10**999, -(10**4000), MAX_AMOUNT, 2**53 - 1, -1, 0, "1e999999999", ""]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=10),
    st.sampled_from(["MB", "GB", "TiB", "seconds", "true", "9" * 30, "-0.5", "1e18", "x" * 300]),
)
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
NAMES = st.sampled_from(["usage", "usage-flat", "status", "status-flat", "partner-low-balance"])


@st.composite
def documents(draw: st.DrawFn) -> Any:
    """Draw a payload with any JSON values in any places."""
    top = json.loads(payload(draw(NAMES)))
    for _ in range(draw(st.integers(1, 4))):
        top = _replaced(top, draw(st.sampled_from(_paths(top))), draw(JSON))
    return top


def assert_taken_or_refused(body: bytes, unit_base: int) -> None:
    try:
        event = parse(body, NOW, Reading(unit_base))
    except MalformedEvent:
        return
    except InvalidEvent as error:
        assert 1 <= len(error.errors) <= 20  # noqa: PT017  # both outcomes are right
        return
    assert_within_bounds(event)


def assert_within_bounds(event: Event) -> None:
    if isinstance(event, UsageEvent):
        s = event.snapshot
        given_amounts = [
            *(s.data_allowed, s.data_remaining, s.sms_allowed, s.sms_remaining),
            *(s.voice_allowed, s.voice_remaining, sum(used for _, used in s.locations or ())),
            *(used for _, used in s.locations or ()),
        ]
        assert all(amount is None or 0 <= amount <= MAX_AMOUNT for amount in given_amounts)
        assert all(amount is None or isinstance(amount, int) for amount in given_amounts)
        assert all(time is None or abs(time) <= MAX_AMOUNT for time in (s.start, s.end))
        assert not s.data_unlimited or (s.data_allowed, s.data_remaining) == (None, None)
        assert s.locations is None or list(s.locations) == sorted(s.locations)
        assert 0 < len(event.package_id) <= MAX_IDENTIFIER
    if isinstance(event, UsageEvent | StatusEvent):
        assert 0 < len(event.esim_id) <= MAX_IDENTIFIER
        assert event.iccid is None or 0 < len(event.iccid) <= MAX_IDENTIFIER
    if isinstance(event, PartnerEvent):
        assert math.isfinite(event.balance)
        assert 0 < len(event.currency) <= 16
    if not isinstance(event, OtherEvent):
        assert 1_420_070_400 <= event.time <= NOW + 86_400


@settings(deadline=None, max_examples=200)
@given(documents(), st.sampled_from([1000, 1024]))
@example({"event_type": "usage"}, 1024)
def test_any_json_value_at_any_place_is_accepted_or_refused(top: Any, unit_base: int) -> None:
    assert_taken_or_refused(json.dumps(top).encode(), unit_base)


@settings(deadline=None, max_examples=200)
@given(NAMES, st.integers(0), st.integers(0, 30), st.binary(max_size=10))
def test_any_bytes_are_accepted_or_refused(name: str, at: int, size: int, other: bytes) -> None:
    body = payload(name)
    at %= len(body)
    assert_taken_or_refused(body[:at] + other + body[at + size :], 1024)


@settings(deadline=None)
@given(NAMES, st.data())
def test_only_event_errors_are_raised_for_a_missing_value(name: str, data: st.DataObject) -> None:
    top = json.loads(payload(name))
    *parents, last = data.draw(st.sampled_from(_paths(top)[1:]))
    holder = top = copy.deepcopy(top)
    for step in parents:
        holder = holder[step]
    del holder[last]
    try:
        take(top)
    except EventError as error:
        assert isinstance(error, InvalidEvent)  # noqa: PT017  # both outcomes are right


NUMBER_TEXTS = st.one_of(
    st.integers(-(2**64), 2**64).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.from_regex(r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,9})?([eE][+-]?[0-9]{1,3})?", fullmatch=True),
)


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from(AMOUNT_KEYS), NUMBER_TEXTS, max_size=6),
    st.sampled_from(["bytes", "KB", "MB", "TB"]),
    st.sampled_from(["minutes", "seconds"]),
)
def test_a_string_of_digits_equals_the_number(
    numbers: dict[str, str], data_units: str, voice_units: str
) -> None:
    units = {"data_units": data_units, "voice_units": voice_units}
    as_strings = json.dumps(document("usage", usage_data=numbers, **units))
    as_numbers = as_strings
    for text in numbers.values():
        as_numbers = as_numbers.replace(f'"{text}"', text)
    assert _outcome(as_strings) == _outcome(as_numbers)


def _outcome(body: str) -> Event | tuple[FieldError, ...]:
    try:
        return parse(body.encode(), NOW)
    except InvalidEvent as error:
        return error.errors


def test_a_balance_and_a_threshold_of_minus_zero_are_zero() -> None:
    body = payload("partner-low-balance").replace(b"100.0", b"-0.0").replace(b"50.0", b"-0.0")
    event = parse(body, NOW)
    assert isinstance(event, PartnerEvent)
    assert (str(event.balance), str(event.threshold)) == ("0.0", "0.0")


def test_the_latest_event_time_fits_into_a_sample() -> None:
    late = payload("usage").replace(b"1700000000", str(MAX_TIME + 1).encode())
    with pytest.raises(InvalidEvent, match="timestamp"):
        parse(late, MAX_TIME + 1.0)
    latest = payload("usage").replace(b"1700000000", str(MAX_TIME).encode())
    event = parse(latest, MAX_TIME + 1.0)
    assert isinstance(event, UsageEvent)
    assert event.time == MAX_TIME
