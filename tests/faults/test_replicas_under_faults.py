"""Several replicas on one PostgreSQL: none of them loses events when one is killed or paused."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import postgres
import pytest
from feeding import shown_steps
from measuring import SHARE, times
from postgres import Postgres
from running import serving, until
from several import COUNT, Replicas, replicas
from spreading import EXPIRING, NO_ANSWER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from measuring import Chance, Measured

pytestmark = pytest.mark.slow

PAUSE = 20.0 if SHARE else 4.0
"""Least seconds for which PostgreSQL is paused."""

MORE = 50
"""Events that the others must acknowledge while a replica is paused."""


@pytest.fixture(scope="module")
def database() -> Iterator[Postgres]:
    with postgres.running() as server:
        yield server


@pytest.fixture
def several(database: Postgres, tmp_path: Path, chance: Chance) -> Iterator[Replicas]:
    with replicas(tmp_path, database.new_database(), chance) as running:
        yield running
        database.resume()  # a failed test may have left it paused


def kill_a_replica(several: Replicas, _: Postgres) -> None:
    place = several.load.chance.randrange(COUNT)
    several.kill(place)
    several.load.last()
    several.start(place)


def kill_postgresql(several: Replicas, database: Postgres) -> None:
    database.kill()
    several.load.last()
    database.start()


def kill_both(several: Replicas, database: Postgres) -> None:
    place = several.load.chance.randrange(COUNT)
    database.kill()
    several.kill(place)
    several.load.last()
    database.start()
    several.start(place)


def pause_a_replica(several: Replicas, _: Postgres) -> None:
    load, place = several.load, several.load.chance.randrange(COUNT)
    unanswered = load.codes[NO_ANSWER]
    several.servers[place].send(signal.SIGSTOP)
    until(lambda: load.codes[NO_ANSWER] > unanswered)
    address = load.addresses.pop(place)  # a load balancer would do this
    taken = len(load.taken)
    until(lambda: len(load.taken) > taken + MORE)
    several.servers[place].send(signal.SIGCONT)
    load.addresses.insert(place, address)
    load.last()


Fault = tuple[str, "Callable[[Replicas, Postgres], None]", int]
"""Name, function, and repetitions in the long form."""

FAULTS: list[Fault] = [
    ("kill -9 of a replica", kill_a_replica, 50),
    ("kill -9 of PostgreSQL", kill_postgresql, 50),
    ("kill -9 of a replica and PostgreSQL", kill_both, 50),
    ("pause of a replica", pause_a_replica, 15),
]


async def test_nothing_acknowledged_is_missing_or_counts_twice_after_faults_under_load(
    database: Postgres, tmp_path: Path, chance: Chance, measured: Measured
) -> None:
    # The short form applies all faults to the same replicas, one after the other.
    for faults in [[fault] for fault in FAULTS] if SHARE else [FAULTS]:
        with replicas(tmp_path, database.new_database(), chance) as several:
            for _, fault, often in faults:
                for _ in range(times(1, often)):
                    with several.load:
                        several.load.last()
                        fault(several, database)
                        until(several.up)
                    await several.check()
            rounds = several.rounds
            await several.check_at_last()
            name = ", ".join(name for name, _, _ in faults)
            measured(name, f"{rounds} times, {several.summary()}")
            assert (several.missing, several.twice) == ([], [])


def down(several: Replicas) -> bool:
    """Return whether all replicas know that they cannot write."""
    return not any(server.own()["storage_up"] for server in several.servers)


def shown_by_all(several: Replicas, known: dict[str, int]) -> bool:
    """Return whether all replicas show what was acknowledged."""
    for server in several.servers:
        shown = shown_steps(server.state())
        if any(shown.get(e, 0) < s and e not in EXPIRING for e, s in known.items()):
            return False
    return True


def assert_goes_on_from_memory(several: Replicas, known: dict[str, int]) -> None:
    """Check that replicas show what they know, and refuse events."""
    assert shown_by_all(several, known)
    for server in several.servers:
        assert server.get("/-/ready").status_code == httpx.codes.OK
        refused = server.post(several.load.taken[0].body)
        assert refused.status_code == httpx.codes.SERVICE_UNAVAILABLE
        assert int(refused.headers["Retry-After"]) > 0


async def test_replicas_refuse_events_while_postgresql_is_paused_and_then_go_on(
    database: Postgres, several: Replicas, measured: Measured
) -> None:
    load, taken_meanwhile = several.load, 0
    for _ in range(times(1, 50)):
        with load:
            load.last()
            known = load.acknowledged()
            until(lambda known=known: shown_by_all(several, known))  # type: ignore[misc]
            database.pause()
            ends = time.monotonic() + PAUSE
            until(lambda: down(several))
            taken = len(load.taken)
            assert_goes_on_from_memory(several, known)
            load.over.wait(max(0, ends - time.monotonic()))
            taken_meanwhile += len(load.taken) - taken
            database.resume()
            until(several.up)
        await several.check()
    rounds = several.rounds
    await several.check_at_last()
    measured(
        "pause of PostgreSQL",
        f"{rounds} times for {PAUSE:.0f} s or more, {taken_meanwhile} acknowledged meanwhile, "
        f"{several.summary()}",
    )
    assert (several.missing, several.twice, taken_meanwhile) == ([], [], 0)


def connects_to(port: int) -> bool:
    """Return whether a connection to a port is open."""
    return f":{port:04X} 01 " in Path("/proc/net/tcp").read_text()


def test_a_replica_stops_while_postgresql_is_paused(database: Postgres, tmp_path: Path) -> None:
    host = f"127.0.0.1:{database.port}"
    hosts = ",".join([host] * 3)  # trying all of them takes longer than a stop may take
    url = database.new_database().replace(host, hosts)
    with serving(tmp_path, f"--storage.url={url}") as server:
        database.pause()
        try:
            until(lambda: not server.own()["storage_up"])
            until(lambda: connects_to(database.port))
            assert server.end() == 0
        finally:
            database.resume()
