"""What a client asks for: groups, format and encoding of a scrape."""

from __future__ import annotations

from typing import TYPE_CHECKING

from werkzeug.http import parse_options_header

from exporter.exposition.exposition import Format, Group

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_TEXT_RANGES = ("text/plain", "text/*", "*/*")


class UnknownGroup(ValueError):
    """The parameters ask for what there is not, or contradict each other (400)."""


def chosen_groups(collect: Sequence[str], exclude: Sequence[str]) -> frozenset[Group]:
    """Return the groups that ``collect[]`` or ``exclude[]`` choose, as in node_exporter.

    Raises ``UnknownGroup`` where both are given or a name is not known.
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
    """Return OpenMetrics where version 1.0 of it is accepted at least as gladly as text.

    ``accept`` holds media ranges with their quality. The text format is the default, also
    where a client accepts neither: an answer helps more than a refusal.
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
    """Return whether gzip is accepted, and at least as gladly as no compression."""
    qualities = {name.lower(): quality for name, quality in encodings}
    gzip = qualities.get("gzip", qualities.get("*", 0.0))
    return gzip > 0 and gzip >= qualities.get("identity", 0.0)
