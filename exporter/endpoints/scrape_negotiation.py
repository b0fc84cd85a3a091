"""What a client asks of a scrape: groups of metrics, format, compression."""

from __future__ import annotations

from typing import TYPE_CHECKING

from werkzeug.http import parse_options_header

from exporter.exposition.exposition import Format, Group

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_TEXT_RANGES = ("text/plain", "text/*", "*/*")
"""Media ranges of ``Accept`` that include the text format."""


class UnknownGroup(ValueError):
    """The parameters name an unknown group, or contradict each other."""


def chosen_groups(collect: Sequence[str], exclude: Sequence[str]) -> frozenset[Group]:
    """Return the groups that the parameters choose; without parameters, all groups.

    ``collect[]`` and ``exclude[]`` work as in node_exporter. Raises ``UnknownGroup`` if both are
    given, or if a name is unknown.
    """
    if collect and exclude:
        raise UnknownGroup("collect[] and exclude[] cannot be used together")
    try:
        named = frozenset(map(Group, collect or exclude))
    except ValueError:
        groups = ", ".join(Group)
        raise UnknownGroup(f"no such group; collect[] and exclude[] know {groups}") from None
    if collect:
        return named
    return frozenset(Group) - named


def chosen_format(accept: Iterable[tuple[str, float]]) -> Format:
    """Return OpenMetrics 1.0 if its quality is at least that of the text format, else text.

    ``accept`` are media ranges with their qualities, from the header ``Accept`` (RFC 9110). A
    client that accepts neither gets text, because an answer helps more than a refusal.
    """
    openmetrics = text = 0.0
    for media_range, quality in accept:
        media_type, parameters = parse_options_header(media_range.lower())
        version = parameters.get("version")
        if media_type == "application/openmetrics-text" and version in {None, "1.0.0"}:
            openmetrics = max(openmetrics, quality)
        elif media_type in _TEXT_RANGES and version in {None, "0.0.4"}:
            text = max(text, quality)
    return Format.OPENMETRICS if openmetrics and openmetrics >= text else Format.TEXT


def accepts_gzip(encodings: Iterable[tuple[str, float]]) -> bool:
    """Return whether gzip is accepted, with at least the quality of no compression.

    ``encodings`` are names with their qualities, from ``Accept-Encoding`` (RFC 9110).
    """
    qualities = {name.lower(): quality for name, quality in encodings}
    gzip = qualities.get("gzip", qualities.get("*", 0.0))
    return gzip > 0 and gzip >= qualities.get("identity", 0.0)
