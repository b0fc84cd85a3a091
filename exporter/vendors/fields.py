"""Reading the fields of a JSON document: texts, numbers and units. All errors are collected.

Amounts become integers in base units without passing through an inexact product, so that sums of
them do not depend on the order of events.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from exporter.errors import FieldError
from exporter.model.events import MAX_AMOUNT, MAX_IDENTIFIER

if TYPE_CHECKING:
    from collections.abc import Mapping

Number = int | float

_INTEGER = re.compile(r"([+-]?)([0-9]+)")
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")

_DIGITS = len(str(MAX_AMOUNT))
"""An integer with more digits is out of range and is not converted: that takes time quadratic in
the number of digits, and Python refuses more than 4300."""


def read_number(value: object) -> Number:
    """Return the number of a JSON value, which is a number or a string that holds one.

    A string gives the same as the JSON number with the same digits. Raises ``ValueError``, with a
    message for the sender, for any other value and for a magnitude above 2^63-1.
    """
    number: Number
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        number = value
    elif isinstance(value, str):
        number = _read_text(value.strip(" "))
    else:
        raise ValueError("must be a number")  # noqa: TRY004  # the sender is wrong, not the caller
    if -MAX_AMOUNT <= number <= MAX_AMOUNT:
        return number
    raise ValueError("is out of range")


def _read_text(text: str) -> Number:
    if integer := _INTEGER.fullmatch(text):
        sign, digits = integer.groups()
        digits = digits.lstrip("0") or "0"
        if len(digits) > _DIGITS:
            raise ValueError("is out of range")
        return int(sign + digits)
    # float() alone would also accept "inf", "1_000" and digits of other scripts.
    if _DECIMAL.fullmatch(text):
        return float(text)
    raise ValueError("must be a number")


def to_base_units(amount: Number, size: int) -> int:
    """Convert an amount to base units. One unit has ``size`` base units. Halves round to even."""
    if isinstance(amount, int):
        return amount * size
    if size & (size - 1) == 0:
        return round(amount * size)  # exact, because the size is a power of two
    numerator, denominator = amount.as_integer_ratio()
    whole, rest = divmod(numerator * size, denominator)
    return whole + (2 * rest > denominator or (2 * rest == denominator and whole % 2))


@dataclass(frozen=True, slots=True)
class Units:
    """The units of one resource as vendors name them, each with its size.

    Sizes are in the resource's base unit (bytes, messages, seconds). Words match in any case.
    Symbols match only as listed, because their case can have a meaning: "Mb" might be megabits.
    """

    default: int
    """The size if no unit is named."""
    words: Mapping[str, int]
    symbols: Mapping[str, int] = field(default_factory=dict)

    def size(self, unit: object) -> int:
        """Return the size of a unit. Raises ``ValueError`` if it is not known."""
        if unit is None or unit == "":
            return self.default
        if isinstance(unit, str):
            size = self.symbols.get(unit) or self.words.get(unit.lower())
            if size:
                return size
        raise ValueError("is not a known unit")


@cache
def data_units(base: int) -> Units:
    """Return the units of data, with kB, MB, GB and TB as powers of ``base`` (1024 or 1000)."""
    symbols = {"B": 1, "b": 1, "kB": base}
    for power, prefix in enumerate("KMGT", start=1):
        for symbol, size in ((f"{prefix}B", base**power), (f"{prefix}iB", 1024**power)):
            symbols |= {symbol: size, symbol.upper(): size, symbol.lower(): size}
    return Units(default=base**2, words={"byte": 1, "bytes": 1}, symbols=symbols)


VOICE_UNITS = Units(
    default=60,
    words={"minutes": 60, "minute": 60, "min": 60, "seconds": 1, "second": 1, "sec": 1},
)

SMS_UNITS = Units(default=1, words={"sms": 1, "message": 1, "messages": 1})


Loc = tuple[str | int, ...]

TOO_LONG = f"must have at most {MAX_IDENTIFIER} characters"


class Fields:
    """One object of a document: its values, its path, and the errors of the whole document.

    A field that does not fit adds to :attr:`errors` and is read as if it were absent. A required
    field is then read as an empty value of its type. So reading continues and finds all errors;
    use the values only if there are none. An absent field is the same as ``null``, and for a text
    the same as an empty one.
    """

    __slots__ = ("errors", "loc", "values")

    def __init__(self, values: Mapping[str, Any], loc: Loc, errors: list[FieldError]) -> None:
        self.values = values
        self.loc = loc
        self.errors = errors

    def fail(self, key: str, msg: str) -> None:
        """Add an error of a field. ``msg`` must not repeat the value."""
        self.errors.append(FieldError((*self.loc, key), msg))

    def text(self, key: str) -> str | None:
        """Return a text of at most :data:`MAX_IDENTIFIER` characters, ``None`` if empty."""
        value = self.values.get(key)
        if type(value) is str and 0 < len(value) <= MAX_IDENTIFIER and "\0" not in value:
            return value  # the usual case, checked first
        if value is None or value == "":
            return None
        if not isinstance(value, str):
            self.fail(key, "must be a string")
        elif len(value) > MAX_IDENTIFIER:
            self.fail(key, TOO_LONG)
        else:  # Prometheus would stop reading the text at this character
            self.fail(key, "must not contain a NUL character")
        return None

    def required_text(self, key: str) -> str:
        """Return a text that must not be missing or empty."""
        text = self.text(key)
        if text is None and self.values.get(key) in (None, ""):
            self.fail(key, "is required")
        return text or ""

    def number(self, key: str) -> Number | None:
        """Return a number of a magnitude up to 2^63-1, given as a number or as a string."""
        value = self.values.get(key)
        if value is None:
            return None
        if type(value) is int and -MAX_AMOUNT <= value <= MAX_AMOUNT:
            return value  # the usual case, checked first
        try:
            return read_number(value)
        except ValueError as error:
            self.fail(key, str(error))
            return None

    def required_number(self, key: str) -> Number:
        """Return a number that must not be missing."""
        number = self.number(key)
        if number is None and self.values.get(key) is None:
            self.fail(key, "is required")
        return number or 0

    def integer(self, key: str) -> int | None:
        """Return a number rounded down to an integer."""
        number = self.number(key)
        return None if number is None else math.floor(number)

    def flag(self, key: str) -> bool:
        """Return a boolean, given as such, as 0 or 1, or as "true" or "false" in any case."""
        value = self.values.get(key)
        if value is False or value is True:
            return value
        if isinstance(value, str):
            value = {"true": True, "false": False}.get(value.lower(), value)
        if value is None or (isinstance(value, (int, float)) and value in (0, 1)):
            return bool(value)
        self.fail(key, "must be true or false")
        return False

    def unit(self, key: str, units: Units) -> int:
        """Return the size of a unit in base units, or 1 with an error if it is not known."""
        try:
            return units.size(self.values.get(key))
        except ValueError as error:
            self.fail(key, str(error))
            return 1

    def required_object(self, key: str) -> Fields:
        """Return an object that must not be missing. If it is missing, that is the only error."""
        value = self.values.get(key)
        if isinstance(value, dict):
            return Fields(value, (*self.loc, key), self.errors)
        self.fail(key, "is required" if value is None else "must be an object")
        return Fields({}, (*self.loc, key), [])


def in_document_order(document: Any, errors: list[FieldError]) -> list[FieldError]:
    """Return errors in the order of the document. A missing field is at the end of its object."""
    return sorted(errors, key=lambda error: _place(document, error.loc))


def _place(node: Any, loc: Loc) -> list[int]:
    place: list[int] = []
    for step in loc:
        if isinstance(step, int):
            place.append(step)
            node = node[step]
        else:
            keys = list(node)
            place.append(keys.index(step) if step in node else len(keys))
            node = node.get(step)
    return place
