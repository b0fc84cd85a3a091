"""Query parameters: how each value is checked and read, and its JSON Schema."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json
from werkzeug.exceptions import BadRequest

from exporter.endpoints.query_parameters import check_names
from exporter.model.events import MAX_IDENTIFIER

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from enum import StrEnum

    from werkzeug.datastructures import MultiDict

_MAX_DIGITS = 9


@dataclass(frozen=True, slots=True)
class Parameter:
    """One query parameter."""

    name: str
    description: str
    schema: dict[str, Any]
    """JSON Schema of the value, for the OpenAPI document."""
    read: Callable[[str], object]
    """Turns text into the value. Raises ``ValueError`` that says what the value must be."""
    default: object = None

    def value(self, text: str | None) -> object:
        """Return the value of ``text``, or the default if it is ``None``.

        Raises ``BadRequest`` that names the parameter.
        """
        if text is None:
            return self.default
        try:
            return self.read(text)
        except ValueError as error:
            raise BadRequest(f"{self.name}: {error}") from None


def read_all(given: MultiDict[str, str], parameters: Sequence[Parameter]) -> dict[str, object]:
    """Return the values of all parameters by name.

    Raises ``BadRequest`` that names a parameter that is wrong, unknown or given twice.
    """
    check_names(given, {parameter.name for parameter in parameters})
    return {parameter.name: parameter.value(given.get(parameter.name)) for parameter in parameters}


def text(name: str, description: str, longest: int = MAX_IDENTIFIER) -> Parameter:
    """Return a parameter whose value is text, 1 to ``longest`` characters."""

    def read(written: str) -> str:
        if not 0 < len(written) <= longest:
            raise ValueError(f"must be a text of 1 to {longest} characters")
        return written

    schema = {"type": "string", "minLength": 1, "maxLength": longest}
    return Parameter(name, description, schema, read)


def number(name: str, description: str, least: int, most: int, default: int) -> Parameter:
    """Return a parameter whose value is a whole number from ``least`` to ``most``."""

    def read(written: str) -> int:
        digits = written.isascii() and written.isdigit() and len(written) <= _MAX_DIGITS
        if not digits or not least <= int(written) <= most:
            raise ValueError(f"must be a number from {least} to {most}")
        return int(written)

    schema = {"type": "integer", "minimum": least, "maximum": most, "default": default}
    return Parameter(name, description, schema, read, default)


def share(name: str, description: str) -> Parameter:
    """Return a parameter whose value is a share, 0 to 1."""

    def read(written: str) -> float:
        try:
            value = from_json(written, allow_inf_nan=False)
        except ValueError:
            value = None
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= 1:
            raise ValueError("must be a number from 0 to 1")
        return value

    return Parameter(name, description, {"type": "number", "minimum": 0, "maximum": 1}, read)


def choice(
    name: str, description: str, among: type[StrEnum], default: StrEnum | None = None
) -> Parameter:
    """Return a parameter whose value is one of the members of an enumeration."""
    words = [member.value for member in among]

    def read(written: str) -> StrEnum:
        if written not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return among(written)

    schema: dict[str, Any] = {"type": "string", "enum": words}
    if default:
        schema["default"] = default.value
    return Parameter(name, description, schema, read, default)


def switch(name: str, description: str) -> Parameter:
    """Return a parameter whose value is ``true`` or ``false``."""
    words = {"true": True, "false": False}

    def read(written: str) -> bool:
        if written not in words:
            raise ValueError("must be true or false")
        return words[written]

    return Parameter(name, description, {"type": "boolean"}, read)
