"""A copied fleet is the same fleet, on SQLite and PostgreSQL. A failed copy leaves nothing."""

from __future__ import annotations

import asyncio
import io
import re
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import asyncpg  # type: ignore[import-untyped]  # it has no types
import pytest
from postgres import running as postgres_running
from running import USAGE, WAIT, until

from exporter.cli import main
from exporter.copying.copy_fleet import copy_fleet
from exporter.errors import FieldError, StorageError, StorageUnavailable
from exporter.exposition.exposition import Exposition, Format, Group
from exporter.exposition.families import InfoLabels
from exporter.fleet.drafts import Draft, expire_due
from exporter.fleet.fleet import Fleet, Policy
from exporter.fleet.loading import FleetLoader
from exporter.ingest.rejected_deliveries import RejectedDeliveries, RejectedDelivery
from exporter.model.events import PartnerEvent, Snapshot, Status, StatusEvent, UsageEvent
from exporter.model.expiry import Retention
from exporter.model.shards import Shard
from exporter.storage import urls
from exporter.storage.contract import Change, Changes, Chunk, Row, Table
from exporter.storage.postgres.copying import PostgresSource, PostgresTarget
from exporter.storage.postgres.storage import PostgresStorage
from exporter.storage.sqlite import copying as sqlite_copying
from exporter.storage.sqlite.copying import SqliteSource, SqliteTarget
from exporter.storage.sqlite.storage import SqliteStorage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

    from conftest import Serve
    from postgres import Postgres

    from exporter.copying.copy_fleet import CopySource, CopyTarget
    from exporter.storage.contract import Key, Storage

NOW = 1_700_000_000
VENDOR = "roamify"
POLICY = Policy(Retention(terminal=60, silent=10**6), max_esims=3)
EXPIRED = ("gone-1", "gone-2", "gone-3")
FEED = Change(Table.FEED, (VENDOR,), 1, b"[1,1700000099]")
PASSWORD = "hunter2"


def usage(esim_id: str, used: int) -> UsageEvent:
    snapshot = Snapshot(data_allowed=1000, data_remaining=1000 - used, locations=(("Perú", used),))
    return UsageEvent(VENDOR, NOW, esim_id, "p 1", snapshot, reference_id="r", package_name="P")


async def fill(storage: Storage, shard: Shard | None = None) -> None:
    """Store a fleet with rows of every kind."""
    fleet = Fleet(POLICY, (VENDOR,), shard)

    async def commit(draft: Draft, *more: Change) -> None:
        changes = draft.changes()
        assert await storage.commit(replace(changes, rows=(*changes.rows, *more))) == ()
        fleet.publish(draft)

    draft = Draft(fleet, NOW)
    draft.note_delivery(VENDOR)
    for used, esim_id in enumerate((*EXPIRED, "e1", "e2", "über", "over the cap"), 10):
        draft.merge(usage(esim_id, used))
    for esim_id in EXPIRED:
        draft.merge(StatusEvent(VENDOR, NOW, esim_id, Status.DELETED))
    draft.merge(PartnerEvent(VENDOR, "low_balance", NOW, "EUR", 12.5, 20.0))
    rejections = RejectedDeliveries(10).draft()
    rejections.add(
        RejectedDelivery(VENDOR, "invalid", (FieldError(("a",), "bad"),), b"{}", NOW, NOW)
    )
    await commit(draft, *rejections.changes())
    await commit(expire_due(fleet, NOW + 100))


class Held(NamedTuple):
    rows: list[Row]
    bases: dict[Key, int]
    text: str


async def held(storage: Storage) -> Held:
    """Return everything that a storage holds, and its metrics."""
    restoration = FleetLoader(POLICY, (VENDOR,))
    rows: list[Row] = []
    bases: dict[Key, int] = {}
    async for chunk in storage.load():
        assert not chunk.damaged
        rows += chunk.rows
        bases |= chunk.bases
        kept = tuple(row for row in chunk.rows if row.table is not Table.REJECTED)
        restoration.take(Chunk(kept, chunk.bases))
    await storage.close()
    exposition = Exposition(restoration.finish(), InfoLabels(), 3600)
    list(exposition.refresh())
    scrape = exposition.scrape((Group.ATTENTION, Group.ESIMS, Group.FLEET), Format.TEXT, NOW)
    return Held(rows, bases, b"".join(scrape.identity()).decode())


async def opened(url: str) -> Storage:
    if url.startswith("sqlite"):
        return await SqliteStorage.open(path_of(url))
    return await PostgresStorage.open(url, Shard())


def path_of(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))


def made(url: str) -> str:
    """Fill a storage and return its URL."""

    async def make() -> None:
        storage = await opened(url)
        assert [chunk async for chunk in storage.load()] == []
        await fill(storage, Shard() if url.startswith("postgresql") else None)
        await storage.close()

    asyncio.run(make())
    return url


def inside(url: str) -> Held:
    async def look() -> Held:
        return await held(await opened(url))

    return asyncio.run(look())


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str], str]:
    return lambda name: f"sqlite:///{tmp_path}/{name}"


class Copier:
    """Runs the command."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def copy(self, *arguments: str) -> tuple[str, str]:
        """Copy, and return the fingerprint and the messages."""
        assert main(["storage", "copy", *arguments], {}) == 0
        printed = self._capsys.readouterr()
        (fingerprint,) = re.findall(r"^fingerprint: ([0-9a-f]{64})$", printed.out, re.MULTILINE)
        assert "4 eSIMs, 6 tombstones, 1 packages, 2 partner records, 1 feeds, 1 rej" in printed.out
        return fingerprint, printed.err

    def refused(self, *arguments: str, status: int = 1) -> str:
        """Expect that nothing is copied, and return the last message, which says why."""
        assert main(["storage", "copy", *arguments], {}) == status
        printed = self._capsys.readouterr()
        assert printed.out == ""
        lines = printed.err.splitlines()
        assert all(line.startswith("esim-exporter storage copy: ") for line in lines), lines
        assert PASSWORD not in printed.err
        return lines[-1]


@pytest.fixture
def copier(capsys: pytest.CaptureFixture[str]) -> Copier:
    return Copier(capsys)


def test_a_fleet_goes_to_postgresql_and_back(
    copier: Copier, file: Callable[[str], str], postgres: Postgres
) -> None:
    urls = [made(file("a.db")), postgres.new_database(), postgres.new_database(), file("b.db")]

    prints = {copier.copy(*way)[0] for way in pairwise(urls)}

    assert len(prints) == 1
    first, *copies = map(inside, urls)
    assert (
        'esim_fleet_data_consumed_bytes_total{vendor="roamify",package_id="p 1"} 91' in first.text
    )
    assert {row.version for row in first.rows} > {1}
    for each in copies:
        assert each.text == first.text
        assert each.bases == first.bases
        assert each.rows == [row._replace(version=1) for row in first.rows]
    assert {len(key) for key in first.bases} == {3}


def test_sums_by_slot_stay_between_databases_and_are_added_up_in_a_file(
    copier: Copier, file: Callable[[str], str], postgres: Postgres
) -> None:
    shared, alone, other = made(postgres.new_database()), file("a.db"), postgres.new_database()

    prints = {copier.copy(shared, alone)[0], copier.copy(shared, other)[0]}

    assert len(prints) == 1
    source, one, two = inside(shared), inside(alone), inside(other)
    assert len(source.bases) == 2 * len(EXPIRED)
    assert two.bases == source.bases
    assert one.bases == {
        ("consumed", VENDOR, "p 1"): 10 + 11 + 12,
        ("location", VENDOR, "Perú"): 10 + 11 + 12,
    }
    assert one.text == two.text == source.text


async def test_an_expired_esim_of_a_file_comes_back_in_a_database(
    file: Callable[[str], str], postgres: Postgres
) -> None:
    url = postgres.new_database()
    await storage_of(file("a.db"))
    source = SqliteSource(path_of(file("a.db")))
    target = await PostgresTarget.open(url, Shard())
    await copied(source, target)
    shards = [Shard(number, 3) for number in range(3)]
    event = usage(EXPIRED[0], 15)._replace(time=NOW + 1)
    assert await consumed(url, shards) == 91

    for shard in shards:
        if shard.keeps(VENDOR, EXPIRED[0]):
            storage = await PostgresStorage.open(url, shard)
            fleet = await restored(storage, shard)
            draft = Draft(fleet, NOW + 200)
            draft.merge(event)
            assert await storage.commit(draft.changes()) == ()
            await storage.close()

    assert await consumed(url, shards) == 91 + 5


async def storage_of(url: str) -> None:
    storage = await opened(url)
    await fill(storage)
    await storage.close()


async def restored(storage: Storage, shard: Shard) -> Fleet:
    restoration = FleetLoader(POLICY, (VENDOR,), shard)
    async for chunk in storage.load():
        rows = tuple(row for row in chunk.rows if row.table is not Table.REJECTED)
        restoration.take(Chunk(rows, chunk.bases))
    return restoration.finish()


async def consumed(url: str, shards: list[Shard]) -> int:
    """Return the bytes of the package over all shards."""
    total = 0
    for shard in shards:
        storage = await PostgresStorage.open(url, shard)
        fleet = await restored(storage, shard)
        await storage.close()
        total += sum(each.consumed for each in fleet.totals.packages)
    return total


def test_a_database_that_holds_something_is_refused_and_stays(
    copier: Copier, file: Callable[[str], str], postgres: Postgres
) -> None:
    full = made(postgres.new_database())
    before = postgres.execute("SELECT sum(seq), count(*) FROM esim_exporter_rows", full)

    assert "this database holds a fleet already" in copier.refused(made(file("a.db")), full)

    assert postgres.execute("SELECT sum(seq), count(*) FROM esim_exporter_rows", full) == before


@pytest.mark.parametrize("name", ["b.db", "b.db-wal", "b.db-end"])
def test_a_file_that_is_there_is_refused_and_stays(
    name: str, copier: Copier, file: Callable[[str], str], tmp_path: Path
) -> None:
    source = made(file("a.db"))
    (tmp_path / name).write_text("something")

    assert f"{name} exists already" in copier.refused(source, file("b.db"))

    assert (tmp_path / name).read_text() == "something"
    assert {path.name for path in tmp_path.iterdir()} == {"a.db", "a.db-end", name}


def test_what_a_killed_copy_left_is_told(
    copier: Copier, file: Callable[[str], str], tmp_path: Path
) -> None:
    (tmp_path / "b.db-copying").touch()

    assert "remove the file" in copier.refused(made(file("a.db")), file("b.db"))


def test_a_running_exporter_s_file_is_not_copied_nor_one_of_a_killed_exporter(
    copier: Copier, file: Callable[[str], str], serve: Serve, tmp_path: Path
) -> None:
    server = serve("--storage.url=sqlite:///a.db")
    assert server.post(USAGE).status_code == 200

    assert "a.db is in use by another process" in copier.refused(file("a.db"), file("b.db"))
    server.kill()
    before = {path: path.read_bytes() for path in tmp_path.glob("a.db*")}
    assert "a.db was not closed" in copier.refused(file("a.db"), file("b.db"))

    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "No such file"),
        (b"", "a.db is empty"),
        (b"text" * 99, "not a database of this program"),
    ],
)
def test_a_file_that_is_no_storage_is_refused_and_not_made(
    content: bytes | None, told: str, copier: Copier, file: Callable[[str], str], tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "a.db").write_bytes(content)

    assert told in copier.refused(file("a.db"), file("b.db"))

    assert len(list(tmp_path.iterdir())) == (content is not None)


def behind_its_back(url: str, statement: str) -> None:
    with closing(sqlite3.connect(path_of(url), isolation_level=None)) as other:
        other.execute(statement)


def test_a_file_of_a_newer_version_is_refused(copier: Copier, file: Callable[[str], str]) -> None:
    source = made(file("a.db"))
    behind_its_back(source, "PRAGMA user_version = 99")

    assert "was changed by a newer version of esim-exporter: it has schema 99" in copier.refused(
        source, file("b.db")
    )


def test_a_file_whose_pages_are_damaged_is_refused(
    copier: Copier, file: Callable[[str], str]
) -> None:
    source = made(file("a.db"))
    whole = path_of(source).read_bytes()
    first = 16, 100, 8192  # damages the page size, the schema, and the pages after the first
    for kept in first:
        damaged = whole[:kept] + b"\xff" * (len(whole) - kept)
        path_of(source).write_bytes(damaged[:68] + whole[68:72] + damaged[72:])
        assert "is damaged" in copier.refused(source, file("b.db"))


def test_a_file_of_an_older_version_is_not_copied(
    copier: Copier, file: Callable[[str], str]
) -> None:
    source = made(file("a.db"))
    behind_its_back(source, "PRAGMA user_version = 1")
    assert "a.db was written by an older version: start" in copier.refused(source, file("b.db"))


def test_damage_is_told_each_time_and_nothing_is_copied_unless_asked_for(
    copier: Copier, file: Callable[[str], str], tmp_path: Path
) -> None:
    source = made(file("a.db"))
    behind_its_back(source, "UPDATE package SET data = '[1]'")
    before = path_of(source).read_bytes()

    for _ in range(2):
        assert "the source is damaged, nothing was copied" in copier.refused(source, file("b.db"))
    assert main(["storage", "copy", source, file("b.db"), "--without-damaged"], {}) == 0

    assert path_of(source).read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"a.db", "a.db-end", "b.db"}
    assert Table.PACKAGE not in {row.table for row in inside(file("b.db")).rows}


def test_a_log_that_is_gone_counts_as_damage(
    copier: Copier, file: Callable[[str], str], serve: Serve, tmp_path: Path
) -> None:
    server = serve("--storage.url=sqlite:///a.db")
    assert server.post(USAGE).status_code == 200
    server.kill()
    (tmp_path / "a.db-wal").unlink()

    assert "the source is damaged" in copier.refused(file("a.db"), file("b.db"))


def test_a_row_of_a_newer_version_is_not_copied(
    copier: Copier, file: Callable[[str], str], postgres: Postgres
) -> None:
    source = made(postgres.new_database())
    statement = "UPDATE esim_exporter_rows SET data = '[9]' WHERE kind = 2"
    postgres.execute(statement, source)

    assert "was written by another version" in copier.refused(source, file("b.db"))


def test_a_database_that_holds_no_fleet_is_refused_and_gets_no_tables(
    copier: Copier, file: Callable[[str], str], postgres: Postgres
) -> None:
    source = postgres.new_database()

    assert "this database holds no fleet" in copier.refused(source, file("b.db"))

    assert postgres.execute("SELECT to_regclass('esim_exporter_control')", source) == ""


def test_tables_of_another_layout_are_not_copied(
    copier: Copier, file: Callable[[str], str], postgres: Postgres
) -> None:
    source = made(postgres.new_database())
    postgres.execute("UPDATE esim_exporter_control SET layout = 99", source)

    assert "it has schema 99" in copier.refused(source, file("b.db"))

    postgres.execute("UPDATE esim_exporter_control SET layout = 0", source)
    assert "was written by an older version: start" in copier.refused(source, file("b.db"))


def test_those_who_only_may_read_the_source_can_copy_it(
    copier: Copier, file: Callable[[str], str], postgres: Postgres
) -> None:
    source = made(postgres.new_database())
    role = "reader"
    postgres.execute(
        f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'; "
        f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}",
        source,
    )

    _, told = copier.copy(source.replace("esim@", f"{role}:{PASSWORD}@"), file("b.db"))

    assert "replica" not in told, "there are none"
    assert PASSWORD not in told
    postgres.execute(f"DROP OWNED BY {role}; DROP ROLE {role}", source)


async def copied(source: CopySource, target: CopyTarget) -> None:
    try:
        await copy_fleet(
            source,
            target,
            NOW,
            without_damaged=False,
            damage=lambda _: None,
            progress=lambda *_: None,
        )
    finally:
        await target.close()
        await source.close()


class Meddled(SqliteTarget):
    """A new file. Something happens before each write."""

    happens: Callable[[], Awaitable[None]]

    async def write(self, chunk: Chunk) -> None:
        await self.happens()
        await super().write(chunk)


async def test_what_is_committed_meanwhile_makes_the_copy_void(
    file: Callable[[str], str], postgres: Postgres, tmp_path: Path
) -> None:
    url = postgres.new_database()
    replica = await PostgresStorage.open(url, Shard())
    await fill(replica, Shard())
    source = await PostgresSource.open(url, Shard())
    target = await Meddled.open(path_of(file("b.db")))
    commits = iter([Changes((FEED,))])

    async def commit() -> None:
        await replica.commit(next(commits, Changes()))

    target.happens = commit
    with pytest.raises(StorageUnavailable, match="changed the source during the copy"):
        await copied(source, target)

    assert nothing_in(tmp_path)
    await replica.close()


def nothing_in(folder: Path) -> bool:
    return not list(folder.iterdir())


class Forgetful(PostgresTarget):
    """A database that loses rejected deliveries."""

    async def write(self, chunk: Chunk) -> None:
        rows = tuple(row for row in chunk.rows if row.table is not Table.REJECTED)
        await super().write(replace(chunk, rows=rows))


async def test_a_copy_that_is_not_the_same_is_not_kept(
    file: Callable[[str], str], postgres: Postgres
) -> None:
    await storage_of(file("a.db"))
    url = postgres.new_database()
    source = SqliteSource(path_of(file("a.db")))

    with pytest.raises(StorageError, match="differs from the source"):
        await copied(source, await Forgetful.open(url, Shard()))

    assert postgres.execute("SELECT count(*) FROM esim_exporter_rows", url) == "0"
    assert postgres.execute("SELECT max(seq) FROM esim_exporter_commits", url) == "0"


class Cut(PostgresTarget):
    """A database that disconnects after everything is written."""

    server: Postgres

    async def load(self) -> AsyncIterator[Chunk]:
        self.server.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND datname = current_database()",
            self._server.url,
        )
        async for chunk in super().load():
            yield chunk


async def test_a_database_that_goes_away_leaves_nothing_half_done(
    file: Callable[[str], str], postgres: Postgres
) -> None:
    await storage_of(file("a.db"))
    url = postgres.new_database()
    target = await Cut.open(url, Shard())
    target.server = postgres

    with pytest.raises(StorageUnavailable):
        await copied(SqliteSource(path_of(file("a.db"))), target)

    assert postgres.execute("SELECT count(*) FROM esim_exporter_rows", url) == "0"


async def test_a_file_that_cannot_get_its_name_is_told(file: Callable[[str], str]) -> None:
    target = await SqliteTarget.open(path_of(file("b.db")))
    path_of(file("b.db")).mkdir()

    with pytest.raises(StorageUnavailable, match=r"b\.db: Is a directory"):
        await target.keep()
    await target.close()

    assert not path_of(file("b.db-copying")).exists()


async def test_a_file_whose_name_could_not_be_synced_is_not_kept(
    file: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Path) -> None:
        assert path_of(file("b.db")).exists()
        raise OSError(5, "Input/output error")

    target = await SqliteTarget.open(path_of(file("b.db")))
    monkeypatch.setattr(sqlite_copying, "sync", fail)
    with pytest.raises(StorageUnavailable, match=r"b\.db: Input/output error"):
        await target.keep()
    await target.close()

    assert nothing_in(tmp_path)


async def test_a_file_whose_log_could_not_be_written_back_is_not_kept(
    file: Callable[[str], str],
) -> None:
    target = await SqliteTarget.open(path_of(file("b.db")))
    await target.close()
    path_of(file("b.db-copying-wal")).write_bytes(b"frames")

    with pytest.raises(StorageUnavailable, match="cannot be completed"):
        await target.keep()


@pytest.mark.parametrize("password", [PASSWORD, "hunt/er2", "hun@ter2", "h#unter2", "hunt?er2"])
def test_a_password_is_never_shown(
    password: str, copier: Copier, file: Callable[[str], str]
) -> None:
    url = f"postgresql://esim:{password}@127.0.0.1:1/esim"
    plain = password == PASSWORD or "@" in password

    told = copier.refused(url, file("b.db"), status=1 if plain else 2)

    assert ("127.0.0.1:1" in told) == plain
    assert "hun" not in told
    assert "er2" not in told


def test_arguments_that_are_no_storage_are_named(
    copier: Copier, file: Callable[[str], str]
) -> None:
    assert "FROM: must be sqlite:///" in copier.refused("mysql://a/b", file("b.db"), status=2)
    assert "TO: must be sqlite:///" in copier.refused(file("a.db"), "b.db", status=2)


def test_what_is_wrong_with_a_url_is_told_in_one_line(
    copier: Copier, file: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PGSSLROOTCERT", raising=False)
    url = f"postgresql://esim:{PASSWORD}@127.0.0.1:1/esim?sslmode=verify-full"

    assert "root.crt" in copier.refused(url, file("b.db"), status=2)


def test_a_driver_that_is_not_installed_is_named(
    copier: Copier, file: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(urls, "find_spec", lambda _: None)

    told = copier.refused(file("a.db"), "postgresql://db/esim", status=2)

    assert "TO: PostgreSQL needs asyncpg" in told


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_shown_on_a_terminal_and_taken_away(
    file: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)

    assert main(["storage", "copy", made(file("a.db")), file("b.db")], {}) == 0

    shown = terminal.getvalue().split("\r\x1b[K")
    assert re.fullmatch(r"\d+ rows copied", shown[1])
    assert shown[-1] == ""


def test_a_standby_may_be_copied_from(tmp_path: Path) -> None:
    with postgres_running() as primary, postgres_running(primary=primary) as standby:
        url = primary.new_database()
        asyncio.run(storage_of(url))
        there = url.replace(str(primary.port), str(standby.port))
        written = "SELECT pg_current_wal_lsn()"
        replayed = f"SELECT pg_last_wal_replay_lsn() >= '{primary.execute(written)}'"
        until(lambda: standby.execute(replayed) == "t")
        assert main(["storage", "copy", there, f"sqlite:///{tmp_path}/a.db"], {}) == 0


async def test_one_cut_off_at_its_commit_says_that_nobody_knows(postgres: Postgres) -> None:
    def wait_for(standbys: str) -> None:
        postgres.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{standbys}'")
        postgres.execute("SELECT pg_reload_conf()")

    target = await PostgresTarget.open(postgres.new_database(), Shard())
    wait_for("nobody")
    try:
        keeping = asyncio.ensure_future(target.keep())
        hangs = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        await asyncio.to_thread(until, lambda: postgres.execute(hangs))
        keeping.cancel()
        with pytest.raises(StorageUnavailable, match="may exist or not"):
            await keeping
    finally:
        wait_for("")
        await target.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_an_interrupted_copy_leaves_nothing(
    number: signal.Signals, file: Callable[[str], str], postgres: Postgres, tmp_path: Path
) -> None:
    source = postgres.new_database()
    await storage_of(source)
    other = await asyncpg.connect(f"{source}?application_name=esim-exporter")
    try:
        await other.execute("BEGIN; LOCK TABLE esim_exporter_rows")
        urls = (f"{source}?lock_timeout=0", file("b.db"))
        await asyncio.to_thread(interrupt, urls, number, tmp_path)
    finally:
        await other.close()


def interrupt(urls: Iterable[str], number: signal.Signals, folder: Path) -> None:
    """Copy, and send a signal while the copy waits for the source."""
    process = subprocess.Popen(
        [sys.executable, "-m", "exporter", "storage", "copy", *urls],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr
    with process.stderr:
        assert "1 replica is connected to FROM: stop all of them" in process.stderr.readline()
        until(lambda: list(folder.iterdir()))
        process.send_signal(number)
        assert process.stderr.read().endswith("stopped; the copy was discarded\n")
    assert process.wait(WAIT) == 130
    assert list(folder.iterdir()) == []
