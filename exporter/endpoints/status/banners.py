"""What an operator should know at once, worst first: the status page's own small alerts.

Prometheus' alerts go by the same figures; this page is for who looks before one is there.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from exporter.endpoints.status.formatting import count, span

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from exporter.model.records import Balance

SILENT = 5 * 3600
"""Seconds without a delivery after which a feed is silent, as the alert has it: the vendor
sends an event of every activated eSIM each four hours."""

_EXPIRES_SOON = 14 * 86400


class Severity(IntEnum):
    """How bad it is."""

    INFO = 0
    WARNING = 1
    CRITICAL = 2

    @property
    def label(self) -> str:
        """Return its name as pages show it and style sheets know it."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Note:
    """One thing to know."""

    severity: Severity
    text: str
    page: str = ""
    """Path below the prefix of the page that says more, if there is one."""


@dataclass(frozen=True, slots=True)
class Condition:
    """The state of things that notes are made from. Times are unix seconds."""

    now: float
    loaded: bool
    stopping: bool
    storage_failed: bool
    damage: int = 0
    """Places of the storage that were found damaged."""
    received: float | None = None
    """When a verified delivery last arrived, ``None`` if none ever did."""
    activated: int = 0
    """eSIMs that the vendor should send events of."""
    stale: int = 0
    """Activated eSIMs that nothing was received of for over ``stale_after`` seconds."""
    stale_after: float = 0.0
    expiry_held: bool = False
    over_limit: int = 0
    rejected: int = 0
    """Rejected deliveries that are kept."""
    reload_failed: bool = False
    unsigned: bool = False
    """Whether deliveries of anyone are accepted."""
    balances: Sequence[Balance] = ()
    certificates: Sequence[tuple[str, float]] = ()
    """Listeners with the time their certificate expires."""


def notes(condition: Condition) -> list[Note]:
    """Return what there is to know, worst first."""
    found = [*_of_process(condition), *(_of_state(condition) if condition.loaded else ())]
    return sorted(found, key=lambda note: -note.severity)


def _of_process(c: Condition) -> Iterator[Note]:
    if not c.loaded:
        yield Note(Severity.CRITICAL, "The state is still being loaded; webhooks get 503.")
    if c.stopping:
        yield Note(Severity.WARNING, "The exporter is stopping.")
    if c.storage_failed:
        yield Note(
            Severity.CRITICAL,
            "The storage cannot commit: deliveries get 503, the vendor sends them again later. "
            "The log says why.",
        )
    if c.reload_failed:
        yield Note(
            Severity.WARNING, "The last reload failed; earlier settings stay in force. See the log."
        )
    if c.unsigned:
        yield Note(
            Severity.WARNING, "Deliveries of anyone are accepted: --webhook.allow-unsigned is set."
        )
    for listener, expiry in c.certificates:
        if expiry <= c.now:
            yield Note(Severity.CRITICAL, f"The certificate of the {listener} listener expired.")
        elif expiry - c.now < _EXPIRES_SOON:
            left = span(expiry - c.now)
            text = f"The certificate of the {listener} listener expires in {left}."
            yield Note(Severity.WARNING, text)


def _of_state(c: Condition) -> Iterator[Note]:
    if c.damage:
        yield Note(
            Severity.CRITICAL,
            f"{_many(c.damage, 'damaged place')} found in the storage at start and left out; "
            "the log names them.",
        )
    if c.received is None:
        yield Note(Severity.INFO, "No verified delivery has arrived yet.")
    elif c.activated and c.now - c.received > SILENT:
        yield Note(
            Severity.CRITICAL,
            f"The feed is silent: the last verified delivery came {span(c.now - c.received)} ago, "
            f"with {_many(c.activated, 'activated eSIM')}.",
            "/deliveries",
        )
    if c.expiry_held and c.activated:
        yield Note(
            Severity.INFO,
            "Nothing expires for now: time passed in which no delivery could arrive, and the "
            "vendor is to have time to report anew.",
        )
    if c.over_limit:
        yield Note(
            Severity.WARNING,
            f"{_many(c.over_limit, 'eSIM')} over --limits.max-esims: counted in the fleet, "
            "without series of their own.",
            "/esims?over_limit=yes",
        )
    if c.rejected:
        yield Note(
            Severity.WARNING,
            f"{_many(c.rejected, 'rejected delivery', 'rejected deliveries')} kept, to be looked "
            "at.",
            "/rejected",
        )
    if c.stale:
        yield Note(
            Severity.INFO,
            f"Nothing was received of {_many(c.stale, 'activated eSIM')} for over "
            f"{span(c.stale_after)}.",
            "/esims?status=ACTIVATED&sort=last_event",
        )
    for balance in c.balances:
        if balance.threshold is not None and balance.balance < balance.threshold:
            yield Note(
                Severity.WARNING,
                f"The balance at {balance.vendor} is {balance.balance:,.2f} {balance.currency}, "
                f"below its threshold of {balance.threshold:,.2f}.",
            )


def _many(number: int, one: str, more: str = "") -> str:
    return f"{count(number)} {one if number == 1 else more or one + 's'}"
