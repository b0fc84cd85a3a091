"""What simulated eSIM Access sends.

It reports usage at thresholds only, one to three hours after the amounts were taken. Statuses are
pairs, of which every step of a profile sends one. A top-up has no event of its own: the next usage
event has a larger total. One day before a plan ends there is an event about that. ICCIDs of ended
eSIMs are given to new ones.

Plans with a daily amount are left out: the vendor does not say what their usage events hold.
"""

from __future__ import annotations

import json
from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from exporter.model.events import Status
from exporter.vendors.simulation import (
    DAY,
    HOUR,
    CataloguePackage,
    Habits,
    Location,
    Notifications,
    Purchase,
    Resource,
    names_of,
)

if TYPE_CHECKING:
    from exporter.vendors.simulation import Bodies, EsimState, Writing

Content = dict[str, Any]
"""A JSON object."""

MB: Final = 2**20

THRESHOLDS: Final = (0.5, 0.75, 0.9, 1.0)
"""The last one changes the status."""

LAG: Final = (HOUR, 3 * HOUR)
"""Least and most seconds between the counting of data and the event about it."""

REUSED_SHARE: Final = 0.1
"""Share of ended eSIMs whose ICCID a new eSIM gets."""

NO_REFERENCE_SHARE: Final = 0.05
"""Share of eSIMs for which the operator gave no reference."""

TIME_FORMATS: Final = ("%Y-%m-%dT%H:%M:%SZ",) * 38 + (
    "%Y-%m-%dT%H:%M:%S+0000",
    "%Y-%m-%d %H:%M:%S UTC",
)
"""Documented once, seen in three forms."""

_encode = json.JSONEncoder(separators=(",", ":")).encode


def _plan(
    gigabytes: int, days: int, location: Location, *, price: float, popularity: int = 1
) -> CataloguePackage:
    # No event names the plan.
    name = f"{location.name} {gigabytes}GB {days}Days"
    return CataloguePackage(
        name, name, days, 1024 * gigabytes, (location,), price, popularity=popularity
    )


CATALOGUE: Final = (
    _plan(1, 7, Location("Italy", 1), price=1.2, popularity=5),
    _plan(3, 15, Location("Spain", 1), price=2.9, popularity=4),
    _plan(5, 30, Location("Japan", 9), price=5.5, popularity=3),
    _plan(1, 7, Location("Vietnam", 7), price=1.0, popularity=4),
    _plan(10, 30, Location("Europe (30+ areas)", 1), price=11.0, popularity=2),
    _plan(20, 30, Location("Thailand", 7), price=13.5),
    _plan(50, 90, Location("United States", -6), price=49.0),
)


def notifications(writing: Writing) -> Notifications:
    """Return what is sent on each occasion."""
    writer = _Writer(writing)
    return Notifications(
        connected=writer.connected,
        bought=writer.bought,
        status=writer.status,
        activated=writer.activated,
        crossed=writer.crossed,
        bought_again=writer.bought_again,
        expiring=writer.expiring,
        ended=writer.ended,
    )


class _Writer:
    """Writes bodies."""

    def __init__(self, writing: Writing) -> None:
        self._fleet, self._rng = writing.fleet, writing.rng
        self._second = writing.scale.second
        self._free: deque[int] = deque()
        """The numbers of ended eSIMs whose ICCID is free."""
        self._reused: dict[int, int] = {}
        """By the number of an eSIM: that of the ended one whose ICCID it has."""

    def connected(self, at: float) -> Bodies:
        """Yield the event that tries a new URL."""
        test = {"orderNo": "1234567890", "orderStatus": "Test"}
        yield self._body(at, "CHECK_HEALTH", test)

    def bought(self, at: float, esim: EsimState) -> Bodies:
        """Yield the event about the order."""
        if self._free:
            self._reused[esim.number] = self._free.popleft()
        names = self._names(esim)
        order = {
            "orderNo": names["orderNo"],
            "orderStatus": "GOT_RESOURCE",
            "transactionId": names["transactionId"],
        }
        yield self._body(at, "ORDER_STATUS", order)

    def status(self, at: float, esim: EsimState) -> Bodies:
        """Yield an event for each step of the profile."""
        match esim.status:
            case Status.NEW:
                yield self._step(at, esim, "GOT_RESOURCE", "RELEASED")
            case Status.INSTALLED:
                installed = at + self._rng.uniform(2, 10)
                enabled = installed + self._rng.uniform(1, 60)
                yield self._step(at, esim, "GOT_RESOURCE", "DOWNLOAD")
                yield self._step(installed, esim, "GOT_RESOURCE", "INSTALLATION")
                yield self._step(enabled, esim, "GOT_RESOURCE", "ENABLED")
            case Status.ACTIVATED:
                yield self._step(at, esim, _use(esim), "ENABLED")
            case Status.INACTIVE:
                yield self._step(at, esim, _use(esim), "DISABLED")
            case Status.DELETED:
                yield self._step(at, esim, _use(esim), "DELETED")
            case Status.REVOKED:
                yield self._change(at, esim, self._rng.choice(("REVOKED", "CANCEL")))
            case _:
                yield self._change(at, esim, "USED_EXPIRED")

    def activated(self, at: float, esim: EsimState) -> Bodies:
        """Yield the change of status; without amounts."""
        yield self._change(at, esim, "IN_USE")

    def crossed(self, at: float, esim: EsimState, _resource: Resource, share: float) -> Bodies:
        """Yield the usage, later, or that all is used up."""
        if share == THRESHOLDS[-1]:
            volumes = _volumes(esim)
            volumes["remainVolume"] = volumes.pop("remain")
            yield self._change(at, esim, "USED_UP", **volumes)
            return
        usage = self._names(esim) | _volumes(esim)
        usage["remainThreshold"] = round(1 - share, 2)
        usage["lastUpdateTime"] = self._time(at)
        yield self._body(at + self._rng.uniform(*LAG), "DATA_USAGE", usage)

    def bought_again(self, at: float, esim: EsimState) -> Bodies:
        """Yield that an eSIM is in use again that had used up everything."""
        if esim.used >= esim.allowed - (esim.package.data or 0):
            yield self._change(at, esim, "IN_USE")

    def expiring(self, at: float, esim: EsimState) -> Bodies:
        """Yield how many days are left."""
        validity = {
            "remain": 1,  # days
            "totalDuration": round((esim.expires - esim.started) / DAY),
            "durationUnit": "DAY",
            "expiredTime": self._time(esim.expires),
        }
        yield self._body(at, "VALIDITY_USAGE", self._names(esim) | validity)

    def ended(self, _at: float, esim: EsimState) -> Bodies:
        """Send nothing, but free the ICCID."""
        number = self._reused.pop(esim.number, esim.number)
        if self._rng.random() < REUSED_SHARE:
            self._free.append(number)
        return ()

    def _step(self, at: float, esim: EsimState, use: str, profile: str) -> tuple[float, bytes]:
        """Return an event about a step of the profile."""
        digits = names_of(self._fleet, esim.number).digits
        content = self._names(esim) | {
            "eid": f"89049032{digits % 10**24:024d}",
            "esimStatus": use,
            "smdpStatus": profile,
            "timestamp": self._time(at),
            "seqNumber": self._rng.choice((None, self._rng.randrange(1, 100))),
            "notifyStatus": "Executed-Success",
        }
        return self._body(at, "SMDP_EVENT", content)

    def _change(self, at: float, esim: EsimState, use: str, **volumes: int) -> tuple[float, bytes]:
        """Return an event about a new status."""
        pair = {"esimStatus": use, "smdpStatus": "ENABLED"}
        return self._body(at, "ESIM_STATUS", self._names(esim) | pair | volumes)

    def _names(self, esim: EsimState) -> Content:
        digits = names_of(self._fleet, esim.number).digits
        card = names_of(self._fleet, self._reused.get(esim.number, esim.number))
        named = digits % 1000 >= 1000 * NO_REFERENCE_SHARE
        return {
            "iccid": card.iccid,
            "orderNo": f"B26{digits // 10**12 % 10**12:012d}",
            "esimTranNo": f"26{digits % 10**12:012d}",
            "transactionId": f"shop-{digits % 10**10:010d}" if named else "",
        }

    def _body(self, at: float, notify_type: str, content: Content) -> tuple[float, bytes]:
        document = {
            "notifyType": notify_type,
            "notifyId": f"{self._rng.getrandbits(128):032x}",
            "eventGenerateTime": self._time(at),
            "content": content,
        }
        return at, _encode(document).encode()

    def _time(self, at: float) -> str:
        form = self._rng.choice(TIME_FORMATS)
        return datetime.fromtimestamp(self._second(at), UTC).strftime(form)


def _use(esim: EsimState) -> str:
    return "USED_UP" if esim.used >= esim.allowed else "IN_USE"


def _volumes(esim: EsimState) -> dict[str, int]:
    """Return the amounts in bytes."""
    total, used = round(esim.allowed * MB), round(esim.used * MB)
    return {"totalVolume": total, "orderUsage": used, "remain": max(0, total - used)}


HABITS: Final = Habits(
    catalogue=CATALOGUE,
    notifications=notifications,
    thresholds=THRESHOLDS,
    renewal=Purchase.ADDS,
    reminder=DAY,
)
