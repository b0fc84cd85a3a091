"""The exposition of a fleet: rendered when records change, captured for each scrape.

There are two formats, Prometheus text 0.0.4 and OpenMetrics 1.0. They differ only in the metadata
lines and in the end of the text, so both share the samples.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from exporter.exposition.deflated_text import DeflatedText, Deflater, FamilyTexts, ScrapeBody
from exporter.exposition.families import (
    PACKAGE_FAMILIES,
    VENDOR_FAMILIES,
    VendorView,
    attention_families,
    esim_families,
)
from exporter.exposition.rendering import (
    metadata,
    render_attention,
    render_esims,
    render_totals,
)
from exporter.fleet.attention import shown_attentions
from exporter.fleet.compact_store import unpack_block
from exporter.model.records import AccountBalance, PartnerNotice

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from exporter.exposition.families import Family, InfoLabels
    from exporter.fleet.fleet import Fleet


class Group(StrEnum):
    """Groups of families. A scrape chooses them with ``collect[]`` and ``exclude[]``."""

    ATTENTION = "attention"
    ESIMS = "esims"
    FLEET = "fleet"
    EXPORTER = "exporter"


class Format(StrEnum):
    """The exposition formats, named by their content types."""

    TEXT = "text/plain; version=0.0.4; charset=utf-8"
    OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


class Exposition:
    """The text of a fleet, kept up to date by :meth:`refresh`."""

    def __init__(self, fleet: Fleet, info_labels: InfoLabels, stale_after: float) -> None:
        self._fleet = fleet
        self._deflater = Deflater()
        self.stale_after = stale_after
        """Seconds after which an ACTIVATED eSIM counts as stale."""
        shard = fleet.shard
        shard_label = f',shard="{shard.number}"' if shard and not shard.is_only else ""
        self._shard_label = shard_label
        """Further label of the group ``fleet``, if this process has one shard of several."""
        self._attention = FamilyTexts(
            fleet.attention.shown,
            attention_families(info_labels),
            lambda block, families: render_attention(shown_attentions(block), families),
            self._deflater,
        )
        families = esim_families(info_labels)
        self._esims = FamilyTexts(
            fleet.esims.blocks,
            families,
            lambda block, families: render_esims(unpack_block(block), families),
            self._deflater,
        )
        self._packages = FamilyTexts(
            fleet.totals.packages,
            PACKAGE_FAMILIES,
            # Not self._shard_label: an exposition that refers to itself is not freed at once.
            lambda block, families: render_totals(
                zip(block.keys, block.records, strict=True), families, shard_label
            ),
            self._deflater,
        )
        self._metadata: dict[tuple[str, Format], DeflatedText] = {}

    @property
    def pending(self) -> int:
        """Return how many blocks have changed since they were last rendered."""
        return self._attention.pending + self._esims.pending + self._packages.pending

    def refresh(self, groups: Collection[Group] = frozenset(Group)) -> Iterator[None]:
        """Render what has changed until now in these groups, pausing after each block."""
        if Group.ATTENTION in groups:
            yield from self._attention.refresh()
        if Group.ESIMS in groups:
            yield from self._esims.refresh()
        if Group.FLEET in groups:
            yield from self._packages.refresh()

    def scrape(
        self, groups: Collection[Group], format_: Format, now: float, exporter: str = ""
    ) -> ScrapeBody:
        """Capture these groups at ``now`` (unix seconds).

        ``exporter`` is the text of the group ``exporter`` in the same format.
        """
        texts: list[DeflatedText] = []
        if Group.ATTENTION in groups:
            texts += self._under_headers(self._attention.capture(), format_)
        if Group.ESIMS in groups:
            texts += self._under_headers(self._esims.capture(), format_)
        if Group.FLEET in groups:
            fleet = [*self._packages.capture(), *self._vendor_families(now)]
            texts += self._under_headers(sorted(fleet, key=lambda entry: entry[0].name), format_)
        texts.append(ending(exporter if Group.EXPORTER in groups else "", format_, self._deflater))
        return ScrapeBody(texts)

    def _vendor_families(self, now: float) -> Iterator[tuple[Family, list[DeflatedText]]]:
        views = vendor_views(self._fleet, now, self.stale_after)
        by_key = [((vendor,), view) for vendor, view in views]
        texts = render_totals(by_key, VENDOR_FAMILIES, self._shard_label)
        for family, text in zip(VENDOR_FAMILIES, texts, strict=True):
            yield family, [self._deflater.deflate(text)]

    def _under_headers(
        self, families: Iterable[tuple[Family, list[DeflatedText]]], format_: Format
    ) -> list[DeflatedText]:
        texts: list[DeflatedText] = []
        for family, its_texts in families:
            texts.append(self._header(family, format_))
            texts += its_texts
        return texts

    def _header(self, family: Family, format_: Format) -> DeflatedText:
        key = (family.name, format_)
        if key not in self._metadata:
            text = metadata(family, openmetrics=format_ is Format.OPENMETRICS)
            self._metadata[key] = self._deflater.deflate(text)
        return self._metadata[key]


def own_text(text: str, format_: Format) -> ScrapeBody:
    """Return an exposition that holds only the exporter's own text."""
    return ScrapeBody([ending(text, format_, Deflater())])


def ending(exporter: str, format_: Format, deflater: Deflater) -> DeflatedText:
    """Return the end of an exposition: the exporter's own text and, in OpenMetrics, the EOF."""
    return deflater.deflate(exporter + ("# EOF\n" if format_ is Format.OPENMETRICS else ""))


def vendor_views(fleet: Fleet, now: float, stale_after: float) -> list[tuple[str, VendorView]]:
    """Return the view of each vendor, sorted by vendor."""
    partners = sorted(fleet.partners.values(), key=lambda r: r.key)
    balances = [r for r in partners if isinstance(r, AccountBalance)]
    notices = [r for r in partners if isinstance(r, PartnerNotice)]
    locations = fleet.totals.locations
    return [
        (
            vendor,
            VendorView(
                totals=totals,
                locations=tuple(sorted(locations[vendor].items())),
                balances=tuple(b for b in balances if b.vendor == vendor),
                notices=tuple(n for n in notices if n.vendor == vendor),
                stale=totals.stale(now, stale_after),
            ),
        )
        for vendor, totals in sorted(fleet.totals.vendors.items())
    ]
