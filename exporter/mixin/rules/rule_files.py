"""Which rule file holds which groups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from exporter.mixin.rules.budget import BUDGET
from exporter.mixin.rules.exporter import EXPORTER, WATCHDOG
from exporter.mixin.rules.feed import FEED
from exporter.mixin.rules.fleet import FLEET, PACKAGES, PARTNER
from exporter.mixin.rules.forecast import FORECAST
from exporter.mixin.rules.limits import LIMITS
from exporter.mixin.rules.out_of_data import OUT_OF_DATA, OUT_OF_DATA_TICKETS
from exporter.mixin.rules.usage import USAGE

if TYPE_CHECKING:
    from exporter.mixin.rules.rule_types import Group

FILES: Final[dict[str, tuple[Group, ...]]] = {
    "esim-exporter.rules.yml": (EXPORTER, LIMITS, FEED, BUDGET),
    "esim-fleet.rules.yml": (PACKAGES, FLEET, PARTNER),
    "esim-usage.rules.yml": (OUT_OF_DATA, OUT_OF_DATA_TICKETS, USAGE),
    "esim-forecast.rules.yml": (FORECAST,),
    "watchdog.rules.yml": (WATCHDOG,),
}
"""``esim-forecast.rules.yml`` reads the job of all eSIMs, which may be left out. The other files
read the other job."""


def groups() -> tuple[Group, ...]:
    """Return all groups, in the order of the files."""
    return tuple(group for in_file in FILES.values() for group in in_file)
