"""A load generator in its own process: signed requests over connections that stay open.

*Closed loop* (no rate): each connection sends its next request when it has an answer to the one
before, or after a pause. *Open loop* (a rate): each request is due at a certain time, and latency
counts from that time. So requests that a stalled server delays count as slow. All requests are
built and signed before the first one is sent.
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
    from benchmarks.process import ProcessEnvironment

WEBHOOK: Final = f"/webhooks/{payloads.VENDOR}"

_SETUP: Final = 300.0
"""Seconds for building requests, in addition to the time of the run."""


@dataclass(frozen=True, slots=True)
class Load:
    """What to send, and how."""

    port: int
    kind: str = "usage"
    """``usage`` (webhook), ``push`` (pushgateway) or ``get``."""
    path: str = WEBHOOK
    count: int = 0
    """Requests. Fewer are sent if ``seconds`` are over before."""
    esims: int = 1
    """The number of eSIMs in the fleet."""
    each: bool = False
    """Whether eSIMs take turns in the order of their numbers. If not, they are chosen at random."""
    step: int = 0
    """Step of the first event. With random eSIMs, each event is one step after the one before."""
    base: int = 0
    """Unix seconds of step 0."""
    connections: int = 1
    rate: float | None = None
    """Requests per second."""
    pause: float = 0.0
    """Seconds from an answer to the next request on the same connection, without a rate."""
    seconds: float = 60.0
    """Time limit of the run."""

    @property
    def steps(self) -> int:
        """Return how many steps the events cover."""
        return 1 if self.each else self.count


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a load. Latencies are seconds."""

    seconds: float
    """From the first request to the last answer."""
    answered: int
    codes: dict[str, int]
    """Answers by status. Requests without an answer count as ``none``."""
    p50: float
    p99: float
    longest: float
    lag: float
    """99th percentile of the seconds by which the generator itself was late."""
    busy: float
    """Share of a core that the generator used. Near 1, the generator was the bottleneck."""

    @property
    def rate(self) -> float:
        """Return answers per second."""
        return self.answered / self.seconds

    @property
    def errors(self) -> int:
        """Return how many requests got an error or no answer."""
        return sum(count for code, count in self.codes.items() if not code.startswith("2"))


def run(load: Load, environment: ProcessEnvironment) -> Outcome:
    """Run a load in its own process. Raises ``Unavailable`` if that fails."""
    command = [sys.executable, "-m", "benchmarks.generator"]
    process = subprocess.Popen(  # noqa: S603  # our own command
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=environment.folder,
        env=environment.environ,
        start_new_session=True,
    )
    try:
        result, errors = process.communicate(
            json.dumps(asdict(load)).encode(), load.seconds + _SETUP
        )
    except subprocess.TimeoutExpired:
        raise Unavailable("the load generator did not end") from None
    finally:
        end(process)
    if process.returncode:
        last = errors.decode(errors="replace").strip().splitlines()[-1:]
        raise Unavailable(f"the load generator ended: {' '.join(last)}")
    return Outcome(**json.loads(result))
