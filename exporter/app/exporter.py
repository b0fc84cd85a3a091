"""The exporter as a whole: the one place where parts are made and put together."""

from __future__ import annotations

import asyncio
import logging
import sys
from time import monotonic
from typing import TYPE_CHECKING

from exporter import logs
from exporter.app.background import in_background, keep_rendered
from exporter.app.file_watch import watch
from exporter.app.opening import backup_folder, shard_of
from exporter.endpoints.api.endpoint_table import ROOT
from exporter.endpoints.api.handlers import Api, ApiSources
from exporter.endpoints.health import Health
from exporter.endpoints.lifecycle import Lifecycle
from exporter.endpoints.metrics import MetricsEndpoint, ScrapeLimits
from exporter.endpoints.status.admin_actions import Actions
from exporter.endpoints.status.overview import StatusSources
from exporter.endpoints.status.page_rendering import Links, Pages
from exporter.endpoints.status.pages import StatusPages
from exporter.endpoints.webhook import Access, Webhook, answer_directly
from exporter.errors import ExporterError, SettingsError, StorageHangs
from exporter.exposition.exposition import Exposition
from exporter.exposition.info_labels import InfoLabels
from exporter.fleet import process_memory
from exporter.fleet.fleet import Policy
from exporter.fleet.loading import FleetLoader
from exporter.http.application import application
from exporter.http.csrf import origin_of
from exporter.http.listeners import Listener, allow_open_files, listen, on_signals, serve_until
from exporter.http.protection import Guard, guards
from exporter.ingest.commands import AdminCommands
from exporter.ingest.committed_state import CommittedState
from exporter.ingest.intake import Intake
from exporter.ingest.recent_deliveries import RecentDeliveries
from exporter.ingest.rejected_deliveries import RejectedDeliveries
from exporter.logs import fields
from exporter.model.expiry import Retention
from exporter.observation import observe, observe_listeners
from exporter.query.fleet_queries import FleetQueries
from exporter.selfmetrics import SelfMetrics
from exporter.settings.in_force import settings_in_force
from exporter.settings.loading import changed_but_fixed, read_iccid_hash_key, read_secrets
from exporter.storage.contract import Table
from exporter.storage.shutdown import LONGEST_CLOSE
from exporter.vendors.registry import with_unit_bases

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from quart import Blueprint

    from exporter.settings.addresses import ListenAddress
    from exporter.settings.loading import Settings
    from exporter.storage.contract import Row, SharedStorage, Storage

log = logging.getLogger(__name__)

_TURN = 0.0005
"""Seconds for which one thread may keep the interpreter from another. A commit, in a thread of
its own, asks for it some ten times, each time for as long while a scrape is rendered."""

_LONGEST_TICK = 30.0
"""Seconds between looks at what expires, at most."""


class Exporter:
    """One exporter process. Times come from ``clock`` (unix seconds)."""

    def __init__(
        self,
        settings: Settings,
        storage: Storage,
        clock: Callable[[], float],
        load_settings: Callable[[], Settings],
        shared: SharedStorage | None = None,
    ) -> None:
        """``load_settings`` reads the settings afresh. Raises ``SettingsError``.

        ``shared`` is the storage, where other processes use it too.
        """
        self._settings = settings
        self._current = settings
        """As last reloaded; only what a reload applies is read from here."""
        self._storage = storage
        self._shard = shard_of(settings) if shared else None
        self._clock = clock
        self._load_settings = load_settings
        (self._vendor,) = with_unit_bases(settings.unit_bases)
        self._identity = InfoLabels(
            settings.metrics.esim_labels, read_iccid_hash_key(settings) or b""
        )
        self._metrics = SelfMetrics({self._vendor.name: self._vendor.event_types})
        self._intake = Intake(
            storage,
            self._load,
            self._metrics,
            clock,
            max_pending=settings.webhook.max_pending,
            tick=_tick(settings),
            shared=shared,
        )
        self._internal_guard, self._public_guard = guards(settings)
        access = self._access(settings)
        self._deliveries = RecentDeliveries(clock)
        self._webhook = Webhook(
            self._vendor, access, self._intake, self._metrics, clock, deliveries=self._deliveries
        )
        self._health = Health(self._intake)
        queries = FleetQueries(self._identity)
        administration = AdminCommands(
            self._intake,
            {self._vendor.name: self._vendor.parse},
            backup_folder(settings),
            clock,
        )
        admin = settings.web.enable_admin_api
        self._api = Api(
            ApiSources(
                intake=self._intake,
                storage=storage,
                queries=queries,
                deliveries=self._deliveries,
                clock=clock,
                started=clock(),
            ),
            administration if admin else None,
        )
        links = Links.of(settings.web.external_url, settings.web.route_prefix)
        pages = Pages(links, settings.web.telemetry_path, clock)
        self._status = StatusPages(
            pages,
            StatusSources(
                intake=self._intake,
                health=self._health,
                storage=storage,
                metrics=self._metrics,
                queries=queries,
                deliveries=self._deliveries,
                allow_unsigned=settings.webhook.allow_unsigned,
                settings=lambda: settings_in_force(settings, self._current),
                certificates=self._certificates,
            ),
            clock,
            monotonic,
            Actions(pages, self._intake, administration if admin else None),
        )
        self._stop_asked = asyncio.Event()
        self._stop = asyncio.Event()
        observe(self._metrics, self._intake, storage, settings.limits.max_esims)
        self._reloaded()

    def stop(self) -> None:
        """Begin to stop: see :meth:`run`."""
        self._health.stopping = True
        self._stop_asked.set()

    def reload(self) -> None:
        """Apply the settings that can change while running, secrets, certificates and users.

        Raises ``SettingsError`` where they cannot be read; the last good ones stay in force.
        """
        try:
            settings = self._load_settings()
            access = self._access(settings)
            internal, public = self._internal_guard.read(), self._public_guard.read()
        except SettingsError as error:
            self._metrics.reload_successful.set(0)
            log.error("reload failed", extra=fields(error=error))  # noqa: TRY400  # it says it all
            raise
        for flag in changed_but_fixed(self._settings, settings):
            log.warning("change needs a restart", extra=fields(setting=flag))
        logs.configure(settings.log.level, self._settings.log.format)
        self._current = settings
        self._webhook.access = access
        self._internal_guard.apply(internal)
        self._public_guard.apply(public)
        if state := self._intake.state:
            state.fleet.apply(self._policy())
            state.exposition.stale_after = settings.fleet.stale_after
        self._reloaded()
        log.info("reloaded", extra=fields(secrets=len(access.secrets)))

    async def run(self) -> None:
        """Serve until :meth:`stop`, a signal, or ``/-/quit``; then lose nothing and return.

        Raises ``SettingsError`` where a listener cannot be bound, ``StorageError`` where the
        state cannot be loaded, ``StorageHangs`` where the storage must be left as it is; else it
        is closed.
        """
        sys.setswitchinterval(_TURN)
        listeners = self._listeners()
        allow_open_files(listeners)
        observe_listeners(self._metrics, listeners)
        on_signals(self.stop, self._reload_on_signal)
        for listener in listeners:
            log.info("listening", extra=fields(listener=listener.name, address=listener.address))
        intake = asyncio.create_task(self._intake.run())
        servers = asyncio.create_task(serve_until(self._stop, listeners))
        asked = asyncio.create_task(self._stop_asked.wait())
        background = in_background(
            keep_rendered(self._intake),
            watch(self._files, self._reload_on_signal),
            self._status.watch(),
        )
        await asyncio.wait([intake, servers, asked], return_when=asyncio.FIRST_COMPLETED)
        log.info("stopping")
        self.stop()
        if not intake.done() and not servers.done():
            await asyncio.sleep(self._settings.web.shutdown_delay)
        self._stop.set()
        await asyncio.wait([servers])
        for task in background:
            task.cancel()
        await self._finish(intake)
        await asyncio.gather(*background, return_exceptions=True)
        servers.result()
        log.info("stopped")

    async def _finish(self, intake: asyncio.Task[None]) -> None:
        """Commit the last batch, and close the storage; give up where the disk hangs."""
        self._intake.stop()
        # A database that hangs is not waited for: nothing is under way there that was not refused.
        if self._intake.state is None or (self._intake.replica and self._intake.failed):
            intake.cancel()
        closing = asyncio.ensure_future(self._close(intake))
        done, _ = await asyncio.wait([closing], timeout=LONGEST_CLOSE)
        if not done:
            hangs = "the storage did not finish; nothing acknowledged is lost"
            error = intake.exception() if intake.done() and not intake.cancelled() else None
            if isinstance(error, ExporterError):  # what went wrong before
                hangs = f"{error}; {hangs}"
            raise StorageHangs(hangs) from error
        closing.result()

    async def _close(self, intake: asyncio.Task[None]) -> None:
        await asyncio.wait([intake])
        await self._storage.close()
        if not intake.cancelled():
            intake.result()

    async def _load(self) -> CommittedState:
        """Read the state from storage."""
        policy = self._policy()
        restoration = FleetLoader(policy, (self._vendor.name,), self._shard)
        rejected: list[Row] = []
        damage = 0
        with process_memory.filling():
            async for chunk in self._storage.load():
                for line in chunk.notes:
                    log.warning("storage noted", extra=fields(note=line))
                for line in chunk.damaged:
                    log.error("storage damaged", extra=fields(damage=line))
                    damage += 1
                rejected += [row for row in chunk.rows if row.table is Table.REJECTED]
                restoration.take(chunk)
            fleet = restoration.finish()
        if self._policy() != policy:  # reloaded meanwhile
            fleet.apply(self._policy())
        rejections = RejectedDeliveries(self._settings.limits.max_rejected)
        rejections.restore(rejected)
        exposition = Exposition(fleet, self._identity, self._current.fleet.stale_after)
        loaded = fields(
            esims=len(fleet.esims),
            over_limit=len(fleet.over),
            rejected=len(rejections),
        )
        log.info("state loaded", extra=loaded)
        return CommittedState(fleet, exposition, rejections, damage)

    def _files(self) -> list[Path]:
        """Return the files whose change is a reason to reload."""
        secrets = self._current.webhook.secret_file
        files = [*self._internal_guard.files, *self._public_guard.files]
        return [*files, secrets] if secrets else files

    def _listeners(self) -> list[Listener]:
        web, public = self._settings.web, self._settings.webhook.listen_address
        prefix = web.route_prefix.rstrip("/")
        limits = ScrapeLimits(web.max_requests, web.scrape_timeout)
        metrics = MetricsEndpoint(limits, self._intake, self._metrics, self._clock)
        lifecycle = Lifecycle(self.reload, self.stop, enabled=web.enable_lifecycle)
        pages = self._status.blueprint(prefix)
        internal = [
            metrics.blueprint(prefix, web.telemetry_path),
            self._health.blueprint(prefix),
            lifecycle.blueprint(prefix),
            self._api.blueprint(prefix),
            pages,
        ]
        webhook = self._webhook.blueprint()
        bound: list[Listener] = []

        def bind(
            name: str, address: ListenAddress, parts: list[Blueprint], guard: Guard, most: int
        ) -> None:
            receives = webhook in parts
            app = application(
                name,
                parts,
                self._metrics,
                json_errors=receives,
                auth=guard.auth,
                error_page=self._status.explain if pages in parts else None,
                api=f"{prefix}{ROOT}" if pages in parts else None,
                origin=origin_of(web.external_url),
            )
            if receives:
                answer_directly(app, self._webhook, self._metrics)
            try:
                bound.append(listen(name, app, address, guard, most))
            except SettingsError:
                for listener in bound:
                    listener.socket.close()
                raise

        most, most_public = web.max_connections, self._settings.webhook.max_connections
        if self._settings.merged:
            both = [*internal, webhook]
            bind("merged", public, both, self._internal_guard, max(most, most_public))
        else:
            bind("internal", web.listen_address, internal, self._internal_guard, most)
            bind("public", public, [webhook], self._public_guard, most_public)
        if web.health_listen_address:
            bind("health", web.health_listen_address, [self._health.blueprint("")], Guard(), most)
        return bound

    def _certificates(self) -> list[tuple[str, float]]:
        """Return the listeners with TLS and when (unix seconds) their certificates expire."""
        guarded = (("internal", self._internal_guard), ("public", self._public_guard))
        tls = ((name, guard.protection.tls) for name, guard in guarded)
        return [(name, each.expiry) for name, each in tls if each]

    def _access(self, settings: Settings) -> Access:
        """Return what deliveries must satisfy; whether they are signed at all stays as started."""
        webhook = settings.webhook
        signed = not self._settings.webhook.allow_unsigned
        secrets = read_secrets(settings) if signed else ()
        if signed and not secrets:
            raise SettingsError(
                "no webhook secret is left; deliveries go on to be verified with the last ones"
            )
        return Access(secrets, webhook.max_body_bytes, webhook.read_timeout)

    def _policy(self) -> Policy:
        retention = self._current.retention
        return Policy(
            Retention(retention.terminal, retention.silent),
            self._settings.limits.max_esims,
            # Who is stale after that long was to report in it: all others have.
            grace=min(self._current.fleet.stale_after, retention.silent),
        )

    def _reload_on_signal(self) -> None:
        try:
            self.reload()
        except SettingsError:
            return  # logged, and shown in a metric

    def _reloaded(self) -> None:
        for place in range(len(self._webhook.access.secrets)):
            self._metrics.signatures.labels(self._vendor.name, str(place))  # from 0 on
        self._metrics.reload_successful.set(1)
        self._metrics.reload_success_time.set(self._clock())


def _tick(settings: Settings) -> float:
    """Return the seconds between looks at what expires: a small part of the retention."""
    shortest = min(settings.retention.terminal, settings.retention.silent)
    return max(0.1, min(_LONGEST_TICK, shortest / 100))
