"""Work on a storage without a server, with the exporter's own parts: fill it, let eSIMs expire.

Run in a process of its own, so that the exporter is that of the tree to be measured:
``python -m benchmarks.bulk fill|expire FILE ESIMS EVENTS BASE``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Final

from benchmarks import payloads
from exporter.fleet.drafts import Draft, expire_due
from exporter.fleet.fleet import Fleet, Policy
from exporter.fleet.loading import FleetLoader
from exporter.model.events import Snapshot, Status, UsageEvent
from exporter.storage.contract import Changes, Table
from exporter.storage.sqlite.storage import SqliteStorage

_SPARSE: Final = 200
"""One eSIM of so many was last heard of an hour before the others: few enough to be alone in
what the exporter keeps together, in a fleet of any size."""

_CHUNK: Final = 5000
_EARLIER: Final = 3600


async def fill(path: Path, esims: int, events: int, base: int) -> None:
    """Store a fleet after so many events each, the last at step ``events - 1``.

    Nothing is published to a fleet in memory: all eSIMs are new, so none is looked up.
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
            packages = start == 0  # later ones would be the same again
            rows = tuple(row for row in changes.rows if packages or row.table is Table.ESIM)
            if await storage.commit(Changes(rows, changes.bases)):
                raise SystemExit("the storage was not empty")
    await storage.close()


def event(number: int, step: int, base: int) -> UsageEvent:
    """Return the event that ``payloads.usage_body`` is the delivery of."""
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
    """Let the eSIMs expire that were heard of an hour before the others; say what it took.

    ``look`` is the time of one look when nothing is due, ``expired`` how many expired then and
    ``seconds`` how long that took, merging and encoding included, committing not.
    """
    storage = await SqliteStorage.open(path)
    loader = FleetLoader(Policy(), (payloads.VENDOR,))
    async for chunk in storage.load():
        loader.take(chunk)
    fleet = loader.finish()
    await storage.close()
    now = max(esim.received for esim in fleet.esims)
    expire_due(fleet, now)  # the first look looks at everything
    started = time.perf_counter()
    expire_due(fleet, now)
    look = time.perf_counter() - started
    started = time.perf_counter()
    while True:
        draft = expire_due(fleet, now - _EARLIER / 2 + fleet.policy.retention.silent)
        if not draft.changes():
            break
        fleet.publish(draft)
    return {
        "look": look,
        "seconds": time.perf_counter() - started,
        "expired": float(fleet.expired),
    }


def main() -> int:
    """Do one thing; what it measured goes to standard output as JSON."""
    parser = argparse.ArgumentParser("benchmarks.bulk")
    parser.add_argument("action", choices=["fill", "expire"])
    parser.add_argument("path", type=Path)
    parser.add_argument("esims", type=int)
    parser.add_argument("events", type=int)
    parser.add_argument("base", type=int)
    args = parser.parse_args()
    if args.action == "fill":
        asyncio.run(fill(args.path, args.esims, args.events, args.base))
    else:
        json.dump(asyncio.run(expire(args.path)), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
