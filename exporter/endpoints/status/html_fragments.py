"""Fragments of HTML for the templates: bars, ages, a chart of the last hour.

The bars are SVG, because their lengths are then attributes. The pages' content security policy
forbids inline styles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from markupsafe import Markup

from exporter.endpoints.status.formatting import band, instant, machine_instant, percent, span

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MARKS: Mapping[str, str] = {
    "ACTIVATED": "good",
    "INSTALLED": "light",
    "NEW": "neutral",
    "INACTIVE": "notice",
    "EXPIRED": "idle",
    "DELETED": "gone",
    "REVOKED": "critical",
    "UNKNOWN": "warning",
    "OTHER": "odd",
}
"""The name of the colour of each status. The dashboards use the same colours."""

_BAR = Markup(
    '<svg class="bar {band}" viewBox="0 0 100 6" preserveAspectRatio="none" role="img" '
    'aria-label="{label}"><rect class="track" width="100" height="6"/>'
    '<rect class="fill" width="{width}" height="6"/>'
    '<path class="step" d="M75 0v6M90 0v6"/></svg>'
)
_PART = Markup(
    '<svg class="bar plain" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">'
    '<rect class="track" width="100" height="6"/>'
    '<rect class="fill" width="{width}" height="6"/></svg>'
)
_CHART = Markup(
    '<svg class="minutes" viewBox="0 0 {wide} 20" preserveAspectRatio="none" role="img" '
    'aria-label="{label}"><line x1="0" x2="{wide}" y1="20" y2="20"/>{rects}</svg>'
)
_RECT = Markup('<rect x="{x}" y="{y}" width="3" height="{height}"/>')
_TIME = Markup('<time datetime="{iso}" title="{utc}" data-age="{at:.0f}">{age}</time>')


def bar(share: float | None, of: str) -> Markup:
    """Draw a used share, with marks at 75 and 90 %. ``of`` names it for screen readers."""
    label = f"{of}: no limit" if share is None else f"{of}: {percent(share)} used"
    width = f"{min(max(share or 0.0, 0.0), 1.0) * 100:.1f}"
    return _BAR.format(band=band(share), label=label, width=width)


def part(share: float) -> Markup:
    """Draw a part of a whole. Screen readers skip it: the text beside it says the same."""
    return _PART.format(width=f"{min(max(share, 0.0), 1.0) * 100:.1f}")


def age(at: float, now: float) -> Markup:
    """Write how long ago ``at`` was. Both times are unix seconds; the tooltip has the exact one."""
    seconds = now - at
    text = f"in {span(-seconds)}" if seconds < 0 else f"{span(seconds)} ago"
    return _TIME.format(iso=machine_instant(at), utc=instant(at), at=at, age=text)


def minutes_chart(minutes: Sequence[int | None]) -> Markup:
    """Draw a number for each minute, oldest first; nothing for a minute that is ``None``."""
    most = max((number for number in minutes if number), default=0)
    rects = Markup().join(
        _RECT.format(
            x=4 * at, y=f"{20 - _height(number, most):.1f}", height=f"{_height(number, most):.1f}"
        )
        for at, number in enumerate(minutes)
        if number
    )
    label = f"Events in each of the last {len(minutes)} minutes. In the busiest minute: {most}"
    return _CHART.format(wide=4 * len(minutes), label=label, rects=rects)


def _height(number: int, most: int) -> float:
    return max(1.0, 20 * number / most)
