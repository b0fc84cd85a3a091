"""Migrations: each changes a database from one layout to the next. The first makes the tables.

A migration runs in one transaction with all others that a database needs. Replicas of the older
version may still be running, and they go on until they are replaced. CONTRIBUTING.md says how to
add one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exporter.storage.postgres.schema import LAYOUT, WRITE_LAYOUT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Migration = Callable[[Any], Awaitable[None]]
    """Takes a connection of asyncpg, which has no types."""


async def create_tables(connection: Any) -> None:
    """Make the tables of layout 1 in a database that has none."""
    await connection.execute(
        """
        CREATE TABLE esim_exporter_control (
            one      smallint PRIMARY KEY CHECK (one = 1),
            layout   integer NOT NULL,
            pruned   bigint NOT NULL,
            probes   bigint NOT NULL
        );
        CREATE TABLE esim_exporter_commits (
            seq      bigint PRIMARY KEY,
            token    bigint NOT NULL,
            at       timestamptz NOT NULL
        );
        CREATE TABLE esim_exporter_rows (
            kind     smallint NOT NULL,
            key      bytea NOT NULL,
            slot     smallint NOT NULL,
            version  bigint NOT NULL,
            seq      bigint NOT NULL,
            data     bytea,
            PRIMARY KEY (kind, key)
        );
        CREATE INDEX esim_exporter_rows_seq ON esim_exporter_rows (seq);
        CREATE INDEX esim_exporter_rows_gone ON esim_exporter_rows (seq) WHERE data IS NULL;
        CREATE TABLE esim_exporter_bases (
            key      bytea PRIMARY KEY,
            slot     smallint NOT NULL,
            seq      bigint NOT NULL,
            amount   numeric NOT NULL
        );
        CREATE INDEX esim_exporter_bases_seq ON esim_exporter_bases (seq);
        INSERT INTO esim_exporter_control VALUES (1, 1, 0, 0);
        INSERT INTO esim_exporter_commits VALUES (0, 0, now());
        """
    )


MIGRATIONS: tuple[Migration, ...] = (create_tables,)
"""The first changes layout 0, an empty database, to layout 1."""


async def migrate(connection: Any, layout: int) -> None:
    """Change a database of an older layout to :data:`LAYOUT`. A transaction must be open."""
    for migration in MIGRATIONS[layout:]:
        await migration(connection)
    if layout < LAYOUT:
        await connection.execute(WRITE_LAYOUT, LAYOUT)
