"""Signed events with a known effect, spread over several replicas.

An event that one replica does not accept is sent to another. Some eSIMs are reported so often that
replicas change them at the same time. Some report that they are EXPIRED, leave soon after, and
come back with the next event.
"""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from feeding import usage
from running import SECRET, WAIT, WEBHOOK

from exporter.vendors import roamify

if TYPE_CHECKING:
    from measuring import Chance

RATE = 500
"""Signed events a second, over all replicas."""

ORDINARY = [f"esim-{number}" for number in range(200)]
BUSY = [f"busy-{number}" for number in range(4)]
EXPIRING = [f"brief-{number}" for number in range(20)]

_BUSY, _EXPIRING = 0.1, 0.02
"""The shares of busy and of expiring eSIMs in all events."""

_AGAIN = 0.05
"""Share of events after which an older event of the same eSIM is sent again."""

_SENDERS = 12

_PATIENCE = 2.0
"""Seconds after which the vendor gives a delivery up."""

_PAUSE = 0.02
"""Seconds before a delivery that was not accepted is sent again."""

_WHILE = (0.1, 0.8)
"""Range of seconds before a fault, and before a killed process is started again."""

NO_ANSWER = 0
"""Code of a delivery whose connection broke, or that took too long."""


class Report(NamedTuple):
    """One event."""

    esim_id: str
    step: int
    status: str

    @property
    def body(self) -> bytes:
        return usage(*self)


class Load:
    """Sends events while it is entered. On exit all of them have been acknowledged."""

    def __init__(self, chance: Chance, addresses: list[str]) -> None:
        """``addresses`` may change during the load, like those of a load balancer."""
        self.addresses = addresses
        self.chance = chance
        self.over = threading.Event()
        self.lock = threading.Lock()
        self.sent: dict[str, int] = {}
        """The newest step, by eSIM."""
        self.taken: list[Report] = []
        """The acknowledged events."""
        self.codes: Counter[int] = Counter()
        """Number of deliveries by status code."""
        self.hasty = 0
        """Number of 503 answers without ``Retry-After``."""
        self.silence = 0.0
        """Most seconds between two acknowledgements."""
        self.seconds = 0.0
        """Seconds for which it was entered."""
        self._entered = self._last = 0.0
        self._senders: list[_Sender] = []

    @property
    def deliveries(self) -> int:
        return self.codes.total()

    def acknowledged(self) -> dict[str, int]:
        """Return the newest step that was answered with 200, by eSIM."""
        newest: dict[str, int] = {}
        for esim_id, step, _ in list(self.taken):
            newest[esim_id] = max(step, newest.get(esim_id, 0))
        return newest

    def __enter__(self) -> None:
        self.over.clear()
        self._entered = self._last = time.monotonic()
        self._senders = [_Sender(self) for _ in range(_SENDERS)]
        for sender in self._senders:
            sender.start()

    def __exit__(self, *_: object) -> None:
        self.over.set()
        for sender in self._senders:
            sender.join()
        self.seconds += time.monotonic() - self._entered

    def last(self) -> None:
        """Send for a random time of less than a second."""
        self.over.wait(self.chance.uniform(*_WHILE))

    def next_reports(self) -> list[Report]:
        """Return a new event, and sometimes an older one of the same eSIM too."""
        with self.lock:
            kind, again = self.chance.random(), self.chance.random() < _AGAIN
            esims = BUSY if kind < _BUSY else EXPIRING if kind < _BUSY + _EXPIRING else ORDINARY
            return self.report(self.chance.choice(esims), again=again)

    def report(self, esim_id: str, *, again: bool = False, status: str = "") -> list[Report]:
        step = self.sent[esim_id] = self.sent.get(esim_id, 0) + 1
        status = status or ("EXPIRED" if esim_id in EXPIRING else "ACTIVATED")
        steps = (step, self.chance.randint(1, step)) if again else (step,)
        return [Report(esim_id, each, status) for each in steps]

    def note(self, report: Report, code: int, *, hasty: bool) -> None:
        with self.lock:
            self.codes[code] += 1
            self.hasty += hasty
            if code == http.client.OK:
                self.taken.append(report)
                last, self._last = self._last, time.monotonic()
                self.silence = max(self.silence, self._last - last)


class _Sender(threading.Thread):
    """Sends one delivery at a time, each to a random replica."""

    def __init__(self, load: Load) -> None:
        super().__init__()
        self._load = load
        self._connections: dict[str, http.client.HTTPConnection] = {}

    def run(self) -> None:
        due = time.monotonic()
        while not self._load.over.wait(max(0, due - time.monotonic())):
            for report in self._load.next_reports():
                self._deliver(report)
                due = max(time.monotonic(), due + _SENDERS / RATE)
        for connection in self._connections.values():
            connection.close()

    def _deliver(self, report: Report) -> None:
        """Send an event until it is acknowledged."""
        deadline = time.monotonic() + 2 * WAIT
        while self._send(report) != http.client.OK:
            if time.monotonic() > deadline:
                return  # the comparison will miss the event
            time.sleep(_PAUSE)

    def _send(self, report: Report) -> int:
        address = self._load.chance.choice(tuple(self._load.addresses))
        body, code, hasty = report.body, NO_ANSWER, False
        signed = {roamify.SIGNATURE_HEADER: roamify.sign(body, SECRET)}
        connection = self._connections.get(address)
        if connection is None:
            connection = http.client.HTTPConnection(address, timeout=_PATIENCE)
            self._connections[address] = connection
        try:
            connection.request("POST", WEBHOOK, body, signed)
            response = connection.getresponse()
            response.read()
            code = response.status
            hasty = code == http.client.SERVICE_UNAVAILABLE and not response.headers["Retry-After"]
        except (OSError, http.client.HTTPException):
            connection.close()
            del self._connections[address]
        self._load.note(report, code, hasty=hasty)
        return code
