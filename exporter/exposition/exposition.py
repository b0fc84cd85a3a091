"""The exposition of a fleet: rendered when records change, captured for each scrape.

There are two formats, Prometheus text 0.0.4 and OpenMetrics 1.0. They differ only in the metadata
lines and in the end of the text, so both share the samples.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

from exporter.exposition.deflated_text import DeflatedText, Deflater, ScrapeBody
from exporter.exposition.families import (
    PACKAGE_FAMILIES,
    VENDOR_FAMILIES,
    VendorView,
    attention_families,
    esim_families,
)
from exporter.exposition.family_texts import FamilyTexts
from exporter.exposition.rendering import (
    metadata,
    render_attention,
    render_esims,
    render_totals,
)
from exporter.fleet.attention import shown_attentions
from exporter.fleet.packed_esims import unpack
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

    def __init__(
        self,
        fleet: Fleet,
        info_labels: InfoLabels,
        stale_after: float,
        at_thresholds: Collection[str] = (),
    ) -> None:
        """``at_thresholds`` are the vendors that report no eSIM at intervals."""
        self._fleet = fleet
        self._at_thresholds = at_thresholds
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
            lambda records, families: render_attention(
                shown_attentions([record for _, record in records]), families
            ),
            self._deflater,
            replaces_lines=True,
        )
        self._esims = FamilyTexts(
            fleet.esims.blocks,
            esim_families(info_labels),
            lambda records, families: render_esims(
                [unpack(key, record) for key, (record, *_) in records], families
            ),
            self._deflater,
            replaces_lines=True,
        )
        self._packages = FamilyTexts(
            fleet.totals.packages,
            PACKAGE_FAMILIES,
            # Not self._shard_label: an exposition that refers to itself is not freed at once.
            lambda totals, families: render_totals(totals, families, shard_label),
            self._deflater,
        )
        self._texts: dict[Group, FamilyTexts[Any, Any]] = {
            Group.ATTENTION: self._attention,
            Group.FLEET: self._packages,
            Group.ESIMS: self._esims,
        }
        self._metadata: dict[tuple[str, Format], DeflatedText] = {}

    @property
    def pending(self) -> int:
        """Return how many blocks have changed since they were last rendered."""
        return sum([texts.pending for texts in self._texts.values()])

    def ready(self, groups: Collection[Group] = frozenset(Group)) -> bool:
        """Return whether everything in these groups was rendered once."""
        return all(texts.ready for texts in self._of(groups))

    def note_changes(self, now: float) -> None:
        """Note that what was committed since the last call was committed at ``now``.

        ``now`` is in seconds of a clock that nobody sets.
        """
        for texts in self._texts.values():
            texts.note_changes(now)

    @property
    def oldest(self) -> float | None:
        """Return when the oldest change was noted that is not in the text; ``None`` for none."""
        noted = [oldest for texts in self._texts.values() if (oldest := texts.oldest) is not None]
        return min(noted, default=None)

    def age(self, now: float) -> float:
        """Return the seconds since the oldest change that a scrape at ``now`` would not show."""
        waiting = [
            now - oldest
            for texts in self._texts.values()
            if texts is not self._attention
            and not texts.is_little
            and (oldest := texts.oldest) is not None
        ]
        return max(0.0, *waiting) if waiting else 0.0

    def refresh(self, groups: Collection[Group] = frozenset(Group)) -> Iterator[None]:
        """Render what has changed until now in these groups, pausing after each step."""
        for texts in self._of(groups):
            yield from texts.refresh()

    def refresh_oldest(self) -> Iterator[None]:
        """Render some of what changed first, pausing after each step."""
        waiting = [texts for texts in self._texts.values() if texts.oldest is not None]
        if not waiting:
            return iter(())
        return min(waiting, key=lambda texts: texts.oldest or 0.0).refresh_oldest()

    def refresh_little(self, groups: Collection[Group]) -> Iterator[None]:
        """Render what has changed in these groups if it is little, pausing after each step.

        More than that is left to the background. Pages come from the groups other than ``esims``,
        so these do not wait for the background after a start.
        """
        for texts in self._of(groups):
            pages = texts is self._attention  # whoever has no data is told of at once
            if pages or texts.is_little or (texts is not self._esims and not texts.ready):
                yield from texts.refresh()

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

    def vendor_views(self, now: float) -> list[tuple[str, VendorView]]:
        """Return the view of each vendor at ``now`` (unix seconds), sorted by vendor."""
        fleet = self._fleet
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
                    stale=None
                    if vendor in self._at_thresholds
                    else totals.stale(now, self.stale_after),
                ),
            )
            for vendor, totals in sorted(fleet.totals.vendors.items())
        ]

    def _of(self, groups: Collection[Group]) -> list[FamilyTexts[Any, Any]]:
        return [texts for group, texts in self._texts.items() if group in groups]

    def _vendor_families(self, now: float) -> Iterator[tuple[Family, list[DeflatedText]]]:
        by_key = [((vendor,), view) for vendor, view in self.vendor_views(now)]
        texts = render_totals(by_key, VENDOR_FAMILIES, self._shard_label)
        for family, text in zip(VENDOR_FAMILIES, texts, strict=True):
            yield family, [self._deflater.deflate(text.encode())]

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
            self._metadata[key] = self._deflater.deflate(text.encode())
        return self._metadata[key]


def own_text(text: str, format_: Format) -> ScrapeBody:
    """Return an exposition that holds only the exporter's own text."""
    return ScrapeBody([ending(text, format_, Deflater())])


def ending(exporter: str, format_: Format, deflater: Deflater) -> DeflatedText:
    """Return the end of an exposition: the exporter's own text and, in OpenMetrics, the EOF."""
    end = "# EOF\n" if format_ is Format.OPENMETRICS else ""
    return deflater.deflate((exporter + end).encode())
