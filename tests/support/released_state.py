"""What each release stores, kept in ``tests/storage/releases``: later versions must read the same.

Each release has a folder there:

``sqlite-stopped.tar.gz``
    The SQLite file after an orderly stop, with damaged rows.
``sqlite-killed.tar.gz``
    The same file after the events of :func:`continued`, with the log, as ``kill -9`` leaves it.
``sqlite-backup.tar.gz``
    A backup of that file, which the exporter wrote.
``postgresql.sql.gz``
    A database without damage, as ``pg_dump`` writes it.
``loaded.txt``, ``continued.txt``
    What the metrics must be after a load, and after the events of :func:`continued`.
``rejected.json``
    What the rejected deliveries must be.

The SQLite files are whole files, not SQL: a dump has no stamps, log, page of the seal and note of
the last acknowledged commit, on which an opening depends.

To add the folder of the present version, and never to change an older one::

    python tests/support/released_state.py
"""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import sqlite3
import tarfile
import tempfile
from base64 import b64encode
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import exporter
from exporter.errors import FieldError
from exporter.exposition.exposition import Exposition, Format, Group
from exporter.exposition.families import InfoLabels
from exporter.fleet.drafts import Draft, expire_due
from exporter.fleet.fleet import Fleet, Policy
from exporter.fleet.loading import FleetLoader
from exporter.ingest.rejected_deliveries import FUTURE, RejectedDeliveries, RejectedDelivery
from exporter.model.events import PartnerEvent, Snapshot, Status, StatusEvent, UsageEvent
from exporter.model.expiry import Retention
from exporter.model.shards import Shard
from exporter.storage.contract import Changes, Row, Table
from exporter.storage.postgres.storage import PostgresStorage
from exporter.storage.sqlite.storage import SqliteStorage

if TYPE_CHECKING:
    from collections.abc import Iterable

    from postgres import Postgres

    from exporter.model.events import Event
    from exporter.storage.contract import Key, Storage

RELEASES = Path(__file__).resolve().parents[1] / "storage" / "releases"
FILE = "fleet.db"
"""Name of the database file in the archives."""

NOW = 1_760_000_000
HOUR, DAY = 3600, 86_400
MB = 1 << 20
VENDORS = ("roamify", 'zeta "télécom"\\\n')
DAMAGED = "damaged"
"""A vendor all of whose rows are damaged in the SQLite files."""
POLICY = Policy(Retention(DAY, 30 * DAY), max_esims=20, max_packages=2, max_locations=2)
LABELS = InfoLabels(("reference_id", "iccid"))


@dataclass
class State:
    """A storage, and what was loaded from it."""

    storage: Storage
    fleet: Fleet
    rejected: RejectedDeliveries
    rows: list[Row] = field(default_factory=list)
    bases: dict[Key, int] = field(default_factory=dict)
    damaged: list[str] = field(default_factory=list)

    @classmethod
    async def load(cls, storage: Storage, shard: Shard | None = None) -> State:
        """Load everything, as a start does."""
        loader = FleetLoader(POLICY, VENDORS[:1], shard)
        state = cls(storage, Fleet(POLICY, VENDORS[:1], shard), RejectedDeliveries(10))
        async for chunk in storage.load():
            loader.take(chunk)
            state.rows += chunk.rows
            state.bases |= chunk.bases
            state.damaged += chunk.damaged
        state.fleet = loader.finish()
        state.rejected.restore(row for row in state.rows if row.table is Table.REJECTED)
        return state

    async def take(self, now: int, events: Iterable[Event], *vendors: str) -> list[str]:
        """Commit events of vendors at ``now``, and return what became of each event."""
        draft = Draft(self.fleet, now)
        for vendor in vendors:
            draft.note_delivery(vendor)
        results = [draft.merge(event).name for event in events]
        await self._commit(draft)
        return results

    async def expire(self, now: int) -> None:
        """Expire what is due at ``now``."""
        while self.fleet.any_due(now):
            await self._commit(expire_due(self.fleet, now))

    async def reject(self, *deliveries: RejectedDelivery) -> None:
        """Keep rejected deliveries."""
        draft = self.rejected.draft()
        for delivery in deliveries:
            draft.add(delivery)
        if await self.storage.commit(Changes(draft.changes())):
            raise RuntimeError("the storage holds something else")
        self.rejected.publish(draft)

    def text(self, now: int) -> str:
        """Return the metrics of the whole fleet."""
        exposition = Exposition(self.fleet, LABELS, 9 * HOUR)
        list(exposition.refresh())
        scrape = exposition.scrape((Group.ATTENTION, Group.ESIMS, Group.FLEET), Format.TEXT, now)
        return b"".join(scrape.identity()).decode()

    def rejections(self) -> list[dict[str, Any]]:
        """Return the rejected deliveries as JSON."""
        found = [asdict(delivery) for delivery in self.rejected]
        for each in found:
            each["body"] = b64encode(each["body"]).decode()
        return json.loads(json.dumps(found))  # type: ignore[no-any-return]  # a list

    async def _commit(self, draft: Draft) -> None:
        if await self.storage.commit(draft.changes()):
            raise RuntimeError("the storage holds something else")
        self.fleet.publish(draft)


async def fill(storage: Storage, shard: Shard | None, *vendors: str) -> None:
    """Store eSIMs, tombstones, packages, balances, feeds and rejected deliveries of vendors."""
    state = await State.load(storage, shard)
    for vendor in vendors:
        await state.take(NOW - 40 * DAY, _long_ago(vendor), vendor)
    await state.expire(NOW - DAY)
    for vendor in vendors:
        await state.take(NOW - HOUR, _recent(vendor), vendor)
        await state.reject(*_rejected(vendor))


async def continued(state: State) -> list[str]:
    """Commit later events, whose results depend on all that is stored. Return the results."""
    results = []
    for vendor in VENDORS:
        results += await state.take(NOW + HOUR, _later(vendor), vendor)
    await state.expire(NOW + 2 * DAY)
    return results


def _long_ago(vendor: str) -> list[Event]:
    then = NOW - 40 * DAY
    gone = Snapshot(
        data_allowed=100 * MB,
        data_remaining=60 * MB,
        sms_allowed=10,
        sms_remaining=4,
        voice_allowed=600,
        voice_remaining=60,
        locations=(("Canada", 30 * MB), ("Perú", 10 * MB)),
    )
    return [
        *(UsageEvent(vendor, then, name, "small", gone) for name in ("back", "gone", "silent")),
        *(StatusEvent(vendor, then + 1, name, Status.DELETED) for name in ("back", "gone")),
    ]


def _recent(vendor: str) -> list[Event]:
    start = NOW - 5 * HOUR

    def used(esim: str, share: int, time: int = start, package: str = "large") -> UsageEvent:
        snapshot = Snapshot(data_allowed=100 * MB, data_remaining=(100 - share) * MB)
        return UsageEvent(vendor, time, esim, package, snapshot, Status.ACTIVATED)

    unlimited = Snapshot(
        data_unlimited=True,
        start=start - DAY,
        end=start + DAY,
        locations=(("Canada", 7 * MB), ("Lima", 3), ("Perú", 9 * MB)),
    )
    names = {"reference_id": "ref é", "iccid": "8944000000000000001", "package_name": "100 MB"}
    empty = Snapshot(False, 100 * MB, 0, 10, 0, 600, 1)
    return [
        *(used("many samples", 20 + 2 * n, start + 60 * n) for n in range(20)),
        used("many samples", 1, start + 60 * 20),  # a renewal
        used("named", 76)._replace(**names),  # type: ignore[arg-type]  # texts
        used("two packages", 92),
        used("two packages", 30, package="small"),
        UsageEvent(vendor, start, "unlimited", "endless", unlimited),
        UsageEvent(vendor, start, "out of data", "large", empty),
        used("back", 5, package="small"),  # its counters continue
        *(StatusEvent(vendor, start, f"only {status}", status) for status in Status),
        PartnerEvent(vendor, "low_balance", start, "EUR", 12.5, 20.0),
        PartnerEvent(vendor, "top_up", start, "USD", 1e6),
    ]


def _rejected(vendor: str) -> tuple[RejectedDelivery, ...]:
    body = vendor.encode()
    wrong = (FieldError(("data", "usage_list", 0), "is no object"), FieldError(("a",), "bad"))
    future = (FieldError(("data", "timestamp"), "is in the future"),)
    return (
        RejectedDelivery(vendor, "malformed", (), body + b"\xff", NOW - 9, NOW - 8, deliveries=3),
        RejectedDelivery(vendor, "invalid", wrong, body + b"{}", NOW - 7, NOW - 7),
        RejectedDelivery(vendor, FUTURE, future, body + b"[]", NOW - 6, NOW - 6),
    )


def _later(vendor: str) -> list[Event]:
    start, now = NOW - 5 * HOUR, NOW + HOUR

    def used(esim: str, time: int, remaining: int, package: str = "small") -> UsageEvent:
        snapshot = Snapshot(data_allowed=100 * MB, data_remaining=remaining * MB)
        return UsageEvent(vendor, time, esim, package, snapshot)

    return [
        used("gone", NOW - 41 * DAY, 1),  # older than its tombstone
        used("silent", now, 50),  # newer: the counter continues
        used("many samples", start + 60, 77, "large"),  # before all kept samples
        used("many samples", start + 60 * 15 + 1, 30, "large"),  # between them
        used("many samples", start + 60 * 20, 99, "large"),  # known
        used("many samples", now, 90, "large"),
        used("new", now, 25)._replace(package_name="Small"),
        StatusEvent(vendor, start - 1, "only NEW", Status.ACTIVATED),
        StatusEvent(vendor, now, "named", Status.REVOKED, reference_id="other"),
        PartnerEvent(vendor, "low_balance", start - 1, "EUR", 0.5),
        PartnerEvent(vendor, "insufficient_balance", now, "EUR", 0.25),
    ]


def damage(path: Path) -> None:
    """Damage every row of the vendor :data:`DAMAGED` in a closed file, each table in its way."""
    like = f'%"{DAMAGED}"%'
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        file.execute(
            "UPDATE esim SET data = replace(data, 'a', 'b') || ' ' WHERE vendor = 'damaged'"
        )
        file.execute("UPDATE tombstone SET version = version + 1 WHERE vendor = 'damaged'")
        file.execute("UPDATE package SET crc = crc + 1 WHERE vendor = 'damaged'")
        file.execute("UPDATE partner SET data = x'00' WHERE vendor = 'damaged'")
        file.execute("UPDATE feed SET crc = 7 WHERE vendor = 'damaged'")
        file.execute("UPDATE bases SET amount = amount || '0' WHERE key LIKE ?", (like,))
        file.execute("UPDATE rejected SET data = '[1]' WHERE data LIKE ?", (like,))


def pack(folder: Path) -> bytes:
    """Return the files of a storage as an archive."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        for file in sorted(folder.iterdir()):
            tar.add(file, file.name)
    return archive.getvalue()


def unpack(archive: Path, folder: Path) -> Path:
    """Put the files of an archive into a folder, and return the path of the database."""
    with tarfile.open(archive) as tar:
        for member in tar:
            content = tar.extractfile(member)
            if content is None:
                raise RuntimeError(f"{archive} holds more than files")
            (folder / member.name).write_bytes(content.read())
    return folder / FILE


def restore(server: Postgres, dump: Path) -> str:
    """Load a dump into a new database, and return its URL."""
    url = server.new_database()
    server.run_script(gzip.decompress(dump.read_bytes()), url)
    return url


async def _write(release: Path, server: Postgres, folder: Path) -> None:
    path = folder / FILE
    storage: Storage = await SqliteStorage.open(path)
    await fill(storage, None, *VENDORS, DAMAGED)
    await storage.close()
    damage(path)
    (release / "sqlite-stopped.tar.gz").write_bytes(pack(folder))
    storage = await SqliteStorage.open(path)
    state = await State.load(storage)
    written = {
        "loaded.txt": state.text(NOW),
        "rejected.json": json.dumps(state.rejections(), indent=1, ensure_ascii=False) + "\n",
    }
    results = await continued(state)
    written["continued.txt"] = f"# {' '.join(results)}\n" + state.text(NOW + 2 * DAY)
    (release / "sqlite-killed.tar.gz").write_bytes(pack(folder))
    backup = folder / "backup" / FILE
    backup.parent.mkdir()
    await storage.backup(backup)
    await storage.close()
    (release / "sqlite-backup.tar.gz").write_bytes(pack(backup.parent))
    for name, text in written.items():
        (release / name).write_text(text, "utf-8")
    url = server.new_database()
    storage = await PostgresStorage.open(url, Shard())
    await fill(storage, Shard(), *VENDORS)
    await storage.close()
    (release / "postgresql.sql.gz").write_bytes(gzip.compress(server.dump(url), mtime=0))


def _main() -> None:
    from postgres import running  # noqa: PLC0415  # a test gets its server from elsewhere

    release = RELEASES / exporter.__version__
    release.mkdir(parents=True)  # a release is never written twice
    with running() as server, tempfile.TemporaryDirectory() as folder:
        asyncio.run(_write(release, server, Path(folder)))


if __name__ == "__main__":
    _main()
