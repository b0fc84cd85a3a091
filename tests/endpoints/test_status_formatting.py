"""How pages write amounts, times and names, and how they draw bars and charts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from exporter.endpoints.status import formatting
from exporter.endpoints.status.formatting import amount, band, instant, percent, size, span, visible
from exporter.mixin.dashboards import palette
from exporter.model.records import STATUSES


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


STYLE = (Path(formatting.__file__).parent / "static/status.css").read_text()

LIGHT_HUES = {
    "semi-dark-green": "#37872d",
    "dark-yellow": "#cc9d00",
    "dark-orange": "#e55400",
    "semi-dark-red": "#c4162a",
    "semi-dark-blue": "#1f60c4",
    "light-blue": "#5794f2",
    "dark-purple": "#7c2ea3",
    "light-purple": "#b877d9",
    "#8e8e8e": "#8e8e8e",
    "#bfae87": "#bfae87",
}
"""The colours of the palette's names in Grafana's light theme."""

DARK_HUES = {
    "semi-dark-green": "#56a64b",
    "dark-yellow": "#e0b400",
    "dark-orange": "#fa6400",
    "semi-dark-red": "#e02f44",
    "semi-dark-blue": "#3274d9",
    "light-blue": "#8ab8ff",
    "dark-purple": "#8f3bb8",
    "light-purple": "#ca95e5",
    "#8e8e8e": "#8e8e8e",
    "#bfae87": "#bfae87",
}
"""The colours of the palette's names in Grafana's dark theme."""


def colours(dark: bool) -> dict[str, str]:
    light, _, rest = STYLE.partition("@media (prefers-color-scheme: dark)")
    found = dict(re.findall(r"--([\w-]+): (#\w+);", light))
    if dark:
        found |= dict(re.findall(r"--([\w-]+): (#\w+);", rest))
    return found


def test_used_shares_have_the_colours_of_the_dashboards() -> None:
    for dark, hues in ((False, LIGHT_HUES), (True, DARK_HUES)):
        names = [band(share or 0.0) for share, _ in palette.USED]
        assert [colours(dark)[name] for name in names] == [hues[hue] for _, hue in palette.USED]


def test_statuses_have_the_colours_of_the_dashboards() -> None:
    assert formatting.MARKS.keys() == {*STATUSES}
    for dark, hues in ((False, LIGHT_HUES), (True, DARK_HUES)):
        for status, mark in formatting.MARKS.items():
            assert colours(dark)[mark] == hues[palette.STATUSES[status]]


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours by the definition of WCAG 2."""

    def luminance(colour: str) -> float:
        digits = colour[1:] if len(colour) == 7 else "".join(2 * c for c in colour[1:])
        parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
        linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    brighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (brighter + 0.05) / (darker + 0.05)


def test_text_can_be_read_on_its_ground() -> None:
    for dark in (False, True):
        of = colours(dark)
        for ink in ("ink", "faint", "link"):
            for ground in ("page", "sheet"):
                assert contrast(of[ink], of[ground]) >= 4.5, (ink, ground, dark)


def test_a_bar_says_what_it_shows() -> None:
    bar = formatting.bar(0.8, 'Data <of "all">')
    assert 'aria-label="Data &lt;of &#34;all&#34;&gt;: 80 % used"' in bar
    assert 'class="bar notice"' in bar
    assert 'width="80.0"' in bar
    assert 'aria-label="Data: no limit"' in formatting.bar(None, "Data")


def test_a_bar_stays_within_its_track() -> None:
    assert 'class="fill" width="100.0"' in formatting.bar(3.5, "Data")
    assert 'class="fill" width="0.0"' in formatting.part(-1)


def test_ages_of_future_times_say_in_how_long() -> None:
    assert ">5 min ago<" in formatting.age(1000, 1300)
    assert ">in 2 h<" in formatting.age(1000 + 7200, 1000)


def test_the_busiest_minute_is_the_highest() -> None:
    drawn = formatting.minutes_chart((None, 0, 5, 10))
    assert "In the busiest minute: 10" in drawn
    assert re.findall(r'x="(\d+)" y="([\d.]+)"', drawn) == [("8", "10.0"), ("12", "0.0")]
    assert "<rect" not in formatting.minutes_chart((None, 0))
