"""ICCIDs as eSIM Go sends them: they are all that identifies an eSIM.

The documentation has them as strings of 19 digits, and in one sample as a JSON number that has lost
its last digits: a program had held it as a floating-point number. Such a number is the identity of
another eSIM, or of none, so it is refused.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any

from pydantic import PlainValidator

_ICCID = re.compile(r"[0-9]{18,22}")
"""ITU-T E.118 allows 19 digits; some issuers leave the check digit out, or add to it."""

_EXACT = 2**53
"""Floating-point numbers hold every integer up to this one."""

_LONGEST = 10**22


def _read_iccid(value: Any) -> str:
    if value is None or value == "":
        raise ValueError("is required")
    if isinstance(value, int) and not isinstance(value, bool):
        if not 0 <= value < _LONGEST:  # also because Python refuses to write very long integers
            raise ValueError("must have 18 to 22 digits")
        if _may_be_rounded(value):
            raise ValueError("must be a string: this number may have lost digits")
        value = str(value)
    if not isinstance(value, str):
        raise ValueError("must be a string")  # noqa: TRY004  # the sender is wrong, not the caller
    if not _ICCID.fullmatch(value):
        raise ValueError("must have 18 to 22 digits")
    return value


def _may_be_rounded(number: int) -> bool:
    """Return whether a program that holds numbers as floating-point ones could have written this.

    Such programs write either all digits of the number that they hold, or the fewest digits that
    tell it apart from others, followed by zeros.
    """
    held = float(number)
    return number > _EXACT and number in (int(held), int(Decimal(repr(held))))


Iccid = Annotated[str, PlainValidator(_read_iccid)]
"""The ICCID of an eSIM, a string of digits."""
