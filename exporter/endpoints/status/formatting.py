"""Amounts, times and names as people read them."""

from __future__ import annotations

from datetime import UTC, datetime

_SIZES = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_SPANS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def count(number: int) -> str:
    """Write a whole number with its thousands set apart."""
    return f"{number:,}"


def size(amount: int) -> str:
    """Write bytes in the unit that fits, to three digits or the whole number."""
    power = min(max(amount.bit_length() - 1, 0) // 10, len(_SIZES) - 1)
    value = amount / 1024**power
    return f"{value:.{max(3, len(str(int(value))))}g} {_SIZES[power]}"


def span(seconds: float) -> str:
    """Write a time span in its greatest unit, rounded down."""
    for length, unit in _SPANS:
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return "0 s"


def talk(seconds: int) -> str:
    """Write voice in minutes and seconds: minutes are what a package allows."""
    minutes, rest = divmod(seconds, 60)
    return " ".join([*([f"{minutes:,} min"] if minutes or not rest else []), *_rest(rest)])


def _rest(seconds: int) -> list[str]:
    return [f"{seconds} s"] if seconds else []


def amount(number: int, resource: str) -> str:
    """Write what there is of ``data`` (bytes), ``sms`` (messages) or ``voice`` (seconds)."""
    return {"data": size, "sms": count, "voice": talk}[resource](number)


def percent(share: float) -> str:
    """Write a share, rounded down: only all of it is 100 %."""
    return f"{int(share * 100 + 1e-9)} %"


def band(share: float | None) -> str:
    """Return the name of a used share's colour, the same as on the dashboards."""
    if share is None:
        return "none"
    steps = ((1.0, "critical"), (0.9, "warning"), (0.75, "notice"))
    return next((name for least, name in steps if share >= least), "good")


def instant(seconds: float) -> str:
    """Write unix seconds as date and time, UTC."""
    return _utc(seconds).strftime("%Y-%m-%d %H:%M:%S UTC")


def machine_instant(seconds: float) -> str:
    """Write unix seconds as HTML's ``datetime`` attribute takes them."""
    return _utc(seconds).strftime("%Y-%m-%dT%H:%M:%SZ")


def visible(text: str) -> str:
    """Return a name with what cannot be seen in it, such as marks of direction, written out."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else f"\N{LEFT CEILING}U+{ord(c):04X}\N{RIGHT CEILING}" for c in text
    )


_LATEST = datetime(9999, 12, 31, tzinfo=UTC).timestamp()


def _utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(min(max(seconds, 0.0), _LATEST), UTC)
