"""Finds fields that a vendor's format does not have: it may have been extended or renamed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeAlias

from exporter.model.events import OTHER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Shape: TypeAlias = "Mapping[str, Shape | None]"
"""The fields of an object. If a field holds an object or a list of objects: their shape."""

_MAX_LENGTH = 40

_NAME = re.compile(r"[A-Za-z_](?:[0-9]{0,2}[A-Za-z_])*[0-9]{0,2}")
"""Names in ASCII. Three digits in a row could be part of an ICCID or of another identifier."""


def unknown_fields(values: Mapping[str, Any], shape: Shape, path: str = "") -> Iterator[str]:
    """Return the paths of fields that are not in the shape, such as ``data.usage_data.bonus``.

    The objects of a list have the same paths, so a path can come several times. Only names become
    part of a path, never values. A name that could be an identifier used as a key becomes "other".
    An object without a shape is not searched.
    """
    if not values.keys() <= shape.keys():
        yield from (_path(path, name) for name in values.keys() - shape.keys())
    for name, below in shape.items():
        if below is None or not (value := values.get(name)):
            continue
        for each in value if isinstance(value, list) else (value,):
            if isinstance(each, dict):
                yield from unknown_fields(each, below, f"{path}{name}.")


def _path(path: str, name: str) -> str:
    harmless = len(name) <= _MAX_LENGTH and _NAME.fullmatch(name)
    return f"{path}{name}" if harmless else OTHER
