"""Why an eSIM needs somebody, and since when: by its newest reports and its present allowance."""

from __future__ import annotations

from typing import Any

import pytest

from exporter.model.attention import (
    DEFAULT_LEAST,
    Attention,
    OutOfData,
    about_to_run_out,
    attention_of,
    out_of_data,
)
from exporter.model.consumption import SAMPLES_KEPT
from exporter.model.events import (
    USED_UP,
    Assignment,
    Snapshot,
    Status,
    StatusEvent,
    UsageEvent,
)
from exporter.model.merge import merge_status, merge_usage
from exporter.model.records import Esim

START = 1_700_000_000


def esim(*reports: tuple[int, str, Snapshot], status: Status | None = None) -> Esim:
    """Return an eSIM after reports of (seconds, package, snapshot)."""
    after = Esim("roamify", "e", START, 1)
    for time, package_id, snapshot in reports:
        event = UsageEvent("roamify", START + time, "e", package_id, snapshot)
        after, _ = merge_usage(after, None, event, START)
    if status:
        after, _ = merge_status(after, StatusEvent("roamify", START, "e", status), START)
    return after


def data(allowed: int | None, remaining: int | None, **more: Any) -> Snapshot:
    return Snapshot(data_allowed=allowed, data_remaining=remaining, **more)


def attention(*reports: tuple[int, str, Snapshot]) -> Attention | None:
    return attention_of(esim(*reports), DEFAULT_LEAST)


def shares(*reports: tuple[int, str, Snapshot]) -> list[tuple[str, float, int]]:
    found = attention(*reports)
    return [(s.resource, s.ratio, s.since - START) for s in found.shares] if found else []


@pytest.mark.parametrize(
    ("remaining", "expected"),
    [(251, []), (250, [("data", 0.75, 0)]), (100, [("data", 0.9, 0)]), (0, [("data", 1.0, 0)])],
)
def test_an_allowance_needs_attention_from_three_quarters_on(
    remaining: int, expected: list[tuple[str, float, int]]
) -> None:
    assert shares((0, "p", data(1000, remaining))) == expected


def test_each_resource_has_its_share() -> None:
    snapshot = data(
        1000, 500, sms_allowed=10, sms_remaining=1, voice_allowed=600, voice_remaining=0
    )
    assert shares((0, "p", snapshot)) == [("sms", 0.9, 0), ("voice", 1.0, 0)]


def test_what_is_left_of_a_huge_allowance_is_not_rounded_away() -> None:
    [(_, ratio, _)] = shares((0, "p", data(2**62, 1)))
    assert ratio < 1


@pytest.mark.parametrize("status", [Status.DELETED, Status.EXPIRED, Status.REVOKED])
def test_a_terminal_esim_needs_nobody(status: Status) -> None:
    ended = esim((0, "p", data(1000, 0)), status=status)
    assert attention_of(ended, DEFAULT_LEAST) is None
    assert out_of_data(ended) is None


def test_since_is_the_first_report_in_the_present_band() -> None:
    reports = [(0, "p", data(1000, 260)), (4, "p", data(1000, 200)), (8, "p", data(1000, 120))]
    assert shares(*reports) == [("data", 0.88, 4)]
    assert shares(*reports, (12, "p", data(1000, 90))) == [("data", 0.91, 12)]


def test_a_break_begins_the_time_anew() -> None:
    reports = [(0, "p", data(1000, 0)), (4, "p", data(1000, 900)), (8, "p", data(1000, 0))]
    assert shares(*reports) == [("data", 1.0, 8)]


def test_a_top_up_is_a_break_because_reports_are_judged_by_the_present_allowance() -> None:
    empty = (0, "p", data(1000, 0))
    topped_up = (4, "p", data(2000, 1000))
    assert attention(empty, topped_up) is None
    again = attention(empty, topped_up, (8, "p", data(2000, 0)))
    assert again
    assert again.out_of_data == OutOfData("p", START + 8)


def test_since_reaches_back_as_far_as_reports_are_kept() -> None:
    reports = [(4 * at, "p", data(1000, 0)) for at in range(40)]
    [(_, _, since)] = shares(*reports)
    assert since == 4 * (40 - SAMPLES_KEPT - 1)  # the anchor is kept too


def out(*reports: tuple[int, str, Snapshot]) -> tuple[str, int] | None:
    found = out_of_data(esim(*reports))
    return (found.package_id, found.since - START) if found else None


def test_an_esim_is_out_of_data_when_nothing_is_left_in_any_package() -> None:
    assert out((0, "a", data(1000, 0)), (4, "b", data(1000, 1))) is None
    assert out((0, "a", data(1000, 0)), (4, "b", data(1000, 0))) == ("b", 4)
    assert out((4, "a", data(1000, 0)), (0, "b", data(1000, 0))) == ("a", 4)


def test_an_unlimited_package_means_that_there_is_data() -> None:
    assert out((0, "a", data(1000, 0)), (4, "b", Snapshot(data_unlimited=True))) is None


def test_a_package_without_data_does_not_count() -> None:
    voice = Snapshot(voice_allowed=600, voice_remaining=600)
    assert out((0, "a", voice)) is None
    assert out((0, "a", data(0, 0, voice_allowed=600))) is None
    assert out((0, "a", voice), (4, "b", data(1000, 0))) == ("b", 4)
    assert out((0, "a", data(0, 0)), (4, "b", data(1000, 0))) == ("b", 4)


def test_half_of_an_allowance_is_out_of_data_only_if_nothing_is_left() -> None:
    assert out((0, "a", data(None, 0))) == ("a", 0)
    assert out((0, "a", data(None, 5))) is None
    assert out((0, "a", data(1000, None))) is None
    assert out((0, "a", data(1000, 0)), (4, "b", data(1000, None))) is None


def bundle(received: int, name: str, remaining: int, end: int | None) -> UsageEvent:
    """Return an event without a time of its own, about a bundle that ends."""
    snapshot = data(1000, remaining, end=None if end is None else START + end)
    parts = frozenset({"data", "period"})
    at = START + received
    return UsageEvent("v", at, "e", name, snapshot, parts=parts, assignment=Assignment(START))


@pytest.mark.parametrize(
    ("end", "expected"), [(50, ("b", 60)), (60, None), (70, None), (None, None)]
)
def test_what_a_bundle_had_left_when_it_ended_is_no_data(
    end: int | None, expected: tuple[str, int] | None
) -> None:
    after = Esim("v", "e", START, 1)
    for event in (bundle(10, "a", 200, end), bundle(60, "b", 0, 900)):
        after, _ = merge_usage(after, None, event, START)
    found = out_of_data(after)
    assert (found and (found.package_id, found.since - START)) == expected


def test_a_later_event_about_the_period_does_not_move_the_time_of_used_up_in_words() -> None:
    after = Esim("v", "e", START, 1)
    for time, part, snapshot in (
        (10, "data", data(1000, 100)),
        (20, USED_UP, Snapshot()),
        (90, "period", Snapshot(end=START + 900)),
    ):
        at, parts = START + time, frozenset({part})
        event = UsageEvent("v", at, "e", "plan", snapshot, parts=parts)
        after, _ = merge_usage(after, None, event, START)
    found = attention_of(after, DEFAULT_LEAST)
    assert found
    assert found.out_of_data == OutOfData("plan", START + 20)
    assert [share.since for share in found.shares] == [START + 20]


def test_an_end_that_may_be_of_the_reporting_window_does_not_count() -> None:
    ended = data(1000, 200, end=START + 50)
    assert out((10, "a", ended), (60, "b", data(1000, 0))) is None


def test_out_of_data_since_is_the_first_report_of_it_and_not_the_newest() -> None:
    assert out(*((4 * at, "a", data(1000, 0)) for at in range(1, 4))) == ("a", 4)


@pytest.mark.parametrize(
    ("reports", "since"),
    [
        ([(0, "p", data(1000, 101))], None),
        ([(0, "p", data(1000, 100))], 0),
        ([(0, "p", data(1000, 1))], 0),
        ([(0, "p", data(1000, 0))], None),  # that is out of data
        ([(0, "p", data(1000, 50)), (1, "q", data(1000, 900))], None),
        ([(0, "p", data(1000, 0)), (1, "q", data(1000, 900))], None),
        ([(0, "p", data(1000, 0)), (7, "q", data(1000, 90)), (9, "q", data(1000, 80))], 7),
        ([(5, "p", data(1000, 0)), (1, "q", data(1000, 90))], 5),
        ([(0, "p", data(1000, 50)), (1, "q", Snapshot(data_unlimited=True))], None),
        ([(0, "p", data(1000, 50)), (1, "q", data(1000, None))], None),
        ([(0, "p", data(1000, 50)), (1, "q", data(None, 3))], None),
        ([(0, "p", data(1000, 50)), (3, "q", data(None, 0))], 3),
        ([(0, "p", data(1000, 50)), (3, "q", data(0, 0))], 0),
        ([(0, "p", data(None, None, sms_allowed=10, sms_remaining=1))], None),
    ],
)
def test_an_esim_is_about_to_run_out_when_little_is_left_in_every_package(
    reports: list[tuple[int, str, Snapshot]], since: int | None
) -> None:
    found = about_to_run_out(esim(*reports))
    assert found == (None if since is None else START + since)


def test_an_expired_esim_does_not_run_out() -> None:
    assert about_to_run_out(esim((0, "p", data(1000, 50)), status=Status.EXPIRED)) is None
