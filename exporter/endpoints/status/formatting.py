"""Amounts, times and names, written for people."""

from __future__ import annotations

from datetime import UTC, datetime

_SIZES = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_SPANS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def count(number: int) -> str:
    """Write a whole number, with commas between thousands."""
    return f"{number:,}"


def size(amount: int) -> str:
    """Write bytes in the greatest unit below them, with three digits or the whole number."""
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
    return " ".join([*([f"{minutes:,} min"] if minutes or not rest else []), *_rest(rest)])


def _rest(seconds: int) -> list[str]:
    return [f"{seconds} s"] if seconds else []


def amount(number: int, resource: str) -> str:
    """Write an amount of ``data`` (bytes), ``sms`` (messages) or ``voice`` (seconds)."""
    return {"data": size, "sms": count, "voice": talk_time}[resource](number)


def percent(share: float) -> str:
    """Write a share in percent, rounded down, so that only the whole is 100 %."""
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
