"""Counts deliveries and answers, and reports them as progress lines and a summary."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from collections.abc import Mapping

TERMINAL_INTERVAL: Final = 1.0
"""Seconds between two progress lines on a terminal, where each line replaces the last."""

LOG_INTERVAL: Final = 10.0
"""Seconds between two progress lines in a log, where they stay."""

CLEAR: Final = "\r\x1b[K"
"""Go to the beginning of the terminal's line and erase it (ECMA-48)."""

_STEP: Final = math.log(1.05)


class Latencies:
    """Counts times in buckets of 5 %, so that memory does not grow with their number."""

    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()

    def add(self, seconds: float) -> None:
        """Count one time. Times below a microsecond count as a microsecond."""
        self._buckets[round(math.log(max(seconds, 1e-6)) / _STEP)] += 1

    def quantile(self, share: float) -> float:
        """Return the seconds that a ``share`` of the times does not exceed; NaN without times."""
        rest = share * self._buckets.total()
        for bucket, count in sorted(self._buckets.items()):
            rest -= count
            if rest <= 0:
                return math.exp(bucket * _STEP)
        return math.nan


@dataclass(frozen=True, slots=True)
class SenderSummary:
    """The result of a run."""

    sent: int
    """Deliveries with a final answer."""
    answers: Mapping[str, int]
    """Number of answers by status code, and of missing answers by the kind of failure. Includes
    those after which a delivery was sent again."""
    refused: int
    """Good deliveries whose final answer was not 200."""
    accepted: int
    """Bad deliveries that were answered with 200."""
    resent: int
    """How often a delivery was sent again, after 503 or without an answer."""
    seconds: float
    """Real time."""
    simulated: float
    """Simulated time of the last delivery with an answer, unix seconds."""
    p50: float
    """Median seconds until an answer; NaN without answers."""
    p99: float
    """99th percentile of the seconds until an answer; NaN without answers."""

    def __str__(self) -> str:
        """Return the result as a line for people."""
        return (
            f"{self.sent} events in {self.seconds:.1f} s, up to {_date(self.simulated)}; "
            f"{_answers(self.answers)}{self.refused} refused, {self.resent} resent, "
            f"{_latency(self.p50, self.p99)}"
        )


@dataclass(slots=True)
class Progress:
    """Counts what happens, and writes a progress line to ``stream`` from time to time."""

    stream: TextIO
    started: float
    """Seconds of the monotonic clock."""
    simulated: float
    sent: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    accepted: int = 0
    resent: int = 0
    latencies: Latencies = field(default_factory=Latencies)
    _terminal: bool = field(init=False)
    _line_at: float = field(init=False)
    _line_sent: int = field(init=False, default=0)
    _line_latencies: Latencies = field(init=False, default_factory=Latencies)

    def __post_init__(self) -> None:
        self._terminal = self.stream.isatty()
        self._line_at = self.started

    def next_line(self, clock: float) -> float:
        """Return the seconds until the next line is due; 0 or less if it is due."""
        interval = TERMINAL_INTERVAL if self._terminal else LOG_INTERVAL
        return self._line_at + interval - clock

    def answered(self, code: int, seconds: float) -> None:
        """Count an answer that took ``seconds``."""
        self.answers[str(code)] += 1
        self.latencies.add(seconds)
        self._line_latencies.add(seconds)

    def failed(self, reason: str) -> None:
        """Count a missing answer."""
        self.answers[reason] += 1

    def show(self, clock: float) -> None:
        """Write a line if one is due."""
        if self.next_line(clock) > 0:
            return
        rate = (self.sent - self._line_sent) / (clock - self._line_at)
        line = (
            f"{_date(self.simulated)}  {self.sent} events  {rate:.0f}/s  "
            f"{_answers(self.answers)}{_latency(*self._line_quantiles())}"
        )
        self._write(f"{CLEAR}{line}" if self._terminal else f"{line}\n")
        self._line_at, self._line_sent = clock, self.sent
        self._line_latencies = Latencies()

    def finish(self, clock: float) -> SenderSummary:
        """End the progress line and return the result of the run."""
        if self._terminal:
            self._write("\n")
        return SenderSummary(
            sent=self.sent,
            answers=dict(sorted(self.answers.items())),
            refused=self.refused,
            accepted=self.accepted,
            resent=self.resent,
            seconds=clock - self.started,
            simulated=self.simulated,
            p50=self.latencies.quantile(0.5),
            p99=self.latencies.quantile(0.99),
        )

    def _line_quantiles(self) -> tuple[float, float]:
        return self._line_latencies.quantile(0.5), self._line_latencies.quantile(0.99)

    def _write(self, text: str) -> None:
        self.stream.write(text)
        self.stream.flush()


def _date(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _answers(answers: Mapping[str, int]) -> str:
    return "".join(f"{code}: {count}  " for code, count in sorted(answers.items()))


def _latency(p50: float, p99: float) -> str:
    if math.isnan(p50):
        return "no answer"
    return f"p50 {p50 * 1000:.1f} ms  p99 {p99 * 1000:.1f} ms"
