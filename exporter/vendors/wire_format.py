"""How a vendor's wire format is declared and read.

Each JSON object of the format is a model: a class below :class:`WireObject`. Its fields have types
of :mod:`exporter.vendors.field_types`, and a docstring each that says what the vendor sends there
and in which unit. :func:`read_document` and :func:`read_as` turn the body of a delivery into such a
model. The vendor's package then translates the model to an event. If it finds a value there that
does not fit, it raises :func:`misfit`, or :func:`misfits` for several.
"""

from __future__ import annotations

import codecs
import re
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import from_json

from exporter.errors import FieldError, InvalidEvent, MalformedEvent
from exporter.vendors.unknown_fields import shape_of, unknown_fields

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic_core import ErrorDetails

Loc = tuple[str | int, ...]

MAX_ERRORS = 20
"""More errors of one document are not told."""

_POSITION = re.compile(r"at line \d+ column \d+$")

_MESSAGES = {
    "missing": "is required",
    "model_type": "must be an object",
    "list_type": "must be a list",
}
"""By pydantic's type of error. Its own messages could repeat a value, which may be an ICCID."""


class WireObject(BaseModel):
    """A JSON object of a vendor's format. Fields that it does not declare are skipped."""

    model_config = ConfigDict(
        frozen=True,
        use_attribute_docstrings=True,
        hide_input_in_errors=True,  # it may hold an ICCID
    )


Model = TypeVar("Model", bound=WireObject)


def read_document(body: bytes) -> dict[str, Any]:
    """Return the JSON object of a body. A byte order mark before it is skipped.

    Raises ``MalformedEvent`` for a body that is not JSON, that is nested more than about 200
    levels deep, or that has a number of more than 4300 digits. Raises ``InvalidEvent`` if it is not
    an object.
    """
    try:
        document = from_json(body.removeprefix(codecs.BOM_UTF8), allow_inf_nan=False)
    except ValueError as error:
        # The rest of the parser's message could quote the body.
        position = _POSITION.findall(str(error))
        raise MalformedEvent(" ".join(["the body is not JSON", *position])) from None
    if not isinstance(document, dict):
        raise misfit((), "must be an object")
    return document


def read_as(
    model: type[Model], document: dict[str, Any], unknown: Callable[[str], None] | None = None
) -> Model:
    """Return a document as a model.

    ``unknown`` gets the path of each field that the model does not declare, as in "data.bonus",
    even if the document does not fit: a renamed field is then the reason.

    Raises ``InvalidEvent`` with the first 20 errors in the order of the document.
    """
    if unknown:
        for path in sorted(unknown_fields(document, shape_of(model))):
            unknown(path)
    try:
        return model.model_validate(document)
    except ValidationError as error:
        errors = [FieldError(each["loc"], _message(each)) for each in error.errors()]
    raise misfits(document, errors)


def misfit(loc: Loc, msg: str) -> InvalidEvent:
    """Return the error of a value that does not fit. ``msg`` must not repeat the value."""
    return InvalidEvent((FieldError(loc, msg),))


def misfits(document: dict[str, Any], errors: list[FieldError]) -> InvalidEvent:
    """Return the first 20 errors of a document, in the order of the document, as one."""
    return InvalidEvent(tuple(in_document_order(document, errors)[:MAX_ERRORS]))


def in_document_order(document: Any, errors: list[FieldError]) -> list[FieldError]:
    """Return errors in the order of the document. A missing field is at the end of its object."""
    return sorted(errors, key=lambda error: _place(document, error.loc))


def _message(error: ErrorDetails) -> str:
    """Return what is wrong, without the value."""
    kind, loc = error["type"], error["loc"]
    if kind == "value_error":  # a type of field_types raised it
        return str(error["ctx"]["error"])
    # A field may be null instead of missing, but an item of a list is there.
    if error["input"] is None and loc and isinstance(loc[-1], str):
        return "is required"
    return _MESSAGES.get(kind, "does not fit")


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
