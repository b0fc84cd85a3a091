"""What has been sent and how it was answered: the progress line and the summary."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from collections.abc import Mapping

TERMINAL_INTERVAL: Final = 1.0
"""Seconds between two progress lines on a terminal, where they replace one another."""

LOG_INTERVAL: Final = 10.0
"""Seconds between two progress lines elsewhere, where they stay."""

CLEAR: Final = "\r\x1b[K"
"""Back to the beginning of the terminal's line, and erase it (ECMA-48)."""

STEP: Final = math.log(1.05)


class Latencies:
    """Times counted in buckets of 5 %, so that any number of them takes the same memory."""

    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()

    def add(self, seconds: float) -> None:
        """Count one time; below a microsecond it counts as one."""
        self._buckets[round(math.log(max(seconds, 1e-6)) / STEP)] += 1

    def quantile(self, share: float) -> float:
        """Return the time, in seconds, that ``share`` of them do not exceed; NaN if none."""
        rest = share * self._buckets.total()
        for bucket, count in sorted(self._buckets.items()):
            rest -= count
            if rest <= 0:
                return math.exp(bucket * STEP)
        return math.nan


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run has done."""

    sent: int
    """Deliveries that were answered for good."""
    answers: Mapping[str, int]
    """How often each status code, or kind of failure to get one, was the answer; those that
    made a delivery be sent again included."""
    refused: int
    """Deliveries without a fault that were answered for good, but not with 200."""
    accepted: int
    """Deliveries that ought to be refused, but were answered with 200."""
    resent: int
    """Times a delivery was sent again, after 503 or for want of an answer."""
    seconds: float
    """Real time."""
    simulated: float
    """Simulated time of the last delivery answered, unix seconds."""
    p50: float
    """Seconds until the answer, NaN without one."""
    p99: float

    def __str__(self) -> str:
        """Return it as a line for people."""
        return (
            f"{self.sent} events in {self.seconds:.1f} s, up to {_date(self.simulated)}; "
            f"{_answers(self.answers)}{self.refused} refused, {self.resent} resent, "
            f"{_latency(self.p50, self.p99)}"
        )


@dataclass(slots=True)
class Progress:
    """Counts what happens and writes a line about it to ``stream`` now and then."""

    stream: TextIO
    started: float
    """Of the monotonic clock, seconds."""
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
        """Return the seconds until the next line is due; not above 0 when it is."""
        interval = TERMINAL_INTERVAL if self._terminal else LOG_INTERVAL
        return self._line_at + interval - clock

    def answered(self, code: int, seconds: float) -> None:
        """Count an answer that came after ``seconds``."""
        self.answers[str(code)] += 1
        self.latencies.add(seconds)
        self._line_latencies.add(seconds)

    def failed(self, reason: str) -> None:
        """Count an answer that did not come."""
        self.answers[reason] += 1

    def show(self, clock: float) -> None:
        """Write a line if it is time for one."""
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

    def finish(self, clock: float) -> Summary:
        """Leave the terminal's line and return what has been done."""
        if self._terminal:
            self._write("\n")
        return Summary(
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
