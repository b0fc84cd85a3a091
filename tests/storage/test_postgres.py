"""The storage in PostgreSQL, beyond what test_storage checks for every storage."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from postgres_places import esim, one, refused

from exporter.errors import StorageDamaged, StorageUnavailable
from exporter.storage.contract import Changes, Sizes

if TYPE_CHECKING:
    from postgres_places import Open, Place


async def test_a_missing_control_row_is_reported(place: Place, opened: Open) -> None:
    storage = await opened()
    kept = place.execute("DELETE FROM esim_exporter_control RETURNING layout")
    with pytest.raises(StorageUnavailable, match="is empty: restore"):
        await storage.commit(one(esim("a")))
    with pytest.raises(StorageUnavailable, match="is empty: restore"):
        await storage.probe()
    place.execute(f"INSERT INTO esim_exporter_control VALUES (1, {kept}, 0, 0)")
    assert not await storage.probe()
    assert await storage.commit(one(esim("a"))) == ()


ROW = "INSERT INTO esim_exporter_rows VALUES"
SUM = "INSERT INTO esim_exporter_bases VALUES"


@pytest.mark.parametrize(
    "statement",
    [
        f"{ROW} (99, 'v', -1, 1, 9, '1')",
        f"{ROW} (0, 'one part', -1, 1, 9, '1')",
        f"{ROW} (0, '\\x760000ff', -1, 1, 9, '1')",
        f"{SUM} ('\\x760000ff', 0, 9, 1)",
        f"{SUM} ('\\x6300007600007000007a', 0, 9, 1)",
        f"{SUM} ('\\x63000076000070', 0, 9, 'NaN')",
    ],
)
async def test_rows_that_this_program_cannot_have_written_are_reported(
    place: Place, opened: Open, statement: str
) -> None:
    storage = await opened()
    place.execute(f"{statement}; INSERT INTO esim_exporter_commits VALUES (9, 9, now())")
    with pytest.raises(StorageDamaged, match="restore the database, or remove the row"):
        await storage.follow()
    with pytest.raises(StorageDamaged, match="restore the database, or remove the row"):
        await opened()


async def test_a_commit_leaves_no_old_version_of_the_control_row(
    place: Place, opened: Open
) -> None:
    storage = await opened()
    before = place.execute("SELECT ctid FROM esim_exporter_control")
    for version in range(3):
        await storage.commit(one(esim("a", version)))
    assert place.execute("SELECT ctid FROM esim_exporter_control") == before


async def test_sizes_are_of_all_tables_after_the_first_follow(opened: Open) -> None:
    storage = await opened()
    assert storage.sizes() == Sizes(0, 0)
    await storage.commit(Changes(tuple(esim(str(n), 0, b"x" * 1000) for n in range(100))))
    await storage.follow()
    assert storage.sizes().storage > 100_000
    assert storage.sizes().wal == 0


async def test_a_backup_is_left_to_the_tools_of_postgresql(opened: Open) -> None:
    storage = await opened()
    with pytest.raises(StorageUnavailable, match=r"no backup to a\.db: use pg_dump"):
        await storage.backup(Path("a.db"))
    assert await storage.commit(one(esim("a"))) == ()


async def test_writes_nothing_for_no_changes(place: Place, opened: Open) -> None:
    storage = await opened()
    assert await storage.commit(Changes()) == ()
    assert place.execute("SELECT max(seq) FROM esim_exporter_commits") == "0"


async def test_is_closed_where_the_server_is_gone(place: Place, opened: Open) -> None:
    storage = await opened()
    place.cut_all()
    await storage.close()
    assert (await refused(storage)).endswith(": closed")
