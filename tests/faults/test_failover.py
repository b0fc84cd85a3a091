"""The primary PostgreSQL is lost and its standby takes over: no replica needs a restart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import postgres
import pytest
from measuring import SHARE, grouped, times
from running import until
from several import COUNT, replicas

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from measuring import Chance, Measured
    from postgres import Postgres
    from several import Replicas

pytestmark = pytest.mark.slow

LOSSES = (("is killed", postgres.Postgres.kill), ("hangs", postgres.Postgres.pause))

MORE = 100
"""Events that must be acknowledged after the failover before everything is compared."""

SYNCHRONOUS = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"


def wait_for_standby(primary: Postgres) -> None:
    """Make commits of the primary wait for its standby."""
    primary.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
    primary.execute("SELECT pg_reload_conf()")
    until(lambda: primary.execute(SYNCHRONOUS) == "1")


async def failover(lose: Callable[[Postgres], None], folder: Path, chance: Chance) -> Replicas:
    """Lose the primary under load, promote its standby, and return what the replicas found."""
    with postgres.running() as primary, postgres.running(primary=primary) as standby:
        wait_for_standby(primary)
        url = primary.new_database()
        first, second = (f"127.0.0.1:{server.port}" for server in (primary, standby))
        with replicas(folder, url.replace(first, f"{first},{second}"), chance) as several:
            with several.load:
                several.load.last()
                lose(primary)
                standby.promote()
                taken = len(several.load.taken)
                until(lambda: len(several.load.taken) > taken + MORE)
                until(several.up)
            several.url = url.replace(first, second)
            await several.check_at_last()
            return several


async def test_replicas_go_on_with_the_standby_when_the_primary_is_gone(
    tmp_path: Path, chance: Chance, measured: Measured
) -> None:
    for name, lose in LOSSES if SHARE else LOSSES[:1]:
        found = [await failover(lose, tmp_path, chance) for _ in range(times(1, 4))]
        missing = [each for several in found for each in several.missing]
        twice = [each for several in found for each in several.twice]
        taken = sum(len(several.load.taken) for several in found)
        measured(
            f"failover, the primary {name}",
            f"{len(found)} times, {COUNT} replicas, {grouped(taken)} acknowledged, "
            f"{len(missing)} missing, {len(twice)} counted twice, none acknowledged for "
            f"{max(several.load.silence for several in found):.1f} s at most, no restart, "
            f"seed {chance.number}",
        )
        assert (missing, twice) == ([], [])
