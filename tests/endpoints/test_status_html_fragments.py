from __future__ import annotations

import re
from pathlib import Path

from exporter.endpoints.status import html_fragments
from exporter.endpoints.status.formatting import band
from exporter.model.records import STATUSES
from grafana.generator import palette

STYLE = (Path(html_fragments.__file__).parent / "static/status.css").read_text()

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
    assert html_fragments.MARKS.keys() == {*STATUSES}
    for dark, hues in ((False, LIGHT_HUES), (True, DARK_HUES)):
        for status, mark in html_fragments.MARKS.items():
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
    bar = html_fragments.bar(0.8, 'Data <of "all">')
    assert 'aria-label="Data &lt;of &#34;all&#34;&gt;: 80 % used"' in bar
    assert 'class="bar notice"' in bar
    assert 'width="80.0"' in bar
    assert 'aria-label="Data: no limit"' in html_fragments.bar(None, "Data")


def test_a_bar_stays_within_its_track() -> None:
    assert 'class="fill" width="100.0"' in html_fragments.bar(3.5, "Data")
    assert 'class="fill" width="0.0"' in html_fragments.part(-1)


def test_ages_of_future_times_say_in_how_long() -> None:
    assert ">5 min ago<" in html_fragments.age(1000, 1300)
    assert ">in 2 h<" in html_fragments.age(1000 + 7200, 1000)


def test_the_busiest_minute_is_the_highest() -> None:
    drawn = html_fragments.minutes_chart((None, 0, 5, 10))
    assert "In the busiest minute: 10" in drawn
    assert re.findall(r'x="(\d+)" y="([\d.]+)"', drawn) == [("8", "10.0"), ("12", "0.0")]
    assert "<rect" not in html_fragments.minutes_chart((None, 0))
