"""The endpoint that Prometheus scrapes. Clients choose groups of metrics, format, compression."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import TYPE_CHECKING

from quart import Blueprint, Response, request
from werkzeug.http import parse_options_header

from exporter.endpoints.health import NOT_LOADED
from exporter.exposition.exposition import Format, Group, own_text
from exporter.http.timeouts import RETRY_AFTER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence

    from exporter.exposition.deflated_text import ScrapeBody
    from exporter.ingest.intake import Intake
    from exporter.selfmetrics import SelfMetrics

_MAX_TURN = 4_000_000
"""Bytes of a scrape that are sent in one turn of the event loop while no delivery waits. This takes
one or two milliseconds."""


_NOT_RENDERED = (
    "The group esims is still being rendered after the start, try again. The other groups are "
    "served: choose them with collect[].\n"
)


class MetricsEndpoint:
    """Serves the metrics.

    ``clock`` returns unix seconds. At most ``max_scrapes`` scrapes are served at a time; 0 means no
    limit. A client has ``timeout`` seconds to read its scrape.
    """

    def __init__(
        self,
        intake: Intake,
        metrics: SelfMetrics,
        clock: Callable[[], float],
        *,
        max_scrapes: int,
        timeout: float,
    ) -> None:
        self._max_scrapes = max_scrapes
        self._timeout = timeout
        self._intake = intake
        self._metrics = metrics
        self._clock = clock
        self._running = 0
        """Scrapes that are being served."""

    def blueprint(self, prefix: str, path: str) -> Blueprint:
        """Return the endpoint at ``path`` below ``prefix``."""
        blueprint = Blueprint("metrics", __name__, url_prefix=prefix or None)
        blueprint.add_url_rule(path, "metrics", self._serve)
        return blueprint

    async def _serve(self) -> Response:
        try:
            groups = chosen_groups(
                request.args.getlist("collect[]"), request.args.getlist("exclude[]")
            )
        except UnknownGroup as error:
            return Response(f"{error}\n", 400, mimetype="text/plain")
        most = self._max_scrapes
        if most and self._running >= most:
            return _try_again(f"{most} scrapes are served at this moment, try again.\n")
        if self._intake.state is None and groups != {Group.EXPORTER}:
            return Response(NOT_LOADED, 503, mimetype="text/plain")
        self._count_until_done()
        return await self._expose(groups)

    async def _expose(self, groups: frozenset[Group]) -> Response:
        format_ = chosen_format(request.accept_mimetypes)
        scrape = await self._scrape(groups, format_)
        if scrape is None:
            return _try_again(_NOT_RENDERED)
        headers = {"Content-Type": format_.value, "Vary": "Accept, Accept-Encoding"}
        encoding = "identity"
        size, chunks = scrape.size, scrape.identity
        if accepts_gzip(request.accept_encodings):
            encoding = headers["Content-Encoding"] = "gzip"
            size, chunks = scrape.gzip_size, scrape.gzip
        headers["Content-Length"] = str(size)
        self._metrics.scrape_size.labels(encoding).set(size)
        response = Response(self._stream(chunks()), 200, headers)
        response.timeout = self._timeout
        return response

    async def _scrape(self, groups: frozenset[Group], format_: Format) -> ScrapeBody | None:
        """Return the scrape; ``None`` if not everything was rendered yet."""
        text = ""
        if Group.EXPORTER in groups:
            text = self._metrics.text(openmetrics_format=format_ is Format.OPENMETRICS)
        state = self._intake.state
        if state is None:
            return own_text(text, format_)
        for _ in state.exposition.refresh_little(groups):
            await self._intake.yield_to_deliveries()
        if not state.exposition.ready(groups):
            return None
        return state.exposition.scrape(groups, format_, self._clock(), text)

    async def _stream(self, chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
        """Yield the chunks, and let other tasks run in between.

        Without the pauses, a client that reads fast would get all of a scrape in one turn of the
        event loop. Deliveries would wait for it.
        """
        sent = 0
        for chunk in chunks:
            yield chunk
            sent += len(chunk)
            if sent >= _MAX_TURN or self._intake.busy:
                sent = 0
                await asyncio.sleep(0)

    def _count_until_done(self) -> None:
        """Count this scrape as running until its request ends, in whatever way it ends."""
        task = asyncio.current_task()
        assert task
        started = perf_counter()

        def release(_: object) -> None:
            self._running -= 1
            self._metrics.scrape_duration.observe(perf_counter() - started)

        self._running += 1
        task.add_done_callback(release)


def _try_again(why: str) -> Response:
    response = Response(why, 503, mimetype="text/plain")
    response.headers["Retry-After"] = str(RETRY_AFTER)
    return response


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
    """Return whether gzip is accepted, and with at least the quality of ``identity``.

    ``encodings`` are names with their qualities, from ``Accept-Encoding`` (RFC 9110).
    """
    qualities = {name.lower(): quality for name, quality in encodings}
    gzip = qualities.get("gzip", qualities.get("*", 0.0))
    return gzip > 0 and gzip >= qualities.get("identity", 0.0)
