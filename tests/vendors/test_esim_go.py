from __future__ import annotations

import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import altered_documents
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.errors import FutureEvent, InvalidEvent
from exporter.model.events import (
    MAX_AMOUNT,
    Assignment,
    Event,
    OtherEvent,
    Snapshot,
    Status,
    StatusEvent,
    UsageEvent,
)
from exporter.vendors.authentication import Presented, Received
from exporter.vendors.esim_go import ESIM_GO, EVENT_TYPES, SIGNATURE_HEADER, VENDOR, parse
from exporter.vendors.vendor import Reading

PAYLOADS = altered_documents.payloads(Path(__file__).parent.parent / "payloads/esim-go")
NOW = 1_790_000_000.75
ICCID = "8944500000000000001"
START, END = 1_777_629_600, 1_778_234_400  # 2026-05-01T10:00:00Z, seven days later
ABSENT = object()

V2 = UsageEvent(
    vendor="esim-go",
    time=1_790_000_000,
    esim_id=ICCID,
    package_id="esim_1GB_7D_GB_V2",
    snapshot=Snapshot(data_allowed=1_000_000_000, data_remaining=500_000_000, start=START, end=END),
    iccid=ICCID,
    parts=frozenset({"data", "period"}),
    assignment=Assignment(START, ""),
)
V3 = V2._replace(
    package_name="eSIM, 1GB, 7 Days, United Kingdom, V2", assignment=Assignment(START, "900000001")
)
GOLDEN: dict[str, Event] = {
    "utilisation-v2": V2,
    "utilisation-v3": V3,
    "first-use": V2._replace(snapshot=V2.snapshot._replace(data_remaining=1_000_000_000)),
    "utilisation-v3-voice": V3._replace(
        package_id="esim_UL_VOICE_30D_GB",
        package_name="voice part",
        snapshot=Snapshot(voice_allowed=6000, voice_remaining=1200, start=START, end=END),
        parts=frozenset({"voice", "period"}),
        assignment=Assignment(START, "900000002"),
    ),
    "utilisation-v3-unlimited": V3._replace(
        package_id="esim_UL_7D_GB_V2",
        package_name="eSIM, Unlimited, 7 Days",
        snapshot=Snapshot(data_unlimited=True, start=START, end=END),
        assignment=Assignment(START, "900000003"),
    ),
    "country-change": OtherEvent("esim-go", "country_change"),
    "esim-deleted": StatusEvent(
        "esim-go",
        1_782_739_202,  # 2026-06-29T13:20:02Z
        ICCID,
        Status.DELETED,
        iccid=ICCID,
    ),
}


def changed(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in (values | changes).items() if value is not ABSENT}


def document(name: str, top: dict[str, Any] | None = None, /, **bundle: Any) -> dict[str, Any]:
    """Return a payload with fields of itself and of its ``bundle`` changed."""
    found: dict[str, Any] = json.loads(PAYLOADS[name])
    if bundle:
        found["bundle"] = changed(found["bundle"], bundle)
    return changed(found, top or {})


def take(found: Any) -> Event:
    return parse(json.dumps(found).encode(), NOW)


def usage(name: str, top: dict[str, Any] | None = None, /, **bundle: Any) -> UsageEvent:
    event = take(document(name, top, **bundle))
    assert isinstance(event, UsageEvent)
    return event


def refused(found: Any) -> list[tuple[str, str]]:
    with pytest.raises(InvalidEvent) as caught:
        take(found)
    return [(".".join(map(str, error.loc)), error.msg) for error in caught.value.errors]


def noticed(found: Any) -> list[str]:
    names: list[str] = []
    try:
        parse(json.dumps(found).encode(), NOW, unknown=names.append)
    except InvalidEvent:
        names.append("refused")
    return names


# The documented payloads


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_translates_the_documented_payload(name: str) -> None:
    assert parse(PAYLOADS[name], NOW) == GOLDEN[name]
    assert noticed(json.loads(PAYLOADS[name])) == []


def test_every_payload_has_an_expected_event_or_error() -> None:
    assert set(PAYLOADS) == {*GOLDEN, "utilisation-old-units"}


def test_event_types_are_the_closed_set_of_labels() -> None:
    expected = ("country_change", "deletion_scheduled", "other", "status", "usage")
    assert expected == EVENT_TYPES == ESIM_GO.event_types
    assert ESIM_GO.name == VENDOR == "esim-go"


@pytest.mark.parametrize(
    "spelling", ["Utilisation", "usage", "FirstUse", "UTILISATION", "firstuse"]
)
def test_all_usage_has_one_form(spelling: str) -> None:
    assert usage("utilisation-v3", {"alertType": spelling}) == V3


@pytest.mark.parametrize(
    ("top", "event_type"),
    [
        ({"alertType": "CountryChange"}, "country_change"),
        ({"alertType": "countrychange", "iccid": 5, "country": []}, "country_change"),
        ({"event": "esim.deletion_scheduled", "date": "never"}, "deletion_scheduled"),
        ({"alertType": "BalanceLow"}, "other"),
        ({"event": "esim.installed"}, "other"),
        ({"alertType": "x" * 10_000}, "other"),
        ({"alertType": "esim.deleted"}, "other"),
        ({"event": "Utilisation"}, "other"),
        ({"alertType": "CountryChange", "event": "esim.deleted"}, "country_change"),
        ({"alertType": "", "event": "esim.deletion_scheduled"}, "deletion_scheduled"),
    ],
)
def test_accepts_any_event_without_esim_metrics(top: dict[str, Any], event_type: str) -> None:
    assert take(top) == OtherEvent("esim-go", event_type)
    assert noticed(top | {"new": 1}) == []


@pytest.mark.parametrize(
    ("top", "error"),
    [
        ({}, ("alertType", "is required")),
        ({"alertType": None, "event": None}, ("alertType", "is required")),
        ({"alertType": "", "event": ""}, ("alertType", "is required")),
        ({"alertType": 5}, ("alertType", "must be a string")),
        ({"event": ["esim.deleted"]}, ("event", "must be a string")),
    ],
)
def test_refuses_an_event_without_a_type(top: dict[str, Any], error: tuple[str, str]) -> None:
    assert refused(top) == [error]


# The amounts


@pytest.mark.parametrize(
    ("unit", "expected", "resource"),
    [
        ("BYTES", Snapshot(data_allowed=100, data_remaining=20), "data"),
        ("bytes", Snapshot(data_allowed=100, data_remaining=20), "data"),
        ("SMSmessages", Snapshot(sms_allowed=100, sms_remaining=20), "sms"),
        ("smsmessages", Snapshot(sms_allowed=100, sms_remaining=20), "sms"),
        ("minutes", Snapshot(voice_allowed=6000, voice_remaining=1200), "voice"),
        ("Minutes", Snapshot(voice_allowed=6000, voice_remaining=1200), "voice"),
        (ABSENT, Snapshot(data_allowed=100, data_remaining=20), "data"),
        (None, Snapshot(data_allowed=100, data_remaining=20), "data"),
        ("", Snapshot(data_allowed=100, data_remaining=20), "data"),
    ],
)
def test_an_event_speaks_of_one_resource(unit: Any, expected: Snapshot, resource: str) -> None:
    event = usage("utilisation-v3-voice", unit=unit)
    assert event.snapshot == expected._replace(start=START, end=END)
    assert event.parts == {resource, "period"}


@pytest.mark.parametrize("unit", ["MB", "hours", "sms", "BYTES ", 1, True, [], {}])
def test_refuses_an_unknown_unit(unit: Any) -> None:
    assert refused(document("utilisation-v3", unit=unit)) == [
        ("bundle.unit", "is not a known unit")
    ]


@pytest.mark.parametrize("initial", [1000.0, 0, 999_999, "1000", -1])
def test_refuses_small_amounts_that_may_be_in_an_old_unit(initial: Any) -> None:
    error = ("bundle.initialQuantity", "is too small for bytes, and no unit is named")
    assert refused(json.loads(PAYLOADS["utilisation-old-units"])) == [error]
    assert refused(document("utilisation-v2", initialQuantity=initial)) == [error]


@pytest.mark.parametrize(
    "named", [{"id": "1"}, {"reference": "1"}, {"unit": "BYTES"}, {"initialQuantity": 1_000_000}]
)
def test_small_amounts_are_bytes_where_the_format_is_new(named: dict[str, Any]) -> None:
    event = usage("utilisation-v2", **{"initialQuantity": 1000, "remainingQuantity": 90} | named)
    allowed = named.get("initialQuantity", 1000)
    expected = V2.snapshot._replace(data_allowed=allowed, data_remaining=90)
    assert event.snapshot == expected


def test_an_amount_of_an_unknown_unit_is_refused_without_the_quantity_that_tells_it() -> None:
    assert refused(document("utilisation-v2", initialQuantity=None)) == [
        ("bundle.initialQuantity", "is required")
    ]


@pytest.mark.parametrize(
    ("changes", "allowed", "remaining"),
    [
        ({"initialQuantity": "1024", "remainingQuantity": " 512 "}, 1024, 512),
        ({"initialQuantity": 1.5, "remainingQuantity": 0.5}, 2, 0),
        ({"remainingQuantity": -3}, 1_000_000_000, 0),
        ({"remainingQuantity": 2_000_000_000}, 1_000_000_000, 2_000_000_000),
        ({"initialQuantity": MAX_AMOUNT}, MAX_AMOUNT, 500_000_000),
    ],
)
def test_amounts_are_numbers(changes: dict[str, Any], allowed: int, remaining: int) -> None:
    expected = V3.snapshot._replace(data_allowed=allowed, data_remaining=remaining)
    assert usage("utilisation-v3", **changes) == V3._replace(snapshot=expected)


@pytest.mark.parametrize("key", ["initialQuantity", "remainingQuantity"])
@pytest.mark.parametrize(
    ("value", "msg"),
    [
        *((True, "must be a number"), ("", "must be a number"), ("1 GB", "must be a number")),
        *(([], "must be a number"), (2**63, "is out of range"), ("1e99", "is out of range")),
    ],
)
def test_refuses_an_amount_that_is_not_a_number(key: str, value: Any, msg: str) -> None:
    assert refused(document("utilisation-v3", **{key: value})) == [(f"bundle.{key}", msg)]


@pytest.mark.parametrize("key", ["initialQuantity", "remainingQuantity"])
def test_the_greatest_amount_is_judged_after_conversion(key: str) -> None:
    assert usage("utilisation-v3-voice", **{key: MAX_AMOUNT // 60})
    assert refused(document("utilisation-v3-voice", **{key: MAX_AMOUNT // 60 + 1})) == [
        (f"bundle.{key}", "is out of range")
    ]


def test_refuses_a_negative_allowance() -> None:
    assert refused(document("utilisation-v3", initialQuantity=-1)) == [
        ("bundle.initialQuantity", "must not be negative")
    ]


def test_what_is_left_must_be_known_because_it_orders_events() -> None:
    for value in (ABSENT, None):
        assert refused(document("utilisation-v3", remainingQuantity=value)) == [
            ("bundle.remainingQuantity", "is required")
        ]


def test_a_missing_allowance_is_noticed() -> None:
    found = document("utilisation-v3", initialQuantity=ABSENT)
    assert take(found) == V3._replace(snapshot=V3.snapshot._replace(data_allowed=None))
    assert noticed(found) == ["bundle.initialQuantity (missing)"]


@pytest.mark.parametrize("flag", [True, 1, "true"])
@pytest.mark.parametrize(
    "quantities",
    [
        {},
        {"initialQuantity": ABSENT, "remainingQuantity": ABSENT},
        {"initialQuantity": -1, "remainingQuantity": -1},
        {"initialQuantity": 5},
    ],
)
def test_quantities_of_an_unlimited_bundle_are_not_used(
    flag: Any, quantities: dict[str, Any]
) -> None:
    unlimited = Snapshot(data_unlimited=True, start=START, end=END)
    for name, event in (("utilisation-v2", V2), ("utilisation-v3", V3)):
        found = document(name, unlimited=flag, **quantities)
        assert take(found) == event._replace(snapshot=unlimited)
        assert noticed(found) == []


@pytest.mark.parametrize(("unit", "resource"), [("minutes", "voice"), ("SMSmessages", "sms")])
def test_unlimited_voice_and_sms_have_no_amounts(unit: str, resource: str) -> None:
    event = usage("utilisation-v3", unit=unit, unlimited=True)
    assert event.snapshot == Snapshot(start=START, end=END)
    assert event.parts == {resource, "period"}


@pytest.mark.parametrize("flag", ["yes", 2, "", []])
def test_refuses_a_flag_that_is_neither_true_nor_false(flag: Any) -> None:
    assert refused(document("utilisation-v3", unlimited=flag)) == [
        ("bundle.unlimited", "must be true or false")
    ]


# Time and assignments


def test_an_event_has_the_time_at_which_it_was_received() -> None:
    body = PAYLOADS["utilisation-v3"]
    assert parse(body, 1_790_000_001.999) == V3._replace(time=1_790_000_001)
    assert not ESIM_GO.has_event_time


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "900000001"),
        ({"id": 900000001}, "900000001"),
        ({"id": None}, "0f0e0d0c-0b0a-4908-8706-050403020100-0"),
        ({"id": "", "reference": ABSENT}, ""),
    ],
)
def test_an_assignment_has_the_name_that_the_vendor_gives(
    changes: dict[str, Any], name: str
) -> None:
    assert usage("utilisation-v3", **changes) == V3._replace(assignment=Assignment(START, name))


@pytest.mark.parametrize(
    ("start", "kept", "assigned"),
    [
        ("2026-05-02T10:00:00+02:00", START + 22 * 3600, START + 22 * 3600),
        *((ABSENT, None, 0), (None, None, 0), ("", None, 0)),
        ("0001-01-01T00:00:00Z", -62_135_596_800, 0),
    ],
)
def test_an_assignment_is_as_old_as_its_start(start: Any, kept: int | None, assigned: int) -> None:
    event = usage("utilisation-v3", startTime=start)
    assert event.snapshot.start == kept
    assert event.assignment == Assignment(assigned, "900000001")


@pytest.mark.parametrize("end", [ABSENT, None, ""])
def test_the_end_may_be_empty(end: Any) -> None:
    assert usage("utilisation-v3", endTime=end).snapshot == V3.snapshot._replace(end=None)


@pytest.mark.parametrize("key", ["startTime", "endTime"])
@pytest.mark.parametrize("value", ["soon", "2026-05-01T10:00:00", "2026-05-01", 5, True, []])
def test_refuses_a_start_or_end_that_is_not_a_time(key: str, value: Any) -> None:
    assert refused(document("utilisation-v3", **{key: value})) == [
        (f"bundle.{key}", "must be a time such as 2026-04-24T07:31:05Z")
    ]


# Deletion


@pytest.mark.parametrize(
    ("date", "msg"),
    [
        *((ABSENT, "is required"), (None, "is required"), ("", "is required")),
        *(("2014-12-31T23:59:59Z", "2014"), (1_782_739_202, "must be a time")),
        *(("2026-06-29", "must be a time"), ("2200-01-01T00:00:00Z", "too far in the future")),
    ],
)
def test_refuses_a_deletion_without_its_time(date: Any, msg: str) -> None:
    [(loc, found)] = refused(document("esim-deleted", {"date": date}))
    assert loc == "date"
    assert msg in found


def test_refuses_a_deletion_more_than_a_day_ahead() -> None:
    body = PAYLOADS["esim-deleted"]
    assert parse(body, 1_782_739_202 - 86_400) == GOLDEN["esim-deleted"]
    with pytest.raises(FutureEvent) as caught:
        parse(body, 1_782_739_202 - 86_401)
    assert caught.value.time == 1_782_739_202


# The ICCID


@pytest.mark.parametrize("name", ["utilisation-v2", "first-use", "esim-deleted"])
def test_an_esim_is_named_as_the_operator_decided(name: str) -> None:
    reading = Reading(esim_id_of=lambda iccid: f"hash of {iccid}")
    event = parse(PAYLOADS[name], NOW, reading)
    assert isinstance(event, UsageEvent | StatusEvent)
    assert event.esim_id == f"hash of {ICCID}"
    assert event.iccid == ICCID
    assert ESIM_GO.named_by_iccid


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        *((ICCID, ICCID), (int(ICCID), ICCID), ("8" * 18, "8" * 18), ("9" * 22, "9" * 22)),
        *(("0" * 19, "0" * 19), (894450000000012345, "894450000000012345")),
        *((89445000000000012345, "89445000000000012345"), ("8944500000000000000",) * 2),
    ],
)
def test_an_iccid_is_a_string_of_digits_or_a_whole_number(given: Any, kept: str) -> None:
    for name in ("utilisation-v3", "esim-deleted"):
        event = take(document(name, {"iccid": given}))
        assert isinstance(event, UsageEvent | StatusEvent)
        assert (event.esim_id, event.iccid) == (kept, kept)


@pytest.mark.parametrize(
    ("iccid", "msg"),
    [
        *((ABSENT, "is required"), (None, "is required"), ("", "is required")),
        *((8.9445e18, "must be a string"), (True, "must be a string"), ([], "must be a string")),
        *(("8.9445e18", "must have 18 to 22 digits"), ("8" * 17, "must have 18 to 22 digits")),
        *(("8" * 23, "must have 18 to 22 digits"), ("٣" * 19, "must have 18 to 22 digits")),
        *((f" {ICCID}", "must have 18 to 22 digits"), (f"{ICCID}\n", "must have 18 to 22 digits")),
        *((5, "must have 18 to 22 digits"), (-int(ICCID), "must have 18 to 22 digits")),
        *((10**22, "must have 18 to 22 digits"), (10**4000, "must have 18 to 22 digits")),
        (-(10**4000), "must have 18 to 22 digits"),
    ],
)
def test_refuses_anything_else_as_an_iccid(iccid: Any, msg: str) -> None:
    for name in ("utilisation-v3", "first-use", "esim-deleted"):
        assert refused(document(name, {"iccid": iccid})) == [("iccid", msg)]


@pytest.mark.parametrize(
    "rounded",
    [
        8944500000000000000,  # the documented sample
        8944501234567890000,  # as JavaScript and Go write 8944501234567890123
        8944501234567889920,  # all digits of what they hold
        894450123456789012 // 128 * 128,
        894450123456789 * 10_000,  # as a spreadsheet does, with 15 digits
    ],
)
def test_refuses_a_number_that_may_have_lost_digits(rounded: int) -> None:
    assert refused(document("first-use", {"iccid": rounded})) == [
        ("iccid", "must be a string: this number may have lost digits")
    ]
    assert usage("first-use", {"iccid": str(rounded)}).iccid == str(rounded)


@given(st.integers(10**17, 10**20))
def test_no_number_that_was_rounded_is_taken(number: int) -> None:
    held = float(number)
    shortest = int(f"{held!r}".partition("e")[0].replace(".", "").ljust(len(str(int(held))), "0"))
    for written in (int(held), shortest):
        [(loc, msg)] = refused(document("first-use", {"iccid": written}))
        assert (loc, "lost digits" in msg) == ("iccid", True)


# Other names


@pytest.mark.parametrize(
    ("key", "absent"), [("description", {"package_name": None}), ("reference", {}), ("id", {})]
)
@pytest.mark.parametrize("value", [ABSENT, None, ""])
def test_names_may_be_missing(key: str, absent: dict[str, Any], value: Any) -> None:
    event = usage("utilisation-v3", **{key: value})
    assert event._replace(assignment=V3.assignment) == V3._replace(**absent)


@pytest.mark.parametrize("key", ["name", "id", "reference", "description"])
@pytest.mark.parametrize(
    ("value", "msg"),
    [
        ("é" * 257, "must have at most 256 characters"),
        ("a\0", "must not contain a NUL character"),
        (5.5, "must be a string"),
        ({}, "must be a string"),
    ],
)
def test_refuses_names_that_cannot_be_labels(key: str, value: Any, msg: str) -> None:
    assert refused(document("utilisation-v3", **{key: value})) == [(f"bundle.{key}", msg)]


@pytest.mark.parametrize(
    ("bundle", "errors"),
    [
        (None, [("bundle", "is required")]),
        ([], [("bundle", "must be an object")]),
        ({}, [("bundle.name", "is required")]),
    ],
)
def test_refuses_usage_without_a_bundle(bundle: Any, errors: list[tuple[str, str]]) -> None:
    assert refused(document("utilisation-v3", {"bundle": bundle})) == errors


# The signature

BODY = '{"country": "Åland"}'.encode()
DIGEST = hmac.new(b"new", BODY, hashlib.sha256).digest()
HEX, BASE64 = DIGEST.hex(), base64.b64encode(DIGEST).decode()


def received(signature: str | None, body: bytes = BODY) -> Received:
    value = None if signature is None else signature.encode("utf-8", "surrogateescape")
    return Received({} if value is None else {b"x-signature-sha256": value}, body, NOW)


def verify(signature: str | None, body: bytes = BODY) -> int | None:
    return ESIM_GO.authentication.verify(received(signature, body), [b"old", b"new"])


def test_a_signature_is_hex_or_base64_by_its_length() -> None:
    assert (len(HEX), len(BASE64)) == (64, 44)
    for signature in (HEX, HEX.upper(), BASE64, f" {BASE64}", f"{HEX}\t"):
        assert verify(signature) == 1
        assert ESIM_GO.authentication.presented(received(signature)) is Presented.WELL_FORMED
        assert verify(signature, BODY + b" ") is None


def test_signs_in_base64_with_hmac_sha256_of_the_raw_body() -> None:
    proof = ESIM_GO.authentication.prove(BODY, b"new")
    assert proof.headers == {SIGNATURE_HEADER: BASE64} == {"X-Signature-SHA256": BASE64}
    # RFC 4231, test case 2
    known = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    signed = ESIM_GO.authentication.prove(b"what do ya want for nothing?", b"Jefe").headers
    assert base64.b64decode(signed[SIGNATURE_HEADER]).hex() == known


@pytest.mark.parametrize(
    ("signature", "presented"),
    [
        *((None, Presented.NOTHING), ("", Presented.NOTHING), (" ", Presented.NOTHING)),
        *(("0" * 64, Presented.WELL_FORMED), ("A" * 43 + "=", Presented.WELL_FORMED)),
        *((BASE64[:-1], Presented.ILL_FORMED), (f"{BASE64}=", Presented.ILL_FORMED)),
        *((HEX[:44], Presented.ILL_FORMED), (BASE64 + BASE64[:20], Presented.ILL_FORMED)),
        *(("A" * 42 + "==", Presented.ILL_FORMED), ("A" * 44, Presented.ILL_FORMED)),
        *(("_" * 43 + "=", Presented.ILL_FORMED), ("é" * 44, Presented.ILL_FORMED)),
        *(("é" * 22, Presented.ILL_FORMED), ("=" * 44, Presented.ILL_FORMED)),
        *(("\udcff" * 44, Presented.ILL_FORMED), (f"sha256={HEX}", Presented.ILL_FORMED)),
    ],
)
def test_anything_else_is_no_match(signature: str | None, presented: Presented) -> None:
    assert verify(signature) is None
    assert ESIM_GO.authentication.presented(received(signature)) is presented


@given(st.binary(max_size=70))
def test_verifying_never_raises(signature: bytes) -> None:
    delivery = Received({b"x-signature-sha256": signature}, BODY, NOW)
    assert ESIM_GO.authentication.verify(delivery, [b"new"]) is None


def test_the_operator_is_told_that_the_secret_can_place_orders() -> None:
    assert "API key" in ESIM_GO.secret_note
    assert "order" in ESIM_GO.secret_note


# Fields that are not documented


@pytest.mark.parametrize("name", ["utilisation-v2", "utilisation-v3", "first-use"])
def test_unknown_fields_are_named_by_their_place(name: str) -> None:
    found = document(name, {"version": 2}, bonus=5, **{ICCID: 1})
    assert noticed(found) == ["bundle.bonus", "other", "version"]
    assert take(found) == GOLDEN[name]


def test_unknown_fields_of_a_deletion_are_named() -> None:
    assert noticed(document("esim-deleted", {"reason": 1})) == ["reason"]


# Any input

BODIES = tuple(PAYLOADS.values())
WORDS_OF_VENDOR = ("Utilisation", "FirstUse", "esim.deleted", "minutes", "BYTES", ICCID)


@settings(deadline=None, max_examples=300)
@given(altered_documents.altered(BODIES, WORDS_OF_VENDOR))
def test_any_json_value_at_any_place_is_accepted_or_refused(body: bytes) -> None:
    names: list[str] = []
    altered_documents.assert_taken_or_refused(lambda: parse(body, NOW, unknown=names.append), NOW)


@settings(deadline=None)
@given(altered_documents.damaged(BODIES))
def test_any_bytes_are_accepted_or_refused(body: bytes) -> None:
    altered_documents.assert_taken_or_refused(lambda: parse(body, NOW), NOW)


@pytest.mark.parametrize("name", sorted(PAYLOADS))
@pytest.mark.parametrize("value", [f"{ICCID}x\0", int(ICCID) * 10**10, [ICCID], {ICCID: ICCID}])
def test_an_error_does_not_repeat_a_value(name: str, value: Any) -> None:
    errors = altered_documents.errors_with_value_everywhere(
        lambda body: parse(body, NOW), PAYLOADS[name], value
    )
    for error in errors:
        assert ICCID not in error
