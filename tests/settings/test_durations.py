from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.settings.field_types import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("0s", 0),
        ("500ms", 0.5),
        ("30s", 30),
        ("5m", 300),
        ("24h", 86_400),
        ("30d", 2_592_000),
        ("1w", 604_800),
        ("1y", 31_536_000),
        ("1h30m", 5400),
        ("1y2w3d4h5m6s7ms", 33_019_506.007),
        ("90m", 5400),
        ("292y", 292 * 31_536_000),
    ],
)
def test_reads_a_duration_as_prometheus_does(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "30", "1.5h", "-1h", "30m1h", "1h1h", "1 h", "1h ", "1h\n", "h", "1H", "1hour", "\u0661s"],
)
def test_rejects_what_prometheus_rejects(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(text)


def test_rejects_a_duration_that_overflows_64_bit_nanoseconds() -> None:
    with pytest.raises(ValueError, match="too long"):
        parse_duration("293y")


def test_rejects_a_number_of_thousands_of_digits() -> None:
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration("9" * 5000 + "s")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.0001, "0s"),
        (0.5, "500ms"),
        (90, "1m30s"),
        (86_400, "1d"),
        (8 * 86_400, "8d"),
        (14 * 86_400, "2w"),
        (365 * 86_400, "1y"),
        (366 * 86_400, "366d"),
        (5400.25, "1h30m250ms"),
    ],
)
def test_writes_a_duration_as_prometheus_does(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.integers(min_value=0, max_value=292 * 365 * 86_400 * 1000))
def test_reads_back_every_duration_it_writes(milliseconds: int) -> None:
    assert round(parse_duration(format_duration(milliseconds / 1000)) * 1000) == milliseconds
