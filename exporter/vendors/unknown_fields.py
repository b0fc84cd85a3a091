"""Finds fields that a vendor's format does not have: it may have been extended or renamed."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

from pydantic import BaseModel

from exporter.model.events import OTHER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class Shape(NamedTuple):
    """The fields of an object."""

    names: frozenset[str]
    below: tuple[tuple[str, Shape], ...] = ()
    """The fields that hold an object or a list of objects, each with the shape of these."""


_MAX_LENGTH = 40

_NAME = re.compile(r"[A-Za-z_](?:[0-9]{0,2}[A-Za-z_])*[0-9]{0,2}")
"""Names in ASCII. Three digits in a row could be part of an ICCID or of another identifier."""


@cache
def shape_of(model: type[BaseModel]) -> Shape:
    """Return the shape that a model declares, with the names that its fields have in JSON."""
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    below = (
        (name, shape_of(inner))
        for name, field in fields.items()
        for inner in _models(field.annotation)
    )
    return Shape(frozenset(fields), tuple(below))


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Return the models of an annotation such as ``list[Row] | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)


def unknown_fields(values: Mapping[str, Any], shape: Shape, path: str = "") -> set[str]:
    """Return the paths of fields that are not in the shape, such as ``data.usage_data.bonus``.

    All objects of a list have the same paths. Only names become part of a path, never values. A
    name that could be an identifier used as a key becomes "other". An object without a shape is not
    searched.
    """
    found: set[str] = set()
    if not values.keys() <= shape.names:
        found.update(_path(path, name) for name in values.keys() - shape.names)
    for name, below in shape.below:
        value = values.get(name)
        for each in value if isinstance(value, list) else (value,):
            # Most objects have known fields and no object below, so they are not searched.
            if isinstance(each, dict) and (below.below or not each.keys() <= below.names):
                found |= unknown_fields(each, below, f"{path}{name}.")
    return found


def _path(path: str, name: str) -> str:
    harmless = len(name) <= _MAX_LENGTH and _NAME.fullmatch(name)
    return f"{path}{name}" if harmless else OTHER
