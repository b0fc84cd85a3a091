"""Migrations: each changes a file from one version of the schema to the next.

A migration runs in one transaction with all others that a file needs. The log is empty then. Its
statements are written out here, because those of :mod:`exporter.storage.sqlite.schema` change with
later versions. CONTRIBUTING.md says how to add one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.storage.sqlite.schema import INSERT_STAMP, SCHEMA_VERSION
from exporter.storage.sqlite.stamp import FIRST

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable


def add_stamps(connection: sqlite3.Connection) -> None:
    """Change a file of version 1 to version 2, in which each commit writes a stamp."""
    connection.execute("ALTER TABLE seal ADD COLUMN stamp BLOB")
    connection.execute(
        "CREATE TABLE starts (identity BLOB PRIMARY KEY, number INTEGER) WITHOUT ROWID"
    )
    connection.execute(INSERT_STAMP, (FIRST.pack(),))


MIGRATIONS: dict[int, Callable[[sqlite3.Connection], None]] = {1: add_stamps}
"""By the version that they change."""


def migrate(connection: sqlite3.Connection, version: int) -> None:
    """Change a file of an older version to :data:`SCHEMA_VERSION`. A transaction must be open."""
    for older in range(version, SCHEMA_VERSION):
        MIGRATIONS[older](connection)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
