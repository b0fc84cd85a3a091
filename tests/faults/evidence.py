"""When each event was acknowledged, and what a storage holds after a power cut at that moment."""

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
"""Returns whether a server has been under load for long enough."""


@dataclass(frozen=True, slots=True)
class Recording:
    """The system calls of a server on its files and its connections."""

    folder: Path
    before: dict[str, bytes]
    """The contents of the files before its start, by name."""
    ledger: Ledger
    log: list[str]
    codes: set[int]
    """The status codes of its answers."""
    calls: list[Call]
    orders: dict[int, list[tuple[str, int]]]
    """The events that were answered with 200, in order, by port of the connection."""

    @property
    def length(self) -> int:
        """Return the number of calls."""
        return len(self.calls)

    @property
    def end(self) -> int:
        """Return the index of the last call that acknowledged an event."""
        found = (n for n, call in enumerate(self.calls) if self.acknowledges(call))
        return max(found, default=self.length - 1)

    def count(self, name: str, file: str) -> int:
        """Return how often a system call was made on a file."""
        return sum((c.name, c.path) == (name, str(self.folder / file)) for c in self.calls)

    def failures(self) -> int:
        """Return the number of failed writes and syncs."""
        return sum(c.failed for c in self.calls if c.name in _WRITING)

    def recovery(self) -> list[int]:
        """Return the indices of the calls on files from the first failure to the next 200."""
        failed = (n for n, call in enumerate(self.calls) if call.failed and call.name in _WRITING)
        first = next(failed, 0)
        answers = (n for n in range(first, self.length) if self.acknowledges(self.calls[n]))
        return [n for n in range(first, next(answers, self.length)) if self.calls[n].path]

    def replayed(self, chance: Chance) -> Iterator[tuple[int, Disk, dict[str, int]]]:
        """Yield after each call its index, the disk, and the acknowledged step of each eSIM."""
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
        """Return whether a call sent a 200 to a client."""
        return call.port in self.orders and call.data.startswith(b"HTTP/1.1 200")


def recorded(
    folder: Path,
    chance: Chance,
    enough: Enough,
    *faults: str,
    ledger: Ledger | None = None,
    environ: Mapping[str, str] | None = None,
) -> Recording:
    """Serve in ``folder`` under load until that is enough, then kill the server."""
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
    """Wait until a server is ready or has exited; return whether it is ready."""

    def gone() -> bool:
        return server.process.poll() is not None

    until(lambda: gone() or len(server.logged("listening")) > 1)
    until(lambda: gone() or server.get("/-/ready").status_code == httpx.codes.OK)
    return not gone() or server.ended() == 0


def acknowledged(events: int) -> Enough:
    """Return a condition that holds once so many events were acknowledged."""
    return lambda _, ledger: ledger.answers >= events


async def loaded(path: Path) -> tuple[dict[str, tuple[int, int]], list[str]]:
    """Return the newest step and the counter (MB) of each eSIM in a SQLite file, and the damage."""
    return await kept(await SqliteStorage.open(path))


async def kept(storage: Storage) -> tuple[dict[str, tuple[int, int]], list[str]]:
    """Return the newest step and the counter in MB of each eSIM, and the damage.

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
    """What was found after power cuts."""

    looked_at: int = 0
    """Number of eSIMs with acknowledged events that were checked, over all cuts."""
    behind: int = 0
    """Number of them that lack an acknowledged event."""
    refused: list[str] = field(default_factory=list)
    """The reason of each start that was refused."""
    damaged: list[str] = field(default_factory=list)
    """The damage that starts reported. A power cut must not look like damage."""

    async def look(self, disk: Disk, held: dict[str, int], folder: Path) -> None:
        """Cut the power, and compare what is left with what was acknowledged before."""
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
