"""SIGTERM with a hundred requests in flight: each is durable or refused, and the stop is fast."""

from __future__ import annotations

import http.client
import signal
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from measuring import times
from running import STOP, connect, encoded, event, read_answer, request_head, serving, until

if TYPE_CHECKING:
    import socket
    from pathlib import Path

    from measuring import Chance, Measured

IN_FLIGHT = 100
OPEN = 'http_connections{listener="public"}'


def answered(connection: socket.socket) -> int:
    """Return the status of the answer; 0 if the connection ended without one."""
    try:
        return read_answer(connection).code
    except (OSError, http.client.HTTPException):
        return 0


def test_requests_in_flight_at_a_stop_are_durable_or_refused(
    tmp_path: Path, chance: Chance, measured: Measured
) -> None:
    stops = times(1, 10)
    taken: set[str] = set()
    refused, longest = 0, 0.0
    for stop in range(stops):
        bodies = {f"stop-{stop}-{n}": b"" for n in range(IN_FLIGHT)}
        bodies = {name: encoded(event(esim_id=name)) for name in bodies}
        with serving(tmp_path) as server, ExitStack() as stack:
            sockets = {name: stack.enter_context(connect(server.public)) for name in bodies}
            rest = {}
            for name, connection in sockets.items():
                whole = request_head(bodies[name]) + bodies[name]
                at = chance.randrange(len(whole) - 1)  # somewhere in the head or in the body
                connection.sendall(whole[:at])
                rest[name] = whole[at:]
            until(lambda server=server: server.own()[OPEN] == IN_FLIGHT)  # type: ignore[misc]
            server.client.close()
            started = time.monotonic()
            server.send(signal.SIGTERM)
            for name, connection in sockets.items():
                try:
                    connection.sendall(rest[name])
                except OSError:
                    continue  # closed already: refused
            codes = {name: answered(connection) for name, connection in sockets.items()}
            assert server.ended() == 0
            longest = max(longest, time.monotonic() - started)
        assert set(codes.values()) <= {0, 200, 503}
        taken |= {name for name, code in codes.items() if code == 200}
        refused += sum(code != 200 for code in codes.values())
    with serving(tmp_path) as server:
        text = server.state()
    missing = {name for name in taken if f'esim_id="{name}"' not in text}
    measured(
        "SIGTERM",
        f"{stops} stops with {IN_FLIGHT} requests in flight, {len(taken)} acknowledged, "
        f"{len(missing)} of them missing, {refused} refused, {longest:.1f} s at most to the exit, "
        f"seed {chance.number}",
    )
    assert missing == set()
    assert longest < STOP
