"""The endpoint that Prometheus scrapes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING

from quart import Blueprint, Response, request

from exporter.endpoints.health import NOT_LOADED
from exporter.endpoints.plain_text import plain_text
from exporter.endpoints.scrape_negotiation import (
    UnknownGroup,
    accepts_gzip,
    chosen_format,
    chosen_groups,
)
from exporter.exposition.exposition import Format, Group, own_text
from exporter.http.limits import RETRY_AFTER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from exporter.exposition.deflated_text import ScrapeBody
    from exporter.ingest.intake import Intake
    from exporter.selfmetrics import SelfMetrics

_MAX_TURN = 4_000_000
"""Bytes of a scrape that are sent in one turn of the event loop while no delivery waits. Sending
them takes a millisecond or two."""


@dataclass(frozen=True, slots=True)
class ScrapeLimits:
    """How many scrapes are served at a time, and for how long."""

    max_scrapes: int
    """Scrapes at a time; 0 for no limit."""
    timeout: float
    """Seconds in which a client must have read its scrape."""


class MetricsEndpoint:
    """Serves the metrics. ``clock`` returns unix seconds."""

    def __init__(
        self,
        limits: ScrapeLimits,
        intake: Intake,
        metrics: SelfMetrics,
        clock: Callable[[], float],
    ) -> None:
        self._limits = limits
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
            return plain_text(f"{error}\n", 400)
        most = self._limits.max_scrapes
        if most and self._running >= most:
            response = plain_text(f"{most} scrapes are served at this moment, try again.\n", 503)
            response.headers["Retry-After"] = str(RETRY_AFTER)
            return response
        if self._intake.state is None and groups != {Group.EXPORTER}:
            return plain_text(NOT_LOADED, 503)
        self._count_until_done()
        return await self._expose(groups)

    async def _expose(self, groups: frozenset[Group]) -> Response:
        format_ = chosen_format(request.accept_mimetypes)
        scrape = await self._scrape(groups, format_)
        headers = {"Content-Type": format_.value, "Vary": "Accept, Accept-Encoding"}
        encoding = "identity"
        size, chunks = scrape.size, scrape.identity
        if accepts_gzip(request.accept_encodings):
            encoding = headers["Content-Encoding"] = "gzip"
            size, chunks = scrape.gzip_size, scrape.gzip
        headers["Content-Length"] = str(size)
        self._metrics.scrape_size.labels(encoding).set(size)
        response = Response(self._stream(chunks()), 200, headers)
        response.timeout = self._limits.timeout
        return response

    async def _scrape(self, groups: frozenset[Group], format_: Format) -> ScrapeBody:
        text = ""
        if Group.EXPORTER in groups:
            text = self._metrics.text(openmetrics_format=format_ is Format.OPENMETRICS)
        state = self._intake.state
        if state is None:
            return own_text(text, format_)
        for _ in state.exposition.refresh(groups):
            await self._intake.yield_to_deliveries()
        return state.exposition.scrape(groups, format_, self._clock(), text)

    async def _stream(self, chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
        """Yield the chunks, and let other tasks run in between.

        Without the pauses, a client that reads fast would get all of a scrape in one turn of the
        event loop, and deliveries would wait for it.
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
