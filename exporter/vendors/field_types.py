"""Types of the fields in a vendor's JSON, for the models of its wire format.

Each type reads one JSON value. What it refuses, it refuses with a message for the sender that does
not repeat the value. A field whose type begins with "Optional" may be absent or ``null`` and needs
the default ``None``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import PlainValidator, ValidationError, WrapValidator
from pydantic_core import InitErrorDetails

from exporter.model.events import MAX_AMOUNT, MAX_IDENTIFIER
from exporter.vendors.amounts import Number, read_number
from exporter.vendors.times import read_event_time, read_iso_time, within_event_times
from exporter.vendors.wire_format import MAX_ERRORS

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import ValidatorFunctionWrapHandler

    from exporter.vendors.amounts import Units

TOO_LONG = f"must have at most {MAX_IDENTIFIER} characters"

_CHUNK = 100

Value = TypeVar("Value")


def _required(read: Callable[[Any], Value | None]) -> PlainValidator:
    def read_required(value: Any) -> Value:
        read_value = read(value)
        if read_value is None:
            raise ValueError("is required")
        return read_value

    return PlainValidator(read_required)


def _read_text(value: Any) -> str | None:
    if type(value) is str and 0 < len(value) <= MAX_IDENTIFIER and "\0" not in value:
        return value  # the usual case, checked first
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise ValueError("must be a string")  # noqa: TRY004  # the sender is wrong, not the caller
    if len(value) > MAX_IDENTIFIER:
        raise ValueError(TOO_LONG)
    # Prometheus would stop reading the text at this character.
    raise ValueError("must not contain a NUL character")


def _read_text_or_integer(value: Any) -> str | None:
    if not isinstance(value, int) or isinstance(value, bool):
        return _read_text(value)
    # Check the size first: Python refuses to convert very long integers to text.
    if -(10 ** (MAX_IDENTIFIER - 1)) < value < 10**MAX_IDENTIFIER:
        return str(value)
    raise ValueError(TOO_LONG)


def _read_word(value: Any) -> str | None:
    if isinstance(value, str | None):
        return value
    raise ValueError("must be a string")


def _read_number(value: Any) -> Number | None:
    if value is None or (type(value) is int and -MAX_AMOUNT <= value <= MAX_AMOUNT):
        return value  # the usual case, checked first
    return read_number(value)


def _read_amount(value: Any) -> Number | None:
    number = _read_number(value)
    if number is not None and number < 0:
        raise ValueError("must not be negative")
    return number


def _read_integer(value: Any) -> int | None:
    number = _read_number(value)
    return None if number is None else math.floor(number)


def _read_unix_time(value: Any) -> int | None:
    number = _read_number(value)
    return None if number is None else within_event_times(int(number), "must be unix seconds")


def _read_flag(value: Any) -> bool:
    if value is False or value is True:
        return value
    if isinstance(value, str):
        value = {"true": True, "false": False}.get(value.lower(), value)
    if value is None or (isinstance(value, (int, float)) and value in (0, 1)):
        return bool(value)
    raise ValueError("must be true or false")


def _in_chunks(values: Any, read: ValidatorFunctionWrapHandler) -> Any:
    """Read the items of a list. Stop when there are so many errors that no more would be told."""
    if not isinstance(values, list) or len(values) <= _CHUNK:
        return read(values)
    items: list[Any] = []
    errors: list[InitErrorDetails] = []
    for start in range(0, len(values), _CHUNK):
        try:
            items += read(values[start : start + _CHUNK])
        except ValidationError as error:
            errors += _moved(error, start)
            if len(errors) >= MAX_ERRORS:
                break
    if errors:
        raise ValidationError.from_exception_data("", errors, hide_input=True)
    return items


def _moved(error: ValidationError, start: int) -> list[InitErrorDetails]:
    """Return the errors of a chunk, placed where they are in the whole list."""
    moved = []
    for each in error.errors():
        index, *rest = each["loc"]
        loc = (start + int(index), *rest)
        details = InitErrorDetails(type=each["type"], loc=loc, input=each["input"])
        moved.append(details | {"ctx": each["ctx"]} if "ctx" in each else details)
    return moved


def known_unit(units: Units) -> PlainValidator:
    """Return what checks the name of a unit. The name stays, because a size may be a setting."""

    def read_unit(value: Any) -> Any:
        units.size(value)
        return value

    return PlainValidator(read_unit)


OptionalText = Annotated[str | None, PlainValidator(_read_text)]
"""A text of at most :data:`MAX_IDENTIFIER` characters without NUL. An empty one is ``None``."""

RequiredText = Annotated[str, _required(_read_text)]
"""The same, neither absent nor empty."""

OptionalTextOrInteger = Annotated[str | None, PlainValidator(_read_text_or_integer)]
"""A text as above, or a JSON integer, which becomes its digits."""

RequiredWord = Annotated[str, _required(_read_word)]
"""Any string, also an empty or long one: a word that is only compared with known ones."""

OptionalWord = Annotated[str | None, PlainValidator(_read_word)]
"""The same, if there is one."""

OptionalNumber = Annotated[Number | None, PlainValidator(_read_number)]
"""A number of a magnitude up to 2^63-1, given as a number or as a string."""

RequiredNumber = Annotated[Number, _required(_read_number)]
"""The same, not absent."""

RequiredAmount = Annotated[Number, _required(_read_amount)]
"""The same, not negative either."""

OptionalInteger = Annotated[int | None, PlainValidator(_read_integer)]
"""A number as above, rounded down to an integer."""

Flag = Annotated[bool, PlainValidator(_read_flag)]
"""A boolean, given as such, as 0 or 1, or as "true" or "false" in any case. ``null`` is false."""

RequiredUnixTime = Annotated[int, _required(_read_unix_time)]
"""The time of an event, given as unix seconds. Fractions are cut off."""

OptionalEventTime = Annotated[int | None, PlainValidator(read_event_time)]
"""The time of an event, given in ISO 8601 with a time zone; unix seconds."""

RequiredEventTime = Annotated[int, _required(read_event_time)]
"""The same, not absent."""

OptionalIsoTime = Annotated[int | None, PlainValidator(read_iso_time)]
"""Any time in ISO 8601 with a time zone, such as the end of a package; unix seconds."""

RequiredIsoTime = Annotated[int, _required(read_iso_time)]
"""The same, not absent."""

Unread = Any
"""A value that is documented, but not used."""

Item = TypeVar("Item")

Items = Annotated[list[Item], WrapValidator(_in_chunks)]
"""A list of objects."""
