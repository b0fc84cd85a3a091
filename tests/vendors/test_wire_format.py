from __future__ import annotations

import json
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from pydantic import Field, PlainValidator

from exporter.errors import FieldError, InvalidEvent, MalformedEvent
from exporter.vendors.field_types import (
    Flag,
    Items,
    OptionalNumber,
    OptionalText,
    RequiredNumber,
    RequiredText,
    Unread,
)
from exporter.vendors.wire_format import (
    WireObject,
    in_document_order,
    misfits,
    read_as,
    read_document,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


class Row(WireObject):
    amount: RequiredNumber
    """Bytes."""
    place: OptionalText = None


class Package(WireObject):
    name: RequiredText
    is_unlimited: Flag = Field(default=False, alias="isUnlimited")
    rows: Items[Row] | None = None


class Delivery(WireObject):
    kind: RequiredText
    package: Package
    level: OptionalNumber = None
    note: Unread = None
    code: int = 0


def read(**document: Any) -> Delivery:
    return read_as(Delivery, document)


def refused(document: dict[str, Any]) -> list[tuple[tuple[str | int, ...], str]]:
    with pytest.raises(InvalidEvent) as caught:
        read_as(Delivery, document)
    assert caught.value.__cause__ is None
    return [(error.loc, error.msg) for error in caught.value.errors]


def unknown(document: dict[str, Any]) -> list[str]:
    names: list[str] = []
    try:
        read_as(Delivery, document, names.append)
    except InvalidEvent:
        names.append("refused")
    return names


def test_reads_a_body_into_the_declared_model() -> None:
    body = b'\xef\xbb\xbf{"kind": "a", "package": {"name": "b", "rows": [{"amount": "1.5"}]}}'
    delivery = read_as(Delivery, read_document(body))
    assert delivery == read(kind="a", package={"name": "b", "rows": [{"amount": 1.5}]})
    assert delivery.package.rows == [Row(amount=1.5)]


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"a": NaN}', b"[" * 300, b"9" * 5000])
def test_a_body_that_is_not_json_is_told_by_its_position_only(body: bytes) -> None:
    with pytest.raises(MalformedEvent, match=r"^the body is not JSON at line \d+ column \d+$"):
        read_document(body)


@pytest.mark.parametrize("body", [b"null", b"1", b"[]", b'"text"', b"true"])
def test_a_body_that_is_not_an_object_does_not_fit(body: bytes) -> None:
    with pytest.raises(InvalidEvent) as caught:
        read_document(body)
    assert caught.value.errors == (FieldError((), "must be an object"),)


@pytest.mark.parametrize(
    ("package", "error"),
    [
        (None, (("package",), "is required")),
        ([], (("package",), "must be an object")),
        ([{}], (("package",), "must be an object")),
        ("x", (("package",), "must be an object")),
        (1, (("package",), "must be an object")),
        (True, (("package",), "must be an object")),
        ({"name": "b", "rows": {}}, (("package", "rows"), "must be a list")),
        ({"name": "b", "rows": [None]}, (("package", "rows", 0), "must be an object")),
        ({"name": "b", "rows": [{}]}, (("package", "rows", 0, "amount"), "is required")),
        ({"name": "b", "isUnlimited": 5}, (("package", "isUnlimited"), "must be true or false")),
    ],
)
def test_an_error_says_where_and_what(package: Any, error: tuple[Any, str]) -> None:
    assert refused({"kind": "a", "package": package}) == [error]


def test_a_missing_object_is_the_only_error_in_its_place() -> None:
    assert refused({}) == [(("kind",), "is required"), (("package",), "is required")]


def test_another_type_of_pydantic_is_refused_without_its_own_words() -> None:
    value = "8944500000000000001"
    assert refused({"kind": "a", "package": {"name": "b"}, "code": f"{value}x"}) == [
        (("code",), "does not fit")
    ]


def test_an_optional_list_may_be_null() -> None:
    assert read(kind="a", package={"name": "b", "rows": None}).package.rows is None


def test_errors_are_in_document_order_with_missing_fields_last() -> None:
    document = {"z": 1, "list": [{"b": 1, "a": 1}, 2], "a": {"x": 1}}
    ordered: list[tuple[str | int, ...]] = [
        ("z",),
        ("list", 0, "b"),
        ("list", 0, "a"),
        ("list", 0, "missing"),
        ("list", 1),
        ("a", "x"),
        ("missing",),
    ]
    errors = [FieldError(loc, "is wrong") for loc in sorted(ordered, key=str)]
    assert [error.loc for error in in_document_order(document, errors)] == ordered
    wrong = {"level": "x", "package": {"rows": [{"place": 5, "amount": "x"}, 5], "name": 7}}
    assert [loc for loc, _ in refused(wrong)] == [
        ("level",),
        ("package", "rows", 0, "place"),
        ("package", "rows", 0, "amount"),
        ("package", "rows", 1),
        ("package", "name"),
        ("kind",),
    ]


def test_reports_the_first_twenty_errors() -> None:
    rows = [{"amount": 1 if index % 70 else "x"} for index in range(30_000)]
    assert refused({"kind": 5, "package": {"name": "b", "rows": rows}}) == [
        (("kind",), "must be a string"),
        *(
            (("package", "rows", index, "amount"), "must be a number")
            for index in range(0, 19 * 70, 70)
        ),
    ]


def test_several_misfits_are_told_as_one_error_in_the_order_of_the_document() -> None:
    document = {"rows": [{"amount": 1}] * 30, "kind": "a"}
    found = [FieldError(("kind",), "is wrong"), FieldError(("rows", 4, "amount"), "is wrong")]
    assert misfits(document, found).errors == (found[1], found[0])
    many = [FieldError(("rows", index), "is wrong") for index in reversed(range(30))]
    assert [error.loc for error in misfits(document, many).errors] == [
        ("rows", index) for index in range(20)
    ]


def test_a_long_list_is_not_read_on_after_twenty_errors() -> None:
    seen: list[object] = []

    def refuse(value: object) -> int:
        seen.append(value)
        raise ValueError("must be something else")

    class Long(WireObject):
        rows: Items[Annotated[int, PlainValidator(refuse)]]

    with pytest.raises(InvalidEvent):
        read_as(Long, {"rows": [0] * 30_000})
    assert 20 <= len(seen) < 1000


def test_every_kind_of_error_has_its_place_in_a_long_list() -> None:
    rows: list[object] = [{"amount": 1}] * 250
    wrong = [*rows, None, {"amount": "x"}, {"amount": 1, "place": 5}, {}]
    assert refused({"kind": "a", "package": {"name": "b", "rows": wrong}}) == [
        (("package", "rows", 250), "must be an object"),
        (("package", "rows", 251, "amount"), "must be a number"),
        (("package", "rows", 252, "place"), "must be a string"),
        (("package", "rows", 253, "amount"), "is required"),
    ]


def test_a_long_list_is_read_whole() -> None:
    rows = [{"amount": number} for number in range(1001)]
    read_rows = read(kind="a", package={"name": "b", "rows": rows}).package.rows
    assert [row.amount for row in read_rows or ()] == list(range(1001))


def test_undeclared_fields_are_named_by_their_place_even_if_the_document_does_not_fit() -> None:
    package = {"name": "b", "is_unlimited": True, "rows": [{"amount": 1, "cost": 2}, {"cost": 3}]}
    document = {"kind": "a", "package": package, "note": {"any": 1}, "8944500000000000001": 0}
    assert unknown(document) == ["other", "package.is_unlimited", "package.rows.cost", "refused"]
    assert unknown({"kind": "a", "package": {"name": "b", "isUnlimited": True}}) == []


@pytest.mark.parametrize("vendor", ["esim_access", "esim_go", "roamify"])
def test_every_field_of_a_vendor_says_what_it_holds(vendor: str) -> None:
    module = f"exporter.vendors.{vendor}.wire_format"
    import_module(module)
    models = [model for model in models_below(WireObject) if model.__module__ == module]
    assert models
    for model in models:
        assert [name for name, field in model.model_fields.items() if not field.description] == []


def models_below(model: type[WireObject]) -> Iterator[type[WireObject]]:
    for below in model.__subclasses__():
        yield below
        yield from models_below(below)


def test_a_model_does_not_show_values_in_its_errors() -> None:
    with pytest.raises(ValueError, match="must be a string") as caught:
        Delivery.model_validate_json(json.dumps({"kind": 8944500000000000001, "package": {}}))
    assert "8944500000000000001" not in str(caught.value)
