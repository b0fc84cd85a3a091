"""Groups of values: names, links, and the thresholds and durations of the alerts."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from exporter import PROJECT_URL
from exporter.settings.field_types import parse_duration


def fitting(pattern: str, meant: str) -> AfterValidator:
    """Return a validator of texts that fit a pattern. ``meant`` says it in words."""

    def validate(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"must be {meant}")
        return text

    return AfterValidator(validate)


def _wait(text: str) -> str:
    parse_duration(text)
    return text


def _duration(text: str) -> str:
    if parse_duration(text) == 0:
        raise ValueError(f"not a duration above zero: {text!r}")
    return text


def _url(text: str) -> str:
    """Check a URL. It becomes a part of templates, so it holds no braces, quotes or spaces."""
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.netloc or _UNFIT_IN_URL.search(text):
        raise ValueError(f"not a URL: {text!r} (write it like https://monitoring.test/path)")
    return text.rstrip("/")


_UNFIT_IN_URL = re.compile(r"[\s{}\"'<>|\\]")

Duration = Annotated[str, AfterValidator(_duration)]
"""A duration above zero, as Prometheus writes it."""

Wait = Annotated[str, AfterValidator(_wait)]
"""A duration as Prometheus writes it, or zero."""

HttpUrl = Annotated[str, AfterValidator(_url)]
"""A URL without the last slash."""

OptionalUrl = Annotated[str, AfterValidator(lambda text: text and _url(text))]
"""A URL without the last slash; empty if there is none."""

JobName = Annotated[str, fitting(r"[a-zA-Z0-9_./:-]+", "a name of letters, digits and _ . / : -")]
"""A name that needs no escapes in PromQL, in matchers and in regular expressions."""

Share = Annotated[float, Field(ge=0, le=1)]
"""1 is all."""

AlertSeverity = Literal["critical", "warning", "info"]


class ValueGroup(BaseModel):
    """Values that belong together in the file of values."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class JobValues(ValueGroup):
    """Names of the two scrape jobs. No rule joins across the two."""

    exporter: JobName = Field(
        "esim-exporter", description="scrape job of the metric groups exporter, fleet and attention"
    )
    esims: JobName = Field(
        "esim-exporter-esims", description="scrape job of the metric group esims"
    )

    @model_validator(mode="after")
    def _different(self) -> Self:
        if self.exporter == self.esims:
            raise ValueError("exporter and esims must be different jobs")
        return self


class LinkValues(ValueGroup):
    """URLs in alerts, in notifications and on dashboards. Links that are not known are left out."""

    runbooks: HttpUrl = Field(
        f"{PROJECT_URL}/blob/main/alerts/runbooks",
        description="folder of the runbooks; the name of the alert and .md follow",
    )
    grafana: OptionalUrl = Field("", description="URL of Grafana, for links to the dashboards")
    status_page: OptionalUrl = Field("", description="URL of the status page of the exporter")
    alertmanager: OptionalUrl = Field(
        "",
        description="URL of Alertmanager, for links that prefill a silence; by default its own "
        "--web.external-url",
    )


class UsageValues(ValueGroup):
    """The used shares of an allowance at which the three bands of alerts begin."""

    low: Share = Field(0.75, description="first band; not below --attention.min-used-ratio")
    high: Share = Field(0.9, description="second band; the vendor sends an event at 0.9")
    full: Share = Field(1, description="third band; nothing is left at 1")

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        if not self.low < self.high < self.full:
            raise ValueError("low must be below high, and high below full")
        return self


class BandSeverities(ValueGroup):
    """How urgent each band of one resource is: critical, warning or info."""

    low: AlertSeverity = Field(
        "info", description="when the used share is in the band from usage.low on"
    )
    high: AlertSeverity = Field("warning", description="when it is in the band from usage.high on")
    full: AlertSeverity = Field("warning", description="when it is in the band from usage.full on")

    @property
    def only_news(self) -> str:
        """Return the end of an expression for the last band: as a page, it is only about news."""
        return _ONLY_NEWS if self.full == "critical" else ""


_ONLY_NEWS = """
and
  max by (job, vendor, esim_id, package_id, resource) (esim_attention_since_timestamp_seconds)
    > time() - @page_for"""


class SeverityValues(ValueGroup):
    """Severities by resource and band: critical is a page, warning a ticket, info goes nowhere."""

    data: BandSeverities = Field(
        BandSeverities(full="info"),
        description="data of one package; EsimOutOfData pages when no package has data left",
    )
    sms: BandSeverities = Field(BandSeverities(), description="SMS")
    voice: BandSeverities = Field(BandSeverities(), description="voice minutes")


class StormValues(ValueGroup):
    """When this many eSIMs ran out of data within the window, one page in their place says so."""

    package_esims: int = Field(10, gt=0, description="eSIMs of one package")
    fleet_esims: int = Field(20, gt=0, description="eSIMs of the whole fleet")
    packages: int = Field(
        3,
        gt=0,
        description="if more packages have so many, only the page about the fleet tells of it",
    )
    window: Duration = Field("1h", description="length of the window")

    @model_validator(mode="after")
    def _fleet_holds_packages(self) -> Self:
        if self.package_esims > self.fleet_esims:
            raise ValueError("package_esims must not exceed fleet_esims")
        return self


class EsimValues(ValueGroup):
    """Alerts about single eSIMs."""

    missed_reports: Duration = Field(
        "9h",
        description="an eSIM without a report for this long is stale: two reports, four hours "
        "apart, and one hour of grace",
    )


class ForecastValues(ValueGroup):
    """Alerts about allowances that will soon be used up."""

    horizon: Duration = Field(
        "2d", description="how far to look ahead if the end of the package is not plausible"
    )
    min_share: Share = Field(0.5, description="an eSIM gets a forecast from this used share on")


class ExpiryValues(ValueGroup):
    """Alerts about packages that end unused."""

    horizon: Duration = Field("2d", description="the alert fires this long before the end")
    unused_share: Share = Field(0.5, description="the alert fires if at least this share is unused")


class FairUseValues(ValueGroup):
    """Alerts about unlimited packages."""

    bytes_per_day: int = Field(
        5 * 1024**3, gt=0, description="the alert fires above this use of an eSIM in a day"
    )


class SpikeValues(ValueGroup):
    """Alerts about unusual consumption of one eSIM."""

    factor: float = Field(
        5, gt=0, description="the alert fires above this multiple of the use of the day before"
    )
    min_bytes: int = Field(1024**3, gt=0, description="and above this use of the day")
    base_bytes: int = Field(
        50 * 1024**2, gt=0, description="if the use of the day before was above this"
    )


class PackageValues(ValueGroup):
    """Alerts about packages."""

    min_esims: int = Field(10, gt=0, description="the alerts fire from this number of eSIMs on")
    usage_high: Share = Field(
        0.2, description="share of the eSIMs of a package that have used 90 % or more"
    )


class FleetValues(ValueGroup):
    """Alerts about the whole fleet."""

    min_esims: int = Field(20, gt=0, description="smaller fleets have none of these alerts")
    kept: Share = Field(
        0.7,
        description="the alert fires if less than this share of the last twelve hours is left",
    )
    stale: Share = Field(0.2, description="the alert fires if more than this share misses reports")


class MassValues(ValueGroup):
    """Alerts about many eSIMs that get a terminal status within four hours."""

    share: Share = Field(0.05, description="the alert fires above this share of the fleet")
    min_esims: int = Field(10, gt=0, description="and from this number of eSIMs on")
    factor: float = Field(
        3, gt=0, description="and above this multiple of the same four hours yesterday"
    )


class FeedValues(ValueGroup):
    """Alerts about incoming events."""

    silent: Duration = Field(
        "5h", description="no event for this long: one interval of reports, and an hour of grace"
    )
    never: Duration = Field(
        "6h", description="an exporter that was up for this long must have received an event"
    )
    never_at_thresholds: Duration = Field(
        "1d", description="the same for a vendor that reports at thresholds only; a ticket"
    )
    quiet: Duration = Field(
        "3d",
        description="a ticket if a vendor that reports at thresholds only sends no event for this "
        "long",
    )
    quiet_esims: int = Field(
        1000, gt=0, description="and at least this many of its eSIMs have not ended"
    )
    low: Share = Field(
        0.5, description="the alert fires below this share of the events of yesterday"
    )
    min_events: int = Field(20, gt=0, description="if there were more than this yesterday")
    clock_skew: Duration = Field("5m", description="how far a clock may be off")
    failures_few: int = Field(
        5, ge=0, description="this many refused or failed requests are normal"
    )
    signature_share: Share = Field(
        0.05, description="share of false signatures above which there is a ticket"
    )
    rejected_most: Share = Field(
        0.5, description="share of refused requests above which there is a page"
    )
    too_old_share: Share = Field(
        0.1, description="share of events too old on arrival above which there is a ticket"
    )


class ExporterValues(ValueGroup):
    """Alerts about the processes of the exporter."""

    crash_loop: int = Field(3, gt=0, description="this many restarts within an hour are normal")
    up_share: Share = Field(
        0.5, description="and it pages if fewer scrapes than this share succeed in 15 minutes"
    )
    certificate_ends: Duration = Field(
        "14d", description="a TLS certificate that ends within this time is a ticket"
    )
    certificate_ends_soon: Duration = Field("3d", description="and a second ticket within this")
    connections_refused: int = Field(
        5, ge=0, description="this many refused or displaced connections within an hour are normal"
    )
    replica_lag: Duration = Field(
        "30s", description="how far a replica may lag behind; half a second is normal"
    )
    exposition_age: Duration = Field(
        "30s", description="how old the text of a scrape may be; up to 5 seconds are normal"
    )

    @model_validator(mode="after")
    def _soon_is_sooner(self) -> Self:
        if parse_duration(self.certificate_ends_soon) >= parse_duration(self.certificate_ends):
            raise ValueError("certificate_ends_soon must be shorter than certificate_ends")
        return self


class WebhookValues(ValueGroup):
    """Objectives of the webhook."""

    slow_share: Share = Field(0.01, description="share of answers that may take over two seconds")
    error_budget: Share = Field(
        0.001, description="share of webhook requests that may be answered with 5xx"
    )
    budget_min_requests: int = Field(
        100, gt=0, description="windows with fewer requests are not judged"
    )
