"""The one place where the parts of the exporter are made from settings and put together."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from exporter.app.live_settings import LiveSettings
from exporter.app.revision import revision
from exporter.endpoints.health import Health
from exporter.endpoints.webhook import Webhook
from exporter.exposition.exposition import Exposition
from exporter.exposition.families import InfoLabels
from exporter.fleet import process_memory
from exporter.fleet.loading import FleetLoader
from exporter.http.protection import read_protections
from exporter.ingest.admin_commands import AdminCommands
from exporter.ingest.commit import CommittedState
from exporter.ingest.intake import Intake
from exporter.ingest.recent_deliveries import RecentDeliveries
from exporter.ingest.rejected_deliveries import RejectedDeliveries
from exporter.logs import fields
from exporter.model.iccid_hash import iccid_hash
from exporter.model.shards import Shard
from exporter.query.fleet_queries import FleetQueries
from exporter.selfmetrics import SelfMetrics
from exporter.settings.loading import read_iccid_hash_key, shard_of
from exporter.storage.contract import Table
from exporter.storage.sqlite.storage import SqliteStorage
from exporter.storage.urls import SqliteFile, parse_storage_url
from exporter.vendors.registry import VENDORS, configured
from exporter.vendors.vendor import Reading

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from exporter.http.protection import ReloadableProtection
    from exporter.selfmetrics import Values
    from exporter.settings.definitions import Settings
    from exporter.storage.contract import Row, SharedStorage, Storage
    from exporter.vendors.vendor import Vendor

log = logging.getLogger(__name__)


_LEAST_TOKEN = 20
"""Characters of a token. Fewer may be a word, or be tried one after the other."""


@dataclass(frozen=True, slots=True)
class Exporter:
    """The parts of one exporter process, without its applications.

    :mod:`exporter.app.listener_applications` makes the applications, and :mod:`exporter.app.run`
    runs both.
    """

    settings: LiveSettings
    load_settings: Callable[[], Settings]
    """Reads the settings from all their sources."""
    clock: Callable[[], float]
    """Unix seconds."""
    storage: Storage
    metrics: SelfMetrics
    intake: Intake
    """Commits deliveries and holds the state."""
    deliveries: RecentDeliveries
    webhooks: tuple[Webhook, ...]
    """One for each vendor."""
    queries: FleetQueries
    admin_commands: AdminCommands | None
    """Changes that people make; ``None`` if they are not allowed."""
    health: Health
    protections: Mapping[str, ReloadableProtection]
    """By the name of the listener, ``internal`` or ``public``."""
    stop_asked: asyncio.Event = field(default_factory=asyncio.Event)

    def stop(self) -> None:
        """Ask a running exporter to stop. It still serves for the shutdown delay, not ready."""
        self.health.stopping = True
        self.stop_asked.set()

    def certificates(self) -> list[tuple[str, float]]:
        """Return the listeners with TLS and when (unix seconds) their certificates expire."""
        tls = ((name, each.current.tls) for name, each in self.protections.items())
        return [(name, each.expiry) for name, each in tls if each]

    def show_settings_applied(self) -> None:
        """Set the metrics that show when settings were last applied, at the start or by a reload.

        Every secret gets its counter at 0, before a delivery is signed with it. Logs a warning for
        a token that may be guessed.
        """
        for webhook in self.webhooks:
            if webhook.vendor.authentication.token_in_path:
                _warn_of_short_tokens(webhook)
            for index in range(len(webhook.access.secrets)):
                self.metrics.signatures.labels(webhook.vendor.name, str(index))
        self.metrics.reload_successful.set(1)
        self.metrics.reload_success_time.set(self.clock())


def _warn_of_short_tokens(webhook: Webhook) -> None:
    if min(map(len, webhook.access.secrets), default=_LEAST_TOKEN) < _LEAST_TOKEN:
        log.warning(
            "a token is short, and whoever guesses it can report anything; make one with: "
            "openssl rand -hex 32",
            extra=fields(vendor=webhook.vendor.name),
        )


async def open_storage(settings: Settings) -> tuple[Storage, SharedStorage | None]:
    """Open the storage. The second value is the same one if other processes may use it too.

    Raises ``SettingsError`` and ``StorageError``.
    """
    location = parse_storage_url(settings.storage.url)
    if isinstance(location, SqliteFile):
        return await SqliteStorage.open(location.path), None
    from exporter.storage.postgres.storage import PostgresStorage  # noqa: PLC0415  # is optional

    storage = await PostgresStorage.open(location.url, shard_of(settings))
    return storage, storage


def build(
    settings: Settings,
    storage: Storage,
    clock: Callable[[], float],
    load_settings: Callable[[], Settings],
    shared: SharedStorage | None = None,
) -> Exporter:
    """Make the parts of an exporter. Nothing runs yet.

    ``clock`` gives unix seconds, ``load_settings`` reads the settings again. ``shared`` is the
    same storage if other processes may use it too. Raises ``SettingsError``.
    """
    live = LiveSettings(settings)
    hash_key = read_iccid_hash_key(settings) or b""
    vendors = tuple(
        configured(vendor, _reading(settings, vendor, hash_key)) for vendor in settings.vendors_on
    )
    metrics = SelfMetrics({vendor.name: vendor.event_types for vendor in vendors}, revision())
    info_labels = InfoLabels(settings.metrics.esim_labels, hash_key)
    names = tuple(vendor.name for vendor in vendors)
    shard = shard_of(settings) if shared else None
    intake = Intake(
        storage,
        partial(_load_state, storage, live, names, info_labels, shard),
        metrics,
        clock,
        max_pending=settings.webhook.max_pending,
        expiry_interval=live.expiry_interval,
        shared=shared,
    )
    for vendor in vendors:
        if vendor.report_interval:
            metrics.report_interval.labels(vendor.name).set(vendor.report_interval)
    metrics.show(partial(_values, intake, storage, settings.limits.max_esims))
    deliveries = RecentDeliveries(clock)
    accesses = live.accesses(settings)
    webhooks = tuple(
        Webhook(vendor, accesses[vendor.name], intake, metrics, clock, deliveries=deliveries)
        for vendor in vendors
    )
    admin_commands = AdminCommands(intake, vendors, _backup_folder(settings), clock)
    exporter = Exporter(
        settings=live,
        load_settings=load_settings,
        clock=clock,
        storage=storage,
        metrics=metrics,
        intake=intake,
        deliveries=deliveries,
        webhooks=webhooks,
        queries=FleetQueries(info_labels),
        admin_commands=admin_commands if settings.web.enable_admin_api else None,
        health=Health(intake),
        protections=read_protections(settings.web.config_file, settings.webhook.config_file),
    )
    exporter.show_settings_applied()
    return exporter


def _reading(settings: Settings, vendor: Vendor, hash_key: bytes) -> Reading:
    """Return how the deliveries of a vendor are read."""
    own = settings.of(vendor)
    esim_id_of = partial(iccid_hash, hash_key) if own.hashes_iccids else str
    return Reading(own.bytes_in_kb, esim_id_of)


def _backup_folder(settings: Settings) -> Path:
    if settings.storage.backup_folder:
        return settings.storage.backup_folder
    location = parse_storage_url(settings.storage.url)
    return location.path.parent if isinstance(location, SqliteFile) else Path()


async def _load_state(
    storage: Storage,
    settings: LiveSettings,
    vendors: tuple[str, ...],
    info_labels: InfoLabels,
    shard: Shard | None,
) -> CommittedState:
    """Return the state. Raises ``StorageError``; logs damaged rows and leaves them out."""
    loader = FleetLoader(settings.policy(), vendors, shard)
    rejected: list[Row] = []
    damage = 0
    with process_memory.collector_paused():
        async for chunk in storage.load():
            for line in chunk.notes:
                log.warning("storage noted", extra=fields(note=line))
            for line in chunk.damaged:
                log.error("storage damaged", extra=fields(damage=line))
                damage += 1
            rejected += [row for row in chunk.rows if row.table is Table.REJECTED]
            loader.take(chunk)
        fleet = loader.finish()
        process_memory.exempt_present_objects()
    if settings.policy() != fleet.policy:  # settings were reloaded while the state was read
        fleet.set_policy(settings.policy())
    kept = RejectedDeliveries(settings.started.limits.max_rejected)
    kept.restore(rejected)
    at_thresholds = {vendor.name for vendor in VENDORS if not vendor.report_interval}
    exposition = Exposition(fleet, info_labels, settings.current.fleet.stale_after, at_thresholds)
    counts = fields(esims=len(fleet.esims), over_limit=len(fleet.over_cap), rejected=len(kept))
    log.info("state loaded", extra=counts)
    return CommittedState(fleet, exposition, kept, damage)


def _values(intake: Intake, storage: Storage, esims_limit: int) -> dict[str, Values]:
    """Return the present values of the metrics about the storage and the state."""
    sizes, state, replica = storage.sizes(), intake.state, intake.replica
    values: dict[str, Values] = {
        "esims_limit": esims_limit,
        "storage_size_bytes": sizes.storage,
        "storage_wal_size_bytes": sizes.wal,
        "storage_up": not intake.failed,
        "clock_behind": intake.clock_check.behind,
    }
    if state and replica:
        shard = state.fleet.shard or Shard()
        values["storage_lag_seconds"] = replica.lag
        values |= {"shard": shard.number, "total_shards": shard.total}
    if state:
        values |= {
            "esims": len(state.fleet.esims),
            "esims_over_limit": len(state.fleet.over_cap),
            "attention_over_limit": state.fleet.attention.over_limit,
            "label_values_over_limit": {
                "package_id": state.fleet.totals.package_cap.over,
                "location": state.fleet.totals.location_cap.over,
            },
            "allowances_over_location_limit": state.fleet.totals.folded,
            "expiry_held": state.fleet.held,
            "exposition_age_seconds": state.exposition.age(monotonic()),
            "rejected_events": len(state.rejected),
            "storage_damaged_rows": state.damage,
            "tombstones": len(state.fleet.tombstones),
            "last_received_timestamp_seconds": {
                vendor: feed.received for vendor, feed in state.fleet.feeds.items()
            },
            "last_usage_received_timestamp_seconds": {
                vendor: totals.usage_received
                for vendor, totals in state.fleet.totals.vendors.items()
                if totals.usage_received
            },
        }
    return values
