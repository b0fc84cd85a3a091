"""Records as lines of the exposition formats.

``render_esims`` runs for every changed eSIM: it builds the labels that the series of an
allowance share once, and looks nothing up by name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exporter.families import Family, Level, Type, VendorView

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from exporter.aggregates import PackageTotals
    from exporter.records import Esim

_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})


def escape(value: str) -> str:
    """Return a label value as both formats write it: backslash, quote and newline escaped."""
    return value.translate(_ESCAPES)


def metadata(family: Family, *, openmetrics: bool) -> str:
    """Return the metadata lines of a family.

    OpenMetrics names a counter's family without the ``_total`` of its samples. The help
    texts hold no backslash and no newline, so neither format has anything to escape.
    """
    name = family.name
    if openmetrics and family.type is Type.COUNTER:
        name = name.removesuffix("_total")
    return f"# HELP {name} {family.help}\n# TYPE {name} {family.type}\n"


def render_esims(esims: Iterable[Esim], families: tuple[Family, ...]) -> list[str]:
    """Return the lines of each family for eSIMs that come in the order of their keys."""
    lines: list[list[str]] = [[] for _ in families]
    of_allowances = _writers(families, Level.ALLOWANCE, lines)
    of_esims = _writers(families, Level.ESIM, lines)
    for esim in esims:
        labels = f'vendor="{escape(esim.vendor)}",esim_id="{escape(esim.esim_id)}"'
        for write in of_esims:
            write(labels, esim)
        for allowance in esim.allowances:
            package_labels = f'{labels},package_id="{escape(allowance.package_id)}"'
            for write in of_allowances:
                write(package_labels, allowance)
    return ["".join(part) for part in lines]


def render_packages(packages: Iterable[PackageTotals], families: tuple[Family, ...]) -> list[str]:
    """Return the lines of each family for packages that come in the order of their keys."""
    lines: list[list[str]] = [[] for _ in families]
    writers = _writers(families, Level.PACKAGE, lines)
    for package in packages:
        package.changed = False
        vendor, package_id = package.key
        labels = f'vendor="{escape(vendor)}",package_id="{escape(package_id)}"'
        for write in writers:
            write(labels, package)
    return ["".join(part) for part in lines]


def render_vendors(
    views: Iterable[tuple[str, VendorView]], families: tuple[Family, ...]
) -> list[str]:
    """Return the lines of each family for vendors that come sorted."""
    lines: list[list[str]] = [[] for _ in families]
    writers = _writers(families, Level.VENDOR, lines)
    for vendor, view in views:
        for write in writers:
            write(f'vendor="{escape(vendor)}"', view)
    return ["".join(part) for part in lines]


def _writers(
    families: tuple[Family, ...], level: Level, lines: list[list[str]]
) -> list[Callable[[str, Any], None]]:
    return [
        _writer(family, part)
        for family, part in zip(families, lines, strict=True)
        if family.level is level
    ]


def _writer(family: Family, lines: list[str]) -> Callable[[str, Any], None]:
    """Return what appends the lines of one subject of a family, given its first labels."""
    opening = family.name + "{"
    append = lines.append
    value_of, samples_of = family.value, family.samples

    if value_of:

        def write(labels: str, subject: Any) -> None:
            value = value_of(subject)
            if value is not None:
                append(f"{opening}{labels}}} {value}\n")

        return write

    assert samples_of
    names = [f',{name}="' for name in family.own_labels]

    def write_samples(labels: str, subject: Any) -> None:
        for own, value in samples_of(subject):
            rest = "".join(
                [f'{name}{escape(text)}"' for name, text in zip(names, own, strict=True)]
            )
            append(f"{opening}{labels}{rest}}} {value}\n")

    return write_samples
