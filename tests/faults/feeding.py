"""Signed events with a known effect on the counters.

At each step an eSIM has used one MB more. So its counter shows the last step that was counted. If
an event was counted twice, the counter shows more than was sent.
"""

from __future__ import annotations

import http.client
import re
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from running import SECRET, WAIT, WEBHOOK, encoded, event

from exporter.vendors import roamify

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable, Iterator

MB = 1 << 20
START = 1_750_000_000
"""Event time before the first step, unix seconds."""

_ALLOWED = 1_000_000

CLIENTS = 4
"""Number of connections. Each reports its own part of the eSIMs."""

_PAUSE = 0.02
"""Seconds before a refused event is sent again."""

_COUNTER = re.compile(
    r'esim_data_consumed_bytes_total\{vendor="roamify",esim_id="([^"]*)",[^}]*\} (\d+)'
)


def usage(esim_id: str, step: int, status: str = "ACTIVATED") -> bytes:
    """Return the body of an eSIM's event. Steps start at 1."""
    amounts = {"allowed_data": _ALLOWED, "remaining_data": _ALLOWED - step}
    return encoded(
        event(esim_id=esim_id, timestamp=START + step, status=status, usage_data=amounts)
    )


def shown_steps(text: str) -> dict[str, int]:
    """Return the last counted step of each eSIM in an exposition."""
    counters = {esim_id: int(value) for esim_id, value in _COUNTER.findall(text)}
    assert all(value % MB == 0 for value in counters.values())
    return {esim_id: value // MB for esim_id, value in counters.items()}


@dataclass
class Ledger:
    """What was sent, and what was acknowledged."""

    before: dict[str, int] = field(default_factory=dict)
    """The newest step of each eSIM that an earlier run acknowledged."""
    sent: dict[str, int] = field(default_factory=dict)
    acknowledged: dict[str, int] = field(default_factory=dict)
    """The newest step of each eSIM that was answered with 200."""
    deliveries: int = 0
    """Number of requests."""
    answers: int = 0
    """Number of events that were answered with 200."""
    unanswered: list[tuple[str, int]] = field(default_factory=list)
    """Events without a 200, to be sent again as the vendor would."""

    def answered(self, esim_id: str, step: int) -> None:
        self.answers += 1
        self.acknowledged[esim_id] = max(step, self.acknowledged.get(esim_id, 0))

    def missing(self, shown: dict[str, int]) -> list[str]:
        """Return the eSIMs of which an acknowledged step is not shown."""
        return [e for e, step in self.acknowledged.items() if shown.get(e, 0) < step]

    def surplus(self, shown: dict[str, int]) -> list[str]:
        """Return the eSIMs that show a step that was never sent."""
        return [e for e, step in shown.items() if step > self.sent.get(e, 0)]


class Feeder(threading.Thread):
    """One connection that sends events of its own eSIMs, until it is closed or stopped.

    An event that is refused with 503 is sent again until it is accepted.
    """

    def __init__(
        self, address: str, ledger: Ledger, esims: list[str], chance: random.Random, rate: float = 0
    ) -> None:
        """``rate`` is in events a second; 0 sends without pauses."""
        super().__init__()
        self.codes: set[int] = set()
        self.port = 0
        """The local port of the connection."""
        self.taken: list[tuple[str, int]] = []
        """The events that were answered with 200 or not answered yet, in order."""
        self.over = threading.Event()
        self._address = address
        self._ledger = ledger
        self._esims = esims
        self._chance = chance
        self._rate = rate

    def run(self) -> None:
        connection = http.client.HTTPConnection(self._address, timeout=WAIT)
        try:
            connection.connect()
            self.port = connection.sock.getsockname()[1]
            started = time.monotonic()
            for number, (esim_id, step) in enumerate(self._events()):
                if self._rate and (early := started + number / self._rate - time.monotonic()) > 0:
                    self.over.wait(early)
                if self.over.is_set():
                    self._ledger.unanswered.append((esim_id, step))
                    return
                while self._send(connection, esim_id, step) == http.client.SERVICE_UNAVAILABLE:
                    if self.over.wait(_PAUSE):
                        return
        except (OSError, http.client.HTTPException):
            return  # the server was killed on purpose
        finally:
            connection.close()

    def _events(self) -> Iterator[tuple[str, int]]:
        """Yield the events without a 200, then new ones, and sometimes an older one again."""
        mine = set(self._esims)
        ledger = self._ledger
        left = [each for each in ledger.unanswered if each[0] in mine]
        yield from left
        while True:
            esim_id = self._chance.choice(self._esims)
            step = ledger.sent.get(esim_id, 0) + 1
            ledger.sent[esim_id] = step
            yield esim_id, step
            if self._chance.random() < 0.05:
                yield esim_id, self._chance.randint(1, step)

    def _send(self, connection: http.client.HTTPConnection, esim_id: str, step: int) -> int:
        body = usage(esim_id, step)
        signed = {roamify.SIGNATURE_HEADER: roamify.sign(body, SECRET)}
        self.taken.append((esim_id, step))
        if (esim_id, step) not in self._ledger.unanswered:
            self._ledger.unanswered.append((esim_id, step))
        self._ledger.deliveries += 1
        connection.request("POST", WEBHOOK, body, signed)
        response = connection.getresponse()
        response.read()
        self.codes.add(response.status)
        if response.status == http.client.OK:
            self._ledger.unanswered.remove((esim_id, step))
            self._ledger.answered(esim_id, step)
        else:
            self.taken.pop()
        return response.status


def feeders(
    address: str, ledger: Ledger, esims: list[str], chance: random.Random, *, rate: float = 0
) -> list[Feeder]:
    """Start feeders that share the eSIMs and the rate (events a second)."""
    started = [
        Feeder(address, ledger, esims[place::CLIENTS], chance, rate / CLIENTS)
        for place in range(CLIENTS)
    ]
    for feeder in started:
        feeder.start()
    return started


def end(of: Iterable[Feeder]) -> None:
    """Stop feeders after their current event, and wait for them."""
    for feeder in of:
        feeder.over.set()
    for feeder in of:
        feeder.join()
