from __future__ import annotations

import json
import math
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import from_json

from exporter.model.events import MAX_AMOUNT
from exporter.vendors.amounts import SMS_UNITS, VOICE_UNITS, data_units, read_number, to_base_units

POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("1024", 1024),
        ("+7", 7),
        ("-7", -7),
        ("  12  ", 12),
        ("007", 7),
        ("0" * 5000 + "7", 7),
        ("9007199254740993", 9007199254740993),
        ("1536.5", 1536.5),
        ("-0.25", -0.25),
        ("1e3", 1000.0),
        ("1E+3", 1000.0),
        ("25e-1", 2.5),
        (".5", 0.5),
        ("5.", 5.0),
        ("1e-999999999", 0.0),
        (str(MAX_AMOUNT), MAX_AMOUNT),
        (str(-MAX_AMOUNT), -MAX_AMOUNT),
    ],
)
def test_reads_a_number_from_a_string(text: str, number: float) -> None:
    read = read_number(text)
    assert read == number
    assert type(read) is type(number)


@pytest.mark.parametrize(
    "value",
    [
        *(
            "",
            " ",
            "NaN",
            "nan",
            "inf",
            "-Infinity",
            "0x10",
            "1_000",
            "1,5",
            "1 000",
            "12MB",
            "- 1",
        ),
        *("--1", ".", "e3", "1e", "1e1.5", "٣", "³", "1\n", "\t1", "1\0", "0" * 60_000 + "x"),
        *(True, False, None, [], [1], {}, {"a": 1}),
    ],
)
def test_refuses_a_value_that_is_not_a_number(value: object) -> None:
    with pytest.raises(ValueError, match=r"^must be a number$"):
        read_number(value)


@pytest.mark.parametrize(
    "value",
    [
        *(MAX_AMOUNT + 1, -MAX_AMOUNT - 1, 2.0**63, -(2.0**63), math.inf, -math.inf, math.nan),
        *(10**999, "9223372036854775808", "-9223372036854775808", "1e999999999", "9" * 60_000),
    ],
)
def test_refuses_a_magnitude_over_2_to_63_minus_1(value: object) -> None:
    with pytest.raises(ValueError, match=r"^is out of range$"):
        read_number(value)


@given(
    st.one_of(
        st.integers(-(2**70), 2**70).map(json.dumps),
        st.floats(allow_nan=False, allow_infinity=False).map(json.dumps),
        st.from_regex(
            r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?", fullmatch=True
        ),
    ).filter(str.isascii)
)
def test_a_string_equals_the_json_number_with_the_same_digits(text: str) -> None:
    assert _read_or_refused(text) == _read_or_refused(from_json(text))


def _read_or_refused(value: Any) -> tuple[type, Any] | str:
    try:
        number = read_number(value)
    except ValueError as error:
        return str(error)
    return type(number), number


@given(
    st.one_of(
        st.integers(-MAX_AMOUNT, MAX_AMOUNT),
        st.floats(-(2.0**62), 2.0**62),
        st.integers(-(2**24), 2**24).map(lambda n: n / 2048),  # many ties
    ),
    st.sampled_from([1, 60, 1000, 1024, 1000**2, 1024**2, 1000**4, 1024**4]),
)
def test_conversion_is_exact(amount: float, size: int) -> None:
    assert to_base_units(amount, size) == round(Fraction(amount) * size)


@pytest.mark.parametrize(
    ("amount", "size", "converted"),
    [
        *((0.5, 1, 0), (1.5, 1, 2), (2.5, 1, 2), (-0.5, 1, 0), (-1.5, 1, -2), (2.51, 1, 3)),
        *((1 / 16, 1000, 62), (3 / 16, 1000, 188), (-1 / 16, 1000, -62), (-3 / 16, 1000, -188)),
        *((3 / 8, 60, 22), (1 / 8, 60, 8), (-3 / 8, 60, -22), (-1 / 8, 60, -8)),
        *((2.5 / 1024, 1024, 2), (3.5 / 1024, 1024, 4)),
    ],
)
def test_rounds_half_to_even(amount: float, size: int, converted: int) -> None:
    assert to_base_units(amount, size) == converted


@pytest.mark.parametrize("base", [1024, 1000])
@pytest.mark.parametrize("prefix", ["K", "M", "G", "T"])
def test_data_units_are_powers_of_the_base(base: int, prefix: str) -> None:
    units = data_units(base)
    assert units.size(f"{prefix}B") == base ** POWERS[prefix]
    assert units.size(f"{prefix}b".lower()) == base ** POWERS[prefix]
    for spelling in (f"{prefix}iB", f"{prefix}ib".lower(), f"{prefix}IB"):
        assert units.size(spelling) == 1024 ** POWERS[prefix]


@pytest.mark.parametrize("unit", ["bytes", "Bytes", "BYTES", "byte", "B", "b"])
def test_data_may_come_in_bytes(unit: str) -> None:
    assert data_units(1024).size(unit) == 1


def test_a_kilobyte_may_be_written_as_the_si_does() -> None:
    assert data_units(1000).size("kB") == 1000


@pytest.mark.parametrize("unit", ["minutes", "Minute", "MIN", "minute", "min"])
def test_a_minute_of_voice_has_60_seconds(unit: str) -> None:
    assert VOICE_UNITS.size(unit) == 60


@pytest.mark.parametrize("unit", ["seconds", "Second", "SEC", "second", "sec"])
def test_voice_may_come_in_seconds(unit: str) -> None:
    assert VOICE_UNITS.size(unit) == 1


@pytest.mark.parametrize("unit", ["sms", "SMS", "message", "Messages"])
def test_sms_are_counted(unit: str) -> None:
    assert SMS_UNITS.size(unit) == 1


@pytest.mark.parametrize("unit", [None, ""])
def test_the_documented_unit_is_the_default(unit: object) -> None:
    assert data_units(1024).size(unit) == 1024**2
    assert data_units(1000).size(unit) == 1000**2
    assert VOICE_UNITS.size(unit) == 60
    assert SMS_UNITS.size(unit) == 1


@pytest.mark.parametrize(
    "unit",
    [
        *(
            "Mb",
            "mB",
            "Kb",
            "Gb",
            "Kib",
            "mIB",
            "kiB",
            "PB",
            "megabytes",
            "MB ",
            " MB",
            "M",
            "bits",
        ),
        *("minutes", "sms", "hours", 1, 0, True, [], {}, ["MB"]),
    ],
)
def test_refuses_a_data_unit_it_would_have_to_guess(unit: object) -> None:
    with pytest.raises(ValueError, match=r"^is not a known unit$"):
        data_units(1024).size(unit)


@pytest.mark.parametrize("unit", ["MB", "m", "s", "hours", "h", 60])
def test_refuses_an_unknown_voice_unit(unit: object) -> None:
    with pytest.raises(ValueError, match=r"^is not a known unit$"):
        VOICE_UNITS.size(unit)


@pytest.mark.parametrize("unit", ["minutes", "pieces", "mms", 1])
def test_refuses_an_unknown_sms_unit(unit: object) -> None:
    with pytest.raises(ValueError, match=r"^is not a known unit$"):
        SMS_UNITS.size(unit)
