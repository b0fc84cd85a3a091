"""What was acknowledged at which moment, and what a storage holds of it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import altered
import httpx
from feeding import START, Feeder, Ledger, end, feeders
from power import Disk
from running import Serving, serving, until
from tracing import calls, ended, environment, traced

from exporter.errors import StorageDamaged
from exporter.model.records import Esim
from exporter.storage.contract import Table
from exporter.storage.sqlite.storage import SqliteStorage
from exporter.storage.stored_records import decode

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from measuring import Chance
    from tracing import Call

    from exporter.storage.contract import Storage


ESIMS = [f"esim-{number}" for number in range(24)]

_WRITING = frozenset({"pwrite64", "write", "fsync", "fdatasync"})

Enough = Callable[[Serving, Ledger], bool]
"""Tells whether a server has been under load for long enough."""


@dataclass(frozen=True, slots=True)
class Recording:
    """What a server did to its files and told its clients."""

    folder: Path
    before: dict[str, bytes]
    """The files that were there at its start, by name."""
    ledger: Ledger
    log: list[str]
    codes: set[int]
    """What its clients were answered."""
    calls: list[Call]
    orders: dict[int, list[tuple[str, int]]]
    """What was answered with 200 over each connection, in order, by port."""

    @property
    def length(self) -> int:
        """Return how many calls there are."""
        return len(self.calls)

    @property
    def end(self) -> int:
        """Return the place of the last call that told a client of an event on disk."""
        told = (n for n, call in enumerate(self.calls) if self.acknowledges(call))
        return max(told, default=self.length - 1)

    def count(self, name: str, file: str) -> int:
        """Return how many calls there were of a name on a file."""
        return sum((c.name, c.path) == (name, str(self.folder / file)) for c in self.calls)

    def failures(self) -> int:
        """Return how many writes and syncs failed."""
        return sum(c.failed for c in self.calls if c.name in _WRITING)

    def recovery(self) -> list[int]:
        """Return the places of what was done to files from a failure to the next answer of 200."""
        failed = (n for n, call in enumerate(self.calls) if call.failed and call.name in _WRITING)
        first = next(failed, 0)
        told = (n for n in range(first, self.length) if self.acknowledges(self.calls[n]))
        return [n for n in range(first, next(told, self.length)) if self.calls[n].path]

    def replayed(self, chance: Chance) -> Iterator[tuple[int, Disk, dict[str, int]]]:
        """Yield after each call its place, the disk, and the acknowledged step of every eSIM."""
        disk, held = Disk(self.folder, self.before, chance), dict(self.ledger.before)
        places = dict.fromkeys(self.orders, 0)
        for number, call in enumerate(self.calls):
            disk.take(call)
            if self.acknowledges(call):
                esim_id, step = self.orders[call.port][places[call.port]]
                places[call.port] += 1
                held[esim_id] = max(step, held.get(esim_id, 0))
            yield number, disk, held

    def acknowledges(self, call: Call) -> bool:
        """Return whether a call told a client of an event on disk."""
        return call.port in self.orders and call.data.startswith(b"HTTP/1.1 200")


def recorded(
    folder: Path,
    chance: Chance,
    enough: Enough,
    *faults: str,
    ledger: Ledger | None = None,
    environ: Mapping[str, str] | None = None,
) -> Recording:
    """Serve in ``folder`` under load until there was enough of it, then be killed."""
    served, record = folder / "served", folder / "calls"
    served.mkdir(exist_ok=True)
    before = {file.name: file.read_bytes() for file in served.iterdir()}
    ledger = ledger or Ledger()
    altering = environment() | dict(environ or {})
    command = [*traced(record, *faults), *altered.COMMAND]
    running: list[Feeder] = []
    with serving(served, environ=altering, command=command, ready="") as server:
        if started(server):
            address = server.public.removeprefix("http://")
            running = feeders(address, ledger, ESIMS, chance)
            until(lambda: enough(server, ledger))
            server.kill()
            end(running)
    ended(record)
    codes = set[int]().union(*(feeder.codes for feeder in running))
    orders = {feeder.port: feeder.taken for feeder in running}
    about = [c for c in calls(record) if c.port in orders or c.path.startswith(str(served))]
    return Recording(served, before, ledger, server.lines, codes, about, orders)


def started(server: Serving) -> bool:
    """Wait until a server is ready, or has refused to start."""

    def gone() -> bool:
        return server.process.poll() is not None

    until(lambda: gone() or len(server.logged("listening")) > 1)
    until(lambda: gone() or server.get("/-/ready").status_code == httpx.codes.OK)
    return not gone() or server.ended() == 0


def acknowledged(events: int) -> Enough:
    """Have enough once so many events were acknowledged."""
    return lambda _, ledger: ledger.answers >= events


async def loaded(path: Path) -> tuple[dict[str, tuple[int, int]], list[str]]:
    """Return what :func:`kept` does of an SQLite file."""
    return await kept(await SqliteStorage.open(path))


async def kept(storage: Storage) -> tuple[dict[str, tuple[int, int]], list[str]]:
    """Return of every eSIM its newest step and its counter in MB, and what was damaged.

    Closes the storage.
    """
    try:
        chunks = [chunk async for chunk in storage.load()]
    finally:
        await storage.close()
    rows = [row for chunk in chunks for row in chunk.rows if row.table is Table.ESIM]
    found = {}
    for esim in map(decode, rows):
        assert isinstance(esim, Esim)
        (allowance,) = esim.allowances
        assert allowance.data
        found[esim.esim_id] = (allowance.time - START, allowance.data.total >> 20)
    return found, [line for chunk in chunks for line in chunk.damaged]


@dataclass(slots=True)
class Found:
    """What was found after power cuts, in eSIMs that had acknowledged events."""

    looked_at: int = 0
    behind: int = 0
    refused: list[str] = field(default_factory=list)
    """Why the storage did not open, after each cut of which it did not."""
    damaged: list[str] = field(default_factory=list)
    """What a start reported as damage, which a power cut must not look like."""

    async def look(self, disk: Disk, held: dict[str, int], folder: Path) -> None:
        """Cut the power, and compare what is left with what was acknowledged until then."""
        with tempfile.TemporaryDirectory(dir=folder) as name:
            disk.after_power_loss(Path(name))
            self.looked_at += len(held)
            try:
                found, damaged = await loaded(Path(name) / "esim-exporter.db")
            except StorageDamaged as error:
                self.refused.append(str(error))
                return
        self.damaged += damaged
        self.behind += sum(found.get(e, (0, 0))[0] < step for e, step in held.items())
        assert all(step == counter for step, counter in found.values())


async def after_cuts(
    recording: Recording, chance: Chance, places: Sequence[int], folder: Path
) -> Found:
    """Cut the power after each of these calls, and after the last acknowledgement."""
    at = sorted([*places, recording.end])
    found = Found()
    for number, disk, held in recording.replayed(chance):
        while at and at[0] == number:
            at.pop(0)
            await found.look(disk, held, folder)
    return found
