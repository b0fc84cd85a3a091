from __future__ import annotations

from typing import Any

import pytest

from exporter.model.events import MAX_IDENTIFIER
from exporter.vendors.amounts import SMS_UNITS
from exporter.vendors.fields import Fields


def fields(**values: Any) -> Fields:
    return Fields(values, ("data",), [])


def messages(read: Fields) -> list[tuple[tuple[str | int, ...], str]]:
    return [(error.loc, error.msg) for error in read.errors]


@pytest.mark.parametrize("values", [{}, {"name": None}, {"name": ""}])
def test_a_text_that_is_absent_null_or_empty_is_none(values: dict[str, Any]) -> None:
    read = fields(**values)
    assert read.text("name") is None
    assert read.errors == []


@pytest.mark.parametrize("values", [{}, {"name": None}, {"name": ""}])
def test_a_required_text_is_reported_once(values: dict[str, Any]) -> None:
    read = fields(**values)
    assert read.required_text("name") == ""
    assert messages(read) == [(("data", "name"), "is required")]


@pytest.mark.parametrize("value", [0, 1, 1.5, True, False, [], {}, ["x"]])
def test_refuses_a_text_of_another_type(value: object) -> None:
    read = fields(name=value)
    assert read.required_text("name") == ""
    assert messages(read) == [(("data", "name"), "must be a string")]


def test_a_text_has_a_greatest_length() -> None:
    read = fields(fits="ü" * MAX_IDENTIFIER, long="ü" * (MAX_IDENTIFIER + 1))
    assert read.text("fits") == "ü" * MAX_IDENTIFIER
    assert read.text("long") is None
    assert messages(read) == [(("data", "long"), "must have at most 256 characters")]


def test_refuses_a_nul_in_a_text() -> None:
    read = fields(name="a\0b")
    assert read.text("name") is None
    assert messages(read) == [(("data", "name"), "must not contain a NUL character")]


def test_a_required_number_is_reported_once() -> None:
    read = fields(null=None, wrong="x")
    assert [read.required_number(key) for key in ("absent", "null", "wrong")] == [0, 0, 0]
    assert messages(read) == [
        (("data", "absent"), "is required"),
        (("data", "null"), "is required"),
        (("data", "wrong"), "must be a number"),
    ]


def test_a_whole_number_is_rounded_down() -> None:
    read = fields(a=1.9, b=-1.1, c="3.5", d=4, e=None)
    assert [read.integer(key) for key in "abcde"] == [1, -2, 3, 4, None]


@pytest.mark.parametrize("value", [True, 1, 1.0, "true", "True", "TRUE"])
def test_reads_true(value: object) -> None:
    read = fields(flag=value)
    assert read.flag("flag") is True
    assert read.errors == []


@pytest.mark.parametrize("value", [False, 0, 0.0, None, "false", "False", "FALSE"])
def test_reads_false(value: object) -> None:
    read = fields(flag=value)
    assert read.flag("flag") is False
    assert read.errors == []


@pytest.mark.parametrize("value", [2, -1, 0.5, "", "yes", "1", "0", [], {}, [True]])
def test_refuses_a_flag_that_is_neither_true_nor_false(value: object) -> None:
    read = fields(flag=value)
    assert read.flag("flag") is False
    assert messages(read) == [(("data", "flag"), "must be true or false")]


def test_an_unknown_unit_is_reported_where_it_is() -> None:
    read = fields(sms_units="pieces")
    assert read.unit("sms_units", SMS_UNITS) == 1
    assert messages(read) == [(("data", "sms_units"), "is not a known unit")]


def test_errors_in_an_object_have_the_whole_path() -> None:
    read = fields(inner={"amount": "x"})
    read.required_object("inner").number("amount")
    assert messages(read) == [(("data", "inner", "amount"), "must be a number")]


@pytest.mark.parametrize("value", [1, "x", True, [], [{}]])
def test_refuses_an_object_of_another_type(value: object) -> None:
    read = fields(inner=value)
    assert read.required_object("inner").values == {}
    assert messages(read) == [(("data", "inner"), "must be an object")]
