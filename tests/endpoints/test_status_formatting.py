from __future__ import annotations

import pytest

from exporter.endpoints.status.formatting import amount, band, instant, percent, size, span, visible


@pytest.mark.parametrize(
    ("number", "written"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (1000 << 20, "1000 MiB"),
        (1 << 30, "1 GiB"),
        ((1 << 30) + (1 << 28), "1.25 GiB"),
        (123_456_789, "118 MiB"),
        (2**63 - 1, "8 EiB"),
        (2**80, "1048576 EiB"),
    ],
)
def test_bytes_are_written_in_the_unit_that_fits(number: int, written: str) -> None:
    assert size(number) == written


@pytest.mark.parametrize(
    ("number", "resource", "written"),
    [
        (1024, "data", "1 KiB"),
        (1234, "sms", "1,234"),
        (0, "voice", "0 min"),
        (45, "voice", "45 s"),
        (60, "voice", "1 min"),
        (75_330, "voice", "1,255 min 30 s"),
    ],
)
def test_each_resource_has_its_unit(number: int, resource: str, written: str) -> None:
    assert amount(number, resource) == written


@pytest.mark.parametrize(
    ("seconds", "written"),
    [(0, "0 s"), (59.9, "59 s"), (60, "1 min"), (7199, "1 h"), (86400 * 3 + 5, "3 d"), (-1, "0 s")],
)
def test_spans_are_rounded_down_to_their_greatest_unit(seconds: float, written: str) -> None:
    assert span(seconds) == written


@pytest.mark.parametrize(
    ("share", "written", "colour"),
    [
        (0.0, "0 %", "good"),
        (0.29, "29 %", "good"),
        (0.7499999, "74 %", "good"),
        (0.75, "75 %", "notice"),
        (0.9, "90 %", "warning"),
        (0.99999, "99 %", "warning"),
        (1.0, "100 %", "critical"),
    ],
)
def test_shares_are_never_rounded_up(share: float, written: str, colour: str) -> None:
    assert (percent(share), band(share)) == (written, colour)


def test_no_limit_has_no_colour() -> None:
    assert band(None) == "none"


def test_invisible_characters_are_written_as_code_points() -> None:
    assert visible("a\u202eb\n\u200b") == "a⌈U+202E⌉b⌈U+000A⌉⌈U+200B⌉"
    assert visible("Åland 日本 <b>") == "Åland 日本 <b>"


def test_times_outside_the_calendar_are_clamped() -> None:
    assert instant(0) == "1970-01-01 00:00:00 UTC"
    assert instant(2**63) == "9999-12-31 00:00:00 UTC"
    assert instant(-5) == "1970-01-01 00:00:00 UTC"
