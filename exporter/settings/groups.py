"""The groups of settings that do not depend on a vendor: fields with defaults and descriptions."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, model_validator

from exporter.exposition.families import DEFAULT_INFO_LABELS
from exporter.model.attention import DEFAULT_LEAST
from exporter.model.expiry import DEFAULT_SILENT_DAYS, DEFAULT_STALE_HOURS, DEFAULT_TERMINAL_HOURS
from exporter.model.shards import SLOTS
from exporter.settings.field_types import (
    WEB_PORT,
    WEBHOOK_PORT,
    Address,
    Bytes,
    Count,
    Duration,
    EsimLabels,
    ExternalUrl,
    HostNames,
    Networks,
    NotAboveOne,
    NotNegative,
    OptionalAddress,
    OptionalFolder,
    OptionalPath,
    Positive,
    Ratio,
    RoutePrefix,
    ShardNumber,
    StorageUrl,
    TelemetryPath,
    prefix_of_external_url,
    written,
)
from exporter.settings.options import CustomKey, Kind, Mark, SettingsGroup
from exporter.storage.urls import SQLITE
from exporter.vendors.registry import FIRST


class ConfigSettings(SettingsGroup):
    """Configuration."""

    file: Annotated[OptionalPath, Mark.NOT_IN_FILE] = Field(
        default=None,
        description="YAML file with settings. Flags and environment variables override it.",
    )
    check: Annotated[bool, Mark.NOT_IN_FILE] = Field(
        default=False,
        description="Check the settings and the files that they name, then exit. With nothing but "
        "--web.config.file or --webhook.config.file, only these files are checked, and no webhook "
        "secret is needed.",
    )


class LogSettings(SettingsGroup):
    """Logging, to standard error."""

    level: Annotated[Literal["debug", "info", "warn", "error"], Mark.RELOADABLE] = Field(
        default="info", description="Write messages of this level and above."
    )
    format: Literal["logfmt", "json"] = Field(
        default="logfmt", description="Format of messages, one per line."
    )


class WebSettings(SettingsGroup):
    """Internal listener, for Prometheus and people."""

    listen_address: Address = Field(
        default=written(f":{WEB_PORT}"),
        description="Address that serves metrics, health, API and status page. With the same "
        "address as --webhook.listen-address, one listener serves everything.",
    )
    config_file: Annotated[OptionalPath, CustomKey("config.file")] = Field(
        default=None,
        description="File with TLS, users and headers of the internal listener, in the format of "
        "the Prometheus exporter toolkit. The exporter reads it again when it or a file that it "
        "names changes.",
    )
    telemetry_path: TelemetryPath = Field(default="/metrics", description="Path of the metrics.")
    external_url: ExternalUrl = Field(
        default="",
        description="URL at which users reach the internal listener, for example through a "
        "proxy. Its path is the default of --web.route-prefix.",
    )
    route_prefix: RoutePrefix = Field(
        default_factory=prefix_of_external_url,
        description="Prefix of all paths of the internal listener. Default: the path of "
        "--web.external-url.",
    )
    enable_lifecycle: bool = Field(
        default=False,
        description="Allow reload and shutdown by HTTP requests to /-/reload and /-/quit.",
    )
    enable_admin_api: bool = Field(
        default=False,
        description="Allow changes through the JSON API and the status page: delete eSIMs, read, "
        "replay and drop rejected deliveries, make backups.",
    )
    allowed_hosts: HostNames = Field(
        default=written(""),
        description="Host names of this machine, separated by commas. Changes (admin API, forms, "
        "/-/reload, /-/quit) under any other name get 421, because a page of another site may "
        "send them. IP addresses, localhost and the host of --web.external-url are always allowed.",
    )
    max_requests: Annotated[Count, NotNegative] = Field(
        default=40, description="Maximum number of scrapes at the same time; 0 for no limit."
    )
    max_connections: Annotated[Count, Positive] = Field(
        default=512,
        description="Maximum number of connections to the internal listener. At the limit, a new "
        "connection replaces another one: the slowest sender first, then the one that is idle for "
        "longest. If all of them are being answered, the new one gets 503.",
    )
    idle_timeout: Annotated[Duration, Positive] = Field(
        default=written("75s"),
        description="Time for which a connection to the internal listener may wait for a request. "
        "Keep it longer than the idle time of a proxy before it.",
    )
    scrape_timeout: Annotated[Duration, Positive] = Field(
        default=written("60s"), description="Maximum time for a client to read a scrape."
    )
    shutdown_delay: Annotated[Duration, NotNegative] = Field(
        default=written("0s"),
        description="Time for which the exporter still serves after SIGTERM, while /-/ready "
        "fails. Load balancers use it to stop sending.",
    )
    health_listen_address: OptionalAddress = Field(
        default=written(""),
        description="Additional address that serves only /-/healthy and /-/ready, without TLS, "
        "for probes that have no client certificate.",
    )


class WebhookSettings(SettingsGroup):
    """Public listener, for the vendor's webhooks."""

    listen_address: Address = Field(
        default=written(f":{WEBHOOK_PORT}"), description="Address that receives webhooks."
    )
    config_file: Annotated[OptionalPath, CustomKey("config.file")] = Field(
        default=None,
        description="File with TLS and headers of the public listener, in the format of "
        "--web.config.file, but without users. The exporter reads it again when it or a file that "
        "it names changes.",
    )
    max_connections: Annotated[Count, Positive] = Field(
        default=2048,
        description="Maximum number of connections to the public listener; see "
        "--web.max-connections. If one listener serves everything, the larger limit counts.",
    )
    idle_timeout: Annotated[Duration, Positive] = Field(
        default=written("75s"),
        description="Time for which a connection to the public listener may wait for a request; "
        "see --web.idle-timeout. Load balancers usually keep one for 60 s. If one listener serves "
        "everything, the longer time counts.",
    )
    secret_file: Annotated[OptionalPath, Mark.RELOADABLE] = Field(
        default=None,
        description=f"File with the secrets that {FIRST.title} signs with, one per line: an older "
        f"name of --{FIRST.name}.secret-file. Blank lines and lines that start with # are ignored. "
        "The exporter reads it again when it changes.",
    )
    secret: Annotated[SecretStr, Kind("text"), Mark.RELOADABLE, Mark.ENVIRONMENT_ONLY] = Field(
        default=SecretStr(""),
        description=f"Secrets that {FIRST.title} signs with, one per line, in addition to those of "
        "--webhook.secret-file.",
    )
    allow_unsigned: bool = Field(
        default=False,
        description=f"Accept deliveries of {FIRST.title} from anyone, without signatures. For "
        "tests only.",
    )
    max_body_bytes: Annotated[Bytes, Positive, Mark.RELOADABLE] = Field(
        default=65536, description="Maximum size of a delivery; a larger one gets 413."
    )
    read_timeout: Annotated[Duration, Positive, Mark.RELOADABLE] = Field(
        default=written("5s"),
        description="Maximum time for a delivery to arrive; a slower one gets 408.",
    )
    trusted_proxies: Annotated[Networks, Mark.RELOADABLE] = Field(
        default=written(""),
        description="IP addresses and networks of proxies before the public listener, separated "
        "by commas. Their header X-Forwarded-For tells who sent a delivery, for vendors of which "
        "only certain addresses may send.",
    )
    max_pending: Annotated[Count, Positive] = Field(
        default=10000,
        description="Maximum number of events that wait for a commit; further ones get 503.",
    )

    @property
    def has_secret(self) -> bool:
        """Return whether a file or the environment gives secrets. The file is not read."""
        return self.secret_file is not None or bool(self.secret.get_secret_value().strip())


class StorageSettings(SettingsGroup):
    """Storage."""

    url: StorageUrl = Field(
        default=f"{SQLITE}esim-exporter.db",
        description="SQLite file, relative to the working directory; four slashes start an "
        "absolute path. Or, for several replicas, a PostgreSQL database: "
        "postgresql://user@host/name. It needs the package esim-exporter[postgresql].",
    )
    backup_folder: OptionalFolder = Field(
        default=None,
        description="Folder for backups of the SQLite file. Default: the folder of the file.",
    )


class ShardSettings(SettingsGroup):
    """Shards, for PostgreSQL only."""

    number: Annotated[ShardNumber, CustomKey("shard", alone=True)] = Field(
        default="0",
        description="Shard of the fleet that this replica shows, from 0 on. auto takes the number "
        "at the end of the host name, as in a StatefulSet.",
    )
    total: Annotated[Count, Positive, CustomKey("total-shards", alone=True)] = Field(
        default=1, le=SLOTS, description="Number of shards. Every replica accepts all events."
    )


class RetentionSettings(SettingsGroup):
    """Retention."""

    terminal: Annotated[Duration, Positive, Mark.RELOADABLE] = Field(
        default=written(f"{DEFAULT_TERMINAL_HOURS}h"),
        description="Time for which an eSIM stays in the metrics after it became DELETED, REVOKED "
        "or EXPIRED.",
    )
    silent: Annotated[Duration, Positive, Mark.RELOADABLE] = Field(
        default=written(f"{DEFAULT_SILENT_DAYS}d"),
        description="Time for which an eSIM stays in the metrics after its last event. For a "
        "vendor that reports at thresholds only, set it longer than the longest package lasts.",
    )


class LimitsSettings(SettingsGroup):
    """Limits."""

    max_esims: Annotated[Count, NotNegative] = Field(
        default=100000,
        description="Maximum number of eSIMs with series of their own; 0 for no limit. eSIMs over "
        "the limit still count in the metrics of the fleet.",
    )
    max_attention: Annotated[Count, NotNegative] = Field(
        default=20000,
        description="Maximum number of eSIMs in the group attention; 0 for no limit. Above it, "
        "those that need attention for the longest time have no series in the group.",
    )
    max_packages: Annotated[Count, NotNegative] = Field(
        default=5000,
        description="Maximum number of packages of each vendor with series in the group fleet; 0 "
        'for no limit. Those over the limit are summed under the package "other".',
    )
    max_locations: Annotated[Count, NotNegative] = Field(
        default=1000,
        description="Maximum number of locations of each vendor with series in the group fleet; "
        '0 for no limit. Those over the limit are summed under the location "other".',
    )
    max_rejected: Annotated[Count, Positive] = Field(
        default=1000,
        description="Maximum number of rejected deliveries that are kept, for the status page and "
        "the API. At the limit, a new one replaces the oldest.",
    )


class MetricsSettings(SettingsGroup):
    """Metrics."""

    esim_labels: EsimLabels = Field(
        default=DEFAULT_INFO_LABELS,
        description="Labels of esim_info: reference_id, and iccid or iccid_hash.",
    )
    iccid_hash_key_file: OptionalPath = Field(
        default=None,
        description="File with the key for the label iccid_hash, and for the esim_id of a vendor "
        "that names eSIMs by their ICCID. With another key, they have other names.",
    )

    @model_validator(mode="after")
    def _hash_has_a_key(self) -> Self:
        if "iccid_hash" in self.esim_labels and self.iccid_hash_key_file is None:
            raise ValueError("--metrics.iccid-hash-key-file: must be set for the label iccid_hash")
        return self


class FleetSettings(SettingsGroup):
    """Fleet."""

    stale_after: Annotated[Duration, Positive, Mark.RELOADABLE] = Field(
        default=written(f"{DEFAULT_STALE_HOURS}h"),
        description="An ACTIVATED eSIM without an event for this long counts as stale.",
    )


class AttentionSettings(SettingsGroup):
    """Attention."""

    min_used_ratio: Annotated[Ratio, Positive, NotAboveOne] = Field(
        default=float(DEFAULT_LEAST),
        description="Used share of an allowance, up to 1, from which on it is in the group "
        "attention.",
    )
