"""Rendering: records as lines of the exposition formats.

``render_esims`` runs over a block of eSIMs whenever one of them changed. First it builds the
labels that all series of an allowance share, then the lines of one family after another. Rendering
eSIM by eSIM would take three times as long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exporter.exposition.families import Family, MetricType, SeriesLevel, VendorView

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from exporter.fleet.aggregates import PackageTotals
    from exporter.model.attention import Attention
    from exporter.model.records import Esim

_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})


Subjects = list[tuple[str, Any]]
"""The records or sums that samples are read from, each with the first labels of its series."""


def escape(value: str) -> str:
    """Return a label value as both formats write it: backslash, quote and newline escaped."""
    # Few values hold any of these, and searching for them is quicker than translating.
    if "\\" in value or '"' in value or "\n" in value:
        return value.translate(_ESCAPES)
    return value


def metadata(family: Family, *, openmetrics: bool) -> str:
    """Return the metadata lines of a family.

    OpenMetrics names a counter's family without the ``_total`` of its samples. The help
    texts hold no backslash and no newline, so nothing is escaped in either format.
    """
    name = family.name
    if openmetrics and family.type is MetricType.COUNTER:
        name = name.removesuffix("_total")
    return f"# HELP {name} {family.help}\n# TYPE {name} {family.type}\n"


def render_esims(esims: Iterable[Esim], families: tuple[Family, ...]) -> list[str]:
    """Return the lines of each family for eSIMs, which come in the order of their keys."""
    of_esims: Subjects = []
    of_allowances: Subjects = []
    for esim in esims:
        labels = _esim_labels(esim)
        of_esims.append((labels, esim))
        of_allowances += [
            (f'{labels},package_id="{escape(allowance.package_id)}"', allowance)
            for allowance in esim.allowances
        ]
    subjects = {SeriesLevel.ESIM: of_esims, SeriesLevel.ALLOWANCE: of_allowances}
    return [_lines(family, subjects[family.level]) for family in families]


def render_attention(attentions: Iterable[Attention], families: tuple[Family, ...]) -> list[str]:
    """Return the lines of each family for eSIMs that need attention, sorted by their keys."""
    subjects: Subjects = [(_esim_labels(each), each) for each in attentions]
    return [_lines(family, subjects) for family in families]


def render_totals(
    totals: Iterable[tuple[tuple[str, ...], PackageTotals | VendorView]],
    families: tuple[Family, ...],
    common: str = "",
) -> list[str]:
    """Return the lines of each family for packages or vendors, which come with their keys, sorted.

    ``common`` holds further labels of every series, with a comma in front.
    """
    subjects: Subjects = []
    names = families[0].level.value
    for key, total in totals:
        labels = [f'{name}="{escape(part)}"' for name, part in zip(names, key, strict=True)]
        subjects.append((",".join(labels) + common, total))
    return [_lines(family, subjects) for family in families]


def _esim_labels(esim: Esim | Attention) -> str:
    return f'vendor="{escape(esim.vendor)}",esim_id="{escape(esim.esim_id)}"'


def _lines(family: Family, subjects: Subjects) -> str:
    """Return the lines of a family for subjects of its level."""
    opening = family.name + "{"
    if value_of := family.value:
        return "".join(
            [
                f"{opening}{labels}}} {value}\n"
                for labels, subject in subjects
                if (value := value_of(subject)) is not None
            ]
        )
    samples_of = family.samples
    assert samples_of
    names = [f',{name}="' for name in family.own_labels]
    if len(names) == 1:  # written out, as most have one
        (name,) = names
        return "".join(
            [
                f'{opening}{labels}{name}{escape(own)}"}} {value}\n'
                for labels, subject in subjects
                for (own,), value in samples_of(subject)
            ]
        )
    return "".join(
        [
            f"{opening}{labels}{_own(names, own)}}} {value}\n"
            for labels, subject in subjects
            for own, value in samples_of(subject)
        ]
    )


def _own(names: list[str], values: Sequence[str]) -> str:
    return "".join([f'{name}{escape(value)}"' for name, value in zip(names, values, strict=True)])
