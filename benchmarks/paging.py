"""How long it takes from an event to a page: ``python -m benchmarks.paging``.

It runs a real exporter, Prometheus, Alertmanager and a receiver of notifications. All durations
of rules, routes and scrapes are divided by 60. The times in the table are what was measured times
60, so a busy machine adds a minute for each second that it is late. Above the table is the
longest time by arithmetic, with the durations that are shipped.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from exporter.mixin.rules.rule_files import groups
from exporter.mixin.values import MixinValues
from exporter.settings.field_types import parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# The modules paging_stack and running are there.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "alerts"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

from paging_stack import FASTER, OF_FLEET, OF_PACKAGE, SINGLE, PagingStack, paging_stack
from running import until

SCRAPE: Final = 30.0
"""Seconds between two scrapes of the job ``esim-exporter``, as README.md says."""
_STORMS: Final = {
    "5000 eSIMs of three packages": {f"e{n}": f"p{n % 3}" for n in range(5000)},
    "540 eSIMs of 60 packages": {f"e{n}": f"p{n % 60}" for n in range(540)},
}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print a table. The exit status is 0, whatever the figures are."""
    parser = argparse.ArgumentParser("benchmarks.paging", description=__doc__)
    parser.add_argument("--silence", type=float, default=10, help="hours without events")
    parser.add_argument("--storms", action=argparse.BooleanOptionalAction, default=True)
    args = parser.parse_args(argv)
    out = sys.stdout.write
    out(_arithmetic() + "\n\n| | Measured |\n|---|---|\n")
    with tempfile.TemporaryDirectory() as folder, paging_stack(Path(folder)) as stack:
        for name, seconds in _singles(stack, args.silence).items():
            out(f"| {name} | {seconds:.0f} s |\n")
    for large_fleet in (False, True) if args.storms else ():
        for name, package_of in _STORMS.items():
            with (
                tempfile.TemporaryDirectory() as folder,
                paging_stack(Path(folder), large_fleet=large_fleet) as stack,
            ):
                routes = "routes of large fleets" if large_fleet else "usual routes"
                out(f"| {name}, {routes} | {_storm(stack, package_of)} |\n")
    return 0


def _arithmetic() -> str:
    """Return the longest times from an event to a notification, as shipped."""
    values = MixinValues()
    group = next(each for each in groups() if each.name == "esim-out-of-data")
    until_known = SCRAPE + parse_duration(group.interval)
    alone, many = values.routing.esim_pages, values.routing.storms
    return (
        f"Scrape and evaluation: at most {until_known:g} s. A page about one eSIM: "
        f"{until_known + parse_duration(alone.group_wait):g} s; after a top-up of which somebody "
        f"was just told: {until_known + parse_duration(alone.group_interval):g} s. A page about "
        f"many: {until_known + parse_duration(many.group_wait):g} s."
    )


def _singles(stack: PagingStack, hours: float) -> dict[str, float]:
    until(lambda: stack.query("vendor:esim_fleet_shards:count"))
    found = {
        "first eSIM of a package": _told(stack, "a", ago=120),
        "second eSIM of the package": _told(stack, "b"),
    }
    stack.report("a", 100, ago=60)
    until(lambda: "a" in stack.told("resolved"))
    found["an eSIM again after a top-up"] = _told(stack, "a")
    stack.report("empty-and-full", 500, package_id="full")
    stack.report("empty-and-full", 0, package_id="empty")
    time.sleep(hours * 3600 / FASTER)  # the silence is what is measured
    found[f"an eSIM after {hours:g} silent hours"] = _told(stack, "c")
    assert "empty-and-full" not in stack.told()
    return found


def _told(stack: PagingStack, esim_id: str, ago: int = 0) -> float:
    """Let an eSIM run out of data; return the scaled seconds until its notification."""
    before = stack.told().count(esim_id)
    stack.report(esim_id, 0, ago=ago)
    return _scaled(lambda: stack.told().count(esim_id) > before)


def _scaled(condition: Callable[[], bool]) -> float:
    began = time.monotonic()
    until(condition)
    return (time.monotonic() - began) * FASTER


def _storm(stack: PagingStack, package_of: dict[str, str]) -> str:
    until(lambda: stack.query("vendor:esim_fleet_shards:count"))
    began = time.monotonic()
    sending = stack.storm(package_of)
    until(lambda: stack.notifications(OF_FLEET, OF_PACKAGE))
    first = (time.monotonic() - began) * FASTER
    sending.result()
    until(lambda: stack.decided(package_of))
    told = len(stack.notifications(SINGLE, OF_PACKAGE, OF_FLEET))
    untold = len(stack.untold(package_of))
    return f"first page {first:.0f} s after the first event; {told} notifications; {untold} untold"


if __name__ == "__main__":
    sys.exit(main())
