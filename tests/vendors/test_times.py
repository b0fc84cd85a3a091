from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.errors import FieldError, FutureEvent
from exporter.model.events import MAX_TIME
from exporter.vendors.times import EARLIEST, read_event_time, read_iso_time, refuse_future

SAMPLE = 1_777_015_865  # 2026-04-24T07:31:05Z


@pytest.mark.parametrize(
    "text",
    [
        *("2026-04-24T07:31:05Z", "2026-04-24t07:31:05z", "2026-04-24 07:31:05Z"),
        *("2026-04-24T07:31:05+0000", "2026-04-24T07:31:05+00:00", "2026-04-24T07:31:05-00:00"),
        *("2026-04-24 07:31:05 UTC", "2026-04-24 07:31:05 +0000", "2026-04-24T07:31:05.999Z"),
        *("2026-04-24T07:31:05.123456789012Z", "2026-04-24T07:31:05,9+0000"),
        *("2026-04-24T09:31:05+02:00", "2026-04-24T02:01:05-0530"),
    ],
)
def test_reads_a_time_with_a_zone(text: str) -> None:
    assert read_iso_time(text) == SAMPLE
    assert read_event_time(text) == SAMPLE


@pytest.mark.parametrize("value", [None, ""])
def test_an_empty_time_is_absent(value: object) -> None:
    assert read_iso_time(value) is None
    assert read_event_time(value) is None


@pytest.mark.parametrize(
    "value",
    [
        *("2026-04-24T07:31:05", "2026-04-24", "2026-04-24T07:31Z", "20260424T073105Z", "Z"),
        *("2026-04-24T07:31:05 CET", "2026-04-24T07:31:05+2", "2026-04-24T07:31:05Z ", " "),
        *("2026-02-30T00:00:00Z", "2026-04-24T25:00:00Z", "2026-04-24T07:31:60Z", "now"),
        *("2026-04-24T07:31:05+99:00", "0000-01-01T00:00:00Z", "2026-04-24T07:31:05.Z"),
        *("٢٠٢٦-04-24T07:31:05Z", "2026-04-24T07:31:05Z\n", "2026-W17-5T07:31:05Z", "\0"),
        *(1_777_015_865, 1.5, True, [], {}, ["2026-04-24T07:31:05Z"]),
    ],
)
def test_refuses_a_time_it_would_have_to_guess(value: object) -> None:
    with pytest.raises(ValueError, match=r"^must be a time such as 2026-04-24T07:31:05Z$"):
        read_iso_time(value)


@given(
    st.datetimes(),
    st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)
def test_any_time_gives_the_seconds_that_have_passed(at: datetime, zone: timezone) -> None:
    local = at.replace(tzinfo=zone)
    whole = local.replace(microsecond=0)
    assert read_iso_time(local.isoformat()) == (whole - datetime(1970, 1, 1, tzinfo=UTC)) // (
        timedelta(seconds=1)
    )


@given(st.text(max_size=30) | st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}.{0,8}"))
def test_any_text_is_a_time_or_a_value_error(text: str) -> None:
    try:
        time = read_iso_time(text)
    except ValueError:
        return
    assert time is None or isinstance(time, int)


@pytest.mark.parametrize("year", ["0001", "1970", "2014"])
def test_an_event_is_not_older_than_travel_esims(year: str) -> None:
    with pytest.raises(ValueError, match=r"^must be a time after 2014$"):
        read_event_time(f"{year}-12-31T23:59:59Z")
    assert read_event_time("2015-01-01T00:00:00Z") == EARLIEST


def test_the_latest_time_of_an_event_fits_into_a_sample() -> None:
    assert read_event_time("2106-02-07T06:28:15Z") == MAX_TIME
    with pytest.raises(ValueError, match=r"^is too far in the future: must be a time$"):
        read_event_time("2106-02-07T06:28:16Z")


def test_an_event_may_be_a_day_ahead() -> None:
    refuse_future(SAMPLE + 86_400, SAMPLE, ("at",))
    with pytest.raises(FutureEvent) as caught:
        refuse_future(SAMPLE + 86_401, SAMPLE, ("at",))
    assert caught.value.time == SAMPLE + 86_401
    msg = "must not be more than 24 hours in the future"
    assert caught.value.errors == (FieldError(("at",), msg),)
