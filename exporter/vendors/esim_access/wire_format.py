"""The wire format of eSIM Access, as far as it is documented.

The source is the vendor's Postman documentation (https://docs.esimaccess.com, as of April 2026) and
its help page (https://esimaccess.com/docs/what-webhook-notifications-do-you-send), whose older
samples have neither ``notifyId`` nor ``eventGenerateTime``. Times are in ISO 8601.
"""

from __future__ import annotations

from pydantic import ConfigDict
from pydantic.alias_generators import to_camel

from exporter.vendors.field_types import (
    OptionalEventTime,
    OptionalNumber,
    OptionalText,
    OptionalTextOrInteger,
    RequiredEventTime,
    RequiredIsoTime,
    RequiredText,
    RequiredWord,
    Unread,
)
from exporter.vendors.wire_format import WireObject


class _Object(WireObject):
    model_config = ConfigDict(alias_generator=to_camel)


class Notification(_Object):
    """What every notification has."""

    notify_type: RequiredWord
    """The type of the event, such as ``DATA_USAGE``."""
    notify_id: Unread = None
    """32 hex digits that identify the event. Missing in older samples."""
    event_generate_time: Unread = None
    """When the vendor made the event. Missing in older samples."""
    content: Unread = None
    """The fields of this type of event."""


class Esim(_Object):
    """The fields that name the eSIM of an event."""

    esim_tran_no: RequiredText
    """The identity of the eSIM. The vendor uses the same ICCID for several eSIMs, one after the
    other. Missing in older samples."""
    iccid: OptionalTextOrInteger = None
    """The ICCID of the profile; about 20 digits."""
    transaction_id: OptionalText = None
    """The operator's own reference of the order."""
    order_no: Unread = None
    """The vendor's number of the first order; a top-up keeps it."""


class DataUsage(Esim):
    """How much data is left, told when a threshold is crossed."""

    total_volume: OptionalNumber = None
    """All data that was bought, in bytes. A top-up raises it."""
    remain: OptionalNumber = None
    """What is left of it, in bytes."""
    last_update_time: OptionalEventTime = None
    """When the amounts were taken; one to three hours before the event."""
    order_usage: Unread = None
    """What was used, in bytes."""
    remain_threshold: Unread = None
    """The threshold that was crossed: 0.5 when half is left."""


class DataUsageNotification(Notification):
    """A notification of the type ``DATA_USAGE``."""

    event_generate_time: OptionalEventTime = None
    """When the vendor made the event."""
    content: DataUsage
    """The fields of this type of event."""


class Status(Esim):
    """The two statuses of an eSIM."""

    esim_status: OptionalText = None
    """The status of the plan, such as ``IN_USE``."""
    smdp_status: OptionalText = None
    """The status of the profile on the SM-DP+ server and the device, such as ``ENABLED``."""


class EsimStatus(Status):
    """A change in the life of an eSIM, sometimes with its amounts."""

    total_volume: OptionalNumber = None
    """All data that was bought, in bytes."""
    remain_volume: OptionalNumber = None
    """What is left of it, in bytes."""
    order_usage: Unread = None
    """What was used, in bytes."""
    order_status: Unread = None
    """The status of the order."""


class EsimStatusNotification(Notification):
    """A notification of the type ``ESIM_STATUS``."""

    event_generate_time: RequiredEventTime
    """When the vendor made the event."""
    content: EsimStatus
    """The fields of this type of event."""


class SmdpEvent(Status):
    """A step of the profile on the SM-DP+ server or the device."""

    eid: Unread = None
    """The identity of the chip in the device."""
    timestamp: Unread = None
    """When the step was done."""
    seq_number: Unread = None
    """The number of the step; may be null."""
    notify_status: Unread = None
    """Whether the step succeeded, such as ``Executed-Success``."""


class SmdpNotification(Notification):
    """A notification of the type ``SMDP_EVENT``."""

    event_generate_time: RequiredEventTime
    """When the vendor made the event."""
    content: SmdpEvent
    """The fields of this type of event."""


class Validity(Esim):
    """The end of a plan, told about a day before."""

    expired_time: RequiredIsoTime
    """When the plan ends."""
    remain: Unread = None
    """How long it lasts still, in units of ``durationUnit``. This is not an amount of data."""
    total_duration: Unread = None
    """How long it lasts in all, in the same units."""
    duration_unit: Unread = None
    """``DAY``."""


class ValidityNotification(Notification):
    """A notification of the type ``VALIDITY_USAGE``."""

    event_generate_time: RequiredEventTime
    """When the vendor made the event."""
    content: Validity
    """The fields of this type of event."""
