"""The wire format of Roamify's webhooks, as far as it is documented.

The source is the vendor's documentation of several dates (July 2025 to 2026), which contradicts
itself in places. The fields of an event are nested under ``data``; before 20 July 2025 they were at
the top level. Both are accepted.
"""

from __future__ import annotations

from typing import Annotated, Generic, TypeVar

from pydantic import AfterValidator, Field

from exporter.vendors.amounts import SMS_UNITS, VOICE_UNITS, data_units
from exporter.vendors.field_types import (
    Flag,
    Items,
    OptionalInteger,
    OptionalNumber,
    OptionalText,
    OptionalTextOrInteger,
    OptionalWord,
    RequiredAmount,
    RequiredNumber,
    RequiredText,
    RequiredUnixTime,
    RequiredWord,
    Unread,
    known_unit,
)
from exporter.vendors.vendor import DEFAULT_UNIT_BASE
from exporter.vendors.wire_format import WireObject

_DataUnit = Annotated[str | None, known_unit(data_units(DEFAULT_UNIT_BASE))]
_SmsUnit = Annotated[str | None, known_unit(SMS_UNITS)]
_VoiceUnit = Annotated[str | None, known_unit(VOICE_UNITS)]

_MAX_CURRENCY = 16


def _read_currency(text: str) -> str:
    currency = text.upper()
    if len(currency) > _MAX_CURRENCY:
        raise ValueError(f"must have at most {_MAX_CURRENCY} characters")
    return currency


class Delivery(WireObject):
    """What every event has."""

    event_type: RequiredWord
    """The type of the event, such as ``usage``; sample code of the vendor has ``esim_usage``."""
    event_category: OptionalWord = None
    """The category of the type, such as ``esim``."""
    event_id: Unread = None
    """The identity of the event. Refunds only."""
    data: Unread = None
    """The fields of this type of event."""


class Esim(WireObject):
    """The fields that events of an eSIM share."""

    timestamp: RequiredUnixTime
    """When the event happened. Events of the same second are normal."""
    esim_id: RequiredText
    """The identity of the eSIM; a UUID."""
    iccid: OptionalTextOrInteger = None
    """The ICCID of the profile, 15 to 20 digits."""
    reference_id: OptionalText = None
    """The operator's own reference. May be missing, null or empty."""
    start: Unread = None
    """The start of the package, or of the period that is reported; unix seconds, null or 0."""
    end: Unread = None
    """Its end, likewise."""


class Amounts(WireObject):
    """What a package allows, and what is left of it. -1 is what it does not include."""

    is_unlimited: Flag = Field(default=False, alias="isUnlimited")
    """Whether there is no limit of data. The other amounts of data then mean nothing."""
    allowed_data: OptionalNumber = None
    """Data, in ``data_units``. A top-up raises it. 2^53-1 is unlimited too."""
    remaining_data: OptionalNumber = None
    """What is left of it. It may exceed what is allowed."""
    allowed_sms: OptionalNumber = None
    """SMS, in ``sms_units``."""
    remaining_sms: OptionalNumber = None
    """What is left of them."""
    allowed_voice: OptionalNumber = None
    """Calls, in ``voice_units``."""
    remaining_voice: OptionalNumber = None
    """What is left of them."""


class Row(WireObject):
    """The data that was used in one location on one day."""

    data_used: RequiredAmount
    """Data, in ``data_units``."""
    location: OptionalText = None
    """A name in any script, such as Åland Islands, or a group of countries."""
    date: Unread = None
    """The day as ``YYYY-MM-DD`` or ``YYYYMMDD``. Its time zone is not known."""


class Usage(Esim):
    """The use of a package, told every four hours and at thresholds."""

    status: OptionalText = None
    """The status of the eSIM, such as ``ACTIVATED``."""
    start: OptionalInteger = None
    """The start of the package, or of the period that is reported; unix seconds, null or 0."""
    end: OptionalInteger = None
    """Its end, likewise."""
    package_id: RequiredText
    """The package in the catalogue."""
    package_name: OptionalText = None
    """Its name for people."""
    data_units: _DataUnit = None
    """The unit of data; MB without it."""
    sms_units: _SmsUnit = None
    """The unit of SMS; messages without it."""
    voice_units: _VoiceUnit = None
    """The unit of calls; minutes without it."""
    usage_data: Amounts
    """The amounts of the package."""
    usage_list: Items[Row] | None = None
    """The data used by location and day. It need not add up to what is no longer left."""


class Status(Esim):
    """A change of an eSIM's status."""

    status: RequiredText
    """The new status, such as ``ACTIVATED``."""


class Partner(WireObject):
    """The operator's balance at the vendor."""

    currency: Annotated[RequiredText, AfterValidator(_read_currency)]
    """The code of its currency, such as ``USD``."""
    timestamp: RequiredUnixTime
    """When the event happened."""
    balance: RequiredNumber
    """In ``currency``."""
    threshold: OptionalNumber = None
    """The balance below which the vendor warns, in ``currency``."""
    threshold_percentage: Unread = None
    """The share of the threshold that was reached: 75, 50 or 25 %."""


Payload = TypeVar("Payload", bound=WireObject)


class Nested(Delivery, Generic[Payload]):
    """An event of today."""

    data: Payload
    """The fields of this type of event."""


class FlatUsage(Usage, Delivery):
    """A usage event of before 20 July 2025."""


class FlatStatus(Status, Delivery):
    """A status event of before 20 July 2025."""


class FlatPartner(Partner, Delivery):
    """An event about the balance of before 20 July 2025."""
