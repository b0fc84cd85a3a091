"""What the values of Roamify's deliveries mean, however they are read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.model.events import UNLIMITED_AMOUNT, Status
from exporter.vendors.amounts import to_base_units

if TYPE_CHECKING:
    from exporter.vendors.amounts import Number

VENDOR = "roamify"

NOTHING = (False, None, None, None, None, None, None)
"""The amounts of a snapshot without any allowance."""

_STATUSES = {status.casefold(): status for status in Status} | {"active": Status.ACTIVATED}


def known_status(spelling: str) -> Status:
    """Return the status of a spelling in any case, ``OTHER`` if it is not known."""
    return _STATUSES.get(spelling.casefold(), Status.OTHER)


def means_unlimited(allowed: Number, size: int) -> bool:
    """Return whether an allowed amount of data, in units of ``size`` bytes, means unlimited data.

    The vendor's catalogue writes 2^53-1. A negative amount means the same.
    """
    return allowed < 0 or to_base_units(allowed, size) >= UNLIMITED_AMOUNT


def is_included(allowed: Number | None, remaining: Number | None) -> bool:
    """Return whether a package includes SMS or voice.

    The vendor's catalogue writes -1 if a package does not include a resource.
    """
    nothing_left = remaining is None or remaining <= 0
    return not (allowed is not None and allowed < 0) and not (not allowed and nothing_left)
