"""A PostgreSQL schema for each test, and what tests do in it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Protocol

import pytest
from stored import content

from exporter.errors import StorageUnavailable
from exporter.model.shards import Shard
from exporter.storage.contract import Change, Changes, Row, Table
from exporter.storage.postgres.storage import PostgresStorage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from postgres import Postgres

    from exporter.storage.contract import Key

BASE = ("consumed", "v", "p")
PASSWORD = "s3cret"


@dataclass(frozen=True)
class Place:
    """A schema for one test, and what an administrator does in it."""

    server: Postgres
    database: str
    schema: str

    @property
    def url(self) -> str:
        return f"{self.database}?search_path={self.schema}"

    def execute(self, statement: str) -> str:
        return self.server.execute(f"SET search_path = {self.schema}; {statement}", self.database)

    def cut_all(self) -> None:
        """Make the server end all connections of this program."""
        self.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'esim-exporter'"
        )

    def age(self) -> None:
        """Make all commits two hours old."""
        self.execute("UPDATE esim_exporter_commits SET at = at - interval '2 hours'")


class Open(Protocol):
    async def __call__(self, shard: Shard = ..., *, load: bool = ...) -> PostgresStorage: ...


@pytest.fixture(scope="module")
def places(postgres: Postgres) -> Iterator[Place]:
    database = postgres.new_database()

    def made() -> Iterator[Place]:
        for number in count():
            postgres.execute(f"CREATE SCHEMA place{number}", database)
            yield Place(postgres, database, f"place{number}")

    return made()


@pytest.fixture
def place(places: Iterator[Place]) -> Place:
    return next(places)


@pytest.fixture
async def opened(place: Place) -> AsyncIterator[Open]:
    """A function that opens and loads a storage; each call opens another one."""
    storages: list[PostgresStorage] = []

    async def once_more(shard: Shard = Shard(), *, load: bool = True) -> PostgresStorage:  # noqa: B008  # a value
        storage = await PostgresStorage.open(place.url, shard)
        storages.append(storage)
        if load:
            await content(storage)
        return storage

    yield once_more
    for storage in storages:
        await storage.close()


def esim(name: str, expected: int = 0, data: bytes | None = b"1") -> Change:
    return Change(Table.ESIM, ("v", name), expected, data)


def row(name: str, version: int = 1, data: bytes = b"1") -> Row:
    return Row(Table.ESIM, ("v", name), version, data)


def one(change: Change, base: int = 0) -> Changes:
    return Changes((change,), {BASE: base} if base else {})


async def followed(storage: PostgresStorage) -> tuple[list[Row], dict[Key, int]]:
    """Follow; return the rows in order, and the bases that changed."""
    chunk = await storage.follow()
    assert chunk is not None
    return sorted(chunk.rows), {key: amount for key, amount in chunk.bases.items() if amount}


async def refused(storage: PostgresStorage) -> str:
    """Return the reason for which commits, following and fetching are refused."""
    reasons = set()
    attempts = (storage.commit(one(esim("x"))), storage.follow(), storage.fetch([]))
    for attempt in attempts:
        with pytest.raises(StorageUnavailable) as caught:
            await attempt
        reasons.add(str(caught.value))
    (reason,) = reasons
    assert "\n" not in reason
    return reason
