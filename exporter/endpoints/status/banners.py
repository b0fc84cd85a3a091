"""The banners of the overview: problems that an operator should see at once, worst first.

They use the same figures as the alerts for Prometheus, for people who look at the page before an
alert has fired.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from exporter.endpoints.status.formatting import count, span

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from exporter.model.records import AccountBalance

GRACE = 3600
"""Seconds by which the next report may be late before the vendor counts as silent, as in the
alert."""

_EXPIRES_SOON = 14 * 86400
"""A certificate gets a warning this many seconds before it expires."""


class BannerLevel(IntEnum):
    """How bad a problem is."""

    INFO = 0
    WARNING = 1
    CRITICAL = 2

    @property
    def label(self) -> str:
        """Return the name that pages show and style sheets use."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Banner:
    """One problem."""

    severity: BannerLevel
    text: str
    page: str = ""
    """Path, below the prefix, of the page with details; empty if there is none."""
    page_name: str = ""
    """Text of the link to that page."""


@dataclass(frozen=True, slots=True)
class VendorFeed:
    """What arrives from one vendor that is on. Times are unix seconds."""

    vendor: str
    title: str
    """The name that people read."""
    received: float | None = None
    """When a verified delivery last arrived, ``None`` if none ever did."""
    report_interval: int | None = None
    """Seconds between two usage events of an activated eSIM; ``None`` if the vendor reports at
    thresholds only. Then silence means nothing."""
    activated: int = 0
    """Activated eSIMs: the vendor should send events for them."""
    stale: int = 0
    """Activated eSIMs for which nothing was received for over ``Condition.stale_after`` seconds; 0
    without an interval."""

    def silent(self, now: float) -> bool:
        """Return whether an event should have arrived, but none did."""
        if self.received is None or self.report_interval is None or not self.activated:
            return False
        return now - self.received > self.report_interval + GRACE


@dataclass(frozen=True, slots=True)
class Condition:
    """The facts that banners are made from. Times are unix seconds."""

    now: float
    loaded: bool
    """Whether the state is loaded; if not, the facts about the fleet are not known."""
    stopping: bool
    storage_failed: bool
    damage: int = 0
    """Places in the storage that were found damaged."""
    feeds: Sequence[VendorFeed] = ()
    """One for each vendor that is on."""
    stale_after: float = 0.0
    expiry_hold: float = 0.0
    """Seconds for which silent eSIMs are kept after a start or a clock jump; 0 if none is kept."""
    over_limit: int = 0
    """eSIMs without series of their own."""
    rejected: int = 0
    """Rejected deliveries that are kept."""
    reload_failed: bool = False
    unsigned: bool = False
    """Whether unsigned deliveries are accepted."""
    balances: Sequence[AccountBalance] = ()
    certificates: Sequence[tuple[str, float]] = ()
    """Listeners, with the times at which their certificates expire."""

    @property
    def received(self) -> float | None:
        """Return when a verified delivery last arrived, ``None`` if none ever did."""
        times = (feed.received for feed in self.feeds if feed.received is not None)
        return max(times, default=None)

    @property
    def silent(self) -> bool:
        """Return whether an event of a vendor should have arrived, but none did."""
        return any(feed.silent(self.now) for feed in self.feeds)

    @property
    def has_several_vendors(self) -> bool:
        """Return whether texts must say which vendor they are about."""
        return len(self.feeds) > 1


def banners(condition: Condition) -> list[Banner]:
    """Return the banners to show, worst first."""
    found = [*_of_process(condition)]
    if condition.loaded:
        found += [*_of_deliveries(condition), *_of_fleet(condition)]
    return sorted(found, key=lambda banner: -banner.severity)


def _of_process(c: Condition) -> Iterator[Banner]:
    if not c.loaded:
        yield Banner(
            BannerLevel.CRITICAL,
            "The state is still being loaded. Until then, deliveries are answered with 503.",
        )
    if c.stopping:
        yield Banner(BannerLevel.WARNING, "The exporter is stopping.")
    if c.storage_failed:
        yield Banner(
            BannerLevel.CRITICAL,
            "The storage cannot commit. Deliveries are answered with 503, so the vendor sends them "
            "again later. The log gives the reason.",
        )
    if c.reload_failed:
        yield Banner(
            BannerLevel.WARNING,
            "The last reload failed, so the earlier settings stay in force. The log gives the "
            "reason.",
        )
    if c.unsigned:
        yield Banner(
            BannerLevel.WARNING, "Anyone can send deliveries: --webhook.allow-unsigned is set."
        )
    for listener, expiry in c.certificates:
        left = expiry - c.now
        if left <= 0:
            text = f"The TLS certificate of the {listener} listener has expired."
            yield Banner(BannerLevel.CRITICAL, text)
        elif left < _EXPIRES_SOON:
            text = f"The TLS certificate of the {listener} listener expires in {span(left)}."
            yield Banner(BannerLevel.WARNING, text)


def _of_deliveries(c: Condition) -> Iterator[Banner]:
    if c.received is None:
        yield Banner(BannerLevel.INFO, "No verified delivery has arrived yet.")
    else:
        for feed in c.feeds:
            yield from _of_feed(feed, c)
    if c.rejected:
        kept = _many(c.rejected, "rejected delivery is", "rejected deliveries are")
        yield Banner(BannerLevel.WARNING, f"{kept} kept for review.", "/rejected", "Review")


def _of_feed(feed: VendorFeed, c: Condition) -> Iterator[Banner]:
    of_vendor = _of_vendor(feed, c)
    if feed.received is None:
        yield Banner(BannerLevel.INFO, f"No verified delivery{of_vendor} has arrived yet.")
    elif feed.silent(c.now):
        yield Banner(
            BannerLevel.CRITICAL,
            f"No verified delivery{of_vendor} has arrived for {span(c.now - feed.received)}. There "
            f"should be events for {_many(feed.activated, 'activated eSIM')}.",
            "/deliveries",
            "Recent deliveries",
        )


def _of_vendor(feed: VendorFeed, c: Condition) -> str:
    return f" of {feed.title}" if c.has_several_vendors else ""


def _of_fleet(c: Condition) -> Iterator[Banner]:
    if c.damage:
        yield Banner(
            BannerLevel.CRITICAL,
            f"The storage has {_many(c.damage, 'damaged place')}. The data there could not be "
            "loaded. The log gives the details.",
        )
    if c.over_limit:
        yield Banner(
            BannerLevel.WARNING,
            f"{_many(c.over_limit, 'eSIM has', 'eSIMs have')} no separate series, because of "
            "--limits.max-esims. Sums over the fleet include all eSIMs.",
            "/esims?over_limit=true",
            "List these eSIMs",
        )
    stale = [feed for feed in c.feeds if feed.stale]
    for feed in stale:
        vendor = f"vendor={feed.vendor}&" if c.has_several_vendors else ""
        yield Banner(
            BannerLevel.INFO,
            f"For {_many(feed.stale, 'activated eSIM')}{_of_vendor(feed, c)}, nothing was received "
            f"for over {span(c.stale_after)}.",
            f"/esims?{vendor}status=ACTIVATED&sort=last_event",
            "Activated eSIMs, oldest event first",
        )
    if c.expiry_hold and stale:  # without silent eSIMs there is nothing to keep
        yield Banner(
            BannerLevel.INFO,
            "Silent eSIMs do not expire for now. After a start or a jump of the clock, the vendor "
            f"first gets {span(c.expiry_hold)} to report every activated eSIM.",
        )
    for balance in c.balances:
        if balance.threshold is not None and balance.balance < balance.threshold:
            yield Banner(
                BannerLevel.WARNING,
                f"The balance at {balance.vendor} is {balance.balance:,.2f} {balance.currency}. "
                f"This is below its threshold of {balance.threshold:,.2f}.",
            )


def _many(number: int, one: str, more: str = "") -> str:
    """Return a number with its noun: ``more`` is the plural, by default ``one`` and an s."""
    return f"{count(number)} {one if number == 1 else more or one + 's'}"
