from __future__ import annotations

from dataclasses import replace

import pytest

from exporter.endpoints.status.banners import GRACE, BannerLevel, Condition, VendorFeed, banners
from exporter.model.records import AccountBalance

NOW = 1_800_000_000.0
DAY = 86400
REPORTS = 4 * 3600

HEARD = VendorFeed("roamify", "Roamify", NOW - 10, REPORTS, activated=3)
WELL = Condition(
    now=NOW,
    loaded=True,
    stopping=False,
    storage_failed=False,
    feeds=(HEARD,),
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
        ({"feeds": (replace(HEARD, received=None),)}, BannerLevel.INFO, "has arrived yet", ""),
        (
            {"feeds": (replace(HEARD, received=NOW - REPORTS - GRACE - 1),)},
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
            {"feeds": (replace(HEARD, stale=2),)},
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
    new = replace(HEARD, received=None, activated=0)
    assert len(banners(replace(held, feeds=(new,)))) == 1  # no delivery yet
    _, banner = banners(replace(held, feeds=(replace(HEARD, stale=2),)))
    assert banner.severity is BannerLevel.INFO
    assert "Silent eSIMs do not expire for now." in banner.text
    assert "the vendor first gets 9 h to report every activated eSIM" in banner.text


def test_silence_is_no_problem_as_long_as_no_event_should_have_arrived() -> None:
    late = replace(HEARD, received=NOW - REPORTS - GRACE)
    assert banners(replace(WELL, feeds=(late,))) == []
    missing = replace(HEARD, received=NOW - DAY)
    for feed in (replace(missing, activated=0), replace(missing, report_interval=None)):
        assert banners(replace(WELL, feeds=(feed,))) == []


def test_each_of_several_vendors_is_named_and_judged_by_its_own_interval() -> None:
    fast = VendorFeed("fast-esim", "Fast eSIM", NOW - 3 * 3600, 3600, activated=7, stale=4)
    at_thresholds = VendorFeed("rare-esim", "Rare eSIM", NOW - 9 * DAY, None, activated=3000)
    silent = VendorFeed("new-esim", "New eSIM", None, REPORTS)
    heard = replace(HEARD, received=NOW - 3 * 3600, stale=1)
    found = banners(replace(WELL, feeds=(heard, fast, at_thresholds, silent)))
    assert [(banner.text, banner.page) for banner in found] == [
        (
            (
                "No verified delivery of Fast eSIM has arrived for 3 h. "
                "There should be events for 7 activated eSIMs."
            ),
            "/deliveries",
        ),
        ("No verified delivery of New eSIM has arrived yet.", ""),
        (
            "For 1 activated eSIM of Roamify, nothing was received for over 9 h.",
            "/esims?vendor=roamify&status=ACTIVATED&sort=last_event",
        ),
        (
            "For 4 activated eSIMs of Fast eSIM, nothing was received for over 9 h.",
            "/esims?vendor=fast-esim&status=ACTIVATED&sort=last_event",
        ),
    ]


def test_the_fleet_has_no_banners_before_it_is_loaded() -> None:
    assert len(banners(replace(WELL, loaded=False, feeds=()))) == 1


def test_the_worst_comes_first() -> None:
    found = banners(replace(WELL, feeds=(replace(HEARD, stale=1),), rejected=1, damage=1))
    assert [banner.severity.label for banner in found] == ["critical", "warning", "info"]
