"""A replica that starts while its database does not run."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import postgres
import pytest
from running import event, serving, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def stopped() -> Iterator[postgres.Postgres]:
    """A server that a test starts."""
    with postgres.running() as server:
        server.stop()
        yield server


def test_it_waits_for_the_database_and_says_so(stopped: postgres.Postgres, tmp_path: Path) -> None:
    with serving(tmp_path, f"--storage.url={stopped.url()}", ready="/-/healthy") as replica:
        until(lambda: replica.logged("storage does not work yet"))
        assert replica.get("/-/ready").status_code == 503
        refused = replica.post(event())
        assert (refused.status_code, "Retry-After" in refused.headers) == (503, True)
        assert replica.own()["storage_up"] == 0
        stopped.start()
        until(lambda: replica.get("/-/ready").status_code == 200)
        until(lambda: replica.post(event()).status_code == 200)
        assert replica.own()["storage_up"] == 1


@pytest.mark.slow
def test_it_waits_for_a_standby_to_be_promoted(tmp_path: Path) -> None:
    with postgres.running() as primary, postgres.running(primary=primary) as standby:
        first, second = (f"127.0.0.1:{server.port}" for server in (primary, standby))
        url = primary.new_database()
        there = f"SELECT 1 FROM pg_database WHERE datname = '{url.rpartition('/')[2]}'"
        until(lambda: standby.execute(there))
        url = url.replace(first, f"{first},{second}")
        primary.kill()
        with serving(tmp_path, f"--storage.url={url}", ready="/-/healthy") as replica:
            until(lambda: replica.logged("storage does not work yet"))
            standby.promote()
            until(lambda: replica.get("/-/ready").status_code == 200)
            until(lambda: replica.post(event()).status_code == 200)


def test_it_stops_while_it_waits(stopped: postgres.Postgres, tmp_path: Path) -> None:
    with serving(tmp_path, f"--storage.url={stopped.url()}", ready="/-/healthy") as replica:
        until(lambda: replica.logged("storage does not work yet"))
        assert replica.end(signal.SIGTERM) == 0
