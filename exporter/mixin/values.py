"""The values that users may change, and how rules and texts refer to them."""

from __future__ import annotations

import re
from typing import Annotated, Final, Self

from pydantic import AfterValidator, Field, model_validator

from exporter.mixin.receiver_values import ReceiversValues
from exporter.mixin.value_groups import (
    Duration,
    EsimValues,
    ExpiryValues,
    ExporterValues,
    FairUseValues,
    FeedValues,
    FleetValues,
    ForecastValues,
    JobValues,
    LinkValues,
    MassValues,
    PackageValues,
    SeverityValues,
    SpikeValues,
    StormValues,
    UsageValues,
    ValueGroup,
    Wait,
    WebhookValues,
)
from exporter.settings.field_types import parse_duration


def _target_label(name: str) -> str:
    if not _LABEL.fullmatch(name) or name in _TAKEN:
        raise ValueError(
            f"not a label that tells installations apart: {name!r} (a name as in Prometheus, "
            f"and none of {', '.join(sorted(_TAKEN))})"
        )
    return name


_LABEL: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_TAKEN: Final = frozenset(
    ("alertname", "esim_id", "instance", "job", "package_id", "pod", "scope", "severity", "vendor")
)
"""Labels that the rules set, keep or leave out themselves."""

TargetLabel = Annotated[str, AfterValidator(_target_label)]


_RETENTION: Final = "120h"
"""How long Alertmanager knows what it has sent, unless ``--data.retention`` says otherwise."""


class TimingValues(ValueGroup):
    """When Alertmanager notifies of a group of alerts."""

    group_wait: Wait = Field(description="from the first alert to the first notification")
    group_interval: Duration = Field(description="from one notification to one with new alerts")
    repeat_interval: Duration = Field(description="until the same alerts are notified again")

    @model_validator(mode="after")
    def _known_until_repeated(self) -> Self:
        repeat = parse_duration(self.repeat_interval)
        if not parse_duration(self.group_interval) <= repeat <= parse_duration(_RETENTION):
            raise ValueError(
                f"repeat_interval must be from group_interval to {_RETENTION}, the time for which "
                "Alertmanager knows what it has sent"
            )
        return self


def _timing(group_wait: str, group_interval: str, repeat_interval: str) -> TimingValues:
    return TimingValues(
        group_wait=group_wait, group_interval=group_interval, repeat_interval=repeat_interval
    )


class RoutingValues(ValueGroup):
    """Who is told, and when."""

    large_fleet: bool = Field(
        default=False,
        description="single eSIMs without data are tickets; many at once page as ever",
    )
    esim_pages: TimingValues = Field(
        _timing("75s", "30s", "1d"),
        description="each eSIM without data; many that run out within group_wait are one page",
    )
    storms: TimingValues = Field(
        _timing("30s", "1m", "4h"), description="pages about many eSIMs without data"
    )
    esim_tickets: TimingValues = Field(
        _timing("10m", "4h", "4d"), description="tickets about single eSIMs"
    )
    package_tickets: TimingValues = Field(
        _timing("5m", "4h", "1d"), description="tickets about packages"
    )
    pages: TimingValues = Field(_timing("30s", "10m", "4h"), description="all other pages")
    tickets: TimingValues = Field(_timing("1m", "10m", "1d"), description="all other tickets")
    watchdog: TimingValues = Field(_timing("0s", "1m", "5m"), description="the deadman's switch")


class MixinValues(ValueGroup):
    """Values that users may change. Durations are written as in Prometheus."""

    jobs: JobValues = JobValues()
    target_labels: tuple[TargetLabel, ...] = Field(
        (),
        description="labels of targets that tell installations apart; alerts keep them",
    )
    links: LinkValues = LinkValues()
    receivers: ReceiversValues = ReceiversValues()
    keep_firing_for: Duration = Field(
        "10m",
        description="how long an alert fires after its condition is gone, so that a restart does "
        "not end it",
    )
    pending: dict[str, Duration] = Field(
        {},
        description="by the name of an alert: how long its condition must last before it fires, "
        "if not as shipped, such as EsimReplicaDown: 30m",
    )
    usage: UsageValues = UsageValues()
    severity: SeverityValues = SeverityValues()
    page_for: Duration = Field(
        "9h", description="an eSIM that ran out of data is a page for this long, and then a ticket"
    )
    storm: StormValues = StormValues()
    esims: EsimValues = EsimValues()
    forecast: ForecastValues = ForecastValues()
    expiry: ExpiryValues = ExpiryValues()
    fair_use: FairUseValues = FairUseValues()
    spike: SpikeValues = SpikeValues()
    packages: PackageValues = PackageValues()
    fleet: FleetValues = FleetValues()
    mass: MassValues = MassValues()
    feed: FeedValues = FeedValues()
    exporter: ExporterValues = ExporterValues()
    webhook: WebhookValues = WebhookValues()
    routing: RoutingValues = RoutingValues()
    faster: float = Field(
        1,
        gt=0,
        le=10_000,
        description="every duration is divided by it; only tests and demos change it",
    )

    def duration(self, text: str) -> str:
        """Return a duration divided by ``faster``, as Prometheus writes it."""
        milliseconds = round(parse_duration(text) * 1000 / self.faster)
        return text if self.faster == 1 else f"{milliseconds}ms"

    def expression(self, source: str) -> str:
        """Return PromQL from a source in which ``@group.name`` stands for a value.

        Sources always write durations. Prometheus before version 3 needs a number in some places,
        such as ``> 5h``. There the duration becomes seconds. Lists of labels that begin with
        ``job``, as in ``on (job, vendor)`` and ``by (job, vendor)``, get ``target_labels`` too.
        """
        return _TOKEN.sub(self._token, self.with_target_labels(self.text(source)))

    def with_target_labels(self, expression: str) -> str:
        """Add ``target_labels`` to lists of labels that begin with ``job``."""
        return _TARGET.sub(rf"\1{', '.join(self.target)}", expression)

    @property
    def target(self) -> tuple[str, ...]:
        """Return the labels that tell installations apart."""
        return ("job", *self.target_labels)

    @property
    def target_matchers(self) -> str:
        """Return matchers of an installation for ``printf`` in a template."""
        return ",".join(f"{label}=%q" for label in self.target)

    @property
    def target_values(self) -> str:
        """Return the values for :attr:`target_matchers` in the template of an alert."""
        return " ".join(f"$labels.{label}" for label in self.target)

    def text(self, source: str) -> str:
        """Return a text in which values replace ``@group.name``.

        ``@group.name%`` becomes a percentage. A value may hold names too. Raises
        ``AttributeError`` for an unknown name.
        """
        return _NAME.sub(self._value, _NAME.sub(self._value, source))

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
        return f"{parse_duration(match[0]) / self.faster:.10g}"


_TOKEN: Final = re.compile(
    r"""
    (?P<text>"[^"]*")
    | (?P<window>\[[^]]+\]|\boffset\s+\w+)
    | (?P<number>(?<![\w.:])(?:[0-9]+(?:ms|[smhdwy]))+\b)
    """,
    re.VERBOSE,
)
_DURATION: Final = re.compile(r"(?:[0-9]+(?:ms|[smhdwy]))+")
_NAME: Final = re.compile(r"@([a-z_0-9]+(?:\.[a-z_0-9]+)*)(%?)")
_TARGET: Final = re.compile(r"(\b(?:on|by) \()job\b")
