"""The exposition: text made when something changes, joined when somebody asks.

Of each block of records and each family one *piece* is kept, its lines deflated, and
nothing else of the text.

Formats: Prometheus text 0.0.4 and OpenMetrics 1.0. They differ in the metadata lines only.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from exporter.exposition.families import (
    PACKAGE_FAMILIES,
    VENDOR_FAMILIES,
    VendorView,
    esim_families,
)
from exporter.exposition.pieces import Deflater, Run, Scrape
from exporter.exposition.rendering import metadata, render_esims, render_packages, render_vendors
from exporter.exposition.sheets import FamilyTexts
from exporter.fleet.compact_store import unpacked
from exporter.model.records import Balance, PartnerNotice

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from exporter.exposition.families import Family
    from exporter.exposition.info_labels import InfoLabels
    from exporter.fleet.fleet import Fleet


class Group(StrEnum):
    """What a scrape may choose from with ``collect[]`` and ``exclude[]``."""

    ESIMS = "esims"
    FLEET = "fleet"
    EXPORTER = "exporter"


class Format(StrEnum):
    """Exposition formats by content type."""

    TEXT = "text/plain; version=0.0.4; charset=utf-8"
    OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


class Exposition:
    """The text of a fleet, kept up to date by :meth:`refresh`."""

    def __init__(self, fleet: Fleet, identity: InfoLabels, stale_after: float) -> None:
        self._fleet = fleet
        self._deflater = Deflater()
        self.stale_after = stale_after
        """Seconds after which an ACTIVATED eSIM counts as stale."""
        shard = fleet.shard
        label = f',shard="{shard.number}"' if shard and not shard.whole else ""
        self._shard = label
        """Label of the group ``fleet`` where it is that of one shard of several."""
        families = esim_families(identity)
        self._esims = FamilyTexts(
            fleet.esims.blocks,
            families,
            lambda block, families: render_esims(unpacked(block), families),
            self._deflater,
        )
        self._packages = FamilyTexts(
            fleet.totals.packages,
            PACKAGE_FAMILIES,
            # Of the label alone: what refers to itself is not freed when it is replaced.
            lambda block, families: render_packages(block.records, families, label),
            self._deflater,
        )
        self._metadata: dict[tuple[str, Format], Run] = {}

    @property
    def pending(self) -> int:
        """Return how many blocks have changed since they were last rendered."""
        return self._esims.pending + self._packages.pending

    def refresh(self, groups: Collection[Group] = frozenset(Group)) -> Iterator[None]:
        """Render what has changed until now in these groups, pausing after each block."""
        if Group.ESIMS in groups:
            yield from self._esims.refresh()
        if Group.FLEET in groups:
            yield from self._packages.refresh()

    def scrape(
        self, groups: Collection[Group], format_: Format, now: float, exporter: str = ""
    ) -> Scrape:
        """Capture these groups at ``now`` (unix seconds).

        ``exporter`` is the text of the group of that name in the same format.
        """
        runs: list[Run] = []
        if Group.ESIMS in groups:
            runs += self._join(self._esims.capture(), format_)
        if Group.FLEET in groups:
            fleet = [*self._packages.capture(), *self._vendor_columns(now)]
            runs += self._join(sorted(fleet, key=lambda column: column[0].name), format_)
        runs.append(closing(exporter if Group.EXPORTER in groups else "", format_, self._deflater))
        return Scrape(runs)

    def _vendor_columns(self, now: float) -> Iterator[tuple[Family, list[Run]]]:
        views = vendor_views(self._fleet, now, self.stale_after)
        texts = render_vendors(views, VENDOR_FAMILIES, self._shard)
        for family, text in zip(VENDOR_FAMILIES, texts, strict=True):
            yield family, [self._deflater.run(text)]

    def _join(self, columns: Iterable[tuple[Family, list[Run]]], format_: Format) -> list[Run]:
        runs: list[Run] = []
        for family, column in columns:
            runs.append(self._header(family, format_))
            runs += column
        return runs

    def _header(self, family: Family, format_: Format) -> Run:
        key = (family.name, format_)
        if key not in self._metadata:
            text = metadata(family, openmetrics=format_ is Format.OPENMETRICS)
            self._metadata[key] = self._deflater.run(text)
        return self._metadata[key]


def own_text(text: str, format_: Format) -> Scrape:
    """Return an exposition of the exporter's own text alone."""
    return Scrape([closing(text, format_, Deflater())])


def closing(exporter: str, format_: Format, deflater: Deflater) -> Run:
    """Return what ends an exposition: the exporter's own text and, in OpenMetrics, the EOF."""
    return deflater.run(exporter + ("# EOF\n" if format_ is Format.OPENMETRICS else ""))


def vendor_views(fleet: Fleet, now: float, stale_after: float) -> list[tuple[str, VendorView]]:
    """Return what the vendors' families are read from, sorted by vendor."""
    registers = fleet.registers.values()
    balances = sorted((r for r in registers if isinstance(r, Balance)), key=lambda b: b.key)
    notices = sorted((r for r in registers if isinstance(r, PartnerNotice)), key=lambda n: n.key)
    locations = sorted(fleet.totals.locations.items())
    return [
        (
            vendor,
            VendorView(
                totals=totals,
                locations=tuple((place, n) for (v, place), n in locations if v == vendor),
                balances=tuple(b for b in balances if b.vendor == vendor),
                notices=tuple(n for n in notices if n.vendor == vendor),
                stale=totals.stale(now, stale_after),
            ),
        )
        for vendor, totals in sorted(fleet.totals.vendors.items())
    ]
