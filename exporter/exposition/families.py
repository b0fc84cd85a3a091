"""Every metric family of the groups ``attention``, ``esims`` and ``fleet``, in one table.

A family has a *level*: the kind of thing its series are about, which gives their first labels.
Some families have further labels of their own. The headers, the rendering and the documentation
are made from this table. Base units are bytes and seconds.

How a change here affects cardinality: a family of level ALLOWANCE adds one series for each package
of each eSIM. A family of level ESIM adds one for each eSIM: 100,000 series in a fleet of that size.
A family of level PACKAGE or VENDOR adds few.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from exporter.model.iccid_hash import iccid_hash
from exporter.model.records import STATUSES, AccountBalance, Allowance, PartnerNotice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from exporter.fleet.aggregates import PackageTotals, VendorTotals
    from exporter.model.attention import Attention, OutOfData
    from exporter.model.records import Esim

InfoLabel = Literal["reference_id", "iccid", "iccid_hash"]

INFO_LABELS: tuple[InfoLabel, ...] = get_args(InfoLabel)
"""Every label that an operator can choose, in the order in which labels are written."""

DEFAULT_INFO_LABELS: tuple[InfoLabel, ...] = ("reference_id",)


@dataclass(frozen=True, slots=True)
class InfoLabels:
    """The labels of ``esim_info`` that the operator chose.

    An ICCID identifies a person's SIM card, and every notification repeats the labels. So the
    ICCID is off by default. A hash made with a key can join series, but does not reveal the ICCID.
    """

    labels: tuple[InfoLabel, ...] = DEFAULT_INFO_LABELS
    hash_key: bytes = b""
    """Key of the HMAC-SHA256 for ``iccid_hash``. The label holds its first 32 hex digits."""

    def samples(self, esim: Esim | Attention) -> Iterable[tuple[Sequence[str], float]]:
        """Return the sample of ``esim_info``."""
        yield [self._value(label, esim) for label in self.labels], 1

    def names(self, esim: Esim) -> dict[str, str]:
        """Return the labels of ``esim_info`` with their values."""
        return {label: self._value(label, esim) for label in self.labels}

    def _value(self, label: InfoLabel, esim: Esim | Attention) -> str:
        if label == "reference_id":
            return esim.reference_id
        if label == "iccid" or not esim.iccid:
            return esim.iccid
        return iccid_hash(self.hash_key, esim.iccid)


class SeriesLevel(Enum):
    """The kind of thing that series are about, with the labels that name it."""

    ALLOWANCE = ("vendor", "esim_id", "package_id")
    ESIM = ("vendor", "esim_id")
    PACKAGE = ("vendor", "package_id")
    VENDOR = ("vendor",)


class MetricType(StrEnum):
    """Metric types, as both exposition formats write them."""

    GAUGE = "gauge"
    COUNTER = "counter"


@dataclass(frozen=True, slots=True)
class Family:
    """A metric family: its name, and how its samples are read from a subject.

    A family without labels of its own has a ``value``, which returns its one sample, or ``None``
    for no series. A family with labels of its own has ``samples``, which returns them with the
    values of these labels. The level decides what the subject is: an :class:`Allowance`,
    :class:`Esim`, :class:`PackageTotals` or :class:`VendorView`.
    """

    name: str
    """The name in the text format. A counter's name ends in ``_total``."""
    type: MetricType
    level: SeriesLevel
    help: str
    value: Callable[[Any], float | None] | None = None
    own_labels: tuple[str, ...] = ()
    samples: Callable[[Any], Iterable[tuple[Sequence[str], float]]] | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """Return the names of all labels in the order in which they are written."""
        return (*self.level.value, *self.own_labels)


class VendorView(NamedTuple):
    """What the families of one vendor are read from, at one moment."""

    totals: VendorTotals
    locations: tuple[tuple[str, int], ...]
    balances: tuple[AccountBalance, ...]
    notices: tuple[PartnerNotice, ...]
    stale: int | None
    """ACTIVATED eSIMs that sent nothing for longer than ``--fleet.stale-after``; ``None`` if the
    vendor reports at thresholds only, so that silence says nothing."""


def _gauge(
    name: str, level: SeriesLevel, help_: str, value: Callable[[Any], float | None]
) -> Family:
    return Family(name, MetricType.GAUGE, level, help_, value)


def _counter(
    name: str, level: SeriesLevel, help_: str, value: Callable[[Any], float | None]
) -> Family:
    return Family(name, MetricType.COUNTER, level, help_, value)


def _location_samples(a: Allowance) -> Iterable[tuple[Sequence[str], float]]:
    return (((location,), amount) for location, amount in a.snapshot.locations or ())


def esim_families(info_labels: InfoLabels) -> tuple[Family, ...]:
    """Return the families of the group ``esims``, sorted by name."""
    level = SeriesLevel.ALLOWANCE
    return (
        _gauge(
            *("esim_data_allowed_bytes", level),
            "Data the package allows, as in the newest usage event; absent when unlimited.",
            lambda a: a.snapshot.data_allowed,
        ),
        _counter(
            *("esim_data_consumed_bytes_total", level),
            "Data consumed since the first event; top-ups, renewals and corrections leave it be.",
            lambda a: a.data and a.data.total,
        ),
        _gauge(
            *("esim_data_remaining_bytes", level),
            "Data left, as in the newest usage event; absent when unlimited.",
            lambda a: a.snapshot.data_remaining,
        ),
        _gauge(
            *("esim_data_unlimited", level),
            "Whether the package's data is unlimited (1) or not (0).",
            lambda a: int(a.snapshot.data_unlimited),
        ),
        Family(
            *("esim_info", MetricType.GAUGE, SeriesLevel.ESIM),
            "Names of the eSIM in other systems; always 1.",
            own_labels=info_labels.labels,
            samples=info_labels.samples,
        ),
        _gauge(
            *("esim_last_event_timestamp_seconds", level),
            "Event time of the newest usage event.",
            lambda a: a.time,
        ),
        Family(
            *("esim_location_data_used_bytes", MetricType.GAUGE, level),
            "Data used per location, summed over the usage list of the newest usage event.",
            own_labels=("location",),
            samples=_location_samples,
        ),
        _gauge(
            *("esim_package_end_timestamp_seconds", level),
            "End as the vendor gives it; may be the end of the reporting window.",
            lambda a: a.snapshot.end,
        ),
        _gauge(
            *("esim_package_start_timestamp_seconds", level),
            "Start as the vendor gives it; may be the start of the reporting window.",
            lambda a: a.snapshot.start,
        ),
        _gauge(
            *("esim_sms_allowed", level),
            "SMS the package allows; absent when SMS are not included.",
            lambda a: a.snapshot.sms_allowed,
        ),
        _counter(
            *("esim_sms_consumed_total", level),
            "SMS consumed since the first event.",
            lambda a: a.sms and a.sms.total,
        ),
        _gauge(
            *("esim_sms_remaining", level),
            "SMS left; absent when SMS are not included.",
            lambda a: a.snapshot.sms_remaining,
        ),
        Family(
            *("esim_status", MetricType.GAUGE, SeriesLevel.ESIM),
            "The current status of the eSIM; always 1, only the current one has a series.",
            own_labels=("status",),
            samples=lambda esim: (((esim.status,), 1),),
        ),
        _gauge(
            *("esim_voice_allowed_seconds", level),
            "Voice the package allows; absent when voice is not included.",
            lambda a: a.snapshot.voice_allowed,
        ),
        _counter(
            *("esim_voice_consumed_seconds_total", level),
            "Voice consumed since the first event.",
            lambda a: a.voice and a.voice.total,
        ),
        _gauge(
            *("esim_voice_remaining_seconds", level),
            "Voice left; absent when voice is not included.",
            lambda a: a.snapshot.voice_remaining,
        ),
    )


def attention_families(info_labels: InfoLabels) -> tuple[Family, ...]:
    """Return the families of the group ``attention``, sorted by name.

    Their subject is an :class:`Attention`.
    """
    level = SeriesLevel.ESIM
    return (
        Family(
            *("esim_attention_info", MetricType.GAUGE, level),
            "Names in other systems of an eSIM that needs attention; always 1.",
            own_labels=info_labels.labels,
            samples=info_labels.samples,
        ),
        _gauge(
            *("esim_attention_last_event_timestamp_seconds", level),
            "Event time of the newest usage event of an eSIM that needs attention.",
            lambda a: a.last_event,
        ),
        Family(
            *("esim_attention_out_of_data", MetricType.GAUGE, level),
            "1 for an eSIM without data left in any package; with the one that ran out last.",
            own_labels=("package_id",),
            samples=lambda a: (((out.package_id,), 1) for out in _if_any(a.out_of_data)),
        ),
        Family(
            *("esim_attention_out_of_data_since_timestamp_seconds", MetricType.GAUGE, level),
            "Event time since when an eSIM has no data left.",
            own_labels=("package_id",),
            samples=lambda a: (((out.package_id,), out.since) for out in _if_any(a.out_of_data)),
        ),
        Family(
            *("esim_attention_since_timestamp_seconds", MetricType.GAUGE, level),
            "Event time since when the used share is in its band: 0.75, 0.9 or 1.",
            own_labels=("package_id", "resource"),
            samples=lambda a: (((s.package_id, s.resource), s.since) for s in a.shares),
        ),
        Family(
            *("esim_attention_used_ratio", MetricType.GAUGE, level),
            "Used share of an allowance of which --attention.min-used-ratio or more is used.",
            own_labels=("package_id", "resource"),
            samples=lambda a: (((s.package_id, s.resource), s.ratio) for s in a.shares),
        ),
    )


def _if_any(out: OutOfData | None) -> tuple[OutOfData, ...]:
    return (out,) if out else ()


def _over_threshold(p: PackageTotals) -> Iterable[tuple[Sequence[str], float]]:
    for (resource, percent), count in p.over_threshold.items():
        yield (resource, f"{percent / 100:g}"), count


PACKAGE_FAMILIES: tuple[Family, ...] = (
    Family(
        *("esim_fleet_allowances", MetricType.GAUGE, SeriesLevel.PACKAGE),
        "eSIMs that have the package, by status of the eSIM.",
        own_labels=("status",),
        samples=lambda p: (((status,), p.statuses[status]) for status in STATUSES),
    ),
    Family(
        *("esim_fleet_allowances_over_threshold", MetricType.GAUGE, SeriesLevel.PACKAGE),
        "Allowances of eSIMs not terminal of which at least this share is used.",
        own_labels=("resource", "threshold"),
        samples=_over_threshold,
    ),
    _gauge(
        *("esim_fleet_data_allowed_bytes", SeriesLevel.PACKAGE),
        "Data allowed, summed over limited allowances of eSIMs not terminal.",
        lambda p: p.allowed if p.limited else None,
    ),
    _counter(
        *("esim_fleet_data_consumed_bytes_total", SeriesLevel.PACKAGE),
        "Data consumed by all eSIMs that ever had the package; never falls.",
        lambda p: p.consumed,
    ),
    _gauge(
        *("esim_fleet_data_remaining_bytes", SeriesLevel.PACKAGE),
        "Data left, summed over limited allowances of eSIMs not terminal.",
        lambda p: p.remaining if p.limited else None,
    ),
    _gauge(
        *("esim_fleet_esims_out_of_data", SeriesLevel.PACKAGE),
        "eSIMs not terminal without data left in any package, by the one that ran out last.",
        lambda p: p.out_of_data,
    ),
    Family(
        *("esim_package_info", MetricType.GAUGE, SeriesLevel.PACKAGE),
        "The package's newest name; always 1, one series per package.",
        own_labels=("package_name",),
        samples=lambda p: (((p.name,), 1),),
    ),
)
"""Families of the group ``fleet`` with series per package, sorted by name."""

VENDOR_FAMILIES: tuple[Family, ...] = (
    Family(
        *("esim_fleet_esims", MetricType.GAUGE, SeriesLevel.VENDOR),
        "eSIMs by status, those over the cardinality cap included.",
        own_labels=("status",),
        samples=lambda v: (((status,), v.totals.statuses[status]) for status in STATUSES),
    ),
    _gauge(
        *("esim_fleet_esims_stale", SeriesLevel.VENDOR),
        "ACTIVATED eSIMs of which nothing was received for longer than --fleet.stale-after.",
        lambda v: v.stale,
    ),
    Family(
        *("esim_fleet_location_data_consumed_bytes_total", MetricType.COUNTER, SeriesLevel.VENDOR),
        "Per location, the most ever reported by each allowance, summed; never falls.",
        own_labels=("location",),
        samples=lambda v: (((location,), amount) for location, amount in v.locations),
    ),
    Family(
        *("esim_partner_balance", MetricType.GAUGE, SeriesLevel.VENDOR),
        "Balance of the account at the vendor, as in the newest partner event.",
        own_labels=("currency",),
        samples=lambda v: (((b.currency,), b.balance) for b in v.balances),
    ),
    Family(
        *("esim_partner_balance_threshold", MetricType.GAUGE, SeriesLevel.VENDOR),
        "Balance below which the vendor warns, as in the newest partner event that says so.",
        own_labels=("currency",),
        samples=lambda v: (
            ((b.currency,), b.threshold) for b in v.balances if b.threshold is not None
        ),
    ),
    Family(
        *("esim_partner_last_event_timestamp_seconds", MetricType.GAUGE, SeriesLevel.VENDOR),
        "Event time of the newest partner event of each type.",
        own_labels=("event_type",),
        samples=lambda v: (((n.event_type,), n.time) for n in v.notices),
    ),
)
"""Families of the group ``fleet`` with few series, sorted by name."""
