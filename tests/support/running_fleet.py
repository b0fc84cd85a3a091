"""A fleet with its storage and its exposition, driven by hand."""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING, Any

from generated_events import SECONDS, START, VENDORS
from memory_storage import MemoryStorage

from exporter.exposition.exposition import Exposition, Format, Group
from exporter.exposition.families import InfoLabels
from exporter.fleet.drafts import Draft, expire_due
from exporter.fleet.fleet import Policy
from exporter.fleet.loading import FleetLoader
from exporter.model.events import Snapshot, Status, StatusEvent, UsageEvent

if TYPE_CHECKING:
    from collections.abc import Collection

    from exporter.exposition.deflated_text import ScrapeBody
    from exporter.model.events import Event
    from exporter.model.merge import Result
    from exporter.model.shards import Shard
    from exporter.storage.contract import Chunk

ARRIVAL = START + SECONDS + 10
"""When the events arrive by default; unix seconds."""

STALE_AFTER = 9 * 3600

STATE = frozenset({Group.ATTENTION, Group.ESIMS, Group.FLEET})

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
        """Load the fleet again from the storage."""
        self.policy = policy or self.policy
        loader = FleetLoader(self.policy, VENDORS, self.shard)
        for chunk in self.storage.chunks():
            loader.take(chunk)
        self.fleet = loader.finish()
        self.exposition = Exposition(self.fleet, self.identity, STALE_AFTER)

    def restarted(self) -> RunningFleet:
        """Return another fleet, loaded from a copy of the storage."""
        storage = MemoryStorage()
        storage.rows, storage.bases = dict(self.storage.rows), copy.copy(self.storage.bases)
        other = RunningFleet(self.policy, self.identity, storage)
        other.now = self.now
        return other

    def restarted_with(self, chunk: Chunk) -> None:
        """Load a chunk that may be damaged."""
        FleetLoader(self.policy, VENDORS).take(chunk)

    def take(self, *events: Event) -> list[Result]:
        """Take the events as one batch."""
        draft = Draft(self.fleet, self.now)
        results = [draft.merge(event) for event in events]
        self.publish(draft)
        return results

    def lose(self, *events: Event) -> None:
        """Merge a batch whose commit fails."""
        draft = Draft(self.fleet, self.now)
        for event in events:
            draft.merge(event)
        draft.changes()

    def expire(self, most: int = 500) -> None:
        """Expire everything that is due."""
        while self.publish(expire_due(self.fleet, self.now, most)):
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
    """Return the samples of a text, read with little code of our own."""
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


def usage(esim_id: str = "e", time: int = 0, used: int = 10, **values: Any) -> UsageEvent:
    snapshot = values.pop("snapshot", None) or Snapshot(data_allowed=100, data_remaining=100 - used)
    package_id = values.pop("package_id", "p")
    return UsageEvent("roamify", START + time, esim_id, package_id, snapshot, **values)


def status(value: Status, esim_id: str = "e", time: int = 0) -> StatusEvent:
    return StatusEvent("roamify", START + time, esim_id, value)


def consumed(running: RunningFleet, esim_id: str = "e") -> float | None:
    labels = {"vendor": "roamify", "esim_id": esim_id, "package_id": "p"}
    return running.samples().get(series("esim_data_consumed_bytes_total", **labels))


def fleet_sample(running: RunningFleet, name: str, **labels: str) -> float | None:
    return running.samples().get(series(name, vendor="roamify", **labels))


def fleet_consumed(running: RunningFleet) -> float | None:
    return fleet_sample(running, "esim_fleet_data_consumed_bytes_total", package_id="p")


def shown(running: RunningFleet) -> list[str]:
    """Return the eSIMs that have series."""
    samples = running.samples()
    return sorted({dict(labels)["esim_id"] for name, labels in samples if name == "esim_status"})


def capped(cap: int, *esim_ids: str) -> RunningFleet:
    running = RunningFleet(Policy(max_esims=cap))
    for esim_id in esim_ids:
        running.take(usage(esim_id))
    return running


def expired() -> RunningFleet:
    """Return a fleet whose only allowance has consumed 40 and expired."""
    running = RunningFleet()
    running.take(usage(used=40), status(Status.EXPIRED, time=5))
    running.now += 86400
    running.expire()
    return running
