"""What simulated eSIM Go sends, in the format V3.

It reports the first use of a bundle, and each resource by itself when 1, 50, 80 and 100 % of it are
used. No event about usage has a time or a status. A bundle that is bought again is another
assignment with the same name, which starts when the one before is used up or over. It also tells
when an eSIM is in another country, and when it is deleted.
"""

from __future__ import annotations

import json
import math
import uuid
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

Document = dict[str, Any]
"""A JSON object."""

MB: Final = 10**6

THRESHOLDS: Final = (0.01, 0.5, 0.8, 1.0)

UNLIMITED_QUANTITY: Final = 10**9
"""Bytes in events about unlimited bundles. What they mean is not documented."""

NOTICE: Final = 7 * DAY
"""Seconds from the notice of a deletion to the deletion."""

UNIT_SHARE: Final = 0.5
"""Share of events about data that name the unit; the newest documentation has it."""

UNITS: Final = {Resource.DATA: "BYTES", Resource.SMS: "SMSmessages", Resource.VOICE: "minutes"}

_encode = json.JSONEncoder(separators=(",", ":")).encode

FRANCE: Final = Location("France", 1, "FR")
GERMANY: Final = Location("Germany", 1, "DE")
NORWAY: Final = Location("Norway", 1, "NO")
UNITED_KINGDOM: Final = Location("United Kingdom", 0, "GB")
UNITED_STATES: Final = Location("United States", -6, "US")

CATALOGUE: Final = (
    CataloguePackage(
        "esim_1GB_7D_GB_V2",
        "eSIM, 1GB, 7 Days, United Kingdom, V2",
        days=7,
        data=1000,
        locations=(UNITED_KINGDOM,),
        price=2.0,
        popularity=6,
    ),
    CataloguePackage(
        "esim_3GB_30D_FR_V2",
        "eSIM, 3GB, 30 Days, France, V2",
        days=30,
        data=3000,
        locations=(FRANCE,),
        price=4.5,
        popularity=4,
    ),
    CataloguePackage(
        "esim_10GB_30D_REUP_V2",
        "eSIM, 10GB, 30 Days, Europe+, V2",
        days=30,
        data=10_000,
        locations=(FRANCE, GERMANY, NORWAY, UNITED_KINGDOM),
        price=16.0,
        popularity=3,
    ),
    CataloguePackage(
        "esim_UL_7D_GB_V2",
        "eSIM, Unlimited, 7 Days, United Kingdom, V2",
        days=7,
        data=None,
        locations=(UNITED_KINGDOM,),
        price=14.0,
        popularity=2,
    ),
    CataloguePackage(
        "esim_5GB_VOICE_SMS_30D_US",
        "eSIM, 5GB, 100 Minutes, 50 SMS, 30 Days, United States",
        days=30,
        data=5000,
        locations=(UNITED_STATES,),
        price=19.0,
        sms=50,
        voice=100,
        popularity=2,
    ),
)


def notifications(writing: Writing) -> Notifications:
    """Return what is sent on each occasion."""
    writer = _Writer(writing)
    return Notifications(
        status=writer.status,
        activated=writer.activated,
        interval=writer.country,
        crossed=writer.crossed,
        bought_again=writer.first_use,
        ended=writer.ended,
    )


class _Writer:
    """Writes bodies."""

    def __init__(self, writing: Writing) -> None:
        self._fleet, self._rng = writing.fleet, writing.rng
        self._second = writing.scale.second
        self._told: dict[tuple[int, str], float] = {}
        """By eSIM and country: when the vendor last said that the eSIM is there."""

    def status(self, at: float, esim: EsimState) -> Bodies:
        """Yield the deletion. No other status has an event."""
        if esim.status is Status.DELETED:
            yield at, self._lifecycle(at, esim, "esim.deleted")

    def activated(self, at: float, esim: EsimState) -> Bodies:
        """Yield the country, the first use, and the notice if the eSIM will be deleted."""
        yield from self.country(at, esim)
        yield from self.first_use(at, esim)
        if esim.package.data is None:
            soon = at + self._rng.uniform(HOUR / 12, HOUR)
            used = self._bundle(esim, Resource.DATA, THRESHOLDS[0])
            yield soon, self._alert("Utilisation", esim, bundle=used)
        if esim.fate is Status.DELETED:
            noticed = max(at, esim.ends - NOTICE)
            yield noticed, self._lifecycle(noticed, esim, "esim.deletion_scheduled")

    def first_use(self, at: float, esim: EsimState) -> Bodies:
        """Yield the first use of an assignment. It has none of the fields of V3."""
        whole = self._bundle(esim, Resource.DATA, used=0)
        names = ("name", "initialQuantity", "remainingQuantity", "startTime", "endTime")
        yield at, self._alert("FirstUse", esim, bundle={name: whole[name] for name in names})

    def crossed(self, at: float, esim: EsimState, resource: Resource, share: float) -> Bodies:
        """Yield the use of one resource."""
        used = self._bundle(esim, resource, share)
        yield at, self._alert("Utilisation", esim, bundle=used)

    def country(self, at: float, esim: EsimState) -> Bodies:
        """Yield the country when the eSIM is new there, and every 24 hours."""
        location = esim.current_location
        key = (esim.number, location.code)
        if at - self._told.get(key, -math.inf) >= DAY:
            self._told[key] = at
            country = {"code": location.code, "name": location.name}
            yield at, self._alert("CountryChange", esim, country=country)

    def ended(self, at: float, esim: EsimState) -> Bodies:
        """Yield the deletion of an eSIM whose last bundle is over, and the notice before."""
        for location in esim.package.locations:
            self._told.pop((esim.number, location.code), None)
        if esim.status is Status.DELETED:
            return
        noticed = at + self._rng.uniform(HOUR, DAY)
        yield noticed, self._lifecycle(noticed, esim, "esim.deletion_scheduled")
        deleted = noticed + NOTICE
        yield deleted, self._lifecycle(deleted, esim, "esim.deleted")

    def _alert(self, alert_type: str, esim: EsimState, **fields: Document) -> bytes:
        names = names_of(self._fleet, esim.number)
        return _encode({"iccid": names.iccid, "alertType": alert_type} | fields).encode()

    def _lifecycle(self, at: float, esim: EsimState, event: str) -> bytes:
        names = names_of(self._fleet, esim.number)
        document = {"date": self._time(at), "event": event, "iccid": names.iccid}
        return _encode(document).encode()

    def _bundle(self, esim: EsimState, resource: Resource, used: float) -> Document:
        """Return an assignment of which the share ``used`` of a resource is used."""
        package = esim.package
        digits = names_of(self._fleet, esim.number).digits
        initial = {
            Resource.DATA: UNLIMITED_QUANTITY if package.data is None else package.data * MB,
            Resource.SMS: package.sms,
            Resource.VOICE: package.voice,
        }[resource]
        bundle = {
            "id": f"{(digits + esim.restarts) % 10**9:09d}",
            "reference": f"{uuid.UUID(int=digits, version=4)}-{esim.restarts}",
            "name": package.package_id,
            "description": package.name,
            "initialQuantity": initial,
            "remainingQuantity": initial - math.ceil(used * initial),
            "startTime": self._time(esim.started),
            "endTime": self._time(esim.expires),
            "unlimited": package.data is None,
        }
        if resource is not Resource.DATA or self._rng.random() < UNIT_SHARE:
            bundle["unit"] = UNITS[resource]
        return bundle

    def _time(self, at: float) -> str:
        return datetime.fromtimestamp(self._second(at), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


HABITS: Final = Habits(
    catalogue=CATALOGUE,
    notifications=notifications,
    thresholds=THRESHOLDS,
    top_up=Purchase.RESTARTS,
    top_up_from=1,
)
