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

    def __str__(self) -> str:
        """Return the median and the 99th percentile as text for people."""
        if not self._buckets:
            return "no answer"
        p50, p99 = self.quantile(0.5), self.quantile(0.99)
        return f"p50 {p50 * 1000:.1f} ms  p99 {p99 * 1000:.1f} ms"


@dataclass(slots=True)
class SenderSummary:
    """What a run has sent, and the answers to it. It changes until the run ends."""

    simulated: float
    """Simulated time of the last delivery with an answer, unix seconds."""
    sent: int = 0
    """Deliveries with a final answer."""
    answers: Counter[str] = field(default_factory=Counter)
    """Number of answers by status code, and of missing answers by the kind of failure. Includes
    those after which a delivery was sent again."""
    refused: int = 0
    """Good deliveries whose final answer was not 200."""
    accepted: int = 0
    """Bad deliveries that were answered with 200."""
    resent: int = 0
    """How often a delivery was sent again, after 503 or without an answer."""
    latencies: Latencies = field(default_factory=Latencies)
    """Times until an answer."""
    seconds: float = 0
    """Real time of the whole run; 0 until it ends."""

    def __str__(self) -> str:
        """Return the result as a line for people."""
        return (
            f"{self.sent} events in {self.seconds:.1f} s, up to {_date(self.simulated)}; "
            f"{_answers(self.answers)}{self.refused} refused, {self.resent} resent, "
            f"{self.latencies}"
        )


class Progress:
    """Keeps the summary of a run, and writes a progress line to ``stream`` from time to time."""

    def __init__(self, stream: TextIO, *, started: float, simulated: float) -> None:
        """Begin at ``started``, monotonic seconds, and ``simulated``, unix seconds."""
        self.summary = SenderSummary(simulated)
        self._stream = stream
        self._terminal = stream.isatty()
        self._started = self._line_at = started
        self._line_sent = 0
        self._line_latencies = Latencies()

    def next_line(self, clock: float) -> float:
        """Return the seconds until the next line is due; 0 or less if it is due."""
        interval = TERMINAL_INTERVAL if self._terminal else LOG_INTERVAL
        return self._line_at + interval - clock

    def answered(self, code: int, seconds: float) -> None:
        """Count an answer that took ``seconds``."""
        self.summary.answers[str(code)] += 1
        self.summary.latencies.add(seconds)
        self._line_latencies.add(seconds)

    def show(self, clock: float) -> None:
        """Write a line if one is due."""
        if self.next_line(clock) > 0:
            return
        done = self.summary
        rate = (done.sent - self._line_sent) / (clock - self._line_at)
        line = (
            f"{_date(done.simulated)}  {done.sent} events  {rate:.0f}/s  "
            f"{_answers(done.answers)}{self._line_latencies}"
        )
        self._write(f"{CLEAR}{line}" if self._terminal else f"{line}\n")
        self._line_at, self._line_sent = clock, done.sent
        self._line_latencies = Latencies()

    def finish(self, clock: float) -> SenderSummary:
        """End the progress line and return the result of the run."""
        if self._terminal:
            self._write("\n")
        self.summary.seconds = clock - self._started
        return self.summary

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def _date(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _answers(answers: Mapping[str, int]) -> str:
    return "".join(f"{code}: {count}  " for code, count in sorted(answers.items()))
