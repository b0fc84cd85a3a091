"""Amounts, times and names, written for people, and fragments of HTML for the templates.

The bars are SVG, because their lengths are then attributes. The content security policy of the
pages forbids inline styles.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from markupsafe import Markup

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SIZES = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_SPANS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def count(number: int) -> str:
    """Write a whole number, with commas between thousands."""
    return f"{number:,}"


def size(amount: int) -> str:
    """Write bytes in the greatest unit that is not larger, rounded to three or four digits."""
    power = min(max(amount.bit_length() - 1, 0) // 10, len(_SIZES) - 1)
    value = amount / 1024**power
    return f"{value:.{max(3, len(str(int(value))))}g} {_SIZES[power]}"


def span(seconds: float) -> str:
    """Write a time span in its greatest unit only, rounded down."""
    for length, unit in _SPANS:
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return "0 s"


def talk_time(seconds: int) -> str:
    """Write voice in minutes and seconds. Packages allow minutes."""
    minutes, rest = divmod(seconds, 60)
    parts = [f"{minutes:,} min"] if minutes or not rest else []
    return " ".join([*parts, f"{rest} s"] if rest else parts)


def amount(number: int, resource: str) -> str:
    """Write an amount of ``data`` (bytes), ``sms`` (messages) or ``voice`` (seconds)."""
    return {"data": size, "sms": count, "voice": talk_time}[resource](number)


def percent(share: float) -> str:
    """Write a share in percent, rounded down, so that less than 1 is never 100 %."""
    return f"{int(share * 100 + 1e-9)} %"


def band(share: float | None) -> str:
    """Return the name of the colour of a used share. The dashboards use the same steps."""
    if share is None:
        return "none"
    steps = ((1.0, "critical"), (0.9, "warning"), (0.75, "notice"))
    return next((name for least, name in steps if share >= least), "good")


def instant(seconds: float) -> str:
    """Write unix seconds as date and time, UTC."""
    return _utc(seconds).strftime("%Y-%m-%d %H:%M:%S UTC")


def machine_instant(seconds: float) -> str:
    """Write unix seconds in the format of HTML's ``datetime`` attribute."""
    return _utc(seconds).strftime("%Y-%m-%dT%H:%M:%SZ")


def visible(text: str) -> str:
    """Return a name with its invisible characters, such as marks of direction, as code points."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else f"\N{LEFT CEILING}U+{ord(c):04X}\N{RIGHT CEILING}" for c in text
    )


_LATEST = datetime(9999, 12, 31, tzinfo=UTC).timestamp()


def _utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(min(max(seconds, 0.0), _LATEST), UTC)


MARKS: Mapping[str, str] = {
    "ACTIVATED": "good",
    "INSTALLED": "light",
    "NEW": "neutral",
    "INACTIVE": "notice",
    "EXPIRED": "idle",
    "DELETED": "gone",
    "REVOKED": "critical",
    "UNKNOWN": "unknown",
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


def bar(share: float | None, of: str, colour: str = "") -> Markup:
    """Draw a used share, with marks at 75 and 90 %. ``of`` names it for screen readers.

    Its colour is that of :func:`band`, unless another one is given.
    """
    label = f"{of}: no limit" if share is None else f"{of}: {percent(share)} used"
    width = f"{min(max(share or 0.0, 0.0), 1.0) * 100:.1f}"
    return _BAR.format(band=colour or band(share), label=label, width=width)


def part(share: float) -> Markup:
    """Draw a part of a whole. Screen readers skip it: the text beside it says the same."""
    return _PART.format(width=f"{min(max(share, 0.0), 1.0) * 100:.1f}")


def age(at: float, now: float) -> Markup:
    """Write how long ago ``at`` was. Both times are unix seconds; the tooltip has the exact one."""
    seconds = now - at
    text = f"in {span(-seconds)}" if seconds < 0 else f"{span(seconds)} ago"
    return _TIME.format(iso=machine_instant(at), utc=instant(at), at=at, age=text)


def minutes_chart(minutes: Sequence[int | None]) -> Markup:
    """Draw a bar for the number of each minute, oldest first; none for 0 and ``None``."""
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
