from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import altered_documents
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.errors import FutureEvent, InvalidEvent
from exporter.model.events import (
    USED_UP,
    Event,
    OtherEvent,
    Snapshot,
    Status,
    StatusEvent,
    UsageEvent,
)
from exporter.vendors.authentication import Presented, Received
from exporter.vendors.esim_access import ESIM_ACCESS, EVENT_TYPES, VENDOR, parse

PAYLOADS = altered_documents.payloads(Path(__file__).parent.parent / "payloads/esim-access")
NOW = 1_780_000_000.0
GB = 1024**3
ESIM_ID = "26042216000002"
ICCID = "8910300000012345678"
ABSENT = object()

USAGE = UsageEvent(
    vendor="esim-access",
    time=1_777_010_400,  # 2026-04-24T06:00:00Z
    esim_id=ESIM_ID,
    package_id="plan",
    snapshot=Snapshot(data_allowed=20 * GB, data_remaining=10_724_836_480),
    reference_id="shop-10001",
    iccid=ICCID,
    reported=1_777_015_865,  # 2026-04-24T07:31:05Z
    parts=frozenset({"data"}),
)
STATUS = StatusEvent(
    vendor="esim-access",
    time=1_776_931_244,  # 2026-04-23T08:00:44Z
    esim_id=ESIM_ID,
    status=Status.ACTIVATED,
    reference_id="shop-10001",
    iccid=ICCID,
)
GOLDEN: dict[str, Event] = {
    "data-usage": USAGE,
    "data-usage-after-top-up": USAGE._replace(
        time=1_777_100_400,
        snapshot=Snapshot(data_allowed=25 * GB, data_remaining=2_684_354_560),
        reported=1_777_108_211,
    ),
    "esim-status": STATUS,
    "esim-status-with-volumes": USAGE._replace(
        time=1_777_165_323,  # 2026-04-26T01:02:03Z
        snapshot=Snapshot(data_allowed=20 * GB, data_remaining=0),
        status=Status.OTHER,
        reported=None,
    ),
    "smdp-event": STATUS._replace(time=1_776_853_240, status=Status.INSTALLED),
    "validity-usage": USAGE._replace(
        time=1_779_436_810,  # 2026-05-22T08:00:10Z
        snapshot=Snapshot(end=1_779_523_200),  # a day later
        reported=None,
        parts=frozenset({"period"}),
    ),
    "order-status": OtherEvent("esim-access", "order"),
    "check-health": OtherEvent("esim-access", "check_health"),
}
ESIM_EVENTS = ("data-usage", "esim-status", "esim-status-with-volumes", "smdp-event")


def document(name: str, top: dict[str, Any] | None = None, /, **content: Any) -> dict[str, Any]:
    """Return a payload with fields of itself and of its ``content`` changed."""
    found: dict[str, Any] = json.loads(PAYLOADS[name])
    found["content"] = changed(found["content"], content)
    return changed(found, top or {})


def changed(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in (values | changes).items() if value is not ABSENT}


def take(found: Any, now: float = NOW) -> Event:
    return parse(json.dumps(found).encode(), now)


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
    assert set(PAYLOADS) == {*GOLDEN, "data-usage-old"}


def test_an_event_that_does_not_name_its_esim_is_refused() -> None:
    assert refused(json.loads(PAYLOADS["data-usage-old"])) == [
        ("content.esimTranNo", "is required")
    ]
    for name in (*ESIM_EVENTS, "validity-usage"):
        assert refused(document(name, esimTranNo=ABSENT)) == [("content.esimTranNo", "is required")]


def test_event_types_are_the_closed_set_of_labels() -> None:
    assert EVENT_TYPES == ("check_health", "order", "other", "status", "usage")
    assert ESIM_ACCESS.event_types == EVENT_TYPES
    assert ESIM_ACCESS.name == VENDOR == "esim-access"


@pytest.mark.parametrize("spell", [str.lower, str.title, str.upper])
@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_a_type_may_be_written_in_any_case(spell: Any, name: str) -> None:
    top = json.loads(PAYLOADS[name])
    assert take(top | {"notifyType": spell(top["notifyType"])}) == GOLDEN[name]


@pytest.mark.parametrize("content", [ABSENT, None, {}, [], 5, "text", {"esimTranNo": 5}])
@pytest.mark.parametrize(
    ("name", "event_type"),
    [
        ("ORDER_STATUS", "order"),
        ("CHECK_HEALTH", "check_health"),
        ("BALANCE_LOW", "other"),
        ("", "other"),
        ("x" * 10_000, "other"),
    ],
)
def test_accepts_any_event_without_esim_metrics(name: str, event_type: str, content: Any) -> None:
    top = changed({"notifyType": name, "eventGenerateTime": "never"}, {"content": content})
    assert take(top) == OtherEvent("esim-access", event_type)
    assert noticed(top | {"new": 1}) == []


@pytest.mark.parametrize(
    ("kind", "msg"),
    [(ABSENT, "is required"), (None, "is required"), (5, "must be a string"), ([], "must be a")],
)
def test_refuses_an_event_without_a_type(kind: Any, msg: str) -> None:
    [(loc, found)] = refused(document("data-usage", {"notifyType": kind}))
    assert (loc, found.startswith(msg)) == ("notifyType", True)


# The amounts and their times


def test_the_time_of_the_counters_orders_the_amounts_and_that_of_the_event_the_rest() -> None:
    event = take(document("data-usage", lastUpdateTime="2026-04-24T05:00:00+0000"))
    assert event == USAGE._replace(time=1_777_006_800)


@pytest.mark.parametrize("taken", [ABSENT, None, ""])
def test_amounts_without_a_time_of_their_own_have_that_of_the_event(taken: Any) -> None:
    event = take(document("data-usage", lastUpdateTime=taken))
    assert event == USAGE._replace(time=1_777_015_865, reported=None)


@pytest.mark.parametrize("generated", [ABSENT, None, ""])
def test_the_time_of_the_amounts_is_enough(generated: Any) -> None:
    top = document("data-usage", {"eventGenerateTime": generated})
    assert take(top) == USAGE._replace(reported=None)


def test_equal_times_are_one_time() -> None:
    top = document("data-usage", {"eventGenerateTime": "2026-04-24T06:00:00Z"})
    assert take(top) == USAGE._replace(reported=None)


def test_refuses_amounts_without_any_time() -> None:
    top = document("data-usage", {"eventGenerateTime": ABSENT}, lastUpdateTime=ABSENT)
    assert refused(top) == [("eventGenerateTime", "is required")]


@pytest.mark.parametrize(
    "name", ["esim-status", "esim-status-with-volumes", "smdp-event", "validity-usage"]
)
def test_refuses_an_event_without_its_time(name: str) -> None:
    for value in (ABSENT, None, ""):
        assert refused(document(name, {"eventGenerateTime": value})) == [
            ("eventGenerateTime", "is required")
        ]


@pytest.mark.parametrize(
    ("changes", "allowed", "remaining"),
    [
        ({"totalVolume": "1024", "remain": "512"}, 1024, 512),
        ({"totalVolume": 1024.0, "remain": 0.5}, 1024, 0),
        ({"totalVolume": 0, "remain": 0}, 0, 0),
        ({"remain": -7}, 20 * GB, 0),
        ({"remain": 30 * GB}, 20 * GB, 30 * GB),
        ({"totalVolume": 2**63 - 1, "remain": 2**53 + 1}, 2**63 - 1, 2**53 + 1),
    ],
)
def test_amounts_are_bytes(changes: dict[str, Any], allowed: int, remaining: int) -> None:
    snapshot = Snapshot(data_allowed=allowed, data_remaining=remaining)
    assert take(document("data-usage", **changes)) == USAGE._replace(snapshot=snapshot)
    changes = {"remainVolume" if key == "remain" else key: v for key, v in changes.items()}
    if "remainVolume" in changes:
        event = take(document("esim-status-with-volumes", **changes))
        assert isinstance(event, UsageEvent)
        assert event.snapshot == snapshot


@pytest.mark.parametrize(
    ("name", "key"),
    [
        *(("data-usage", "totalVolume"), ("data-usage", "remain")),
        ("esim-status-with-volumes", "totalVolume"),
        ("esim-status-with-volumes", "remainVolume"),
    ],
)
@pytest.mark.parametrize(
    ("value", "msg"),
    [
        *((True, "must be a number"), ("", "must be a number"), ("1 GB", "must be a number")),
        *(([], "must be a number"), (2**63, "is out of range"), ("1e99", "is out of range")),
    ],
)
def test_refuses_an_amount_that_is_not_a_number(name: str, key: str, value: Any, msg: str) -> None:
    assert refused(document(name, **{key: value})) == [(f"content.{key}", msg)]


@pytest.mark.parametrize("name", ["data-usage", "esim-status-with-volumes"])
def test_refuses_a_negative_allowance(name: str) -> None:
    assert refused(document(name, totalVolume=-1)) == [
        ("content.totalVolume", "must not be negative")
    ]


def test_half_of_a_pair_is_taken_and_noticed() -> None:
    allowed = document("data-usage", remain=ABSENT)
    assert take(allowed) == USAGE._replace(snapshot=Snapshot(data_allowed=20 * GB))
    assert noticed(allowed) == ["content.remain (missing)"]
    remaining = document("data-usage", totalVolume=None, remain=5)
    assert take(remaining) == USAGE._replace(snapshot=Snapshot(data_remaining=5))
    assert noticed(remaining) == ["content.totalVolume (missing)"]
    status = document("esim-status-with-volumes", remainVolume=ABSENT, esimStatus="IN_USE")
    assert noticed(status) == ["content.remainVolume (missing)"]
    assert isinstance(take(status), StatusEvent)  # a known remaining amount stays known


@pytest.mark.parametrize("name", ["esim-status", "smdp-event"])
def test_used_up_without_amounts_is_told_in_words(name: str) -> None:
    told = take(document(name, esimStatus="used_up"))
    assert isinstance(told, UsageEvent)
    assert (told.parts, told.status, told.package_id) == (
        frozenset({USED_UP}),
        Status.OTHER,
        "plan",
    )
    assert told.snapshot == Snapshot()
    deleted = take(document(name, esimStatus="USED_UP", smdpStatus="DELETED"))
    assert isinstance(deleted, StatusEvent)


def test_used_up_counts_for_more_than_a_rest_beside_it() -> None:
    told = take(document("esim-status-with-volumes", remainVolume=7))
    assert isinstance(told, UsageEvent)
    assert told.parts == frozenset({"data", USED_UP})
    assert told.snapshot.data_remaining == 7
    in_use = take(document("esim-status-with-volumes", remainVolume=7, esimStatus="IN_USE"))
    assert isinstance(in_use, UsageEvent)
    assert in_use.parts == frozenset({"data"})


def test_an_allowance_is_not_erased_by_renamed_amounts() -> None:
    renamed = document("data-usage", totalVolume=ABSENT, remain=ABSENT, totalData=5, remaining=1)
    assert refused(renamed) == [("content", "holds no amount that is known")]
    assert noticed(renamed) == ["content.remaining", "content.totalData", "refused"]


def test_the_days_that_remain_are_no_amount() -> None:
    event = take(document("validity-usage", remain=3, totalDuration=[], durationUnit=5))
    assert event == GOLDEN["validity-usage"]


@pytest.mark.parametrize("end", [ABSENT, None, "", "soon", 1_779_523_200])
def test_the_end_of_a_plan_is_a_time(end: Any) -> None:
    [(loc, _)] = refused(document("validity-usage", expiredTime=end))
    assert loc == "content.expiredTime"


# Statuses

PLANS = {
    "CREATE": "",
    "PAYING": "",
    "PAID": "",
    "GETTING_RESOURCE": "",
    "GOT_RESOURCE": "INSTALLED",
    "IN_USE": "ACTIVATED",
    "USED_UP": "OTHER",
    "SUSPENDED": "OTHER",
    "USED_EXPIRED": "EXPIRED",
    "UNUSED_EXPIRED": "EXPIRED",
    "CANCEL": "REVOKED",
    "REVOKED": "REVOKED",
    "REVOKE": "REVOKED",
    "SOMETHING_NEW": "",
}
EXPECTED = {
    # smdpStatus: for plans before and at the delivery, for a plan in use
    "RELEASED": ("NEW", "NEW", "ACTIVATED"),
    "DOWNLOAD": ("INSTALLED", "INSTALLED", "ACTIVATED"),
    "INSTALLATION": ("INSTALLED", "INSTALLED", "ACTIVATED"),
    "ENABLED": ("OTHER", "INSTALLED", "ACTIVATED"),
    "DISABLED": ("OTHER", "INSTALLED", "INACTIVE"),
    "DELETED": ("DELETED", "DELETED", "DELETED"),
    "SOMETHING_NEW": ("OTHER", "OTHER", "ACTIVATED"),
}


def expected_status(plan: str, profile: str) -> str:
    before, delivered, used = EXPECTED[profile]
    match PLANS[plan]:
        case "":
            return before
        case "INSTALLED":
            return delivered
        case "ACTIVATED":
            return used
        case "OTHER":
            return "DELETED" if profile == "DELETED" else "OTHER"
        case over:
            return over


@pytest.mark.parametrize(("plan", "profile"), list(itertools.product(PLANS, EXPECTED)))
def test_a_status_is_a_pair(plan: str, profile: str) -> None:
    for name in ("esim-status", "smdp-event", "esim-status-with-volumes"):
        event = take(document(name, esimStatus=plan, smdpStatus=profile))
        assert isinstance(event, StatusEvent | UsageEvent)
        assert event.status is Status(expected_status(plan, profile))


def test_a_status_may_be_written_in_any_case() -> None:
    event = take(document("esim-status", esimStatus="In_Use", smdpStatus="disabled"))
    assert event == STATUS._replace(status=Status.INACTIVE)


@pytest.mark.parametrize(
    ("plan", "profile", "status"),
    [
        ("IN_USE", ABSENT, Status.ACTIVATED),
        ("USED_EXPIRED", None, Status.EXPIRED),
        ("GOT_RESOURCE", "", Status.OTHER),
        (ABSENT, "RELEASED", Status.NEW),
        (None, "DELETED", Status.DELETED),
        ("", "ENABLED", Status.OTHER),
    ],
)
def test_half_of_a_pair_of_statuses_is_enough(plan: Any, profile: Any, status: Status) -> None:
    event = take(document("esim-status", esimStatus=plan, smdpStatus=profile))
    assert event == STATUS._replace(status=status)


@pytest.mark.parametrize("name", ["esim-status", "smdp-event", "esim-status-with-volumes"])
def test_refuses_an_event_without_a_status(name: str) -> None:
    assert refused(document(name, esimStatus=None, smdpStatus=ABSENT)) == [
        ("content.esimStatus", "is required")
    ]


# Names


@pytest.mark.parametrize("key", ["iccid", "transactionId"])
@pytest.mark.parametrize("value", [ABSENT, None, ""])
@pytest.mark.parametrize("name", [*ESIM_EVENTS, "validity-usage"])
def test_an_iccid_and_a_reference_may_be_missing(name: str, key: str, value: Any) -> None:
    event = take(document(name, **{key: value}))
    field = {"iccid": "iccid", "transactionId": "reference_id"}[key]
    assert event == GOLDEN[name]._replace(**{field: None})  # type: ignore[arg-type]


def test_an_iccid_may_be_an_integer() -> None:
    assert take(document("data-usage", iccid=int(ICCID))) == USAGE


@pytest.mark.parametrize("key", ["esimTranNo", "iccid", "transactionId"])
@pytest.mark.parametrize(
    ("value", "msg"),
    [
        ("é" * 257, "must have at most 256 characters"),
        ("a\0", "must not contain a NUL character"),
        (5.5, "must be a string"),
        (True, "must be a string"),
        ({}, "must be a string"),
    ],
)
def test_refuses_names_that_cannot_be_labels(key: str, value: Any, msg: str) -> None:
    for name in (*ESIM_EVENTS, "validity-usage"):
        assert refused(document(name, **{key: value})) == [(f"content.{key}", msg)]


@pytest.mark.parametrize("key", ["esimStatus", "smdpStatus"])
def test_refuses_a_status_that_is_not_a_text(key: str) -> None:
    assert refused(document("smdp-event", **{key: 5})) == [(f"content.{key}", "must be a string")]


@pytest.mark.parametrize(
    ("content", "msg"),
    [
        *((ABSENT, "is required"), (None, "is required"), ([], "must be an object")),
        *(("text", "must be an object"), (5, "must be an object")),
    ],
)
@pytest.mark.parametrize("name", [*ESIM_EVENTS, "validity-usage"])
def test_refuses_an_event_without_content(name: str, content: Any, msg: str) -> None:
    assert refused(document(name, {"content": content})) == [("content", msg)]


# Times


@pytest.mark.parametrize(
    ("name", "loc"),
    [
        *((name, "eventGenerateTime") for name in (*ESIM_EVENTS, "validity-usage")),
        ("data-usage", "content.lastUpdateTime"),
    ],
)
def test_refuses_a_time_that_would_freeze_an_esim(name: str, loc: str) -> None:
    path = tuple(loc.split("."))
    for value, msg in (
        ("2014-12-31T23:59:59Z", "must be a time after 2014"),
        ("2200-01-01T00:00:00Z", "is too far in the future: must be a time"),
        ("2026-04-24 07:31:05", "must be a time such as 2026-04-24T07:31:05Z"),
        (1_777_015_865, "must be a time such as 2026-04-24T07:31:05Z"),
    ):
        found = altered_documents.replaced(document(name), path, value)
        assert refused(found) == [(loc, msg)]
    day_ahead = "2026-05-29T20:26:40Z"
    assert take(altered_documents.replaced(document(name), path, day_ahead))
    found = altered_documents.replaced(document(name), path, "2026-05-29T20:26:41Z")
    with pytest.raises(FutureEvent) as caught:
        take(found)
    assert caught.value.time == NOW + 86_401
    assert refused(found) == [(loc, "must not be more than 24 hours in the future")]
    found = altered_documents.replaced(found, ("content", "esimTranNo"), 5)
    assert refused(found) == [("content.esimTranNo", "must be a string")]


# The token


def test_a_delivery_is_authenticated_by_the_end_of_its_path() -> None:
    way = ESIM_ACCESS.authentication
    assert way.token_in_path
    secrets = [b"old", b"new"]
    assert way.verify(Received({}, b"body", NOW, "new"), secrets) == 1
    for token in ("other", "", None, "new/", "NEW"):
        assert way.verify(Received({}, b"body", NOW, token), secrets) is None
    assert way.presented(Received({}, b"body", NOW, "other")) is Presented.WELL_FORMED
    assert way.presented(Received({}, b"body", NOW)) is Presented.NOTHING


# Fields that are not documented


def test_unknown_fields_are_named_by_their_place() -> None:
    for name in (*ESIM_EVENTS, "validity-usage"):
        found = document(name, {"version": 2}, bonus=5, **{ICCID: 1})
        assert noticed(found) == ["content.bonus", "other", "version"]
        assert take(found) == GOLDEN[name]


# Any input

BODIES = tuple(PAYLOADS.values())
TYPES = ("DATA_USAGE", "ESIM_STATUS", "SMDP_EVENT", "VALIDITY_USAGE", "IN_USE", "DELETED")


@settings(deadline=None, max_examples=300)
@given(altered_documents.altered(BODIES, TYPES))
def test_any_json_value_at_any_place_is_accepted_or_refused(body: bytes) -> None:
    names: list[str] = []
    altered_documents.assert_taken_or_refused(lambda: parse(body, NOW, unknown=names.append), NOW)


@settings(deadline=None)
@given(altered_documents.damaged(BODIES))
def test_any_bytes_are_accepted_or_refused(body: bytes) -> None:
    names: list[str] = []
    altered_documents.assert_taken_or_refused(lambda: parse(body, NOW, unknown=names.append), NOW)


@pytest.mark.parametrize("name", sorted(PAYLOADS))
@pytest.mark.parametrize("value", [f"{ICCID}x\0", int(ICCID) * 10**10, [ICCID], {ICCID: ICCID}])
def test_an_error_does_not_repeat_a_value(name: str, value: Any) -> None:
    errors = altered_documents.errors_with_value_everywhere(
        lambda body: parse(body, NOW), PAYLOADS[name], value
    )
    for error in errors:
        assert ICCID not in error


@settings(deadline=None)
@given(st.dictionaries(st.text(), st.integers()))
def test_names_of_unknown_fields_are_short_and_plain(more: dict[str, int]) -> None:
    for name in noticed(document("data-usage", **more)):
        assert len(name) <= 60
        assert name.isascii()
