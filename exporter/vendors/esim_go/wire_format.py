"""The wire format of eSIM Go's callbacks, as far as it is documented.

The source is the vendor's documentation (https://docs.esim-go.com, API v2.0 to v2.5, as of June
2026) and its typed client. "V2" and "V3" are versions of the callbacks; V3 is signed. No event but
those of a deletion has a time of its own, and none has an identity.
"""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

from pydantic import ConfigDict, PlainValidator
from pydantic.alias_generators import to_camel

from exporter.vendors.esim_go.iccids import Iccid
from exporter.vendors.field_types import (
    Flag,
    OptionalIsoTime,
    OptionalNumber,
    OptionalText,
    OptionalTextOrInteger,
    OptionalWord,
    RequiredEventTime,
    RequiredText,
)
from exporter.vendors.wire_format import WireObject


class Unit(NamedTuple):
    """A unit of quantities."""

    resource: str
    """What is counted: data, sms or voice."""
    size: int
    """One unit in bytes, messages or seconds."""


BYTES = Unit("data", 1)

_UNITS = {"bytes": BYTES, "smsmessages": Unit("sms", 1), "minutes": Unit("voice", 60)}


def _read_unit(value: Any) -> Unit | None:
    if value is None or value == "":
        return None
    unit = _UNITS.get(value.lower()) if isinstance(value, str) else None
    if unit is None:
        raise ValueError("is not a known unit")
    return unit


class _Object(WireObject):
    model_config = ConfigDict(alias_generator=to_camel)


class Callback(_Object):
    """What tells the type of a callback: it has one of these two fields."""

    alert_type: OptionalWord = None
    """``Utilisation`` (``usage`` in samples of v2.0), ``FirstUse`` or ``CountryChange``."""
    event: OptionalWord = None
    """``esim.deletion_scheduled`` or ``esim.deleted`` (2026)."""


class Bundle(_Object):
    """One assignment of a bundle to an eSIM, with one of its resources."""

    name: RequiredText
    """The name in the catalogue. The same bundle may be assigned several times, one after the
    other."""
    id: OptionalTextOrInteger = None
    """The assignment. V3 only."""
    reference: OptionalText = None
    """The assignment, by another name. V3 only."""
    description: OptionalText = None
    """The bundle's name for people. V3 only."""
    initial_quantity: OptionalNumber = None
    """What was assigned, in ``unit``."""
    remaining_quantity: OptionalNumber = None
    """What is left of it, in ``unit``. Within an assignment it only falls."""
    unit: Annotated[Unit | None, PlainValidator(_read_unit)] = None
    """``BYTES``, ``SMSmessages`` or ``minutes``. Newest versions only; bytes without it."""
    unlimited: Flag = False
    """Whether there is no limit. What the quantities then mean is not documented."""
    start_time: OptionalIsoTime = None
    """When the assignment began. RFC 3339, UTC."""
    end_time: OptionalIsoTime = None
    """When it ends. RFC 3339, UTC; may be empty."""


class Usage(Callback):
    """A part of a bundle is used: 1, 50, 80 or 100 %, or its first kilobyte."""

    iccid: Iccid
    """The ICCID of the eSIM, 19 digits."""
    bundle: Bundle
    """The assignment whose part is used."""


class Deletion(Callback):
    """An eSIM is deleted."""

    iccid: Iccid
    """The ICCID of the eSIM, 19 digits."""
    date: RequiredEventTime
    """When it was deleted. RFC 3339."""
