"""Many forged signatures and slow senders: good events are still accepted in time."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from flood import Order, flooding, name, outcome_of
from measuring import SHARE, grouped, percentile, times
from running import USAGE, Serving, connect, event, request_head, serving, until

if TYPE_CHECKING:
    from pathlib import Path

    from measuring import Measured

RATE = 2000
"""Forged deliveries a second."""

SLOW = 500
LONGEST = 1.0
"""Limit in seconds for 99 of 100 good events."""

READ_TIMEOUT = "--webhook.read-timeout=5m"
"""Slow senders are not disconnected during the test."""


def good_events(server: Serving, count: int) -> list[float]:
    """Deliver good events one after the other; return the seconds that each took."""
    taken = []
    for _ in range(count):
        started = time.perf_counter()
        assert server.post(event()).status_code == 200
        taken.append(time.perf_counter() - started)
    return taken


def assert_fast(taken: list[float]) -> str:
    """Return the measured time of good events as text. In the long form, check it too."""
    slowest = percentile(taken, 0.99)
    assert slowest < LONGEST or not SHARE
    return f"p99 of {grouped(len(taken))} good events {slowest * 1000:.0f} ms"


def files(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())


def test_forged_signatures_change_nothing_and_delay_no_good_event(
    tmp_path: Path, measured: Measured
) -> None:
    seconds = times(1, 30)
    with serving(tmp_path, "--limits.max-esims=0") as server:
        good_events(server, 1)
        host, port = server.public.removeprefix("http://").split(":")
        most = Order(host, int(port), 0, 10**9, rate=RATE, seconds=seconds, forged=True)
        state, size = server.state(), files(tmp_path)
        with flooding(most) as process:
            outcome = outcome_of(process)
        assert (server.state(), files(tmp_path)) == (state, size)
        with flooding(most) as process:
            until(lambda: server.rejected("signature") > sum(outcome.codes.values()))
            taken: list[float] = []
            while process.poll() is None:
                taken += good_events(server, 10)
            beside = outcome_of(process)
        assert outcome.codes.keys() == beside.codes.keys() == {"401"}
        assert name(0) not in server.state()
        assert server.own()["rejected_events"] == 0
        measured(
            "forged signatures",
            f"{grouped(outcome.codes['401'])} refused with 401 at {outcome.rate:,.0f}/s and no "
            f"byte stored; at {beside.rate:,.0f}/s beside good events {assert_fast(taken)}",
        )


def test_slow_senders_delay_no_good_event(tmp_path: Path, measured: Measured) -> None:
    head = request_head(USAGE)
    with serving(tmp_path, READ_TIMEOUT) as server, ExitStack() as stack:
        slow = [stack.enter_context(connect(server.public)) for _ in range(SLOW)]
        for number, connection in enumerate(slow):
            connection.sendall(head[:20] if number % 2 else head + USAGE[:10])
        until(lambda: server.own()['http_connections{listener="public"}'] >= SLOW)
        taken: list[float] = []
        for drip in range(times(1, 20)):
            for number, connection in enumerate(slow):
                at = 20 + drip if number % 2 else 10 + drip
                connection.sendall((head if number % 2 else USAGE)[at : at + 1])
            taken += good_events(server, 20)
        measured("slow senders", f"{SLOW} sockets that send a byte at a time, {assert_fast(taken)}")
        server.client.close()


def names(start: int) -> list[dict[str, object]]:
    """Return a usage list with as many new locations as fit into a delivery."""
    return [{"location": f"L{start}-{number}", "data_used": 1} for number in range(1024)]


def test_new_names_in_signed_events_delay_neither_good_events_nor_scrapes(
    tmp_path: Path, measured: Measured
) -> None:
    count = times(20, 600)
    with serving(tmp_path, "--limits.max-esims=10") as server:
        for number in range(count):
            document = event(package_id=f"p{number}", usage_list=names(number))
            if number % 2:  # about one eSIM, which soon has as many packages as it may
                document["data"]["esim_id"] = "target"
            assert server.post(document).status_code in {200, 422 if number % 2 else 200}
        taken = good_events(server, 50)
        text = server.get("/metrics", params={"collect[]": "fleet"}).text
        locations = text.count("esim_fleet_location_data_consumed_bytes_total{")
        assert locations == 1001  # the limit, and the others
        assert server.own()["allowances_over_location_limit"] >= count // 2
        measured(
            "new names in signed events",
            f"{grouped(count)} deliveries with 1,024 new locations each: {grouped(locations)} "
            f"series of locations; {assert_fast(taken)}",
        )
