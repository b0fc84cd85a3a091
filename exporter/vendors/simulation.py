"""What the simulation of a fleet and the vendor packages have in common.

The simulation lets eSIMs live; a vendor's habits say what the vendor sells, and what it sends when
something happens to an eSIM. Only ``simulate`` and ``demo`` import this. Times are unix seconds.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, NamedTuple

from exporter.model.events import Status

if TYPE_CHECKING:
    import random

HOUR: Final = 3600
DAY: Final = 24 * HOUR


class Resource(StrEnum):
    """What a package includes."""

    DATA = "data"
    SMS = "sms"
    VOICE = "voice"


@dataclass(frozen=True, slots=True)
class Location:
    """A place where data is used, with the vendor's name for it."""

    name: str
    utc_offset: float
    """Hours east of UTC. Summer time is not simulated."""
    code: str = ""
    """Of the country (ISO 3166-1 alpha-2), for a vendor that tells it."""


@dataclass(frozen=True, slots=True)
class CataloguePackage:
    """A package as a vendor sells it."""

    package_id: str
    name: str
    days: int
    data: int | None
    """MB, as large as the vendor's are; ``None`` if unlimited."""
    locations: tuple[Location, ...]
    price: float
    """US dollars."""
    sms: int = 0
    """Messages; 0 if not included."""
    voice: int = 0
    """Minutes; 0 if not included."""
    popularity: int = 1
    """How often it is bought, relative to the vendor's other packages."""


@dataclass(slots=True, eq=False, kw_only=True)
class EsimState:
    """What a vendor knows about one simulated eSIM."""

    number: int
    package: CataloguePackage
    fate: Status
    """The terminal status in which it ends."""
    status: Status = Status.NEW
    location: int = 0
    """Index into the package's locations."""
    allowed: float = 0
    """MB, as large as the vendor's are."""
    used: float = 0
    """MB."""
    sms_used: int = 0
    voice_used: int = 0
    """Minutes."""
    rows: array[int] = field(default_factory=lambda: array("I"))
    """The usage list, in triples: day since 1970, index of location, 1024ths of a MB."""
    reported: float = 0
    """When the last usage event of a vendor with an interval was sent. The next reporting window
    begins then."""
    started: float = 0
    """When the package started, for the last time."""
    restarts: int = 0
    """How often the package started again."""
    expires: float = 0
    """When the days of the package are over."""
    ends: float = 0
    """When the life of the eSIM ends, if the package is not bought again. Never after that."""

    @property
    def current_location(self) -> Location:
        """Return the location of the eSIM."""
        return self.package.locations[self.location]

    def usage_list(self) -> Iterator[tuple[int, Location, float]]:
        """Yield (day since 1970, location, MB used), the oldest day first."""
        rows = self.rows
        for k in range(0, len(rows), 3):
            yield rows[k], self.package.locations[rows[k + 1]], round(rows[k + 2] / 1024, 2)


class EsimNames(NamedTuple):
    """Names of an eSIM that are drawn at random."""

    digits: int
    """A number of 128 bits, for names of other forms."""
    iccid: str
    """19 digits; 89 is the prefix of telecommunication cards (ITU-T E.118)."""


def names_of(fleet: str, number: int) -> EsimNames:
    """Return the names of eSIM ``number``. They are computed each time, which saves memory."""
    digest = blake2b(f"{fleet}/{number}".encode(), digest_size=16).digest()
    digits = int.from_bytes(digest, "big")
    return EsimNames(digits, f"89{digits % 10**17:017d}")


class TimeScale(NamedTuple):
    """Moves times of the fleet's life towards ``origin``: ``faster`` seconds become one."""

    origin: float = 0
    faster: float = 1

    def moved(self, at: float) -> float:
        """Return the time at which people see what happens at ``at`` in the fleet's life."""
        if self.faster == 1:  # without rounding errors
            return at
        return self.origin + (at - self.origin) / self.faster

    def second(self, at: float) -> int:
        """Return what the vendor writes for ``at``: whole unix seconds, never after it."""
        return int(self.moved(int(at)))


@dataclass(frozen=True, slots=True)
class Writing:
    """What a vendor needs to write its bodies."""

    fleet: str
    """The name of the fleet. Other fleets have eSIMs with other names."""
    rng: random.Random
    scale: TimeScale


Bodies = Iterable[tuple[float, bytes]]
"""Times of sending in the fleet's life, never before what happens, and bodies."""


def nothing(*_: object) -> Bodies:
    """Send nothing."""
    return ()


@dataclass(frozen=True, slots=True)
class Notifications:
    """What a vendor sends on each occasion. Each takes the time first, then the eSIM."""

    connected: Callable[[float], Bodies] = nothing
    """The account's deliveries begin."""
    bought: Callable[[float, EsimState], Bodies] = nothing
    status: Callable[[float, EsimState], Bodies] = nothing
    """The eSIM has just entered its status."""
    activated: Callable[[float, EsimState], Bodies] = nothing
    """The package started for the first time."""
    interval: Callable[[float, EsimState], Bodies] = nothing
    """Another four hours of the activated eSIM are over."""
    crossed: Callable[[float, EsimState, Resource, float], Bodies] = nothing
    """The used share of a resource reached a threshold, which is the last argument."""
    bought_again: Callable[[float, EsimState], Bodies] = nothing
    """The package was bought once more for the same eSIM."""
    expiring: Callable[[float, EsimState], Bodies] = nothing
    """The days of the package are over soon."""
    ended: Callable[[float, EsimState], Bodies] = nothing
    """The eSIM has entered its terminal status."""
    balance: Callable[[float, str, float, float], Bodies] = nothing
    """The account's balance changed. Takes ``low_balance``, ``insufficient_balance`` or
    ``top_up``, the balance, and the threshold below which it is low, in US dollars."""


class Purchase(Enum):
    """What happens when a package is bought once more for the same eSIM."""

    ADDS = "adds"
    """Its data is added to the allowance, and its days if they are over."""
    RESTARTS = "restarts"
    """The package starts again, with full amounts and full duration."""


@dataclass(frozen=True, slots=True)
class Habits:
    """How a vendor behaves in the simulation."""

    catalogue: tuple[CataloguePackage, ...]
    notifications: Callable[[Writing], Notifications]
    thresholds: tuple[float, ...]
    """Used shares of an allowance at which the vendor sends an event at once, ascending."""
    top_up: Purchase = Purchase.ADDS
    """When a package is bought again before its days are over."""
    top_up_from: float = 0.9
    """The used share of the data from which on people buy the package again."""
    renewal: Purchase = Purchase.RESTARTS
    """When a package is bought again as its days are over."""
    corrections: float = 0
    """Downward corrections per four hours, each of up to 5 % of the usage."""
    reminder: float | None = None
    """Seconds before the days of a package are over at which the vendor says so, if it does."""
