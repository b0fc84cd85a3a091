"""The changes that people may make if ``--web.enable-admin-api`` allows them.

A change is merged in its turn among the deliveries, and is one transaction. It is on disk when
its method returns. Every change is logged.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from exporter.errors import FieldError, InvalidEvent, Missing
from exporter.logs import fields
from exporter.model.events import OtherEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from exporter.fleet.drafts import Draft
    from exporter.ingest.intake import Intake
    from exporter.ingest.rejected_deliveries import RejectedDeliveriesDraft, RejectedDelivery
    from exporter.model.merge import Result
    from exporter.model.records import Esim, EsimKey
    from exporter.vendors.vendor import Vendor

log = logging.getLogger(__name__)

NO_ESIM = "there is no such eSIM"
NO_REJECTED_DELIVERY = "there is no such rejected delivery"


@dataclass(frozen=True, slots=True)
class Backup:
    """A copy of the storage, finished."""

    path: Path
    size: int
    """Bytes."""


class AdminCommands:
    """Makes changes for people. All methods raise ``StorageUnavailable`` and ``Overloaded``."""

    def __init__(
        self,
        intake: Intake,
        vendors: Iterable[Vendor],
        backup_folder: Path,
        clock: Callable[[], float],
    ) -> None:
        """``vendors`` are those whose deliveries can be read. ``clock`` gives unix seconds."""
        self._intake = intake
        self._vendors = {vendor.name: vendor for vendor in vendors}
        self._backup_folder = backup_folder.resolve()
        self._clock = clock

    async def delete_esim(self, key: EsimKey) -> Esim:
        """Expire an eSIM now, and return it as it was.

        Its consumption stays in the counters of the fleet. An event newer than its newest one
        brings it back, together with its own counters. Raises ``Missing``.
        """

        def delete(draft: Draft, _: RejectedDeliveriesDraft) -> Esim:
            esim = draft.remove(key)
            if esim is None:
                raise Missing(NO_ESIM)
            return esim

        esim = await self._intake.submit(delete)
        log.warning("eSIM deleted", extra=fields(vendor=key[0], esim_id=key[1]))
        return esim

    async def replay(self, digest: str) -> Result:
        """Merge a rejected delivery with the time of its first receipt, and stop keeping it.

        Its event is judged by the present time: the clock may have been wrong when it came. An
        event without a time of its own gets the time of its first receipt. Raises ``EventError`` if
        it still cannot be merged; it is then kept. Raises ``Missing``.
        """

        def replay(draft: Draft, rejected: RejectedDeliveriesDraft) -> Result:
            delivery = rejected.get(digest)
            if delivery is None:
                raise Missing(NO_REJECTED_DELIVERY)
            now = self._clock()
            received = delivery.first_received
            vendor = self._vendors.get(delivery.vendor)
            if vendor is None:
                reason = f"cannot be read while {delivery.vendor} is off: it has no secret"
                raise InvalidEvent((FieldError((), reason),))
            event = vendor.parse(delivery.body, now if vendor.has_event_time else received)
            if not isinstance(event, OtherEvent):
                received = max(received, event.time)  # nothing is received before it happens
            result = draft.merge_as_of(event, min(received, int(now)))
            rejected.remove(digest)
            return result

        result = await self._intake.submit(replay)
        log.warning("rejected delivery replayed", extra=fields(id=digest, result=result))
        return result

    async def drop(self, digest: str) -> RejectedDelivery:
        """Stop keeping a rejected delivery, and return it. Raises ``Missing``."""

        def drop(_: Draft, rejected: RejectedDeliveriesDraft) -> RejectedDelivery:
            delivery = rejected.remove(digest)
            if delivery is None:
                raise Missing(NO_REJECTED_DELIVERY)
            return delivery

        delivery = await self._intake.submit(drop)
        log.warning("rejected delivery dropped", extra=fields(id=digest))
        return delivery

    async def back_up(self) -> Backup:
        """Write a copy of the storage to a new file, named after the time in UTC."""
        now = datetime.fromtimestamp(self._clock(), UTC)
        path = self._backup_folder / f"esim-exporter-{now:%Y%m%dT%H%M%S}.{now:%f}Z.db"
        await self._intake.backup(path)
        backup = Backup(path, path.stat().st_size)
        log.warning("backup written", extra=fields(path=path, bytes=backup.size))
        return backup
