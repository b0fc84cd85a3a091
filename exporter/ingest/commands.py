"""What people may change where ``--web.enable-admin-api`` allows it.

Every change takes its place among the deliveries, in one transaction with what belongs to
it, and is on disk when its method returns. All of them are logged.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from exporter.errors import Missing
from exporter.logs import fields

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from exporter.fleet.drafts import Draft
    from exporter.ingest.intake import Intake
    from exporter.ingest.rejected_deliveries import RejectedDeliveriesDraft, RejectedDelivery
    from exporter.model.events import Event
    from exporter.model.merge import Result
    from exporter.model.records import Esim, EsimKey

log = logging.getLogger(__name__)

NO_ESIM = "there is no such eSIM"
NO_REJECTION = "there is no such rejected delivery"


@dataclass(frozen=True, slots=True)
class Backup:
    """A copy of the storage."""

    path: Path
    size: int
    """Bytes."""


class AdminCommands:
    """Changes state and storage. All methods raise ``StorageUnavailable`` and ``Overloaded``."""

    def __init__(
        self,
        intake: Intake,
        parsers: Mapping[str, Callable[[bytes, float], Event]],
        backup_folder: Path,
        clock: Callable[[], float],
    ) -> None:
        """``parsers`` read a vendor's bodies, given the time of receipt, by vendor."""
        self._intake = intake
        self._parsers = parsers
        self._backup_folder = backup_folder.resolve()
        self._clock = clock

    async def delete_esim(self, key: EsimKey) -> Esim:
        """Let an eSIM leave as if it had expired now; return it as it was.

        What it consumed stays in the fleet's counters. An event newer than what was known of
        it brings it back, with its counters. Raises ``Missing``.
        """
        esim = await self._intake.submit(_DeleteEsim(key))
        log.warning("eSIM deleted", extra=fields(vendor=key[0], esim_id=key[1]))
        return esim

    async def replay(self, digest: str) -> Result:
        """Merge a rejected delivery as of when it first came, and keep it no longer.

        Raises ``EventError`` where it still cannot be taken, and stays; ``Missing``.
        """
        result = await self._intake.submit(_Replay(digest, self._parsers))
        log.warning("rejected delivery replayed", extra=fields(id=digest, result=result))
        return result

    async def drop(self, digest: str) -> RejectedDelivery:
        """Keep a rejected delivery no longer; return it. Raises ``Missing``."""
        rejection = await self._intake.submit(_Drop(digest))
        log.warning("rejected delivery dropped", extra=fields(id=digest))
        return rejection

    async def back_up(self) -> Backup:
        """Write a copy of the storage to a new file, named by the time in UTC."""
        now = datetime.fromtimestamp(self._clock(), UTC)
        path = self._backup_folder / f"esim-exporter-{now:%Y%m%dT%H%M%S}.{now:%f}Z.db"
        await self._intake.backup(path)
        backup = Backup(path, path.stat().st_size)
        log.warning("backup written", extra=fields(path=path, bytes=backup.size))
        return backup


@dataclass(frozen=True, slots=True)
class _DeleteEsim:
    key: EsimKey

    def apply(self, draft: Draft, _: RejectedDeliveriesDraft) -> Esim:
        esim = draft.remove(self.key)
        if esim is None:
            raise Missing(NO_ESIM)
        return esim


@dataclass(frozen=True, slots=True)
class _Replay:
    digest: str
    parsers: Mapping[str, Callable[[bytes, float], Event]]

    def apply(self, draft: Draft, rejections: RejectedDeliveriesDraft) -> Result:
        rejection = rejections.get(self.digest)
        if rejection is None:
            raise Missing(NO_REJECTION)
        received = rejection.first_received
        event = self.parsers[rejection.vendor](rejection.body, received)
        result = draft.merge_as_of(event, received)
        rejections.remove(self.digest)
        return result


@dataclass(frozen=True, slots=True)
class _Drop:
    digest: str

    def apply(self, _: Draft, rejections: RejectedDeliveriesDraft) -> RejectedDelivery:
        rejection = rejections.remove(self.digest)
        if rejection is None:
            raise Missing(NO_REJECTION)
        return rejection
