"""Usage events in the form that nearly all of them have, read by a decoder made for this form.

It does not judge: whatever is not in the usual form is read again as
:mod:`exporter.vendors.roamify.wire_format` declares it, which tells what is wrong, and accepts rare
forms such as numbers in strings. In the usual form, all fields are documented ones, so there are
none to notice.

With it, parsing such an event takes 7 µs; with the models alone it takes 20 µs, or 18 µs if they
read the JSON themselves. To compare, put a byte order mark before the body, which is not usual::

    python -m timeit -p -s "from exporter.vendors.roamify import parse
    body = open('tests/payloads/usage.json', 'rb').read()" "parse(body, 1.7e9)"
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from exporter.model.events import MAX_AMOUNT, MAX_IDENTIFIER, MAX_TIME
from exporter.vendors.times import EARLIEST

_Text = Annotated[str, msgspec.Meta(max_length=MAX_IDENTIFIER)] | None
_Identifier = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_IDENTIFIER)]
_Integer = Annotated[int, msgspec.Meta(ge=-MAX_AMOUNT, le=MAX_AMOUNT)]
_Number = _Integer | Annotated[float, msgspec.Meta(gt=-(2.0**63), lt=2.0**63)]
_NotNegative = (
    Annotated[int, msgspec.Meta(ge=0, le=MAX_AMOUNT)]
    | Annotated[float, msgspec.Meta(ge=0.0, lt=2.0**63)]
)

_NUL = rb"\u0000"
"""The only way to write this character in JSON. No text may hold it."""


class UsualAmounts(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The usual form of :class:`exporter.vendors.roamify.wire_format.Amounts`."""

    is_unlimited: bool | None = msgspec.field(default=None, name="isUnlimited")
    allowed_data: _Number | None = None
    remaining_data: _Number | None = None
    allowed_sms: _Number | None = None
    remaining_sms: _Number | None = None
    allowed_voice: _Number | None = None
    remaining_voice: _Number | None = None


class UsualRow(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The usual form of :class:`exporter.vendors.roamify.wire_format.Row`."""

    data_used: _NotNegative
    location: _Text = None
    date: str | None = None


class UsualUsage(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The usual form of :class:`exporter.vendors.roamify.wire_format.Usage`.

    Texts may be empty, and units may be unknown.
    """

    timestamp: Annotated[int, msgspec.Meta(ge=EARLIEST, le=MAX_TIME)]
    esim_id: _Identifier
    package_id: _Identifier
    usage_data: UsualAmounts
    usage_list: list[UsualRow] | None = None
    iccid: _Text = None
    reference_id: _Text = None
    package_name: _Text = None
    status: _Text = None
    start: _Integer | None = None
    end: _Integer | None = None
    data_units: str | None = None
    sms_units: str | None = None
    voice_units: str | None = None


class _Delivery(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    event_type: Literal["usage", "esim_usage"]
    data: UsualUsage
    event_category: Literal["esim", ""] | None = None
    event_id: str | int | None = None


_decode = msgspec.json.Decoder(_Delivery).decode


def read_usual(body: bytes) -> UsualUsage | None:
    """Return the usage that a delivery tells, or ``None`` if it does not have the usual form."""
    try:
        usage = _decode(body).data
    except (msgspec.MsgspecError, ValueError):  # UTF-8 that is wrong is a ValueError
        return None
    return None if _NUL in body else usage
