"""This version reads what every release has stored: the same metrics, now and after more events."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING, NamedTuple

import pytest
import released_state
from released_state import NOW, RELEASES, State

import exporter
from exporter.errors import StorageDamaged, StorageError, StorageUnavailable
from exporter.model.shards import Shard
from exporter.storage.contract import Row, Table
from exporter.storage.postgres import migrations as postgres_migrations
from exporter.storage.postgres import schema as postgres_schema
from exporter.storage.postgres.storage import PostgresStorage
from exporter.storage.sqlite import migrations as sqlite_migrations
from exporter.storage.sqlite.schema import OLDEST_SCHEMA_VERSION, SCHEMA_VERSION
from exporter.storage.sqlite.storage import SqliteStorage
from exporter.storage.stored_records import decode, encode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable
    from pathlib import Path

    from postgres import Postgres

    from exporter.storage.contract import Storage


class Release(NamedTuple):
    checksum: str
    """SHA-256 of all its files, which never change after its publication."""
    sqlite: int
    """The schema of its SQLite files."""
    postgresql: int
    """The layout of its PostgreSQL database."""


MADE = {
    "0.1.0": Release("71fe05533c1380974c1534b4287e852c7eab179f866d81d01096a4d7c3e8bb40", 2, 1),
}

SQLITE = ("sqlite-stopped", "sqlite-killed", "sqlite-backup")

every_release = pytest.mark.parametrize("release", MADE)
every_form = pytest.mark.parametrize("form", [*SQLITE, "postgresql"])


def expected(release: str, name: str) -> tuple[str, list[str]]:
    """The first line of a file, and what :func:`comparable` returns of the metrics."""
    text = (RELEASES / release / name).read_text("utf-8")
    return text.partition("\n")[0], comparable(text, text)


def comparable(text: str, like: str) -> list[str]:
    """The lines of the families that ``like`` has. Help texts may change."""
    families = {line.split()[2] for line in like.splitlines() if line.startswith("# TYPE ")}
    found = []
    wanted = False
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            wanted = line.split()[2] in families
        if wanted and not line.startswith("# HELP "):
            found.append(line)
    return found


def current(form: str) -> int:
    return SCHEMA_VERSION if form in SQLITE else postgres_schema.LAYOUT


@asynccontextmanager
async def restored(
    release: str, form: str, folder: Path, server: Postgres, shard: Shard
) -> AsyncIterator[Storage]:
    storage: Storage
    if form in SQLITE:
        path = released_state.unpack(RELEASES / release / f"{form}.tar.gz", folder)
        storage = await SqliteStorage.open(path)
    else:
        dump = RELEASES / release / "postgresql.sql.gz"
        storage = await PostgresStorage.open(released_state.restore(server, dump), shard)
    try:
        yield storage
    finally:
        await storage.close()


def test_this_version_and_every_earlier_one_is_here() -> None:
    assert {path.name for path in RELEASES.iterdir()} == {*MADE}
    assert exporter.__version__ in MADE


@every_release
def test_what_a_release_stored_is_never_changed(release: str) -> None:
    digest = hashlib.sha256()
    for file in sorted((RELEASES / release).iterdir()):
        digest.update(f"{file.name}\n{file.stat().st_size}\n".encode() + file.read_bytes())
    assert digest.hexdigest() == MADE[release].checksum


@every_form
@every_release
async def test_it_is_loaded_to_the_same_metrics_and_goes_on_in_the_same_way(
    release: str, form: str, tmp_path: Path, postgres: Postgres
) -> None:
    shard = Shard()
    async with restored(release, form, tmp_path, postgres, shard) as storage:
        state = await State.load(storage, None if form in SQLITE else shard)

        assert state.rejections() == json.loads(
            (RELEASES / release / "rejected.json").read_text("utf-8")
        )
        damaged = {line.split()[1].rstrip(":") for line in state.damaged}
        assert damaged == ({*Table, "bases"} if form == "sqlite-stopped" else set())
        results, later = expected(release, "continued.txt")
        if form in {"sqlite-killed", "sqlite-backup"}:  # from after those events
            assert comparable(state.text(NOW + 2 * released_state.DAY), "\n".join(later)) == later
            return
        _, lines = expected(release, "loaded.txt")
        assert comparable(state.text(NOW), "\n".join(lines)) == lines

        assert f"# {' '.join(await released_state.continued(state))}" == results
        assert comparable(state.text(NOW + 2 * released_state.DAY), "\n".join(later)) == later


@every_form
@every_release
async def test_every_kind_of_row_is_in_it(
    release: str, form: str, tmp_path: Path, postgres: Postgres
) -> None:
    async with restored(release, form, tmp_path, postgres, Shard()) as storage:
        state = await State.load(storage)
    assert {row.table for row in state.rows} == {*Table}
    assert len({type(decode(row)) for row in state.rows if row.table is Table.PARTNER}) == 2
    sums, shown = {"consumed", "location"}, {"shown_package", "shown_location"}
    assert {key[0] for key in state.bases} == sums | shown


@every_form
@every_release
async def test_another_encoding_of_records_needs_another_schema(
    release: str, form: str, tmp_path: Path, postgres: Postgres
) -> None:
    # Only the number of the schema keeps an older version from rows that it cannot read.
    made = MADE[release]
    if (made.sqlite if form in SQLITE else made.postgresql) < current(form):
        return
    async with restored(release, form, tmp_path, postgres, Shard()) as storage:
        state = await State.load(storage)
    rows = [row for row in state.rows if row.table is not Table.REJECTED]
    assert [encode(decode(row)) for row in rows] == [row.data for row in rows]


@every_release
async def test_two_shards_hold_each_esim_once(
    release: str, tmp_path: Path, postgres: Postgres
) -> None:
    found: list[Row] = []
    for shard in (Shard(), Shard(0, 2), Shard(1, 2)):
        async with restored(release, "postgresql", tmp_path, postgres, shard) as storage:
            state = await State.load(storage, shard)
        found += [row for row in state.rows if row.table in {Table.ESIM, Table.TOMBSTONE}]
        if shard.is_only:
            whole, found = found, []
    assert sorted(found) == sorted(whole)


@every_form
@every_release
async def test_it_has_the_schema_that_is_said(
    release: str, form: str, tmp_path: Path, postgres: Postgres
) -> None:
    if form in SQLITE:
        path = released_state.unpack(RELEASES / release / f"{form}.tar.gz", tmp_path)
        assert int.from_bytes(path.read_bytes()[60:64], "big") == MADE[release].sqlite
    else:
        url = released_state.restore(postgres, RELEASES / release / "postgresql.sql.gz")
        layout = postgres.execute("SELECT layout FROM esim_exporter_control", url)
        assert int(layout) == MADE[release].postgresql


def test_every_older_schema_has_a_migration() -> None:
    assert [*sqlite_migrations.MIGRATIONS] == [*range(OLDEST_SCHEMA_VERSION, SCHEMA_VERSION)]
    assert len(postgres_migrations.MIGRATIONS) == postgres_schema.LAYOUT


async def refused(opening: Awaitable[Storage], error: type[StorageError], reason: str) -> None:
    with pytest.raises(error) as caught:
        await opening
    assert str(caught.value) == reason


NEEDED = "CREATE TABLE esim_exporter_needed AS SELECT '7.8.9' AS version"
UNREADABLE = "CREATE TABLE esim_exporter_needed AS SELECT 'later' || chr(10) AS version"


@every_release
@pytest.mark.parametrize("form", SQLITE)
@pytest.mark.parametrize(
    ("more", "said"),
    [
        (NEEDED, "needs esim-exporter 7.8.9 or later"),
        (UNREADABLE.replace("chr", "char"), "was changed by a newer version of esim-exporter"),
        ("SELECT 1", "was changed by a newer version of esim-exporter"),
    ],
)
async def test_a_file_with_a_newer_schema_is_refused_in_words(
    release: str, form: str, more: str, said: str, tmp_path: Path
) -> None:
    path = released_state.unpack(RELEASES / release / f"{form}.tar.gz", tmp_path)
    storage = await SqliteStorage.open(path)
    await storage.close()
    with closing(sqlite3.connect(path)) as file:
        file.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
        file.execute(more)
    await refused(
        SqliteStorage.open(path),
        StorageUnavailable,
        f"{path} {said}: it has schema {SCHEMA_VERSION + 1}, and this version, "
        f"{exporter.__version__}, knows the schemas up to {SCHEMA_VERSION}; install that version, "
        "or give another --storage.url; if no newer version ever used it, it is damaged: restore "
        "a backup",
    )


@every_release
@pytest.mark.parametrize(
    ("more", "said"),
    [
        (NEEDED, "needs esim-exporter 7.8.9 or later"),
        (UNREADABLE, "was changed by a newer version of esim-exporter"),
        ("SELECT 1", "was changed by a newer version of esim-exporter"),
    ],
)
async def test_a_database_with_a_newer_schema_is_refused_in_words(
    release: str, more: str, said: str, postgres: Postgres
) -> None:
    url = released_state.restore(postgres, RELEASES / release / "postgresql.sql.gz")
    newer = postgres_schema.LAYOUT + 1
    postgres.execute(f"UPDATE esim_exporter_control SET layout = {newer}; {more}", url)
    await refused(
        PostgresStorage.open(url, Shard()),
        StorageDamaged,
        f"PostgreSQL at 127.0.0.1:{postgres.port} {said}: it has schema {newer}, and this version, "
        f"{exporter.__version__}, knows the schemas up to {postgres_schema.LAYOUT}; install that "
        "version",
    )
