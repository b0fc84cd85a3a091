"""What simulated Roamify sends, in all shapes that its documentation has shown so far.

It sends a usage event every four hours and at thresholds, and a status event at every change of
status. A top-up has no event of its own: the next usage event shows a larger allowance. It also
tells about the account's balance, orders of affiliates, and refunds.
"""

from __future__ import annotations

import functools
import json
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from exporter.model.events import UNLIMITED_AMOUNT, Status
from exporter.vendors.roamify.simulated_catalogue import CATALOGUE
from exporter.vendors.simulation import DAY, HOUR, Habits, Notifications, Resource, names_of

if TYPE_CHECKING:
    from exporter.vendors.simulation import Bodies, CataloguePackage, EsimState, Writing

Document = dict[str, Any]
"""A JSON object."""

THRESHOLDS: Final = (0.25, 0.5, 0.75, 0.9, 1.0)

NOT_INCLUDED: Final = -1
"""The amount of SMS and voice for a package without them."""

COMMISSION_RATE: Final = 10.0
"""Per cent of an affiliate order's total."""

FLAT_SHARE: Final = 0.03
"""Share of usage events in the flat shape from before July 2025."""

OLD_TYPE_SHARE: Final = 0.05
"""Share of usage events with the type's name from the vendor's sample code."""

AFFILIATE_SHARE: Final = 0.2
"""Share of eSIMs that are sold through an affiliate."""

ORDER_STATUSES: Final = ("completed",) * 7 + ("pending", "failed", "refunded")

REFUND_SHARE: Final = 0.1
"""Share of ended eSIMs for which a refund is requested."""

UNDOCUMENTED_SHARE: Final = 0.05
"""Undocumented events per eSIM bought."""

UNDOCUMENTED: Final = (("esim", "network_attached"), ("catalogue", "package_updated"))

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def notifications(writing: Writing) -> Notifications:
    """Return what is sent on each occasion."""
    writer = _Writer(writing)
    return Notifications(
        bought=writer.bought,
        status=writer.status,
        activated=writer.usage,
        interval=writer.usage,
        crossed=writer.crossed,
        ended=writer.ended,
        balance=writer.balance,
    )


class _Writer:
    """Writes bodies."""

    def __init__(self, writing: Writing) -> None:
        self._fleet, self._rng = writing.fleet, writing.rng
        self._second = writing.scale.second

    def bought(self, at: float, esim: EsimState) -> Bodies:
        """Yield an order through an affiliate, and an undocumented event, sometimes."""
        rng = self._rng
        if rng.random() < AFFILIATE_SHARE:
            order_id = uuid.UUID(int=rng.getrandbits(128), version=4)
            order = _order(esim.package, rng.choice(ORDER_STATUSES), order_id)
            yield at, _body("affiliate", "order", {"timestamp": self._second(at)} | order)
        if rng.random() < UNDOCUMENTED_SHARE:
            category, event_type = rng.choice(UNDOCUMENTED)
            yield at, _body(category, event_type, {"timestamp": self._second(at)})

    def status(self, at: float, esim: EsimState) -> Bodies:
        """Yield a status event."""
        yield at, _body("esim", "status", self._head(at, esim))

    def usage(self, at: float, esim: EsimState) -> Bodies:
        """Yield a usage event in one of its shapes."""
        chance = self._rng.random()
        data = self._head(at, esim) | _usage(esim)
        if chance < FLAT_SHARE:  # it has no units and no list either
            for name in ("data_units", "voice_units", "sms_units", "usage_list"):
                del data[name]
            document = {"event_category": "esim", "event_type": "usage"} | data
            yield at, _encode(document).encode()
        else:
            old = chance < FLAT_SHARE + OLD_TYPE_SHARE
            yield at, _body("esim", "esim_usage" if old else "usage", data)

    def crossed(self, at: float, esim: EsimState, resource: Resource, _share: float) -> Bodies:
        """Yield a usage event when a threshold of the data is crossed."""
        return self.usage(at, esim) if resource is Resource.DATA else ()

    def ended(self, at: float, esim: EsimState) -> Bodies:
        """Yield the answer to a request for a refund, sometimes."""
        rng = self._rng
        if rng.random() >= REFUND_SHARE:
            return
        event_type = rng.choice(("refunded", "rejected"))
        refund_id = f"{rng.getrandbits(32):08x}"
        decided = at + rng.uniform(HOUR, 12 * HOUR)
        # The vendor may send a refund again later, with a new timestamp and the same event_id.
        for when in (decided, decided + HOUR):
            yield when, self._refund(when, esim, event_type, refund_id)

    def balance(self, at: float, event_type: str, balance: float, threshold: float) -> Bodies:
        """Yield an event about the partner's balance, in US dollars."""
        data: Document = {"timestamp": self._second(at), "balance": round(balance, 2)}
        if event_type == "low_balance":
            percentage = int(100 * balance / threshold)
            data |= {"threshold": threshold, "threshold_percentage": percentage}
        data["currency"] = "USD"
        yield at, _body("partner", event_type, data)

    def _refund(self, at: float, esim: EsimState, event_type: str, refund_id: str) -> bytes:
        """Return an event about a refund that was paid (``refunded``) or ``rejected``."""
        names = names_of(self._fleet, esim.number)
        data: Document = {
            "timestamp": self._second(at),
            "refund_id": refund_id,
            "status": event_type.upper(),
            "product_type": "esim",
            "esim_id": _esim_id(names.digits),
            "iccid": names.iccid,
        }
        if event_type == "rejected":
            data |= {"iccid": "", "rejection_reason": "The package has been used."}
        return _body("refund", event_type, data, event_id=f"rfd_{refund_id}_{event_type}")

    def _head(self, at: float, esim: EsimState) -> Document:
        names = names_of(self._fleet, esim.number)
        second = self._second(at)
        data: Document = {"timestamp": second, "iccid": names.iccid}
        data["esim_id"] = _esim_id(names.digits)
        reference_id = _reference_id(names.digits)
        if reference_id is not None:
            data["reference_id"] = reference_id
        used = esim.status not in (Status.NEW, Status.INSTALLED)
        data["start"] = self._second(esim.reported) if used else None
        data["end"] = second if used else None
        data["status"] = esim.status.value
        return data


def _body(category: str, event_type: str, data: Document, **top: str) -> bytes:
    """Encode an event: ``data`` holds its fields, ``top`` those next to the type."""
    head = {"event_category": category, "event_type": event_type}
    return _encode(head | top | {"data": data}).encode()


def _esim_id(digits: int) -> str:
    return str(uuid.UUID(int=digits, version=4))


def _reference_id(digits: int) -> str | None:
    """Return the partner's own name for an eSIM. It may be missing or empty."""
    match digits % 12:
        case 0:
            return None
        case 1:
            return ""
        case _:
            return f"ref_{digits % 10**10:010d}"


def _order(package: CataloguePackage, status: str, order_id: uuid.UUID) -> Document:
    return {
        "partner_name": "Example Affiliate",
        "partner_id": "example-affiliate",
        "commission_rate": COMMISSION_RATE,
        "commission_amount": round(package.price * COMMISSION_RATE / 100, 2),
        "order_data": {
            "order_id": str(order_id),
            "order_total": package.price,
            "order_adjustment": 0.0,
            "order_subtotal": package.price,
            "order_discount": 0.0,
            "order_currency": "USD",
            "order_status": status,
            "order_items": [
                {
                    "item_id": package.package_id,
                    "item_name": package.name,
                    "item_quantity": 1,
                    "item_price": package.price,
                }
            ],
        },
    }


def _usage(esim: EsimState) -> Document:
    return {
        "package_id": esim.package.package_id,
        "package_name": esim.package.name,
        "data_units": "MB",
        "voice_units": "minutes",
        "sms_units": "sms",
        "usage_data": _usage_data(esim),
        "usage_list": [
            {"date": _date(day), "data_used": amount, "location": location.name}
            for day, location, amount in esim.usage_list()
        ],
    }


def _usage_data(esim: EsimState) -> Document:
    package = esim.package
    if package.data is None:
        return {
            "isUnlimited": True,
            "allowed_data": UNLIMITED_AMOUNT,
            "remaining_data": UNLIMITED_AMOUNT,
            "allowed_sms": NOT_INCLUDED,
            "remaining_sms": NOT_INCLUDED,
            "allowed_voice": NOT_INCLUDED,
            "remaining_voice": NOT_INCLUDED,
        }
    return {
        "isUnlimited": False,
        "allowed_data": esim.allowed,
        "remaining_data": round(max(0, esim.allowed - esim.used), 2),
        "allowed_sms": package.sms,
        "remaining_sms": package.sms - esim.sms_used,
        "allowed_voice": package.voice,
        "remaining_voice": package.voice - esim.voice_used,
    }


@functools.lru_cache(maxsize=128)
def _date(day: int) -> str:
    return datetime.fromtimestamp(day * DAY, UTC).strftime("%Y-%m-%d")


def sample(now: int) -> bytes:
    """Return a usage event of an eSIM named ``demo-esim``, as of ``now``, unix seconds."""
    document = {
        "event_category": "esim",
        "event_type": "usage",
        "data": {
            "timestamp": now,
            "iccid": "8991234567890123456",
            "esim_id": "demo-esim",
            "reference_id": "booking-4711",
            "start": now - DAY,
            "end": now + 6 * DAY,
            "status": "ACTIVATED",
            "package_id": "esim-iceland-7days-1gb-all",
            "package_name": "1 GB - 7 Days",
            "data_units": "MB",
            "usage_data": {
                "isUnlimited": False,
                "allowed_data": 1024,
                "remaining_data": 128,
            },
        },
    }
    return json.dumps(document).encode()


HABITS: Final = Habits(
    catalogue=CATALOGUE,
    notifications=notifications,
    thresholds=THRESHOLDS,
    corrections=0.002,
)
