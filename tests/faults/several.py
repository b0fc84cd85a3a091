"""Several replicas on one PostgreSQL under load, and the checks of what they show."""

from __future__ import annotations

import re
import signal
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from evidence import kept
from feeding import shown_steps
from measuring import SHARE, grouped
from running import Serving, serving, until
from spreading import EXPIRING, NO_ANSWER, Load

from exporter.exposition.exposition import Exposition, Format, Group
from exporter.exposition.families import InfoLabels
from exporter.fleet.drafts import Draft
from exporter.fleet.fleet import Fleet, Policy
from exporter.model.shards import Shard
from exporter.storage.postgres.storage import PostgresStorage
from exporter.vendors import roamify

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from measuring import Chance
    from spreading import Report

COUNT = 3 if SHARE else 2
"""Number of replicas."""

LEAVE_SOON = "--retention.terminal=1s"
"""A short retention, so that expired eSIMs leave during the test."""

STALE_AFTER = 9 * 3600

_CONSUMED = re.compile(r"^esim_fleet_data_consumed_bytes_total\{[^}]*\} (\d+)$", re.MULTILINE)


@dataclass
class Replicas:
    """Several ``serve`` processes on one database, the load on them, and what the checks found."""

    url: str
    load: Load
    stack: ExitStack
    folder: Path
    servers: list[Serving] = field(default_factory=list)
    rounds: int = 0
    missing: list[str] = field(default_factory=list)
    """eSIMs of which a replica or the database lacked an acknowledged event."""
    twice: list[str] = field(default_factory=list)
    """eSIMs that counted more than was sent, or the sum over all if it did."""
    slowest: float = 0.0
    """Most seconds from the last acknowledgement until all replicas showed the same."""

    def start(self, place: int) -> None:
        """Start a replica in the place of one that was killed."""
        self._begin(place)
        self._await(place)

    def start_all(self) -> None:
        for place in range(COUNT):
            self._begin(place)
        for place in range(COUNT):
            self._await(place)

    def kill(self, place: int) -> None:
        """Kill a replica. The senders go on to send to it."""
        self.servers[place].kill()

    def up(self) -> bool:
        """Return whether all replicas can write."""
        return all(server.own()["storage_up"] for server in self.servers)

    async def check(self) -> None:
        """Compare all replicas and the database with what was sent. All of it was acknowledged."""
        began = time.monotonic()
        sent = self.load.sent
        assert self.load.acknowledged() == sent
        self.rounds += 1
        text = self.settled()
        self.slowest = max(self.slowest, time.monotonic() - began)
        stored, damaged = await kept(await PostgresStorage.open(self.url, Shard()))
        assert damaged == []
        self._compare(shown_steps(text))
        self._compare({esim_id: step for esim_id, (step, _) in stored.items()})
        self._compare({esim_id: counter for esim_id, (_, counter) in stored.items()})
        total, wanted = sum(map(int, _CONSUMED.findall(text))) >> 20, sum(sent.values())
        if total != wanted:
            (self.missing if total < wanted else self.twice).append("the sum over all")

    async def check_at_last(self) -> None:
        """Report the expired eSIMs again, and compare with a merge of all events in memory."""
        for place, esim_id in enumerate(EXPIRING):
            (report,) = self.load.report(esim_id, status="ACTIVATED")
            answer = self.servers[place % COUNT].post(report.body)
            self.load.note(report, answer.status_code, hasty=False)
            assert answer.status_code == 200
        await self.check()
        assert self.load.hasty == 0
        assert set(self.load.codes) <= {200, 503, NO_ANSWER}
        assert self.servers[0].state() == merged(self.load.taken)

    def settled(self) -> str:
        """Wait until all replicas show the same text, and return it."""

        def same() -> str:
            texts = {server.state() for server in self.servers}
            return texts.pop() if len(texts) == 1 else ""

        return until(same)

    def summary(self) -> str:
        load = self.load
        return (
            f"{COUNT} replicas, {grouped(load.deliveries)} deliveries, "
            f"{load.deliveries / load.seconds:.0f} a second, "
            f"{grouped(len(load.taken))} acknowledged, {grouped(load.codes[503])} refused with "
            f"503, {grouped(load.codes[NO_ANSWER])} not answered, {len(self.missing)} missing, "
            f"{len(self.twice)} counted twice, none acknowledged for {load.silence:.1f} s at most, "
            f"the same text after {self.slowest:.2f} s at most, seed {load.chance.number}"
        )

    def _compare(self, found: dict[str, int]) -> None:
        sent = self.load.sent
        self.missing += [e for e, s in sent.items() if found.get(e, 0) < s and e not in EXPIRING]
        self.twice += [e for e, s in found.items() if s > sent.get(e, 0)]

    def _begin(self, place: int) -> None:
        flags = (f"--storage.url={self.url}", LEAVE_SOON)
        server = self.stack.enter_context(serving(self.folder, *flags, ready=""))
        self.servers[place : place + 1] = [server]

    def _await(self, place: int) -> None:
        self.servers[place].wait_until_ready()
        self.load.addresses[place : place + 1] = [address_of(self.servers[place])]


def address_of(server: Serving) -> str:
    return server.public.removeprefix("http://")


@contextmanager
def replicas(folder: Path, url: str, chance: Chance) -> Iterator[Replicas]:
    """Run replicas on a database."""
    with ExitStack() as stack:
        several = Replicas(url, Load(chance, []), stack, folder)
        several.start_all()
        try:
            yield several
        finally:
            for server in several.servers:
                if server.process.poll() is None:
                    server.send(signal.SIGCONT)


def merged(reports: Iterable[Report]) -> str:
    """Return the text of a fleet in memory after these events, one after the other."""
    now = time.time()
    fleet = Fleet(Policy(), (roamify.VENDOR,))
    for report in reports:
        draft = Draft(fleet, now)
        draft.merge(roamify.parse(report.body, now))
        draft.changes()
        fleet.publish(draft)
    groups = (Group.ATTENTION, Group.ESIMS, Group.FLEET)
    exposition = Exposition(fleet, InfoLabels(), STALE_AFTER)
    for _ in exposition.refresh(groups):
        pass
    return b"".join(exposition.scrape(groups, Format.TEXT, now, "").identity()).decode()
