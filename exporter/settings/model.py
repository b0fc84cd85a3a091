"""The settings model: groups of fields with their defaults, and the rules between them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from exporter.exposition.info_labels import DEFAULT_INFO_LABELS
from exporter.model.expiry import DEFAULT_SILENT_DAYS, DEFAULT_TERMINAL_HOURS
from exporter.model.shards import SLOTS
from exporter.settings.field_types import (
    AUTO,
    Address,
    Bytes,
    Count,
    Duration,
    EsimLabels,
    ExternalUrl,
    NotNegative,
    OptionalAddress,
    OptionalFolder,
    OptionalPath,
    Positive,
    RoutePrefix,
    ShardNumber,
    StorageUrl,
    TelemetryPath,
    UnitBase,
    prefix_of_external_url,
    written,
)
from exporter.settings.options import ENVIRONMENT_ONLY, NOT_IN_FILE, Key, Kind, Reload
from exporter.storage.urls import SQLITE, SqliteFile, parse_storage_url

if TYPE_CHECKING:
    from collections.abc import Mapping


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class ConfigSettings(_Group):
    """Configuration."""

    file: Annotated[OptionalPath, NOT_IN_FILE] = Field(
        default=None,
        description="YAML file with settings; flags and environment variables override it.",
    )
    check: Annotated[bool, NOT_IN_FILE] = Field(
        default=False, description="Check the settings and the files they name, then exit."
    )


class LogSettings(_Group):
    """Logging, to standard error."""

    level: Annotated[Literal["debug", "info", "warn", "error"], Reload.APPLIED] = Field(
        default="info", description="Write messages of this severity and above."
    )
    format: Literal["logfmt", "json"] = Field(
        default="logfmt", description="How messages are written, one a line."
    )


class WebSettings(_Group):
    """Internal listener, for Prometheus and people."""

    listen_address: Address = Field(
        default=written(":10877"),
        description="Where to serve metrics, health, API and status page. The same address as "
        "--webhook.listen-address serves both together.",
    )
    config_file: Annotated[OptionalPath, Key("config.file")] = Field(
        default=None,
        description="File with TLS, users and headers of the internal listener, in the format of "
        "the Prometheus exporter toolkit. Read again when it or a file it names changes.",
    )
    telemetry_path: TelemetryPath = Field(
        default="/metrics", description="Path under which metrics are served."
    )
    external_url: ExternalUrl = Field(
        default="",
        description="URL under which the internal listener is reached; its path is the prefix.",
    )
    route_prefix: RoutePrefix = Field(
        default_factory=prefix_of_external_url,
        description="Prefix of all paths of the internal listener; if not set, the path of "
        "--web.external-url.",
    )
    enable_lifecycle: bool = Field(
        default=False,
        description="Allow reload and shutdown by HTTP request, at /-/reload and /-/quit.",
    )
    enable_admin_api: bool = Field(
        default=False,
        description="Allow deleting eSIMs, reading, replaying and dropping rejected deliveries, "
        "and backups, by the JSON API and the status page.",
    )
    max_requests: Annotated[Count, NotNegative] = Field(
        default=40, description="Scrapes served at the same time; 0 for no limit."
    )
    max_connections: Annotated[Count, Positive] = Field(
        default=512,
        description="Connections to the internal listener at the same time. A new one takes the "
        "place of one that waits for a request, or is refused with 503.",
    )
    scrape_timeout: Annotated[Duration, Positive] = Field(
        default=written("60s"), description="How long a client may take to read a scrape."
    )
    shutdown_delay: Annotated[Duration, NotNegative] = Field(
        default=written("0s"),
        description="How long to go on after SIGTERM with /-/ready already failing, so that a "
        "load balancer notices first.",
    )
    health_listen_address: OptionalAddress = Field(
        default=written(""),
        description="Where to serve /-/healthy and /-/ready alone, for probes that cannot "
        "present a client certificate.",
    )


class WebhookSettings(_Group):
    """Public listener, for the vendor's webhooks."""

    listen_address: Address = Field(
        default=written(":10878"), description="Where to receive webhooks."
    )
    config_file: Annotated[OptionalPath, Key("config.file")] = Field(
        default=None,
        description="File with TLS and headers of the public listener, in the format of "
        "--web.config.file, without users. Read again when it or a file it names changes.",
    )
    max_connections: Annotated[Count, Positive] = Field(
        default=2048,
        description="Connections to the public listener at the same time; see "
        "--web.max-connections. Where both listeners are one, the larger of the two holds.",
    )
    secret_file: Annotated[OptionalPath, Reload.APPLIED] = Field(
        default=None,
        description="File with the secrets that deliveries are signed with, one a line; blank "
        "lines and lines that start with # are ignored.",
    )
    secret: Annotated[SecretStr, Kind("text"), Reload.APPLIED, ENVIRONMENT_ONLY] = Field(
        default=SecretStr(""),
        description="Secrets that deliveries are signed with, one a line, besides those of "
        "--webhook.secret-file.",
    )
    allow_unsigned: bool = Field(
        default=False,
        description="Accept deliveries of anyone, for trying things out without a secret.",
    )
    max_body_bytes: Annotated[Bytes, Positive, Reload.APPLIED] = Field(
        default=65536, description="Size above which a delivery is refused with 413."
    )
    read_timeout: Annotated[Duration, Positive, Reload.APPLIED] = Field(
        default=written("5s"),
        description="How long a delivery may take to arrive before it is refused with 408.",
    )
    max_pending: Annotated[Count, Positive] = Field(
        default=10000,
        description="Events waiting for a commit above which more are refused with 503.",
    )

    def environment_secrets(self) -> tuple[bytes, ...]:
        """Return the secrets that the environment gave, in its own encoding."""
        lines = map(str.strip, self.secret.get_secret_value().splitlines())
        return tuple(os.fsencode(line) for line in lines if line)


class StorageSettings(_Group):
    """Storage."""

    url: StorageUrl = Field(
        default=f"{SQLITE}esim-exporter.db",
        description="Database file, relative to the working directory; four slashes start an "
        "absolute path. Or a PostgreSQL database, for several replicas: "
        "postgresql://user@host/name, which has to be installed: esim-exporter[postgresql].",
    )
    backup_folder: OptionalFolder = Field(
        default=None,
        description="Folder that backups are written to; if not set, that of the database file.",
    )


class ShardSettings(_Group):
    """Shards, of a storage in PostgreSQL."""

    number: Annotated[ShardNumber, Key("shard", alone=True)] = Field(
        default="0",
        description="Which shard of the fleet to keep and to show, from 0 on; auto takes the "
        "number at the end of the host name, as a StatefulSet gives it.",
    )
    total: Annotated[Count, Positive, Key("total-shards", alone=True)] = Field(
        default=1, le=SLOTS, description="How many shards there are. Every replica takes any event."
    )


class RetentionSettings(_Group):
    """Retention."""

    terminal: Annotated[Duration, Positive, Reload.APPLIED] = Field(
        default=written(f"{DEFAULT_TERMINAL_HOURS}h"),
        description="How long an eSIM stays in the metrics after it was DELETED, REVOKED or "
        "EXPIRED.",
    )
    silent: Annotated[Duration, Positive, Reload.APPLIED] = Field(
        default=written(f"{DEFAULT_SILENT_DAYS}d"),
        description="How long an eSIM stays in the metrics after its last event.",
    )


class LimitsSettings(_Group):
    """Limits."""

    max_esims: Annotated[Count, NotNegative] = Field(
        default=100000,
        description="eSIMs with series of their own; those above count in the metrics of the "
        "fleet only. 0 for no limit.",
    )
    max_rejected: Annotated[Count, Positive] = Field(
        default=1000,
        description="Deliveries that could not be understood to keep; the oldest give way.",
    )


class MetricsSettings(_Group):
    """Metrics."""

    esim_labels: EsimLabels = Field(
        default=DEFAULT_INFO_LABELS,
        description="Labels of esim_info: reference_id, and iccid or iccid_hash.",
    )
    iccid_hash_key_file: OptionalPath = Field(
        default=None, description="File with the key that iccid_hash is made with."
    )

    @model_validator(mode="after")
    def _hash_has_a_key(self) -> Self:
        if "iccid_hash" in self.esim_labels and self.iccid_hash_key_file is None:
            raise ValueError(
                "--metrics.iccid-hash-key-file: not set, the label iccid_hash needs it"
            )
        return self


class FleetSettings(_Group):
    """Fleet."""

    stale_after: Annotated[Duration, Positive, Reload.APPLIED] = Field(
        default=written("9h"), description="Silence after which an activated eSIM counts as stale."
    )


class RoamifySettings(_Group):
    """Roamify."""

    unit_base: UnitBase = Field(
        default=1024,
        description="Bytes in the vendor's KB; its square is the MB and its cube the GB.",
    )


class Settings(BaseModel):
    """Receive signed webhook events about travel eSIMs and serve them as Prometheus metrics.

    Every flag is also an environment variable, named behind its description, and a key of the
    YAML file: --web.listen-address is listen-address under web. Flags win over the environment,
    the environment over the file. Durations are written as in Prometheus: 500ms, 1h30m, 30d.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

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
    roamify: RoamifySettings = Field(default_factory=RoamifySettings)

    @model_validator(mode="after")
    def _signed_unless_said_otherwise(self) -> Self:
        webhook = self.webhook
        signed = webhook.secret_file is not None or bool(webhook.environment_secrets())
        if not signed and not webhook.allow_unsigned:
            raise ValueError(
                "no webhook secret: set --webhook.secret-file or ESIM_EXPORTER_WEBHOOK_SECRET, "
                "or accept deliveries of anyone with --webhook.allow-unsigned"
            )
        if signed and webhook.allow_unsigned:
            raise ValueError("--webhook.allow-unsigned: there is a secret as well, remove either")
        return self

    @model_validator(mode="after")
    def _shards_share_a_database(self) -> Self:
        alone = isinstance(parse_storage_url(self.storage.url), SqliteFile)
        if self.shards.total > 1 and alone:
            raise ValueError("--total-shards: needs --storage.url=postgresql://...")
        number, total = self.shards.number, self.shards.total
        if number != AUTO and int(number) >= total:
            raise ValueError(f"--shard: {number} is none of the {total} of --total-shards")
        return self

    @model_validator(mode="after")
    def _health_listens_alone(self) -> Self:
        health = self.web.health_listen_address
        if health in {self.web.listen_address, self.webhook.listen_address} and health.port:
            raise ValueError(f"--web.health-listen-address: {health} has another listener")
        return self

    @model_validator(mode="after")
    def _one_connection_has_one_file(self) -> Self:
        if self.merged and self.webhook.config_file:
            raise ValueError(
                "--webhook.config.file: both listeners have one address, to which "
                "--web.config.file applies; remove it"
            )
        return self

    @property
    def unit_bases(self) -> Mapping[str, int]:
        """Return the bytes in each vendor's kB, by the vendor's name."""
        return {"roamify": self.roamify.unit_base}

    @property
    def merged(self) -> bool:
        """Return whether one listener serves what is public and what is internal."""
        address = self.web.listen_address
        return address == self.webhook.listen_address and address.port != 0
