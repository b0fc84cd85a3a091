"""A fleet with its storage and its exposition, driven by hand."""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING

from generated_events import SECONDS, START, VENDORS
from memory_storage import MemoryStorage

from exporter.exposition.exposition import Exposition, Format, Group
from exporter.exposition.info_labels import InfoLabels
from exporter.fleet.fleet import Policy
from exporter.fleet.loading import FleetLoader

if TYPE_CHECKING:
    from collections.abc import Collection

    from exporter.exposition.deflated_text import ScrapeBody
    from exporter.fleet.drafts import Draft
    from exporter.model.events import Event
    from exporter.model.merge import Result
    from exporter.model.shards import Shard
    from exporter.storage.contract import Chunk

ARRIVAL = START + SECONDS + 10
"""When the events arrive, unless told otherwise; unix seconds."""

STALE_AFTER = 9 * 3600

STATE = frozenset({Group.ESIMS, Group.FLEET})

Series = tuple[str, tuple[tuple[str, str], ...]]
"""Name and labels, sorted."""

_LINE = re.compile(r"(\w+)\{(.*)\} (\S+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_ESCAPE = re.compile(r"\\(.)")


class RunningFleet:
    def __init__(
        self,
        policy: Policy | None = None,
        identity: InfoLabels | None = None,
        storage: MemoryStorage | None = None,
        shard: Shard | None = None,
    ) -> None:
        self.shard = shard
        self.storage = storage or MemoryStorage()
        self.now: float = ARRIVAL
        self.policy = policy or Policy()
        self.identity = identity or InfoLabels()
        self.load()

    def load(self, policy: Policy | None = None) -> None:
        """Begin again from what is stored."""
        self.policy = policy or self.policy
        restoration = FleetLoader(self.policy, VENDORS, self.shard)
        for chunk in self.storage.chunks():
            restoration.take(chunk)
        self.fleet = restoration.finish()
        self.exposition = Exposition(self.fleet, self.identity, STALE_AFTER)

    def restarted(self) -> RunningFleet:
        """Return another one, begun from what is stored."""
        storage = MemoryStorage()
        storage.rows, storage.bases = dict(self.storage.rows), copy.copy(self.storage.bases)
        other = RunningFleet(self.policy, self.identity, storage)
        other.now = self.now
        return other

    def restarted_with(self, chunk: Chunk) -> None:
        """Begin from a chunk that may not be good."""
        FleetLoader(self.policy, VENDORS).take(chunk)

    def take(self, *events: Event) -> list[Result]:
        """Take the events as one batch."""
        draft = self.fleet.draft(self.now)
        results = [draft.merge(event) for event in events]
        self.publish(draft)
        return results

    def lose(self, *events: Event) -> None:
        """Merge a batch whose commit fails."""
        draft = self.fleet.draft(self.now)
        for event in events:
            draft.merge(event)
        draft.changes()

    def expire(self, most: int = 500) -> None:
        """Let everything that is due leave."""
        while self.publish(self.fleet.expire(self.now, most)):
            pass

    def publish(self, draft: Draft) -> bool:
        changes = draft.changes()
        assert self.storage.apply(changes) == ()
        self.fleet.publish(draft)
        return bool(changes)

    def scrape(
        self, groups: Collection[Group] = STATE, format_: Format = Format.TEXT, exporter: str = ""
    ) -> ScrapeBody:
        for _ in self.exposition.refresh(groups):
            pass
        return self.exposition.scrape(groups, format_, self.now, exporter)

    def text(self, *groups: Group, format_: Format = Format.TEXT) -> str:
        return b"".join(self.scrape(groups or STATE, format_).identity()).decode()

    def samples(self) -> dict[Series, float]:
        return samples_of(self.text())


def samples_of(text: str) -> dict[Series, float]:
    """Return the samples of a text, read with as little code as possible."""
    samples: dict[Series, float] = {}
    for line in text.split("\n"):
        if line and not line.startswith("#"):
            match = _LINE.fullmatch(line)
            assert match, line
            name, labels, value = match.groups()
            series = (
                name,
                tuple(sorted((label, _unescape(v)) for label, v in _LABEL.findall(labels))),
            )
            assert series not in samples, series
            samples[series] = float(value) if "." in value or "e" in value else int(value)
    return samples


def counters_of(samples: dict[Series, float]) -> dict[Series, float]:
    return {series: value for series, value in samples.items() if series[0].endswith("_total")}


def series(name: str, **labels: str) -> Series:
    return (name, tuple(sorted(labels.items())))


def _unescape(value: str) -> str:
    return _ESCAPE.sub(lambda found: "\n" if found[1] == "n" else found[1], value)
