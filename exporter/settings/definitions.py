"""All settings, and the rules between them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from pydantic import Field, create_model, model_validator

from exporter.settings.field_types import AUTO
from exporter.settings.groups import (
    AttentionSettings,
    ConfigSettings,
    FleetSettings,
    LimitsSettings,
    LogSettings,
    MetricsSettings,
    RetentionSettings,
    ShardSettings,
    StorageSettings,
    WebhookSettings,
    WebSettings,
)
from exporter.settings.options import SettingsGroup
from exporter.settings.sources import SECRET_VARIABLE
from exporter.settings.vendor_settings import VendorSettings, group_name, vendor_groups
from exporter.storage.urls import SqliteFile, parse_storage_url
from exporter.vendors.registry import FIRST, VENDORS

if TYPE_CHECKING:
    from exporter.vendors.vendor import Vendor


class _Settings(SettingsGroup):
    """Receive signed webhook events about travel eSIMs and serve them as Prometheus metrics.

    Every flag has an environment variable, which is shown after its description, and a key in the
    YAML file: --web.listen-address is listen-address under web. Flags win over environment
    variables, and these over the file. Durations are written as in Prometheus: 500ms, 1h30m, 30d.
    """

    config: ConfigSettings = Field(default_factory=ConfigSettings)
    log: LogSettings = Field(default_factory=LogSettings)
    web: WebSettings = Field(default_factory=WebSettings)
    webhook: WebhookSettings = Field(default_factory=WebhookSettings)
    storage: StorageSettings = Field(default_factory=StorageSettings)
    shards: ShardSettings = Field(default_factory=ShardSettings)
    retention: RetentionSettings = Field(default_factory=RetentionSettings)
    limits: LimitsSettings = Field(default_factory=LimitsSettings)
    metrics: MetricsSettings = Field(default_factory=MetricsSettings)
    fleet: FleetSettings = Field(default_factory=FleetSettings)
    attention: AttentionSettings = Field(default_factory=AttentionSettings)

    @model_validator(mode="after")
    def _deliveries_are_signed_unless_allowed(self) -> Self:
        if self.web_configuration_alone:
            return self
        for vendor in VENDORS:
            if self.has_secret(vendor) and self.allows_unsigned(vendor):
                group = "webhook" if vendor is FIRST else vendor.name
                raise ValueError(
                    f"--{group}.allow-unsigned: a webhook secret is set too; remove one of them"
                )
        if not self.vendors_on:
            others = " or ".join(f"--{v.name}.secret-file" for v in VENDORS if v is not FIRST)
            raise ValueError(
                f"no webhook secret: set --webhook.secret-file or {SECRET_VARIABLE}"
                f"{f' for {FIRST.title}, or {others}' if others else ''}, "
                "or accept deliveries from anyone with --webhook.allow-unsigned"
            )
        return self

    @model_validator(mode="after")
    def _iccids_are_hashed_with_a_key(self) -> Self:
        for vendor in self.vendors_on:
            if self.of(vendor).hashes_iccids and self.metrics.iccid_hash_key_file is None:
                raise ValueError(
                    f"--{vendor.name}.secret-file: {vendor.title} names eSIMs by their ICCID: set "
                    "--metrics.iccid-hash-key-file to a file with a key to hash it with, or show "
                    f"it with --{vendor.name}.esim-id=iccid"
                )
        return self

    @model_validator(mode="after")
    def _shards_share_a_database(self) -> Self:
        alone = isinstance(parse_storage_url(self.storage.url), SqliteFile)
        if self.shards.total > 1 and alone:
            raise ValueError("--total-shards: several shards need --storage.url=postgresql://...")
        number, total = self.shards.number, self.shards.total
        if number != AUTO and int(number) >= total:
            raise ValueError(f"--shard: {number} is too large; the last shard is {total - 1}")
        return self

    @model_validator(mode="after")
    def _health_listens_alone(self) -> Self:
        health = self.web.health_listen_address
        if health in {self.web.listen_address, self.webhook.listen_address} and health.port:
            raise ValueError(f"--web.health-listen-address: another listener uses {health} too")
        return self

    @model_validator(mode="after")
    def _merged_listener_has_one_config_file(self) -> Self:
        if self.merged and self.webhook.config_file:
            raise ValueError(
                "--webhook.config.file: remove it; both listeners have the same address, and "
                "--web.config.file applies to it"
            )
        return self

    @property
    def web_configuration_alone(self) -> bool:
        """Return whether web configuration files are to be checked, and no other setting is set."""
        groups = {"config": {"check"}, "web": {"config_file"}, "webhook": {"config_file"}}
        given = {name: getattr(self, name).model_fields_set for name in self.model_fields_set}
        alone = all(fields <= groups.get(name, set()) for name, fields in given.items())
        return self.config.check and len(given) > 1 and alone

    def of(self, vendor: Vendor) -> VendorSettings:
        """Return the settings of a vendor."""
        group: VendorSettings = getattr(self, group_name(vendor))
        return group

    def has_secret(self, vendor: Vendor) -> bool:
        """Return whether a file or the environment gives a vendor's secrets."""
        return self.of(vendor).has_secret or (vendor is FIRST and self.webhook.has_secret)

    def allows_unsigned(self, vendor: Vendor) -> bool:
        """Return whether a vendor's deliveries are accepted from anyone."""
        older = vendor is FIRST and self.webhook.allow_unsigned
        return older or self.of(vendor).accepts_unsigned

    @property
    def vendors_on(self) -> tuple[Vendor, ...]:
        """Return the vendors whose deliveries are taken: those with secrets, or without need."""
        return tuple(v for v in VENDORS if self.has_secret(v) or self.allows_unsigned(v))

    @property
    def merged(self) -> bool:
        """Return whether one listener serves public and internal endpoints."""
        address = self.web.listen_address
        return address == self.webhook.listen_address and address.port != 0


if TYPE_CHECKING:

    class Settings(_Settings):
        """All settings. The groups of vendors are read with :meth:`of`."""

else:
    Settings = create_model(
        "Settings", __base__=_Settings, __doc__=_Settings.__doc__, **vendor_groups()
    )
