"""The settings of a running exporter, and a reload of those that can change while it runs."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from exporter import logs
from exporter.endpoints.webhook import Access
from exporter.errors import SettingsError
from exporter.fleet.fleet import Policy
from exporter.logs import fields
from exporter.model.expiry import Retention
from exporter.settings.loading import changed_but_fixed, read_secrets

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from exporter.endpoints.webhook import Webhook
    from exporter.http.protection import ReloadableProtection
    from exporter.ingest.intake import Intake
    from exporter.selfmetrics import SelfMetrics
    from exporter.settings.loading import Settings

log = logging.getLogger(__name__)


class LiveSettings:
    """Settings, some of which a reload replaces while the exporter runs."""

    def __init__(self, started: Settings) -> None:
        self.started = started
        """Most settings keep the value they had at the start."""
        self.current = started
        """The settings of the last reload. Use them only where a reload applies a setting."""

    def policy(self) -> Policy:
        """Return how long eSIMs are kept, and how many have series of their own."""
        retention = self.current.retention
        return Policy(
            Retention(retention.terminal, retention.silent),
            self.started.limits.max_esims,
            # By then every live eSIM has had time to report.
            grace=min(self.current.fleet.stale_after, retention.silent),
        )

    def access(self, settings: Settings) -> Access:
        """Return what a delivery must satisfy under ``settings``.

        A reload replaces secrets, but never turns signatures on or off. Raises ``SettingsError``
        where a secret cannot be read, or none is left.
        """
        webhook = settings.webhook
        signed = not self.started.webhook.allow_unsigned
        secrets = read_secrets(settings) if signed else ()
        if signed and not secrets:
            raise SettingsError(
                "no webhook secret is left; deliveries are still verified with the last ones"
            )
        return Access(secrets, webhook.max_body_bytes, webhook.read_timeout)


@dataclass(frozen=True, slots=True)
class Reloader:
    """Reads the settings again and applies those that can change while running."""

    settings: LiveSettings
    load_settings: Callable[[], Settings]
    """Reads the settings from all their sources."""
    webhooks: Sequence[Webhook]
    protections: Mapping[str, ReloadableProtection]
    """By the name of the listener."""
    intake: Intake
    metrics: SelfMetrics
    clock: Callable[[], float]
    """Unix seconds."""

    def reload(self) -> None:
        """Apply changed settings, secrets, certificates and users.

        Raises ``SettingsError`` where they cannot be read; the last good ones stay in force.
        """
        try:
            settings = self.load_settings()
            access = self.settings.access(settings)
            read = {name: each.read() for name, each in self.protections.items()}
        except SettingsError as error:
            self.metrics.reload_successful.set(0)
            log.error("reload failed", extra=fields(error=error))  # noqa: TRY400  # no traceback
            raise
        for flag in changed_but_fixed(self.settings.started, settings):
            log.warning("change needs a restart", extra=fields(setting=flag))
        logs.configure(settings.log.level, self.settings.started.log.format)
        self.settings.current = settings
        for webhook in self.webhooks:
            webhook.access = access
        for name, protection in read.items():
            self.protections[name].apply(protection)
        if state := self.intake.state:
            state.fleet.set_policy(self.settings.policy())
            state.exposition.stale_after = settings.fleet.stale_after
        self.show_success()
        log.info("reloaded", extra=fields(secrets=len(access.secrets)))

    def reload_unasked(self) -> None:
        """Reload for a signal or a changed file: a failure is logged and shown in a metric."""
        try:
            self.reload()
        except SettingsError:
            return

    def files(self) -> list[Path]:
        """Return the files that a reload would read."""
        files = [path for each in self.protections.values() for path in each.files]
        secrets = self.settings.current.webhook.secret_file
        return [*files, secrets] if secrets else files

    def show_success(self) -> None:
        """Set the metrics of a reload, which also hold for the start.

        Every secret gets its counter at 0, before a delivery is signed with it.
        """
        for webhook in self.webhooks:
            for index in range(len(webhook.access.secrets)):
                self.metrics.signatures.labels(webhook.vendor.name, str(index))
        self.metrics.reload_successful.set(1)
        self.metrics.reload_success_time.set(self.clock())
