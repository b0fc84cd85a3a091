"""The partner's account at the vendor: balance, orders, refunds, and undocumented events."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Final

from exporter.simulate.payloads import Document, EsimNames, body

if TYPE_CHECKING:
    import random

    from exporter.simulate.catalogue import CataloguePackage
    from exporter.simulate.timeline import Timeline

HOUR: Final = 3600

AFFILIATE_SHARE: Final = 0.2
"""Share of eSIMs that are sold through an affiliate."""

COMMISSION_RATE: Final = 10.0
"""Per cent of the order's total."""

ORDER_STATUSES: Final = ("completed",) * 7 + ("pending", "failed", "refunded")

REFUND_SHARE: Final = 0.1
"""Share of ended eSIMs for which a refund is requested."""

UNDOCUMENTED_SHARE: Final = 0.05
"""Undocumented events per eSIM bought."""

UNDOCUMENTED: Final = (("esim", "network_attached"), ("catalogue", "package_updated"))


class Account:
    """Pays for the eSIMs of the fleet, and sends the events that are not about one eSIM."""

    def __init__(self, timeline: Timeline, rng: random.Random, esims: int) -> None:
        self._timeline = timeline
        self._rng = rng
        self._threshold = float(max(50, esims))
        self._balance = 3 * self._threshold
        self._warned = False

    def buy(self, at: float, package: CataloguePackage) -> None:
        """Pay for one eSIM. Tops up the balance first if it is too low."""
        if self._balance < package.price:
            self._report(at, "insufficient_balance")
            self._top_up(at)
        self._balance -= package.price
        if self._balance < self._threshold and not self._warned:
            self._warned = True
            self._report(at, "low_balance")
            self._timeline.at(at + self._rng.uniform(4 * HOUR, 48 * HOUR), self._top_up)
        if self._rng.random() < AFFILIATE_SHARE:
            self._timeline.send(at, self._order(at, package))
        if self._rng.random() < UNDOCUMENTED_SHARE:
            self._timeline.send(at, body(*self._rng.choice(UNDOCUMENTED), {"timestamp": int(at)}))

    def ended(self, at: float, names: EsimNames) -> None:
        """Request a refund for an eSIM that ended, sometimes."""
        if self._rng.random() >= REFUND_SHARE:
            return
        event_type = self._rng.choice(("refunded", "rejected"))
        refund_id = f"{self._rng.getrandbits(32):08x}"
        decided = at + self._rng.uniform(HOUR, 12 * HOUR)
        # The vendor may send a refund again later, with a new timestamp and the same event_id.
        for when in (decided, decided + HOUR):
            self._timeline.at(when, self._refund, event_type, refund_id, names)

    def _top_up(self, at: float) -> None:
        self._balance += 2 * self._threshold
        self._warned = False
        self._report(at, "top_up")

    def _report(self, at: float, event_type: str) -> None:
        data: Document = {"timestamp": int(at), "balance": round(self._balance, 2)}
        if event_type == "low_balance":
            percentage = int(100 * self._balance / self._threshold)
            data |= {"threshold": self._threshold, "threshold_percentage": percentage}
        data["currency"] = "USD"
        self._timeline.send(at, body("partner", event_type, data))

    def _order(self, at: float, package: CataloguePackage) -> bytes:
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
                    "order_id": str(uuid.UUID(int=self._rng.getrandbits(128), version=4)),
                    "order_total": package.price,
                    "order_adjustment": 0.0,
                    "order_subtotal": package.price,
                    "order_discount": 0.0,
                    "order_currency": "USD",
                    "order_status": self._rng.choice(ORDER_STATUSES),
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

    def _refund(self, at: float, event_type: str, refund_id: str, names: EsimNames) -> None:
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
        event_id = f"rfd_{refund_id}_{event_type}"
        self._timeline.send(at, body("refund", event_type, data, event_id=event_id))
