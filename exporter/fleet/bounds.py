"""Bounds on what events can make of one eSIM and of one account.

An event writes the whole row of its eSIM. These bounds keep a row below some 100 kB, whatever
somebody with a webhook secret sends. A traveller's eSIM has a handful of packages, each used in a
handful of the 250 countries.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from exporter.errors import FieldError, InvalidEvent
from exporter.model.events import OTHER
from exporter.model.records import AccountBalance

if TYPE_CHECKING:
    from collections.abc import Iterable

    from exporter.model.events import UsageEvent
    from exporter.model.records import Esim, Locations, Record

MAX_ALLOWANCES = 64
"""Packages an eSIM may have at a time."""

MAX_LOCATIONS = 512
"""Locations of all allowances of an eSIM. One in which two packages were used counts twice."""

MAX_LOCATION_CHARACTERS = 16 * MAX_LOCATIONS
"""Characters in the names of these locations."""

MAX_CURRENCIES = 256
"""Accounts at a vendor, which has one for each currency: ISO 4217 has fewer."""


def check_packages(before: Esim, after: Esim) -> None:
    """Raise ``InvalidEvent`` if an event gave an eSIM more packages than it may have.

    An eSIM that has more already, of an earlier version, may change.
    """
    if len(after.allowances) > max(MAX_ALLOWANCES, len(before.allowances)):
        reason = f"the eSIM has {MAX_ALLOWANCES} packages already"
        raise InvalidEvent((FieldError(("package_id",), reason),))


def check_currencies(vendor: str, accounts: Iterable[Record | None]) -> None:
    """Raise ``InvalidEvent`` if a vendor cannot have an account in one more currency.

    Balances in several currencies have no sum, so they cannot count under :data:`OTHER`.
    """
    known = sum(isinstance(a, AccountBalance) and a.vendor == vendor for a in accounts)
    if known >= MAX_CURRENCIES:
        reason = f"the account has {MAX_CURRENCIES} currencies already"
        raise InvalidEvent((FieldError(("currency",), reason),))


def fold_locations(event: UsageEvent, esim: Esim, known: Locations) -> UsageEvent:
    """Return the event with the locations for which its eSIM has no room, summed as one.

    ``known`` are the locations of the allowance. They keep their names. New ones with the most
    bytes get the names that are left; the others count under :data:`OTHER`. From then on, all new
    ones of the allowance do. So no byte counts twice when there is room again.
    """
    reported = event.snapshot.locations or ()
    names = {name for name, _ in known}
    new = [(-amount, name) for name, amount in reported if name not in names]
    if not new:
        return event
    elsewhere = [a.peaks for a in esim.allowances if a.package_id != event.package_id]
    taken = [name for peaks in (known, *elsewhere) for name, _ in peaks]
    room = 0 if OTHER in names else MAX_LOCATIONS - len(taken)
    characters = MAX_LOCATION_CHARACTERS - sum(map(len, taken))
    for _, name in sorted(new):
        if room > 0 and len(name) <= characters:
            names.add(name)
            room, characters = room - 1, characters - len(name)
    if names.issuperset([name for name, _ in reported]):
        return event
    folded: Counter[str] = Counter()
    for name, amount in reported:
        folded[name if name in names else OTHER] += amount
    snapshot = event.snapshot._replace(locations=tuple(sorted(folded.items())))
    return event._replace(snapshot=snapshot)
