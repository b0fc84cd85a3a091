"""Fill a storage, or let its eSIMs expire, with the exporter's own modules and without a server.

It runs in its own process, which imports the exporter of the measured checkout:
``python -m benchmarks.bulk fill|expire|bury FILE ESIMS EVENTS BASE``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Final

from benchmarks import payloads
from exporter.fleet.drafts import Draft, expire_due
from exporter.fleet.fleet import Fleet, Policy
from exporter.fleet.loading import FleetLoader
from exporter.fleet.process_memory import return_free_pages
from exporter.model.events import Snapshot, Status, UsageEvent
from exporter.storage.contract import Changes, Table
from exporter.storage.sqlite.storage import SqliteStorage

_SPARSE: Final = 200
"""One of so many eSIMs received its last event an hour before the others. These are so few that
each is usually alone in its block of the exposition."""

_CHUNK: Final = 5000
_EARLIER: Final = 3600

_EXPIRING: Final = 250
"""eSIMs that expire in one commit: about as many as in one step of an exporter."""


async def fill(path: Path, esims: int, events: int, base: int) -> None:
    """Store a fleet in which each eSIM had ``events`` events, the last at step ``events - 1``.

    The fleet in memory stays empty. All eSIMs are new, so no draft has to find an earlier one.
    """
    now = int(time.time())
    storage = await SqliteStorage.open(path)
    fleet = Fleet(Policy(), (payloads.VENDOR,))
    earlier = max(1, esims // _SPARSE)
    for first in range(0, esims, _CHUNK):
        last = min(first + _CHUNK, esims)
        bounds = sorted({first, min(max(first, earlier), last), last})
        for start, end in pairwise(bounds):
            received = now - _EARLIER if end <= earlier else now
            draft = Draft(fleet, received)
            for number in range(start, end):
                for step in range(events):
                    draft.merge(event(number, step, base))
            changes = draft.changes()
            packages = start == 0  # the first draft has all packages
            rows = tuple(row for row in changes.rows if packages or row.table is Table.ESIM)
            if await storage.commit(Changes(rows, changes.bases)):
                raise SystemExit("the storage was not empty")
    await storage.close()


def event(number: int, step: int, base: int) -> UsageEvent:
    """Return the event that the delivery ``payloads.usage_body`` contains."""
    esim_id, iccid, reference_id = payloads.names(number)
    bought, used = payloads.package(number), payloads.use(number, step)
    allowed, data = used.data_allowed * payloads.MIB, int(used.data_used * payloads.MIB)
    snapshot = Snapshot(
        data_allowed=allowed,
        data_remaining=allowed - data,
        sms_allowed=used.sms_allowed,
        sms_remaining=used.sms_allowed - used.sms_used,
        voice_allowed=used.voice_allowed * 60,
        voice_remaining=(used.voice_allowed - used.voice_used) * 60,
        start=base,
        end=base + 30 * payloads.DAY,
        locations=((bought.location, data),),
    )
    return UsageEvent(
        vendor=payloads.VENDOR,
        time=base + step,
        esim_id=esim_id,
        package_id=bought.package_id,
        snapshot=snapshot,
        status=Status.ACTIVATED,
        reference_id=reference_id,
        iccid=iccid,
        package_name=bought.name,
    )


async def expire(path: Path) -> dict[str, float]:
    """Let the eSIMs expire that received their last event an hour before the others.

    The answer has ``check``, the seconds of a check when nothing is due, ``expired``, the number
    of eSIMs that expired, and ``seconds``, the time that this took. The time includes merging and
    encoding, but no commit.
    """
    storage = await SqliteStorage.open(path)
    loader = FleetLoader(Policy(), (payloads.VENDOR,))
    async for chunk in storage.load():
        loader.take(chunk)
    fleet = loader.finish()
    await storage.close()
    now = max(esim.received for esim in fleet.esims)
    expire_due(fleet, now)  # the first check reads every eSIM
    started = time.perf_counter()
    expire_due(fleet, now)
    check = time.perf_counter() - started
    started = time.perf_counter()
    while True:
        draft = expire_due(fleet, now - _EARLIER / 2 + fleet.policy.retention.silent)
        if not draft.changes():
            break
        fleet.publish(draft)
    return {
        "check": check,
        "seconds": time.perf_counter() - started,
        "expired": float(fleet.expired),
    }


async def bury(path: Path, esims: int, base: int) -> dict[str, float]:
    """Store a fleet of which only tombstones are left: each eSIM had two events and expired.

    The answer has ``tombstones``, their number, and ``memory``, the bytes of resident memory for
    each one, while they came in an order that is not that of their keys.
    """
    storage = await SqliteStorage.open(path)
    fleet = Fleet(Policy(), (payloads.VENDOR,))
    before, first = 0, 0
    for start in range(0, esims, _EXPIRING):
        draft = Draft(fleet, int(time.time()))
        for number in range(start, min(start + _EXPIRING, esims)):
            for step in range(2):
                draft.merge(event(number, step, base))
            draft.remove((payloads.VENDOR, payloads.names(number).esim_id))
        if await storage.commit(draft.changes()):
            raise SystemExit("the storage was not empty")
        fleet.publish(draft)
        del draft
        if not start:  # from here on, the working memory for a step is there
            before, first = _resident(), len(fleet.tombstones)
    grown, count = _resident() - before, len(fleet.tombstones)
    await storage.close()
    return {"tombstones": float(count), "memory": grown / max(1, count - first)}


def _resident() -> int:
    """Return the resident memory of this process without free pages, bytes."""
    return_free_pages()
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def main() -> int:
    """Run one action, and write what it measured to standard output as JSON."""
    parser = argparse.ArgumentParser("benchmarks.bulk")
    parser.add_argument("action", choices=["fill", "expire", "bury"])
    parser.add_argument("path", type=Path)
    parser.add_argument("esims", type=int)
    parser.add_argument("events", type=int)
    parser.add_argument("base", type=int)
    args = parser.parse_args()
    if args.action == "fill":
        asyncio.run(fill(args.path, args.esims, args.events, args.base))
    elif args.action == "bury":
        json.dump(asyncio.run(bury(args.path, args.esims, args.base)), sys.stdout)
    else:
        json.dump(asyncio.run(expire(args.path)), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
