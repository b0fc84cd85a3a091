"""The settings of a running exporter, and the rules that its parts get from them."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from exporter.endpoints.sender_addresses import SenderAddresses
from exporter.endpoints.webhook import Access
from exporter.errors import SettingsError
from exporter.fleet.attention import AttentionRule
from exporter.fleet.fleet import Policy
from exporter.model.expiry import Retention
from exporter.settings.loading import read_secrets

if TYPE_CHECKING:
    from exporter.settings.definitions import Settings
    from exporter.vendors.vendor import Vendor

_LONGEST_INTERVAL = 30.0
"""Most seconds between two checks for expiry. A short retention is checked more often."""


class LiveSettings:
    """Settings, some of which a reload replaces while the exporter runs."""

    def __init__(self, started: Settings) -> None:
        self.started = started
        """Most settings keep the value they had at the start."""
        self.current = started
        """The settings of the last reload. Use them only where a reload applies a setting."""

    def policy(self) -> Policy:
        """Return how long eSIMs are kept, how many have series, and which need attention."""
        retention = self.current.retention
        return Policy(
            Retention(terminal=retention.terminal, silent=retention.silent),
            max_esims=self.started.limits.max_esims,
            max_packages=self.started.limits.max_packages,
            max_locations=self.started.limits.max_locations,
            attention=AttentionRule(
                least=Fraction(str(self.started.attention.min_used_ratio)),  # exactly as written
                max_esims=self.started.limits.max_attention,
            ),
            # By then every live eSIM has had time to report.
            grace=min(self.current.fleet.stale_after, retention.silent),
        )

    @property
    def expiry_interval(self) -> float:
        """Return the seconds between two checks for expiry: a part of the retention."""
        retention = self.started.retention
        shortest = min(retention.terminal, retention.silent)
        return max(0.1, min(_LONGEST_INTERVAL, shortest / 100))

    def accesses(self, settings: Settings) -> dict[str, Access]:
        """Return the secrets and limits that ``settings`` set, for each vendor that is on.

        A reload replaces secrets, but never turns a vendor or its signatures on or off. Raises
        ``SettingsError`` if a secret cannot be read, or if a vendor has no secret any more.
        """
        return {v.name: self._access(settings, v) for v in self.started.vendors_on}

    def _access(self, settings: Settings, vendor: Vendor) -> Access:
        webhook = settings.webhook
        signed = not self.started.allows_unsigned(vendor)
        secrets = read_secrets(settings, vendor) if signed else ()
        if signed and not secrets:
            raise SettingsError(
                f"no webhook secret of {vendor.title} is set any more; its deliveries are still "
                "verified with the old ones"
            )
        senders = settings.of(vendor).allowed_senders
        return Access(
            secrets,
            webhook.max_body_bytes,
            webhook.read_timeout,
            SenderAddresses(senders, webhook.trusted_proxies) if senders else None,
        )
