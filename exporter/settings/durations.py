"""Durations as Prometheus reads and writes them: ``500ms``, ``1h30m``, ``30d``."""

from __future__ import annotations

import re

_UNITS = {
    "y": 365 * 24 * 3600 * 1000,
    "w": 7 * 24 * 3600 * 1000,
    "d": 24 * 3600 * 1000,
    "h": 3600 * 1000,
    "m": 60 * 1000,
    "s": 1000,
    "ms": 1,
}
"""Milliseconds in each unit. Durations are written in this order, greatest unit first."""

_DURATION = re.compile("".join(f"(?:([0-9]+){unit})?" for unit in _UNITS))

_MAX_MILLISECONDS = (2**63 - 1) // 1_000_000
"""Prometheus keeps durations as signed 64-bit nanoseconds: about 292 years."""

_MAX_LENGTH = 64
"""Characters. Every duration below the limit needs far fewer."""


def parse_duration(text: str) -> float:
    """Return the seconds that ``text`` stands for.

    Units are ``y w d h m s ms``, greatest first, each at most once. Only zero may have no unit.
    Raises ``ValueError`` for any other text and for more than about 292 years.
    """
    match = _DURATION.fullmatch(text) if len(text) <= _MAX_LENGTH else None
    if text == "0":
        return 0.0
    if match is None or not text:
        raise ValueError(f"not a duration: {text!r} (write it like 500ms, 30s, 1h30m or 30d)")
    parts = zip(match.groups(default="0"), _UNITS.values(), strict=True)
    milliseconds = sum(int(count) * size for count, size in parts)
    if milliseconds > _MAX_MILLISECONDS:
        raise ValueError(f"duration too long: {text!r} (at most 292y)")
    return milliseconds / 1000


def format_duration(seconds: float) -> str:
    """Return ``seconds`` (not negative) as a duration, exact to the millisecond.

    Years and weeks are used only where nothing is left over, as in Prometheus: 8 days are ``8d``,
    14 days ``2w``.
    """
    rest = round(seconds * 1000)
    if rest == 0:
        return "0s"
    written = []
    for unit, size in _UNITS.items():
        if unit in {"y", "w"} and rest % size:
            continue
        count, rest = divmod(rest, size)
        if count:
            written.append(f"{count}{unit}")
    return "".join(written)
