"""All replicas show what one alone would show, whichever takes an event, in any order."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import TYPE_CHECKING

import pytest
from expected_samples import DAY
from generated_events import SECONDS, START, event_sets
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from running import WAIT, encoded, serving, until
from running import event as delivery
from running_fleet import ARRIVAL, Series, samples_of
from working_intake import Room, at_work, load, text_of

from exporter.errors import Overloaded, StorageUnavailable
from exporter.ingest import intake
from exporter.ingest.admin_commands import AdminCommands
from exporter.model.events import OtherEvent, Status, StatusEvent, UsageEvent
from exporter.model.shards import Shard
from exporter.storage.postgres import storage as postgres_storage
from exporter.storage.postgres.storage import PostgresStorage
from exporter.storage.sqlite.storage import SqliteStorage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from postgres import Postgres
    from running import Serving

    from exporter.model.events import Event
    from exporter.model.records import EsimKey

TICK = 0.01
"""Seconds between two checks of expiry."""

GIVEN = settings(max_examples=8, phases=[Phase.explicit, Phase.reuse, Phase.generate])
"""Without shrinking: which replica is first differs from run to run."""

MAX_OF_SHARDS = ("esim_package_info", "esim_partner_")
"""Families with the same value on every shard."""


@pytest.fixture(scope="module", autouse=True)
def _timing() -> Iterator[None]:
    """Let a busy machine take its time for a commit."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(intake, "MAX_WAIT", WAIT)
        patch.setattr(postgres_storage, "TIMEOUT", WAIT)
        yield


@pytest.fixture(scope="module")
def new_url(postgres: Postgres) -> Callable[[], str]:
    """Return a function that makes an empty schema and returns its URL."""
    database = postgres.new_database()
    numbers = count()

    def schema() -> str:
        name = f"place{next(numbers)}"
        postgres.execute(f"CREATE SCHEMA {name}", database)
        return f"{database}?search_path={name}"

    return schema


@st.composite
def large_sets(draw: st.DrawFn) -> list[Event]:
    """Return events of several sets, each with eSIMs of its own.

    So no allowance gets more samples than its window holds.
    """
    events: list[Event] = []
    for number, of in enumerate(draw(st.lists(event_sets, min_size=2, max_size=5))):
        for event in of:
            if isinstance(event, (UsageEvent, StatusEvent)):
                events.append(event._replace(esim_id=f"{event.esim_id}-{number}"))
            else:
                events.append(event)
    return events


def later(events: Sequence[Event], seconds: int) -> list[Event]:
    """Return the events with times some seconds later."""
    return [e._replace(time=e.time + seconds) for e in events if not isinstance(e, OtherEvent)]


def spread(events: Sequence[Event], of: int, chance: random.Random) -> list[list[Event]]:
    """Return the events for each replica, in any order. Every event goes to at least one."""
    sent: list[list[Event]] = [[] for _ in range(of)]
    for event in events:
        for _ in range(chance.choice((1, 1, 1, 2, 3))):
            sent[chance.randrange(of)].append(event)
    for each in sent:
        chance.shuffle(each)
    return sent


async def send(room: Room, events: list[Event], chance: random.Random) -> None:
    """Deliver events, a few at a time, until each has a final answer."""
    waiting = list(events)
    while waiting:
        size = chance.randint(1, 6)
        batch, waiting = waiting[:size], waiting[size:]
        answers = await asyncio.gather(*map(room.submit, batch), return_exceptions=True)
        for event, answer in zip(batch, answers, strict=True):
            if isinstance(answer, (Overloaded, StorageUnavailable)):
                waiting.append(event)  # the machine is busy; the vendor would send it again
            elif isinstance(answer, BaseException):
                raise answer


async def deliver(rooms: Sequence[Room], events: Sequence[Event], chance: random.Random) -> None:
    sent = spread(events, len(rooms), chance)
    senders = [send(*each, chance) for each in zip(rooms, sent, strict=True)]
    await asyncio.wait_for(asyncio.gather(*senders), WAIT)


async def settle(rooms: Sequence[Room]) -> None:
    """Wait until nothing is due, and every replica has followed the others up to now."""

    async def reached() -> None:
        while any(room.state.fleet.any_due(room.now) for room in rooms):  # noqa: ASYNC110  # no event
            await asyncio.sleep(0.001)
        begun = monotonic()
        replicas = [room.intake.replica for room in rooms if room.intake.replica]
        for replica in replicas:
            replica.poll_soon()
        while any(replica.followed < begun for replica in replicas):  # noqa: ASYNC110  # no event
            await asyncio.sleep(0.001)

    await asyncio.wait_for(reached(), WAIT)


@asynccontextmanager
async def on_postgres(url: str, shards: Sequence[Shard]) -> AsyncIterator[list[Room]]:
    async with AsyncExitStack() as stack:
        rooms = []
        for shard in shards:
            storage = await PostgresStorage.open(url, shard)
            stack.push_async_callback(storage.close)
            work = at_work(storage, shared=storage, shard=shard, expiry_interval=TICK)
            rooms.append(await stack.enter_async_context(work))
        yield rooms


@asynccontextmanager
async def alone() -> AsyncIterator[list[Room]]:
    with TemporaryDirectory() as folder:
        storage = await SqliteStorage.open(Path(folder) / "a.db")
        async with at_work(storage, expiry_interval=TICK) as room:
            yield [room]
        await storage.close()


class History:
    """Events and deletions for a fleet, whichever replicas take them."""

    def __init__(self, first: list[Event], second: list[Event], seed: int) -> None:
        self.first = first
        self.second = later(second, SECONDS + 2)
        self.chance = random.Random(seed)  # repeatable
        esims = sorted({(e.vendor, e.esim_id) for e in first if isinstance(e, StatusEvent)})
        self.deleted = self.chance.sample(esims, min(2, len(esims)))
        self.passes = self.chance.choice((0.0, 2.0 * DAY, 31.0 * DAY))
        """Seconds between both parts: nothing expires, terminal eSIMs do, or all do."""

    async def happen_to(self, rooms: Sequence[Room]) -> None:
        await deliver(rooms, self.first, self.chance)
        await settle(rooms)
        for key in self.deleted:
            room = self.chance.choice(rooms)
            await delete(room, key)
            # Other replicas may follow both at once.
            revival = StatusEvent(key[0], START + SECONDS + 1, key[1], Status.ACTIVATED)
            await send(room, [revival], self.chance)
            await settle(rooms)
        for room in rooms:
            room.now += self.passes
        await settle(rooms)
        await deliver(rooms, self.second, self.chance)
        await settle(rooms)

    @property
    def now(self) -> float:
        return ARRIVAL + self.passes


async def delete(room: Room, key: EsimKey) -> None:
    await AdminCommands(room.intake, {}, Path("nowhere"), lambda: room.now).delete_esim(key)


histories = st.builds(History, large_sets(), large_sets(), st.integers(0, 2**32))


@GIVEN
@given(history=histories)
async def test_three_replicas_show_what_one_alone_shows(
    new_url: Callable[[], str], history: History
) -> None:
    async with alone() as rooms:
        await history.happen_to(rooms)
        (expected,) = (room.text() for room in rooms)
    url = new_url()
    async with on_postgres(url, [Shard()] * 3) as rooms:
        await history.happen_to(rooms)
        for room in rooms:
            assert room.text() == expected
            assert room.loads == 1
    storage = await PostgresStorage.open(url, Shard())
    assert text_of(await load(storage, shard=Shard()), history.now) == expected
    await storage.close()


@pytest.mark.slow
@GIVEN
@given(history=histories)
async def test_four_shards_together_show_what_one_alone_shows(
    new_url: Callable[[], str], history: History
) -> None:
    async with alone() as rooms:
        await history.happen_to(rooms)
        expected = Parts(rooms[0].text())
    url = new_url()
    shards = [Shard(number, 4) for number in range(4)]
    async with on_postgres(url, shards) as rooms:
        await history.happen_to(rooms)
        shown = [Parts(room.text()) for room in rooms]
    assert together(shown) == (expected.esims, expected.fleet)

    again = []
    for shard in shards:
        storage = await PostgresStorage.open(url, shard)
        again.append(Parts(text_of(await load(storage, shard=shard), history.now)))
        await storage.close()
    assert together(again) == (expected.esims, expected.fleet)


class Parts:
    """An exposition: the lines of its eSIMs, and the fleet's samples without their shard label."""

    def __init__(self, text: str) -> None:
        lines = [line for line in text.splitlines() if not line.startswith("#")]
        self.esims = Counter(line for line in lines if 'esim_id="' in line)
        rest = "\n".join(line for line in lines if 'esim_id="' not in line)
        self.fleet: dict[Series, float] = {
            (name, tuple(label for label in labels if label[0] != "shard")): value
            for (name, labels), value in samples_of(rest).items()
        }


def together(shards: Sequence[Parts]) -> tuple[Counter[str], dict[Series, float]]:
    """Return the sum over shards, as the shipped rules compute it."""
    esims: Counter[str] = Counter()
    fleet: dict[Series, float] = {}
    for shard in shards:
        esims += shard.esims
        for series, value in shard.fleet.items():
            if series[0].startswith(MAX_OF_SHARDS):
                assert fleet.setdefault(series, value) == value
            else:
                fleet[series] = fleet.get(series, 0) + value
    return esims, fleet


def documents(chance: random.Random) -> list[bytes]:
    """Return deliveries about a few eSIMs in the vendor's format."""
    bodies = []
    for number in range(60):
        allowed = chance.choice((1024, 2048))
        document = delivery(
            fresh=False,
            esim_id=f"esim-{number % 6}",
            package_id=chance.choice(("p1", "p2")),
            timestamp=1_700_000_000 + chance.randint(0, 20),
            status=chance.choice(("ACTIVATED", "EXPIRED", "ENABLED")),
            reference_id=chance.choice(("", "a", "b")),
        )
        usage = document["data"]["usage_data"]
        remaining = chance.choice((0, chance.randint(0, allowed)))
        usage |= {"allowed_data": allowed, "remaining_data": remaining}
        bodies.append(encoded(document))
    return bodies


@pytest.mark.slow
def test_two_processes_show_what_one_shows(new_url: Callable[[], str], tmp_path: Path) -> None:
    chance = random.Random(8)  # repeatable
    bodies = documents(chance)
    shared = f"--storage.url={new_url()}"
    with (
        serving(tmp_path) as single,
        serving(tmp_path, shared) as one,
        serving(tmp_path, shared) as other,
    ):
        for body in bodies:
            assert single.post(body).status_code == 200
        expected = single.state()
        split = [[b for b in bodies if chance.random() < 0.6] for _ in range(2)]
        split[0] += set(bodies).difference(*split)
        for each in split:
            chance.shuffle(each)
        with ThreadPoolExecutor() as threads:
            list(threads.map(post_all, (one, other), split))
        until(lambda: one.state() == other.state() == expected)
        assert sum(each.own()["storage_conflicts_total"] for each in (one, other)) > 0


def post_all(process: Serving, bodies: list[bytes]) -> None:
    for body in bodies:
        until(lambda body=body: process.post(body).status_code == 200)  # type: ignore[misc]  # mypy infers None
