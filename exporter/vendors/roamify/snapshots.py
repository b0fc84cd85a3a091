"""What the amounts of a usage event mean: a snapshot of the package.

An amount that does not fit adds to a list of errors, each with its place below the event's fields.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.errors import FieldError
from exporter.model.events import MAX_AMOUNT, UNLIMITED_AMOUNT, Snapshot
from exporter.vendors.amounts import SMS_UNITS, VOICE_UNITS, data_units, to_base_units
from exporter.vendors.wire_format import MAX_ERRORS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from exporter.vendors.amounts import Number
    from exporter.vendors.roamify.usual_usage import UsualAmounts, UsualRow, UsualUsage
    from exporter.vendors.roamify.wire_format import Amounts, Row, Usage

    Rows = Sequence[Row | UsualRow]
    Pair = tuple[int | None, int | None]

_NOTHING = (False, None, None, None, None, None, None)
"""The amounts of a snapshot without any allowance."""

_OUT_OF_RANGE = "is out of range"


def snapshot_of(usage: Usage | UsualUsage, unit_base: int, errors: list[FieldError]) -> Snapshot:
    """Return the snapshot of a usage event. It is right if nothing was added to ``errors``.

    ``unit_base`` is 1024 or 1000, the bytes in the vendor's kB. Raises ``ValueError`` for a unit
    that is not known.
    """
    data_size = data_units(unit_base).size(usage.data_units)
    sms_size = SMS_UNITS.size(usage.sms_units)
    voice_size = VOICE_UNITS.size(usage.voice_units)
    given = usage.usage_data
    amounts = (
        *_data(given, data_size, errors),
        *_included("sms", given.allowed_sms, given.remaining_sms, sms_size, errors),
        *_included("voice", given.allowed_voice, given.remaining_voice, voice_size, errors),
    )
    # If the vendor renamed its amounts, taking them as absent would remove a known allowance.
    if amounts == _NOTHING:
        errors.append(FieldError(("usage_data",), "holds no amount that is known"))
    locations = _locations(usage.usage_list, data_size, errors)
    return Snapshot(*amounts, usage.start, usage.end, locations)


def missing_halves(snapshot: Snapshot) -> Iterator[str]:
    """Return the names of amounts that are missing although the other one of their pair is not."""
    for resource, allowed, remaining in (
        ("data", snapshot.data_allowed, snapshot.data_remaining),
        ("sms", snapshot.sms_allowed, snapshot.sms_remaining),
        ("voice", snapshot.voice_allowed, snapshot.voice_remaining),
    ):
        if (allowed is None) is not (remaining is None):
            yield f"{'allowed' if allowed is None else 'remaining'}_{resource}"


def _data(
    given: Amounts | UsualAmounts, size: int, errors: list[FieldError]
) -> tuple[bool, int | None, int | None]:
    """Return whether the data is unlimited, and otherwise allowed and remaining bytes.

    Unlimited data has the documented flag, or an allowed amount that means it.
    """
    allowed, remaining = given.allowed_data, given.remaining_data
    if given.is_unlimited or (allowed is not None and _means_unlimited(allowed, size)):
        return True, None, None
    if allowed is None and remaining is not None and remaining < 0:
        return False, None, None
    return False, *_pair("data", allowed, remaining, size, errors)


def _included(
    resource: str,
    allowed: Number | None,
    remaining: Number | None,
    size: int,
    errors: list[FieldError],
) -> Pair:
    """Return allowed and remaining SMS or voice, ``None`` for both if not included."""
    if not _is_included(allowed, remaining):
        return None, None
    return _pair(resource, allowed, remaining, size, errors)


def _means_unlimited(allowed: Number, size: int) -> bool:
    """Return whether an allowed amount of data, in units of ``size`` bytes, means unlimited data.

    The vendor's catalogue writes 2^53-1. A negative amount means the same.
    """
    return allowed < 0 or to_base_units(allowed, size) >= UNLIMITED_AMOUNT


def _is_included(allowed: Number | None, remaining: Number | None) -> bool:
    """Return whether a package includes SMS or voice.

    The vendor's catalogue writes -1 if a package does not include a resource.
    """
    nothing_left = remaining is None or remaining <= 0
    return not (allowed is not None and allowed < 0) and not (not allowed and nothing_left)


def _pair(
    resource: str,
    allowed: Number | None,
    remaining: Number | None,
    size: int,
    errors: list[FieldError],
) -> Pair:
    return (
        _base_units("allowed", resource, allowed, size, errors),
        _base_units("remaining", resource, remaining, size, errors),
    )


def _base_units(
    kind: str, resource: str, amount: Number | None, size: int, errors: list[FieldError]
) -> int | None:
    """Return an amount in base units. A negative remaining amount counts as 0."""
    if amount is None:
        return None
    converted = max(0, to_base_units(amount, size))
    if converted > MAX_AMOUNT:
        errors.append(FieldError(("usage_data", f"{kind}_{resource}"), _OUT_OF_RANGE))
    return converted


def _locations(
    rows: Rows | None, size: int, errors: list[FieldError]
) -> tuple[tuple[str, int], ...] | None:
    """Return bytes used per location. The dates are not used: their time zone is not known."""
    if rows is None:
        return None
    used: dict[str, int] = {}
    for row in rows:
        location = row.location or "unknown"
        used[location] = used.get(location, 0) + to_base_units(row.data_used, size)
    if sum(used.values()) > MAX_AMOUNT:
        errors += _too_much(rows, size)
    return tuple(sorted(used.items()))


def _too_much(rows: Rows, size: int) -> list[FieldError]:
    """Return why the rows add up to more than can be stored."""
    too_large = [
        FieldError(("usage_list", index, "data_used"), _OUT_OF_RANGE)
        for index, row in enumerate(rows)
        if to_base_units(row.data_used, size) > MAX_AMOUNT
    ]
    together = FieldError(("usage_list",), "adds up to what is out of range")
    return too_large[:MAX_ERRORS] or [together]
