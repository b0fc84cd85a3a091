from __future__ import annotations

from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from exporter.model.events import MAX_AMOUNT, MAX_IDENTIFIER
from exporter.vendors import field_types as types
from exporter.vendors.amounts import SMS_UNITS

TIME = "2026-04-24T07:31:05Z"


def read(kind: Any, value: object) -> Any:
    """Return what a type makes of a JSON value, or the message with which it refuses it."""
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        [details] = error.errors()
        return str(details["ctx"]["error"])


@pytest.mark.parametrize("kind", [types.OptionalText, types.OptionalTextOrInteger])
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *((None, None), ("", None), ("a", "a"), (" ", " "), ("ü" * MAX_IDENTIFIER,) * 2),
        *((True, "must be a string"), (False, "must be a string"), (1.5, "must be a string")),
        *(([], "must be a string"), (["x"], "must be a string"), ({}, "must be a string")),
        ("ü" * (MAX_IDENTIFIER + 1), "must have at most 256 characters"),
        ("a\0b", "must not contain a NUL character"),
    ],
)
def test_reads_a_text(kind: Any, value: object, expected: object) -> None:
    assert read(kind, value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *((8944500000000000001, "8944500000000000001"), (0, "0"), (-1, "-1")),
        *((10**255, str(10**255)), (10**256, "must have at most 256 characters")),
        *((-(10**255), "must have at most 256 characters"), (10**4000, types.TOO_LONG)),
    ],
)
def test_a_text_may_be_an_integer_where_the_type_says_so(value: object, expected: object) -> None:
    assert read(types.OptionalTextOrInteger, value) == expected
    assert read(types.OptionalText, value) == "must be a string"


@pytest.mark.parametrize(
    ("kind", "absent"),
    [
        (types.RequiredText, ["", None]),
        (types.RequiredWord, [None]),
        (types.RequiredNumber, [None]),
        (types.RequiredAmount, [None]),
        (types.RequiredUnixTime, [None]),
        (types.RequiredEventTime, ["", None]),
        (types.RequiredIsoTime, ["", None]),
    ],
)
def test_a_required_value_is_not_absent(kind: Any, absent: list[object]) -> None:
    assert [read(kind, value) for value in absent] == ["is required"] * len(absent)


@pytest.mark.parametrize("word", ["", "usage", "x" * 10_000, "\0"])
def test_a_word_is_any_string(word: str) -> None:
    assert read(types.RequiredWord, word) == word
    assert read(types.OptionalWord, word) == word


@pytest.mark.parametrize("value", [1, True, [], {}])
def test_a_word_is_a_string(value: object) -> None:
    assert read(types.RequiredWord, value) == "must be a string"
    assert read(types.OptionalWord, value) == "must be a string"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *((5, 5), (-2.5, -2.5), ("7", 7), (" 1e3 ", 1000.0), (MAX_AMOUNT, MAX_AMOUNT)),
        *((True, "must be a number"), ("", "must be a number"), ([], "must be a number")),
        *((MAX_AMOUNT + 1, "is out of range"), ("1e30", "is out of range")),
    ],
)
def test_reads_a_number(value: object, expected: object) -> None:
    assert read(types.OptionalNumber, value) == expected
    assert read(types.RequiredNumber, value) == expected
    assert type(read(types.OptionalNumber, value)) is type(expected)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *((0, 0), (2.5, 2.5), ("7", 7), (-1, "must not be negative"), ("x", "must be a number")),
        *((-0.001, "must not be negative"), ("-1", "must not be negative")),
        *((MAX_AMOUNT + 1, "is out of range"), (-MAX_AMOUNT - 1, "is out of range")),
    ],
)
def test_an_amount_is_not_negative(value: object, expected: object) -> None:
    assert read(types.RequiredAmount, value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *((None, None), ("", ""), ("sms", "sms"), ("Messages", "Messages")),
        *(("pieces", "is not a known unit"), ("x" * 10_000, "is not a known unit")),
        *((1, "is not a known unit"), (True, "is not a known unit"), ([], "is not a known unit")),
    ],
)
def test_the_name_of_a_unit_is_a_known_one_and_stays(value: object, expected: object) -> None:
    assert read(Annotated[str | None, types.known_unit(SMS_UNITS)], value) == expected


def test_a_whole_number_is_rounded_down() -> None:
    values = [1.9, -1.1, "3.5", 4, None, "x"]
    expected = [1, -2, 3, 4, None, "must be a number"]
    assert [read(types.OptionalInteger, value) for value in values] == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([True, 1, 1.0, "true", "True", "TRUE"], True),
        ([False, 0, 0.0, None, "false", "FALSE"], False),
        ([2, -1, 0.5, "", "yes", "1", "0", [], {}, [True]], "must be true or false"),
    ],
)
def test_reads_a_flag(values: list[object], expected: object) -> None:
    assert [read(types.Flag, value) for value in values] == [expected] * len(values)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *(
            (1_700_000_000, 1_700_000_000),
            ("1700000000.9", 1_700_000_000),
            (True, "must be a number"),
        ),
        *((0, "must be unix seconds after 2014"), ("x", "must be a number")),
        (1_700_000_000_000, "is too far in the future: must be unix seconds"),
    ],
)
def test_reads_the_time_of_an_event_in_unix_seconds(value: object, expected: object) -> None:
    assert read(types.RequiredUnixTime, value) == expected


def test_reads_a_time_of_an_event_in_iso_8601() -> None:
    for kind in (types.OptionalEventTime, types.RequiredEventTime, types.RequiredIsoTime):
        assert read(kind, TIME) == 1_777_015_865
    assert read(types.OptionalEventTime, "") is None
    assert read(types.OptionalEventTime, "1970-01-01T00:00:00Z") == "must be a time after 2014"
    assert read(types.OptionalIsoTime, "1970-01-01T00:00:00Z") == 0


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=300),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)
TYPES = [
    *(types.OptionalText, types.RequiredText, types.OptionalTextOrInteger, types.RequiredWord),
    *(types.OptionalWord, types.OptionalNumber, types.RequiredNumber, types.OptionalInteger),
    *(types.RequiredAmount, Annotated[Any, types.known_unit(SMS_UNITS)]),
    *(types.Flag, types.RequiredUnixTime, types.OptionalEventTime, types.RequiredEventTime),
    *(types.OptionalIsoTime, types.RequiredIsoTime),
]


@given(st.sampled_from(TYPES), JSON)
def test_any_json_value_is_read_or_refused(kind: Any, value: Any) -> None:
    read(kind, value)  # raises anything but a ValidationError
