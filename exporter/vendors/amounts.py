"""Numbers and units of a vendor's JSON: amounts become integers in base units.

They do so without passing through an inexact product, so that sums of them do not depend on the
order of events.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

from exporter.model.events import MAX_AMOUNT

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
