from __future__ import annotations

from dataclasses import replace

import pytest

from exporter.endpoints.status.banners import GRACE, BannerLevel, Condition, banners
from exporter.model.records import AccountBalance

NOW = 1_800_000_000.0
DAY = 86400
REPORTS = 4 * 3600

WELL = Condition(
    now=NOW,
    loaded=True,
    stopping=False,
    storage_failed=False,
    received=NOW - 10,
    report_interval=REPORTS,
    activated=3,
    stale_after=9 * 3600,
)
LOW = AccountBalance("roamify", "USD", int(NOW), 12.5, int(NOW), 50.0)


def test_there_is_no_banner_without_a_problem() -> None:
    ample = AccountBalance("roamify", "USD", int(NOW), 50.0, int(NOW), 50.0)
    unknown = AccountBalance("roamify", "EUR", int(NOW), -1.0)
    certificates = (("internal", NOW + 20 * DAY),)
    assert banners(WELL) == []
    assert banners(replace(WELL, balances=(ample, unknown), certificates=certificates)) == []


@pytest.mark.parametrize(
    ("change", "severity", "words", "page"),
    [
        ({"loaded": False}, BannerLevel.CRITICAL, "still being loaded", ""),
        ({"stopping": True}, BannerLevel.WARNING, "is stopping", ""),
        ({"storage_failed": True}, BannerLevel.CRITICAL, "cannot commit", ""),
        ({"damage": 1}, BannerLevel.CRITICAL, "The storage has 1 damaged place.", ""),
        ({"received": None}, BannerLevel.INFO, "has arrived yet", ""),
        (
            {"received": NOW - REPORTS - GRACE - 1},
            BannerLevel.CRITICAL,
            "arrived for 5 h. There should be events for 3 activated eSIMs.",
            "/deliveries",
        ),
        (
            {"over_limit": 1234},
            BannerLevel.WARNING,
            "1,234 eSIMs have no separate series",
            "/esims?over_limit=true",
        ),
        ({"rejected": 1}, BannerLevel.WARNING, "1 rejected delivery is kept", "/rejected"),
        ({"rejected": 2}, BannerLevel.WARNING, "2 rejected deliveries are kept", "/rejected"),
        (
            {"stale": 2},
            BannerLevel.INFO,
            "For 2 activated eSIMs, nothing was received for over 9 h.",
            "/esims?status=ACTIVATED&sort=last_event",
        ),
        ({"reload_failed": True}, BannerLevel.WARNING, "reload failed", ""),
        ({"unsigned": True}, BannerLevel.WARNING, "Anyone can send deliveries", ""),
        (
            {"balances": (LOW,)},
            BannerLevel.WARNING,
            "12.50 USD. This is below its threshold of 50.00.",
            "",
        ),
        (
            {"certificates": (("public", NOW),)},
            BannerLevel.CRITICAL,
            "public listener has expired",
            "",
        ),
        (
            {"certificates": (("public", NOW + 3 * DAY),)},
            BannerLevel.WARNING,
            "public listener expires in 3 d",
            "",
        ),
    ],
)
def test_each_problem_has_its_banner(
    change: dict[str, object], severity: BannerLevel, words: str, page: str
) -> None:
    (banner,) = banners(replace(WELL, **change))  # type: ignore[arg-type]  # each by its own type
    assert (banner.severity, banner.page) == (severity, page)
    assert words in banner.text


def test_a_hold_of_expiry_is_shown_only_where_it_keeps_silent_esims() -> None:
    held = replace(WELL, expiry_hold=9 * 3600.0)
    assert banners(held) == []
    assert len(banners(replace(held, received=None, activated=0))) == 1  # no delivery yet
    _, banner = banners(replace(held, stale=2))
    assert banner.severity is BannerLevel.INFO
    assert "Silent eSIMs do not expire for now." in banner.text
    assert "the vendor first gets 9 h to report every activated eSIM" in banner.text


def test_silence_is_no_problem_as_long_as_no_event_should_have_arrived() -> None:
    assert banners(replace(WELL, received=NOW - REPORTS - GRACE)) == []
    for change in ({"activated": 0}, {"report_interval": 0.0}):
        assert banners(replace(WELL, received=NOW - DAY, **change)) == []


def test_the_fleet_has_no_banners_before_it_is_loaded() -> None:
    assert len(banners(replace(WELL, loaded=False, received=None))) == 1


def test_the_worst_comes_first() -> None:
    found = banners(replace(WELL, stale=1, rejected=1, damage=1))
    assert [banner.severity.label for banner in found] == ["critical", "warning", "info"]
