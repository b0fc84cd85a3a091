"""The vendor's webhook bodies, in all shapes that its documentation has shown so far."""

from __future__ import annotations

import functools
import json
import uuid
from datetime import UTC, datetime
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from exporter.model.events import UNLIMITED_AMOUNT, Status
from exporter.simulate.esim import DAY, SimulatedEsim

if TYPE_CHECKING:
    from exporter.simulate.catalogue import CataloguePackage

Document = dict[str, Any]
"""A JSON object in the vendor's format."""

NOT_INCLUDED: Final = -1
"""The vendor's amount of SMS and voice for a package without them."""

COMMISSION_RATE: Final = 10.0
"""Per cent of an affiliate order's total."""

_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class EsimNames(NamedTuple):
    """The names of an eSIM."""

    esim_id: str
    iccid: str
    """19 digits; 89 is the prefix of telecommunication cards (ITU-T E.118)."""
    reference_id: str | None
    """The partner's own name for it. It may be missing or empty."""


def names_of(seed: int, number: int) -> EsimNames:
    """Return the names of eSIM ``number``. They are computed each time, which saves memory."""
    digest = blake2b(f"{seed}/{number}".encode(), digest_size=16).digest()
    digits = int.from_bytes(digest, "big")
    return EsimNames(
        esim_id=str(uuid.UUID(bytes=digest, version=4)),
        iccid=f"89{digits % 10**17:017d}",
        reference_id=_reference_id(digits),
    )


def _reference_id(digits: int) -> str | None:
    match digits % 12:
        case 0:
            return None
        case 1:
            return ""
        case _:
            return f"ref_{digits % 10**10:010d}"


def body(category: str, event_type: str, data: Document, **top: str) -> bytes:
    """Encode an event: ``data`` holds its fields, ``top`` those next to the type."""
    head = {"event_category": category, "event_type": event_type}
    return _encode(head | top | {"data": data}).encode()


def status_body(esim: SimulatedEsim, names: EsimNames, at: float) -> bytes:
    """Return a status event."""
    return body("esim", "status", _head(esim, names, at))


def usage_body(
    esim: SimulatedEsim, names: EsimNames, at: float, event_type: str = "usage"
) -> bytes:
    """Return a usage event. The vendor's sample code has the type ``esim_usage``."""
    return body("esim", event_type, _usage(esim, names, at))


def flat_usage_body(esim: SimulatedEsim, names: EsimNames, at: float) -> bytes:
    """Return a usage event in the shape from before July 2025: flat, without units and list."""
    data = _usage(esim, names, at)
    for name in ("data_units", "voice_units", "sms_units", "usage_list"):
        del data[name]
    return _encode({"event_category": "esim", "event_type": "usage"} | data).encode()


def order_body(package: CataloguePackage, at: float, *, status: str, order_id: uuid.UUID) -> bytes:
    """Return an event about an order of one package through an affiliate."""
    return body(
        "affiliate",
        "order",
        {
            "timestamp": int(at),
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
        },
    )


def refund_body(names: EsimNames, at: float, *, event_type: str, refund_id: str) -> bytes:
    """Return an event about a refund that was paid (``refunded``) or ``rejected``."""
    data: Document = {
        "timestamp": int(at),
        "refund_id": refund_id,
        "status": event_type.upper(),
        "product_type": "esim",
        "esim_id": names.esim_id,
        "iccid": names.iccid,
    }
    if event_type == "rejected":
        data |= {"iccid": "", "rejection_reason": "The package has been used."}
    return body("refund", event_type, data, event_id=f"rfd_{refund_id}_{event_type}")


def balance_body(event_type: str, at: float, *, balance: float, threshold: float) -> bytes:
    """Return an event about the partner's balance, in US dollars."""
    data: Document = {"timestamp": int(at), "balance": round(balance, 2)}
    if event_type == "low_balance":
        percentage = int(100 * balance / threshold)
        data |= {"threshold": threshold, "threshold_percentage": percentage}
    data["currency"] = "USD"
    return body("partner", event_type, data)


def _head(esim: SimulatedEsim, names: EsimNames, at: float) -> Document:
    used = esim.status not in (Status.NEW, Status.INSTALLED)
    data: Document = {"timestamp": int(at), "iccid": names.iccid, "esim_id": names.esim_id}
    if names.reference_id is not None:
        data["reference_id"] = names.reference_id
    data["start"] = int(esim.reported) if used else None
    data["end"] = int(at) if used else None
    data["status"] = esim.status.value
    return data


def _usage(esim: SimulatedEsim, names: EsimNames, at: float) -> Document:
    return _head(esim, names, at) | {
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


def _usage_data(esim: SimulatedEsim) -> Document:
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
