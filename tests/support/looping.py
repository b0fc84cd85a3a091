"""Tests that check many items in one go, and name every item that fails.

A parametrised test costs some milliseconds and a line of output for every item. Checks of rules
and panels cost much less than that, so each of them runs as a single test.
"""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Check = Callable[..., None]


def for_every(
    argument: str, items: Iterable[Any], name: Callable[[Any], str]
) -> Callable[[Check], Check]:
    """Make one test of a check: call it with every item as ``argument``, then report.

    The check's other arguments are fixtures. The test fails if the check fails for any item, or
    if there are no items. The failure lists each failing item by ``name`` with its error.
    """
    checked = list(items)

    def decorate(check: Check) -> Check:
        @functools.wraps(check)
        def test(**fixtures: Any) -> None:
            failures = [
                f"{name(item)}: {error}"
                for item in checked
                if (error := _error_of(check, **{argument: item}, **fixtures))
            ]
            assert checked, "there is nothing to check"
            assert not failures, "\n".join([f"{len(failures)} of {len(checked)}:", *failures])

        signature = inspect.signature(check)
        fixtures = [each for each in signature.parameters.values() if each.name != argument]
        test.__signature__ = signature.replace(parameters=fixtures)  # type: ignore[attr-defined]
        return test

    return decorate


def _error_of(check: Check, **arguments: Any) -> str:
    try:
        check(**arguments)
    except Exception as error:  # noqa: BLE001  # any error is a failure of this item only
        return f"{type(error).__name__}: {error}"
    return ""
