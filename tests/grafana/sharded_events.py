"""Events of two days after which most of what rules look for is the case.

eSIMs are many enough to reach what rules ask for, and so few that no shard of four has as many.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import simulated_exporter as simulated

from exporter.model.events import PartnerEvent, Snapshot, Status, StatusEvent, UsageEvent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from exporter.model.events import Event

HOUR: Final = simulated.HOUR
START: Final = simulated.START
REPORTS: Final = 13
END: Final = START + REPORTS * 4 * HOUR
"""A multiple of four hours, as subqueries over them look at such times."""

REPORTING: Final = ("roamify", "idle", "shrunk", "sleepy")
"""Vendors that report each eSIM every four hours."""
AT_THRESHOLDS: Final = "thresholds"
"""A vendor that reports at thresholds only."""
VENDORS: Final = (*REPORTING, AT_THRESHOLDS)
SHOWN_ESIM: Final = "limited-0"
SHOWN_PACKAGE: Final = "limited"

_MB: Final = 2**20
_ALLOWED: Final = 1000 * _MB

Arrival = tuple[int, "Event"]
"""When it arrives, unix seconds, and what."""


def events() -> Iterator[Arrival]:
    """Yield all events, in no order."""
    yield from _limited()
    yield from _out_at_once()
    yield from _running_out()
    yield from _unlimited()
    yield from _idle()
    yield from _shrunk()
    yield from _sleepy()
    yield from _at_thresholds()
    yield from _partner()


def _reports(esim: int, until: int = END) -> Iterator[tuple[int, int]]:
    """Yield number and time of the reports of an eSIM."""
    for number in range(REPORTS):
        at = START + number * 4 * HOUR + 60 * (esim % 90)
        if at <= until:
            yield number, at


def _usage(at: int, vendor: str, name: str, used: int, **fields: Any) -> Arrival:
    package = name.rpartition("-")[0]
    snapshot = Snapshot(
        data_allowed=_ALLOWED,
        data_remaining=max(0, _ALLOWED - used),
        locations=(("Canada", used // 3), ("Mexico", used - used // 3)),
    )
    snapshot = snapshot._replace(**fields)
    event = UsageEvent(vendor, at, name, package, snapshot, Status.ACTIVATED)
    return at, event._replace(reference_id=f"order {name}", package_name=f"Package {package}")


def _limited() -> Iterator[Arrival]:
    """14 of 48 use the last of their data in the last four hours, 12 are revoked, 6 are near."""
    texts = {"sms_allowed": 100, "voice_allowed": 600}
    for esim in range(48):
        name = f"limited-{esim}"
        for number, at in _reports(esim):
            last = number == REPORTS - 1
            used = (66 + 2 * (esim - 42) if esim >= 42 else 30 + esim // 2) * number * _MB
            ends = {"start": START - 6 * simulated.DAY, "end": END + simulated.DAY}
            left = {"sms_remaining": 100 - 7 * number, "voice_remaining": 0 if last else 500}
            fields = (ends if esim < 20 else {}) | (texts | left if esim < 6 else {})
            amount = _ALLOWED if last and esim < 14 else used
            yield _usage(at, "roamify", name, amount, **fields)
        if 30 <= esim < 42:
            at = END - 70 * 60
            yield at, StatusEvent("roamify", at, name, Status.REVOKED)


def _out_at_once() -> Iterator[Arrival]:
    """22 use the last of their data within the last hour."""
    for esim in range(22):
        yield _usage(END - 5 * HOUR, "roamify", f"at-once-{esim}", 300 * _MB)
        yield _usage(END - 20 * 60, "roamify", f"at-once-{esim}", _ALLOWED)


def _running_out() -> Iterator[Arrival]:
    """A package of which a day's consumption is most of what is left."""
    for esim in range(24):
        for number, at in _reports(esim):
            yield _usage(at, "roamify", f"running-out-{esim}", 50 * number * _MB)


def _unlimited() -> Iterator[Arrival]:
    """More than is fair, and far more than on the day before; 12 of 24 expire."""
    for esim in range(24):
        name = f"unlimited-{esim}"
        for number, at in _reports(esim):
            used = 20 * number * _MB + max(0, number - 7) * 2000 * _MB
            places = (("Canada", used // 2), ("France", used - used // 2))
            snapshot = Snapshot(data_unlimited=True, locations=places)
            yield at, UsageEvent("roamify", at, name, "unlimited", snapshot, Status.ACTIVATED)
        if esim < 12:
            at = END - 70 * 60
            yield at, StatusEvent("roamify", at, name, Status.EXPIRED)


def _idle() -> Iterator[Arrival]:
    """All report and none consumes anything; the clock of one is ahead."""
    for esim in range(30):
        for _, at in _reports(esim):
            yield _usage(at, "idle", f"idle-{esim}", 400 * _MB)
    _, ahead = _usage(END + HOUR, "idle", "idle-0", 400 * _MB)
    yield END - HOUR, ahead


def _shrunk() -> Iterator[Arrival]:
    """30 of 40 are deleted and leave; the others are silent."""
    for esim in range(40):
        name = f"shrunk-{esim}"
        for number, at in _reports(esim, END - 6 * HOUR):
            yield _usage(at, "shrunk", name, 10 * number * _MB)
        if esim >= 10:
            at = END - 230 * 60
            yield at, StatusEvent("shrunk", at, name, Status.DELETED)


def _sleepy() -> Iterator[Arrival]:
    """20 of 30 have not reported for a long time."""
    for esim in range(30):
        for number, at in _reports(esim, END if esim >= 20 else END - 14 * HOUR):
            yield _usage(at, "sleepy", f"sleepy-{esim}", 10 * number * _MB)


def _at_thresholds() -> Iterator[Arrival]:
    """Nobody has told anything of 30 eSIMs for a day and a half, and then two run out."""
    for esim in range(30):
        name = f"rare-{esim}"
        yield _usage(START + 60 * esim, AT_THRESHOLDS, name, 500 * _MB)
        yield _usage(START + 10 * HOUR + 60 * esim, AT_THRESHOLDS, name, 800 * _MB)
        if esim < 2:
            yield _usage(END - HOUR, AT_THRESHOLDS, name, _ALLOWED)


def _partner() -> Iterator[Arrival]:
    for at, kind, balance in (
        (START + HOUR, "top_up", 500.0),
        (START + 2 * HOUR, "low_balance", 50.0),
        (START + 3 * HOUR, "insufficient_balance", 1.0),
    ):
        yield at, PartnerEvent("roamify", kind, at, "USD", balance, 100.0)
