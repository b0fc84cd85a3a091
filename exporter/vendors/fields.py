"""Reading the fields of a JSON document one by one. All errors are collected."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from exporter.errors import FieldError
from exporter.model.events import MAX_AMOUNT, MAX_IDENTIFIER
from exporter.vendors.amounts import read_number
from exporter.vendors.field_types import TOO_LONG

if TYPE_CHECKING:
    from collections.abc import Mapping

    from exporter.vendors.amounts import Number, Units
    from exporter.vendors.wire_format import Loc


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
