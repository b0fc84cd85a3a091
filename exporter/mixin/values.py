"""The values that users may change, and how rules and texts refer to them."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from exporter.settings.field_types import parse_duration


def _duration(text: str) -> str:
    parse_duration(text)
    return text


Duration = Annotated[str, AfterValidator(_duration)]
"""A duration as Prometheus writes it."""

Share = Annotated[float, Field(ge=0, le=1)]


class _Group(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Jobs(_Group):
    """Names of the two scrape jobs. No rule joins across the two."""

    exporter: str = Field(
        "esim-exporter", description="scrape job of the metric groups exporter and fleet"
    )
    esims: str = Field("esim-exporter-esims", description="scrape job of the metric group esims")


class Links(_Group):
    """URLs in alerts and on dashboards."""

    runbooks: str = Field(
        "https://example.com/esim-exporter/alerts/runbooks",
        description="folder of the runbooks; the name of the alert and .md follow",
    )
    dashboards: str = Field(
        "https://grafana.example.com/d",
        description="URL of Grafana with the path /d; the id of the dashboard follows",
    )


class Usage(_Group):
    """The used shares at which the three bands begin."""

    info: Share = Field(0.75, description="from here on, the alert is sent to nobody")
    warning: Share = Field(0.9, description="from here on, the alert is a ticket")
    critical: Share = Field(1, description="from here on, the alert is a page")


class Esims(_Group):
    """Alerts about single eSIMs."""

    missed_reports: Duration = Field(
        "9h",
        description="silence after which an eSIM is stale: two reports, four hours apart, and one "
        "hour of grace",
    )


class Forecast(_Group):
    """Alerts about allowances that will soon be used up."""

    horizon: Duration = Field(
        "2d", description="how far to look ahead if the end of the package is not plausible"
    )
    min_share: Share = Field(0.5, description="used share below which there is no forecast")


class Expiry(_Group):
    """Alerts about packages that end unused."""

    horizon: Duration = Field("2d", description="time before the end")
    unused_share: Share = Field(0.5, description="unused share from which on it is told")


class FairUse(_Group):
    """Alerts about unlimited packages."""

    bytes_per_day: int = Field(
        5 * 1024**3, gt=0, description="bytes that an eSIM with an unlimited package may use a day"
    )


class Spike(_Group):
    """Alerts about unusual consumption of one eSIM."""

    factor: float = Field(5, gt=0, description="multiple of the consumption of the day before")
    min_bytes: int = Field(1024**3, gt=0, description="bytes a day below which nothing is a spike")
    base_bytes: int = Field(
        50 * 1024**2, gt=0, description="bytes that the day before must have had at least"
    )


class Packages(_Group):
    """Alerts about packages."""

    min_esims: int = Field(10, gt=0, description="eSIMs below which no share is judged")
    usage_high: Share = Field(0.2, description="share of the eSIMs of a package at 90 % and more")
    exhausted: Share = Field(0.1, description="share of the eSIMs of a package at 100 %")


class FleetValues(_Group):
    """Alerts about the whole fleet."""

    min_esims: int = Field(20, gt=0, description="eSIMs below which no share is judged")
    kept: Share = Field(0.7, description="share of the eSIMs of four hours ago that must be left")
    stale: Share = Field(0.2, description="share of the eSIMs that may miss reports")


class Mass(_Group):
    """Alerts about many eSIMs that get a terminal status at once."""

    share: Share = Field(0.05, description="share of the fleet within four hours")
    min_esims: int = Field(10, gt=0, description="eSIMs within four hours")
    factor: float = Field(3, gt=0, description="multiple of the same four hours yesterday")


class Feed(_Group):
    """Alerts about incoming events."""

    silent: Duration = Field("5h", description="one report interval and an hour of grace")
    low: Share = Field(0.5, description="share of the events of yesterday that must arrive")
    min_events: int = Field(20, gt=0, description="events below which no share is judged")
    clock_skew: Duration = Field("5m", description="how far the clock of a vendor may be off")
    failures_few: int = Field(5, ge=0, description="refused or failed requests that are normal")
    signature_share: Share = Field(0.05, description="share of false signatures for a ticket")
    rejected_most: Share = Field(0.5, description="share of refused requests for a page")


class Exporter(_Group):
    """Alerts about the processes of the exporter."""

    crash_loop: int = Field(3, gt=0, description="restarts within an hour that are normal")
    replica_lag: Duration = Field(
        "30s", description="how far a replica may lag; half a second is normal"
    )


class Webhook(_Group):
    """Objectives of the webhook."""

    slow_share: Share = Field(0.01, description="share of answers that may take over two seconds")
    error_budget: Share = Field(
        0.001, description="share of webhook requests that may be answered with 5xx"
    )
    budget_min_requests: int = Field(
        100, gt=0, description="requests in a window below which no share is judged"
    )


class Routing(_Group):
    """Who is told, and when."""

    large_fleet: bool = Field(
        default=False,
        description="packages page and single eSIMs are tickets, instead of the reverse",
    )


class Values(_Group):
    """Values that users may change. Durations are written as in Prometheus."""

    jobs: Jobs = Jobs()
    links: Links = Links()
    receivers_url: str = "http://127.0.0.1:5001"
    keep_firing_for: Duration = Field(
        "10m",
        description="how long an alert fires after its condition is gone, so that a restart does "
        "not end it",
    )
    usage: Usage = Usage()
    esims: Esims = Esims()
    forecast: Forecast = Forecast()
    expiry: Expiry = Expiry()
    fair_use: FairUse = FairUse()
    spike: Spike = Spike()
    packages: Packages = Packages()
    fleet: FleetValues = FleetValues()
    mass: Mass = Mass()
    feed: Feed = Feed()
    exporter: Exporter = Exporter()
    webhook: Webhook = Webhook()
    routing: Routing = Routing()
    faster: float = Field(
        1, gt=0, description="every duration is divided by it; only tests and demos change it"
    )

    def duration(self, text: str) -> str:
        """Return a duration divided by ``faster``, as Prometheus writes it."""
        milliseconds = round(parse_duration(text) * 1000 / self.faster)
        return text if self.faster == 1 else f"{milliseconds}ms"

    def expression(self, source: str) -> str:
        """Return PromQL from a source in which ``@group.name`` stands for a value.

        Sources always write durations. Prometheus before version 3 needs a number in some places,
        such as ``> 5h``. There the duration becomes seconds.
        """
        return _TOKEN.sub(self._token, self.text(source))

    def text(self, source: str) -> str:
        """Return a text in which values replace ``@group.name``.

        ``@group.name%`` becomes a percentage. Raises ``AttributeError`` for an unknown name.
        """
        return _NAME.sub(self._value, source)

    def _value(self, match: re.Match[str]) -> str:
        found: object = self
        for name in match[1].split("."):
            found = getattr(found, name)
        if isinstance(found, int | float) and match[2]:
            return f"{found * 100:g} %"
        return str(int(found) if isinstance(found, float) and found.is_integer() else found)

    def _token(self, match: re.Match[str]) -> str:
        if match["text"]:
            return match[0]
        if match["window"]:
            return _DURATION.sub(lambda each: self.duration(each[0]), match[0])
        return f"{parse_duration(match[0]) / self.faster:g}"


_TOKEN: Final = re.compile(
    r"""
    (?P<text>"[^"]*")
    | (?P<window>\[[^]]+\]|\boffset\s+\w+)
    | (?P<number>(?<![\w.:])[0-9]+(?:ms|[smhdwy])\b)
    """,
    re.VERBOSE,
)
_DURATION: Final = re.compile(r"[0-9]+(?:ms|[smhdwy])")
_NAME: Final = re.compile(r"@([a-z_0-9]+(?:\.[a-z_0-9]+)*)(%?)")
