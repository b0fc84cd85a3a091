"""Clocks that are set wrong, and a month in which nobody listened: nothing freezes or vanishes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import altered
from feeding import shown_steps, usage
from running import SIGNED, Serving, encoded, event, samples, serving, until

if TYPE_CHECKING:
    from pathlib import Path

    from measuring import Measured

HOUR, DAY = 3600, 86_400
MONTH = 31 * DAY
ESIMS = [f"esim-{number}" for number in range(20)]
HEARD, SILENT = ESIMS[:10], ESIMS[10:]

FLAGS = ("--fleet.stale-after=1h", "--retention.terminal=10s")
"""Silent eSIMs are kept for an hour; what expires is looked at ten times a second."""

PACE = 60
"""Seconds that the clock is set ahead at a time, so that it does not leap."""


class Clock:
    """The wall clock of a server, ahead of the machine's."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.set(0)

    def set(self, ahead: float) -> None:
        self.ahead = ahead
        fresh = self.path.with_name("clock-new")
        fresh.write_text(str(ahead))
        fresh.replace(self.path)  # never seen empty

    def step(self, seconds: float) -> None:
        self.set(self.ahead + seconds)


def report(server: Serving, esims: list[str], step: int) -> None:
    for esim_id in esims:
        assert server.post(usage(esim_id, step)).status_code == 200


def assert_shown(server: Serving, esims: list[str], step: int) -> None:
    assert shown_steps(server.state()) == dict.fromkeys(esims, step)


def fleet_counters(server: Serving) -> dict[str, float]:
    found = samples(server.state())
    return {k: v for k, v in found.items() if k.startswith("esim_fleet_") and "_total{" in k}


def unseen(server: Serving) -> int:
    return len(server.logged("deliveries were interrupted, expiry waits"))


def wait_until_expired(server: Serving, clock: Clock) -> None:
    """Let the time go on until silent eSIMs are kept no longer, and have left."""

    def released() -> bool:
        clock.step(PACE)
        return server.own()["expiry_held"] == 0

    until(released)
    until(lambda: server.own()["esims"] == len(HEARD))


def test_a_clock_that_is_days_behind_is_told_and_what_it_refused_is_replayed_later(
    tmp_path: Path,
) -> None:
    clock = Clock(tmp_path / "clock")
    environ = {**SIGNED, altered.CLOCK: str(clock.path)}
    served = tmp_path / "served"
    served.mkdir()
    flags = ("--limits.max-rejected=2", "--web.enable-admin-api")
    bodies = [encoded(event(esim_id=esim_id, timestamp=int(time.time()))) for esim_id in ESIMS[:8]]

    for days in (2, 3650):
        clock.set(-days * DAY)
        with serving(served, *flags, environ=environ, command=altered.COMMAND) as server:
            assert server.own()["clock_behind"] == 0
            assert {server.post(body).status_code for body in bodies} == {422}
            own = server.own()
            assert (own["clock_behind"], own["rejected_dropped_total"]) == (1, 0)
            clock.set(0)
            assert server.own()["clock_behind"] == 0

    with serving(served, *flags, environ=environ, command=altered.COMMAND) as server:
        kept = server.get("/api/v1/rejected").json()["data"]["rejected"]
        assert [each["reason"] for each in kept] == ["future"] * len(bodies)
        for each in kept:
            url = f"{server.internal}/api/v1/rejected/{each['id']}/replay"
            assert server.client.post(url).status_code == 200
        shown = samples(server.state())
        assert sum(series.startswith("esim_info{") for series in shown) == len(bodies)
        assert server.own()["rejected_events"] == 0


def test_clock_steps_and_a_month_of_downtime_freeze_and_lose_nothing(
    tmp_path: Path, measured: Measured
) -> None:
    clock = Clock(tmp_path / "clock")
    environ = {**SIGNED, altered.CLOCK: str(clock.path)}
    served = tmp_path / "served"
    served.mkdir()

    with serving(served, *FLAGS, environ=environ, command=altered.COMMAND) as server:
        report(server, ESIMS, 1)
        for step, seconds in enumerate((HOUR, -HOUR, -HOUR, HOUR), 2):
            clock.step(seconds)
            report(server, ESIMS, step)
            assert_shown(server, ESIMS, step)
            received = server.own()['last_received_timestamp_seconds{vendor="roamify"}']
            assert abs(received - time.time() - clock.ahead) < HOUR / 2
        before = fleet_counters(server)

        warned = unseen(server)
        clock.step(MONTH)
        until(lambda: unseen(server) > warned)
        assert server.own()["expiry_held"] == 1
        assert_shown(server, ESIMS, 5)
        report(server, HEARD, 6)
        wait_until_expired(server, clock)
        assert_shown(server, HEARD, 6)
        after = fleet_counters(server)
        assert all(after[series] >= value for series, value in before.items())
        report(server, SILENT, 6)
        assert_shown(server, ESIMS, 6)
        before = fleet_counters(server)
        server.kill()

    clock.step(MONTH)
    with serving(served, *FLAGS, environ=environ, command=altered.COMMAND) as server:
        until(lambda: unseen(server) == 1)
        assert server.own()["expiry_held"] == 1
        assert_shown(server, ESIMS, 6)
        report(server, HEARD, 7)
        wait_until_expired(server, clock)
        assert_shown(server, HEARD, 7)
        after = fleet_counters(server)
        assert all(after[series] >= value for series, value in before.items())

    measured(
        "clock steps",
        f"{len(ESIMS)} eSIMs, an hour ahead and back, an hour behind and back, 31 days ahead, "
        "31 days of downtime: none frozen, no counter fell, none expired before the vendor "
        "could report, each leap warned of",
    )
