"""Opens the storage that the settings name, and says which shard of it this process keeps."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from exporter.errors import SettingsError
from exporter.model.shards import Shard
from exporter.settings.field_types import AUTO
from exporter.storage.sqlite.storage import SqliteStorage
from exporter.storage.urls import SqliteFile, parse_storage_url

if TYPE_CHECKING:
    from exporter.settings.loading import Settings
    from exporter.storage.contract import SharedStorage, Storage


async def open_storage(settings: Settings) -> tuple[Storage, SharedStorage | None]:
    """Open the storage. Return it a second time if other processes may share it, else ``None``.

    Raises ``SettingsError`` and ``StorageError``.
    """
    location = parse_storage_url(settings.storage.url)
    if isinstance(location, SqliteFile):
        return await SqliteStorage.open(location.path), None
    # asyncpg is optional, so it may not be installed.
    from exporter.storage.postgres.storage import PostgresStorage  # noqa: PLC0415

    storage = await PostgresStorage.open(location.url, shard_of(settings))
    return storage, storage


def shard_of(settings: Settings, host: str = "") -> Shard:
    """Return the shard of this process. ``host`` is the host name, by default of this machine.

    Raises ``SettingsError`` where the number must come from the host name and is not in it.
    """
    number, total = settings.shards.number, settings.shards.total
    if number != AUTO:
        return Shard(int(number), total)
    host = host or socket.gethostname()
    ordinal = re.search(r"-([0-9]+)(\.|$)", host)
    if ordinal is None:
        raise SettingsError(
            f"--shard: {AUTO} needs a host name that ends in a number, such as esim-exporter-0"
        )
    return Shard(int(ordinal[1]) % total, total)


def backup_folder(settings: Settings) -> Path:
    """Return the folder for backups."""
    if settings.storage.backup_folder:
        return settings.storage.backup_folder
    location = parse_storage_url(settings.storage.url)
    return location.path.parent if isinstance(location, SqliteFile) else Path()
