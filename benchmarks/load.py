"""A load generator in a process of its own: signed requests over connections that stay open.

*Closed loop* (no rate): each connection sends its next request when it has the answer to the
last, or after a pause. *Open loop* (a rate): requests have a time at which they are due, and
latency counts from that time, so that a server that stalls is not spared the requests it held
up. Requests are built and signed beforehand.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from benchmarks import payloads
from benchmarks.process import Unavailable, end

if TYPE_CHECKING:
    from benchmarks.process import Place

WEBHOOK: Final = f"/webhooks/{payloads.VENDOR}"

_SETUP: Final = 300.0
"""Seconds for building requests, on top of the time of the run."""


@dataclass(frozen=True, slots=True)
class Load:
    """What to send, and how."""

    port: int
    kind: str = "usage"
    """``usage`` (webhook), ``push`` (pushgateway) or ``get``."""
    path: str = WEBHOOK
    count: int = 0
    """Requests; the number sent is smaller where ``seconds`` are over before."""
    esims: int = 1
    """The fleet: eSIMs 0 to this number."""
    each: bool = False
    """One event each, in order of number, rather than of eSIMs at random."""
    step: int = 0
    """Step of the first event. Those of random eSIMs rise by one from event to event."""
    base: int = 0
    """Unix seconds of step 0."""
    connections: int = 1
    rate: float | None = None
    """Requests per second."""
    pause: float = 0.0
    """Seconds from an answer to the connection's next request, if there is no rate."""
    seconds: float = 60.0
    """The longest the run may take."""

    @property
    def steps(self) -> int:
        """Return how many steps its events take up."""
        return 1 if self.each else self.count


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a load."""

    seconds: float
    """From the first request to the last answer."""
    answered: int
    codes: dict[str, int]
    """Answers by status; requests without an answer under ``none``."""
    p50: float
    p99: float
    longest: float
    """Latency, seconds."""
    lag: float
    """99th percentile of how much later than due the generator itself was, seconds."""
    busy: float
    """Share of a core the generator used: near 1, it was the generator that was measured."""

    @property
    def rate(self) -> float:
        """Return answers per second."""
        return self.answered / self.seconds

    @property
    def errors(self) -> int:
        """Return how many requests were answered with no success, or not at all."""
        return sum(count for code, count in self.codes.items() if not code.startswith("2"))


def run(load: Load, place: Place) -> Outcome:
    """Run a load in a process of its own. Raises ``Unavailable`` where that fails."""
    command = [sys.executable, "-m", "benchmarks.generator"]
    process = subprocess.Popen(  # noqa: S603  # our own command
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=place.folder,
        env=place.environ,
        start_new_session=True,
    )
    try:
        written, said = process.communicate(
            json.dumps(asdict(load)).encode(), load.seconds + _SETUP
        )
    except subprocess.TimeoutExpired:
        raise Unavailable("the load generator did not end") from None
    finally:
        end(process)
    if process.returncode:
        last = said.decode(errors="replace").strip().splitlines()[-1:]
        raise Unavailable(f"the load generator ended: {' '.join(last)}")
    return Outcome(**json.loads(written))
