"""The names of query parameters: which ones an address may have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from werkzeug.exceptions import BadRequest

if TYPE_CHECKING:
    from collections.abc import Collection

    from werkzeug.datastructures import MultiDict


def check_names(given: MultiDict[str, str], known: Collection[str]) -> None:
    """Raise ``BadRequest`` that names a parameter that is unknown or given twice.

    A misspelt condition would otherwise give a list without it.
    """
    for name, values in given.lists():
        if name not in known:
            known_names = f"there are {', '.join(sorted(known))}" if known else "there is none"
            raise BadRequest(f"{name}: no such parameter; {known_names}")
        if len(values) > 1:
            raise BadRequest(f"{name}: given {len(values)} times, once is allowed")
