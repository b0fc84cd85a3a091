"""Reading the usual form gives what reading field by field gives, or nothing."""

from __future__ import annotations

import codecs
import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.errors import EventError
from exporter.vendors.roamify.translation import parse, read_usual_event

NOW = 1_700_000_100.0
PAYLOADS = Path(__file__).parents[1] / "payloads"
USAGE = json.loads((PAYLOADS / "usage.json").read_bytes())

PLACES: tuple[tuple[str | int, ...], ...] = (
    *((key,) for key in USAGE),
    *(("data", key) for key in USAGE["data"]),
    *(("data", "usage_data", key) for key in USAGE["data"]["usage_data"]),
    *(("data", "usage_list", 0, key) for key in USAGE["data"]["usage_list"][0]),
    ("event_id",),
    ("data", "new"),
    ("data", "usage_data", "new"),
    ("data", "usage_list", 1, "new"),
)
TEXTS = ("", " ", "esim", "usage", "Usage", "ESIM_USAGE", "active", "\0", "a\0", "é", "\ud800", "1")
UNITS = ("MB", "mb", "Mb", "kB", "minutes", "Seconds", "sms", "parsecs")
NUMBERS = (0, -1, 1, 0.5, 1.25, -0.0, 1e300, 1e18, 2**53 - 1, 2**53, 2**63 - 1, 2**63, 10**30)
TIMES = (NOW, int(NOW), int(NOW) + 86_400, int(NOW) + 86_401, 1_420_070_399, 1_420_070_400, 2**32)
VALUES = st.one_of(
    st.sampled_from([*TEXTS, *UNITS, *NUMBERS, *TIMES, None, True, False]),
    st.sampled_from([{}, [], [{}], [{"data_used": 2**62}] * 2, "x" * 256, "é" * 256, "x" * 257]),
    st.floats(allow_nan=True),
    st.integers(),
    st.text(max_size=3),
)


def events(body: bytes) -> tuple[object, list[str]]:
    """Return the event, or its error, and the fields that are noticed, read field by field."""
    noticed: list[str] = []
    try:
        # Nothing that begins with a byte order mark is in the usual form.
        return parse(codecs.BOM_UTF8 + body, NOW, unknown=noticed.append), noticed
    except EventError as error:
        return error, noticed


def agree(body: bytes) -> None:
    usual = read_usual_event(body, NOW, 1024)
    if usual is not None:
        event, noticed = events(body)
        assert usual == event
        assert [name for name in noticed if not name.endswith(" (missing)")] == []


@given(
    st.dictionaries(st.sampled_from(PLACES), VALUES, max_size=4),
    st.sets(st.sampled_from(PLACES), max_size=3),
)
def test_what_is_read_does_not_depend_on_the_way(
    changed: dict[Any, Any], missing: set[Any]
) -> None:
    document: Any = copy.deepcopy(USAGE)
    for place in sorted({*changed, *missing}, key=len, reverse=True):
        node = document
        for step in place[:-1]:
            node = node[step]
        if place in missing:
            node.pop(place[-1], None)
        else:
            node[place[-1]] = changed[place]
    agree(json.dumps(document).encode())


@given(st.data())
def test_a_body_that_is_damaged_is_not_in_the_usual_form(data: st.DataObject) -> None:
    body = bytearray(json.dumps(USAGE).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(body) - 1))
        body[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    agree(bytes(body))


@pytest.mark.parametrize("name", ["usage", "usage-unlimited"])
def test_published_usage_events_have_the_usual_form(name: str) -> None:
    assert read_usual_event((PAYLOADS / f"{name}.json").read_bytes(), NOW, 1024)


def test_a_field_twice_is_read_alike() -> None:
    body = json.dumps(USAGE).encode()
    for again in (b'"status":"NEW"', b'"start":1', b'"usage_data":{"allowed_data":5}'):
        agree(body.replace(b'"data": {', b'"data": {' + again + b",", 1))
        agree(body.replace(b'"usage_list":', again + b',"usage_list":', 1))
