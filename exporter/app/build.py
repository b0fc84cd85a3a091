"""The one place where the parts of the exporter are made from settings and put together."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from exporter.app.metric_values import exporter_values
from exporter.app.opening import backup_folder, shard_of
from exporter.app.reload import LiveSettings, Reloader
from exporter.app.revision import revision
from exporter.app.state_loader import StateLoader
from exporter.endpoints.health import Health
from exporter.endpoints.webhook import Webhook
from exporter.exposition.families import InfoLabels
from exporter.http.protection import read_protections
from exporter.ingest.commands import AdminCommands
from exporter.ingest.intake import Intake
from exporter.ingest.recent_deliveries import RecentDeliveries
from exporter.query.fleet_queries import FleetQueries
from exporter.selfmetrics import SelfMetrics
from exporter.settings.loading import read_iccid_hash_key
from exporter.vendors.registry import with_unit_bases

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from exporter.http.protection import ReloadableProtection
    from exporter.settings.loading import Settings
    from exporter.storage.contract import SharedStorage, Storage
    from exporter.vendors.vendor import Vendor

_LONGEST_INTERVAL = 30.0
"""Seconds between two checks for what expires, at most."""


@dataclass(frozen=True, slots=True)
class Exporter:
    """The parts of one exporter process, without its applications.

    :mod:`exporter.app.sites` makes the applications, and :mod:`exporter.app.run` runs them all.
    """

    settings: LiveSettings
    clock: Callable[[], float]
    """Unix seconds."""
    vendors: tuple[Vendor, ...]
    storage: Storage
    metrics: SelfMetrics
    intake: Intake
    """Commits deliveries and holds the state."""
    deliveries: RecentDeliveries
    webhooks: tuple[Webhook, ...]
    """One a vendor."""
    queries: FleetQueries
    admin_commands: AdminCommands | None
    """Changes that people make; ``None`` where these are not allowed."""
    health: Health
    protections: Mapping[str, ReloadableProtection]
    """By the name of the listener, ``internal`` or ``public``."""
    reloader: Reloader
    stop_asked: asyncio.Event = field(default_factory=asyncio.Event)

    def reload(self) -> None:
        """Read the settings again and apply what can change. Raises ``SettingsError``."""
        self.reloader.reload()

    def stop(self) -> None:
        """Ask a running exporter to stop. It still serves for the shutdown delay, not ready."""
        self.health.stopping = True
        self.stop_asked.set()

    def certificates(self) -> list[tuple[str, float]]:
        """Return the listeners with TLS and when (unix seconds) their certificates expire."""
        tls = ((name, each.current.tls) for name, each in self.protections.items())
        return [(name, each.expiry) for name, each in tls if each]


def build(
    settings: Settings,
    storage: Storage,
    clock: Callable[[], float],
    load_settings: Callable[[], Settings],
    shared: SharedStorage | None = None,
) -> Exporter:
    """Make the parts of an exporter. Nothing runs yet.

    ``clock`` gives unix seconds, ``load_settings`` reads the settings afresh. ``shared`` is the
    storage again where other processes use it too. Raises ``SettingsError``.
    """
    live = LiveSettings(settings)
    vendors = with_unit_bases(settings.unit_bases)
    metrics = SelfMetrics({vendor.name: vendor.event_types for vendor in vendors}, revision())
    info_labels = InfoLabels(settings.metrics.esim_labels, read_iccid_hash_key(settings) or b"")
    names = tuple(vendor.name for vendor in vendors)
    shard = shard_of(settings) if shared else None
    loader = StateLoader(storage, live, names, info_labels, shard)
    intake = Intake(
        storage,
        loader.load,
        metrics,
        clock,
        max_pending=settings.webhook.max_pending,
        expiry_interval=_expiry_interval(settings),
        shared=shared,
    )
    metrics.show_exporter(partial(exporter_values, intake, storage, settings.limits.max_esims))
    deliveries = RecentDeliveries(clock)
    access = live.access(settings)
    webhooks = tuple(
        Webhook(vendor, access, intake, metrics, clock, deliveries=deliveries) for vendor in vendors
    )
    parsers = {vendor.name: vendor.parse for vendor in vendors}
    admin_commands = AdminCommands(intake, parsers, backup_folder(settings), clock)
    protections = read_protections(settings.web.config_file, settings.webhook.config_file)
    reloader = Reloader(live, load_settings, webhooks, protections, intake, metrics, clock)
    reloader.show_success()
    return Exporter(
        settings=live,
        clock=clock,
        vendors=vendors,
        storage=storage,
        metrics=metrics,
        intake=intake,
        deliveries=deliveries,
        webhooks=webhooks,
        queries=FleetQueries(info_labels),
        admin_commands=admin_commands if settings.web.enable_admin_api else None,
        health=Health(intake),
        protections=protections,
        reloader=reloader,
    )


def _expiry_interval(settings: Settings) -> float:
    """Return the seconds between two checks for what expires: a small part of the retention."""
    shortest = min(settings.retention.terminal, settings.retention.silent)
    return max(0.1, min(_LONGEST_INTERVAL, shortest / 100))
