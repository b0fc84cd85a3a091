"""The internal endpoints: metrics, health, life cycle."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING

from quart import Blueprint, Response, request

from exporter.endpoints.negotiation import UnknownGroup, accepts_gzip, chosen_format, chosen_groups
from exporter.errors import SettingsError
from exporter.exposition.exposition import Format, Group, own_text
from exporter.http.application import RETRY_AFTER
from exporter.logs import fields

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from exporter.exposition.pieces import Scrape
    from exporter.ingest.intake import Intake
    from exporter.selfmetrics import SelfMetrics

log = logging.getLogger(__name__)

_LOADING = "The state is still being loaded.\n"

_AT_ONCE = 4_000_000
"""Bytes of a scrape that are sent before others may run, where nobody waits: a millisecond or
two of it."""


@dataclass(frozen=True, slots=True)
class WebOptions:
    """How the internal endpoints are served."""

    prefix: str
    """Of all paths; empty or a path without a slash at its end."""
    telemetry_path: str
    enable_lifecycle: bool
    max_requests: int
    """Scrapes at a time; 0 for no limit."""
    scrape_timeout: float
    """Seconds a client may take to read a scrape."""


class Health:
    """Whether the process lives, and whether it may be sent requests."""

    def __init__(self, intake: Intake) -> None:
        self.stopping = False
        self._intake = intake

    def blueprint(self, prefix: str) -> Blueprint:
        """Return the two health endpoints."""
        blueprint = Blueprint("health", __name__, url_prefix=prefix or None)
        blueprint.add_url_rule("/-/healthy", "healthy", self._healthy)
        blueprint.add_url_rule("/-/ready", "ready", self._ready)
        return blueprint

    async def _healthy(self) -> Response:
        return _plain("esim-exporter is healthy.\n")

    async def _ready(self) -> Response:
        if self.stopping:
            return _plain("esim-exporter is stopping.\n", 503)
        if self._intake.state is None:
            return _plain(_LOADING, 503)
        return _plain("esim-exporter is ready.\n")


class Telemetry:
    """The endpoint that Prometheus scrapes."""

    def __init__(
        self,
        options: WebOptions,
        intake: Intake,
        metrics: SelfMetrics,
        clock: Callable[[], float],
    ) -> None:
        self._options = options
        self._intake = intake
        self._metrics = metrics
        self._clock = clock
        self._scrapes = 0

    def blueprint(self) -> Blueprint:
        """Return the endpoint."""
        blueprint = Blueprint("telemetry", __name__, url_prefix=self._options.prefix or None)
        blueprint.add_url_rule(self._options.telemetry_path, "metrics", self._serve)
        return blueprint

    async def _serve(self) -> Response:
        try:
            groups = chosen_groups(
                request.args.getlist("collect[]"), request.args.getlist("exclude[]")
            )
        except UnknownGroup as error:
            return _plain(f"{error}\n", 400)
        most = self._options.max_requests
        if most and self._scrapes >= most:
            response = _plain(f"{most} scrapes are served at this moment, try again.\n", 503)
            response.headers["Retry-After"] = str(RETRY_AFTER)
            return response
        if self._intake.state is None and groups != {Group.EXPORTER}:
            return _plain(_LOADING, 503)
        self._hold_place()
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
        response.timeout = self._options.scrape_timeout
        return response

    async def _scrape(self, groups: frozenset[Group], format_: Format) -> Scrape:
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
        """Yield chunks; a client that keeps up would not let others run in between."""
        sent = 0
        for chunk in chunks:
            yield chunk
            sent += len(chunk)
            if sent >= _AT_ONCE or self._intake.busy:
                sent = 0
                await asyncio.sleep(0)

    def _hold_place(self) -> None:
        """Count this scrape among those served until its request is done, however it ends."""
        task = asyncio.current_task()
        assert task
        started = perf_counter()

        def release(_: object) -> None:
            self._scrapes -= 1
            self._metrics.scrape_duration.observe(perf_counter() - started)

        self._scrapes += 1
        task.add_done_callback(release)


class Lifecycle:
    """Reload and shutdown by request, where that is enabled."""

    def __init__(
        self, options: WebOptions, reload: Callable[[], None], quit_: Callable[[], None]
    ) -> None:
        self._options = options
        self._reload = reload
        self._quit = quit_

    def blueprint(self) -> Blueprint:
        """Return the endpoints."""
        blueprint = Blueprint("lifecycle", __name__, url_prefix=self._options.prefix or None)
        for name, view in (("reload", self._serve_reload), ("quit", self._serve_quit)):
            blueprint.add_url_rule(f"/-/{name}", name, view, methods=["PUT", "POST"])
        return blueprint

    async def _serve_reload(self) -> Response:
        if not self._options.enable_lifecycle:
            return _plain("Set --web.enable-lifecycle to allow this.\n", 403)
        try:
            self._reload()
        except SettingsError as error:
            return _plain(f"The last good settings stay in force: {error}\n", 500)
        return _plain("Reloaded.\n")

    async def _serve_quit(self) -> Response:
        if not self._options.enable_lifecycle:
            return _plain("Set --web.enable-lifecycle to allow this.\n", 403)
        log.warning("shutdown requested", extra=fields(by="/-/quit"))
        self._quit()
        return _plain("Stopping.\n")


def _plain(text: str, code: int = 200) -> Response:
    return Response(text, code, content_type="text/plain; charset=utf-8")
