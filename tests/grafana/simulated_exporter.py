"""Runs a real exporter through several simulated days within seconds.

The exporter takes its time from the simulation. A simulated fleet posts signed events to it, and
the two scrape jobs of the documentation scrape it at simulated times. There are some incidents.
"""

from __future__ import annotations

import asyncio
import heapq
import json
import logging
import random
import re
import uuid
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import mixed_fleet
from running import USAGE

from exporter.app.build import Exporter, build
from exporter.app.listener_applications import build_applications, build_status_pages
from exporter.errors import StorageUnavailable
from exporter.settings import loading
from exporter.simulate.deliveries import Faults, SimulatedDelivery, Simulation
from exporter.storage.sqlite.storage import SqliteStorage
from exporter.vendors.registry import FIRST, SIMULATED

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping
    from pathlib import Path

    from quart import Quart

    from exporter.endpoints.status.pages import StatusPages
    from exporter.http.quart_application import Application
    from exporter.storage.contract import Changes, Row

HOUR: Final = 3600
DAY: Final = 24 * HOUR

START: Final = int(datetime(2026, 6, 1, tzinfo=UTC).timestamp())
END: Final = START + 3 * DAY - 100 * 60
"""A fixed time, so that pictures can be compared."""

ESIMS: Final = 60
OTHER_ESIMS: Final = 80
"""eSIMs of vendors that report at thresholds only."""
OTHERS_BEGIN: Final = START - 10 * DAY
"""So early that some of them reach thresholds in the days that are shown."""
FAULTS: Final = Faults(bad_signature=0.004, malformed=0.002)

JOB: Final = "esim-exporter"
ESIMS_JOB: Final = "esim-exporter-esims"
INSTANCE: Final = "exporter.example:10877"
STEP: Final = 120
"""Seconds between two scrapes: as long as rates over five minutes allow."""
_GROUPS: Final = {
    JOB: b"collect[]=exporter&collect[]=fleet&collect[]=attention",
    ESIMS_JOB: b"collect[]=esims",
}

SHOWN_ESIM: Final = "c2a9cdae-430e-4251-bf65-a84df4562ed9"
"""An eSIM with data, SMS, voice, several locations and a top-up."""
SHOWN_PACKAGE: Final = "esim-united-states-30days-20gb-all"

STORM_PACKAGE: Final = "esim-caribbean-7days-1gb-all"
_STORM_ESIMS: Final = 55
OUT_ELSEWHERE: Final = 4
"""How many eSIMs with other packages have no data left at the end."""
OUT_OF_DATA: Final = _STORM_ESIMS + OUT_ELSEWHERE


@dataclass(frozen=True, slots=True)
class Incident:
    """A time in which something goes wrong, in unix seconds."""

    begins: int
    ends: int

    def __contains__(self, at: float) -> bool:
        return self.begins <= at < self.ends


SILENCE: Final = Incident(END - 40 * HOUR, END - 34 * HOUR)
"""The vendor sends nothing, and does not send it later either."""
DOWN: Final = Incident(END - 22 * HOUR, END - 22 * HOUR + 24 * 60)
"""The exporter does not run."""
DISK_FULL: Final = Incident(END - 15 * HOUR, END - 15 * HOUR + 40 * 60)
WRONG_SECRET: Final = Incident(END - 6 * HOUR, END - 6 * HOUR + 50 * 60)
"""The vendor signs with a secret that the exporter does not know."""


class Clock:
    """Simulated time, unix seconds."""

    def __init__(self) -> None:
        self.now: float = START

    def __call__(self) -> float:
        return self.now


class Disk:
    """A real storage whose disk is full for a while."""

    def __init__(self, storage: SqliteStorage, clock: Clock) -> None:
        self._storage = storage
        self._clock = clock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    async def commit(self, changes: Changes) -> tuple[Row, ...]:
        self._check()
        return await self._storage.commit(changes)

    async def probe(self) -> bool:
        self._check()
        return await self._storage.probe()

    def _check(self) -> None:
        if self._clock() in DISK_FULL:
            raise StorageUnavailable("no space left on device")


def scrapes(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the scrape job and the OpenMetrics lines of every scrape, in order of time."""
    logging.getLogger("exporter").setLevel(logging.CRITICAL)
    loop = asyncio.new_event_loop()
    try:
        steps = _run(folder)
        while True:
            try:
                yield loop.run_until_complete(anext(steps))
            except StopAsyncIteration:
                return
    finally:
        logging.getLogger("exporter").setLevel(logging.NOTSET)
        loop.close()


def deliveries() -> Iterator[SimulatedDelivery]:
    """Yield the deliveries of all vendors, without end, in the order of sending."""
    others = [vendor for vendor in SIMULATED if vendor is not FIRST]
    return heapq.merge(
        Simulation(start=START, seed=7, esims=ESIMS, faults=FAULTS),
        Simulation(start=OTHERS_BEGIN, seed=7, esims=OTHER_ESIMS, vendors=others),
        _shown_deliveries(),
        _storm_deliveries(),
        key=lambda delivery: delivery.at,
    )


async def _run(folder: Path) -> AsyncIterator[tuple[str, str]]:
    clock = Clock()
    waiting = deliveries()
    delivery = next(waiting)
    for begins, ends in ((START, DOWN.begins), (DOWN.ends, END)):
        async with _running(folder, clock) as (exporter, _, app):
            started = clock.now = max(begins, clock.now)
            for at in range(begins, ends + 1, STEP):
                while delivery.at <= at:
                    clock.now = delivery.at
                    if delivery.at >= begins and delivery.at not in SILENCE:
                        await _deliver(app, delivery)
                    delivery = next(waiting)
                clock.now = at
                await _settle(exporter)
                for job, query in _GROUPS.items():
                    text = await _request(app, "GET", "/metrics", query=query)
                    yield job, _stored(text, job, at, started)
        if ends == DOWN.begins:
            for at in range(DOWN.begins + STEP, DOWN.ends, STEP):
                for job in _GROUPS:
                    yield job, f'up{{job="{job}",instance="{INSTANCE}"}} 0 {at}\n'


@asynccontextmanager
async def _running(
    folder: Path, clock: Clock
) -> AsyncIterator[tuple[Exporter, StatusPages, Application]]:
    """Run the exporter with its own wiring, but without sockets."""
    # All requests use one listener. The cap is shown on a dashboard but is never reached.
    flags = [f"--{name}.listen-address=127.0.0.1:1" for name in ("web", "webhook")]
    flags += ["--limits.max-esims=1000", *mixed_fleet.flags()]
    chosen = loading.load(flags, mixed_fleet.environ())
    storage = Disk(await SqliteStorage.open(folder / "exporter.db"), clock)
    exporter = build(chosen, storage, clock, lambda: chosen)
    # Simulated time passes faster than the usual interval.
    exporter.intake._expiry_interval = 0.05
    pages = build_status_pages(exporter)
    (site,) = build_applications(exporter, pages)
    intake = asyncio.create_task(exporter.intake.run())
    await _settle(exporter)
    yield exporter, pages, site.app
    exporter.intake.stop()
    await intake
    await storage.close()


async def _settle(exporter: Exporter) -> None:
    """Wait until the state is loaded, the storage works and everything that is due has expired."""
    intake, clock = exporter.intake, exporter.clock
    while clock() not in DISK_FULL and (  # noqa: ASYNC110  # the exporter has no event for this
        intake.failed or intake.state is None or intake.state.fleet.any_due(clock())
    ):
        await asyncio.sleep(0.001)


async def _deliver(app: Quart, delivery: SimulatedDelivery) -> None:
    path, headers = mixed_fleet.addressed(delivery, wrong=delivery.at in WRONG_SECRET)
    await _request(app, "POST", path, body=delivery.body, headers=headers)


async def _request(
    app: Quart,
    method: str,
    path: str,
    *,
    query: bytes = b"",
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
) -> str:
    """Send a request as an ASGI server would, and return the body of the answer."""
    answer: list[bytes] = []
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> dict[str, Any]:
        return waiting.pop() if waiting else await asyncio.Future()

    async def send(message: dict[str, Any]) -> None:
        answer.append(message.get("body", b""))

    fields = {
        "host": INSTANCE,
        "accept": "application/openmetrics-text;version=1.0.0",
        "content-length": str(len(body)),
        **(headers or {}),
    }
    scope: Any = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query,
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in fields.items()],
        "extensions": {},
        "client": ("192.0.2.1", 1),
        "server": ("192.0.2.2", 10877),
    }
    await app(scope, receive, send)  # type: ignore[arg-type]
    return b"".join(answer).decode()


_COMMENT = re.compile(r"^#.*\n", re.MULTILINE)
_UNLABELLED = re.compile(r"^(\w+) ", re.MULTILINE)
_STARTED = re.compile(r"^(process_start_time_seconds)(\S*) .*$", re.MULTILINE)


def _stored(text: str, job: str, at: int, started: float) -> str:
    """Return the samples with the labels and the time of a scrape, and the samples it adds."""
    samples = _COMMENT.sub("", text)
    lines = samples.count("\n")
    if job == JOB:
        # The start of the process is simulated; its other metrics are real.
        samples = _STARTED.sub(rf"\1\2 {started}", samples)
        samples = _UNLABELLED.sub(r"\1{} ", samples)
    added = {"up": 1, "scrape_samples_scraped": lines, "scrape_duration_seconds": 0.01}
    samples += "".join(f"{name}{{}} {value}\n" for name, value in added.items())
    target = f'job="{job}",instance="{INSTANCE}"'
    return samples.replace("{", f"{{{target},").replace(",}", "}").replace("\n", f" {at}\n")


def _shown_deliveries() -> Iterator[SimulatedDelivery]:
    """Yield the reports of one eSIM, which is topped up when nine tenths of its data are used."""
    document = json.loads(USAGE)
    allowed, used = 20480.0, 14000.0  # MB
    sms, voice, at = 100, 500, START + HOUR
    places = {"United States": 0.0, "Canada": 0.0, "Mexico": 0.0}
    while True:
        hour = at // HOUR % 24
        step = 330 * (0.3 if hour < 8 else 1.6)
        for place, share in zip(places, (0.7, 0.2, 0.1), strict=True):
            places[place] += share * step
        used, sms, voice = used + step, max(0, sms - 2), max(0, voice - 11)
        document["data"] |= {
            "timestamp": at,
            "esim_id": SHOWN_ESIM,
            "reference_id": "order-2026-0042",
            "start": START - 6 * DAY,
            "end": START + 24 * DAY,
            "status": "ACTIVATED",
            "package_id": SHOWN_PACKAGE,
            "package_name": "20 GB - 30 Days + 100 SMS + 500 Minutes",
            "usage_data": {
                "isUnlimited": False,
                "allowed_data": allowed,
                "allowed_sms": 100,
                "remaining_data": round(allowed - used, 2),
                "remaining_sms": sms,
                "allowed_voice": 500,
                "remaining_voice": voice,
            },
            "usage_list": [
                {"date": "2026-06-01", "data_used": round(amount, 2), "location": place}
                for place, amount in places.items()
            ],
        }
        yield SimulatedDelivery(at, json.dumps(document).encode())
        if used > 0.9 * allowed:
            allowed += 5120
        at += 4 * HOUR


def _storm_deliveries() -> Iterator[SimulatedDelivery]:
    """Yield the reports of a package that is too small: all run out within two hours."""
    names = random.Random(19)
    deliveries = []
    for number in range(_STORM_ESIMS):
        esim_id = str(uuid.UUID(int=names.getrandbits(128), version=4))
        last = END - 2 * HOUR + number * 110 * 60 // _STORM_ESIMS
        for reports_before, used in enumerate((1024.0, 930.0 - 3 * number, 400.0, 0.0)):
            document = json.loads(USAGE)
            document["data"] |= {
                "timestamp": last - 4 * HOUR * reports_before,
                "esim_id": esim_id,
                "reference_id": f"order-2026-{1000 + number}",
                "start": END - DAY,
                "end": END + 6 * DAY,
                "status": "ACTIVATED",
                "package_id": STORM_PACKAGE,
                "package_name": "1 GB - 7 Days",
                "usage_data": {
                    "isUnlimited": False,
                    "allowed_data": 1024.0,
                    "remaining_data": 1024.0 - used,
                },
                "usage_list": [],
            }
            at = document["data"]["timestamp"] + 20
            deliveries.append(SimulatedDelivery(at, json.dumps(document).encode()))
    yield from sorted(deliveries, key=lambda delivery: delivery.at)
