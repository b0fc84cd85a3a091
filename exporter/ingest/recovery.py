"""What happens after the storage failed: refuse, probe with growing pauses, load, go on.

After a failure nothing is merged or committed until a probe of the storage succeeds. If the
outcome of the failed commit is unknown, the state is then loaded from the storage again.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from exporter.errors import StorageError, StorageUnavailable
from exporter.logs import fields

if TYPE_CHECKING:
    from exporter.ingest.committed_state import StateHolder
    from exporter.ingest.wakeup import Wakeup
    from exporter.storage.contract import Storage

log = logging.getLogger(__name__)

BACKOFF = (0.1, 5.0)
"""Seconds between two probes, at first and at most. The pause doubles with each failed probe."""

BACKOFF_SHARED = (0.1, 1.0)
"""The same for a shared database. Probes do not disturb it, and its standby may take over soon."""


class Recovery:
    """Knows whether the storage works, and brings it back after a failure."""

    def __init__(
        self, storage: Storage, holder: StateHolder, wakeup: Wakeup, *, shared: bool
    ) -> None:
        """``shared`` says whether other processes use the storage too."""
        self._storage = storage
        self._holder = holder
        self._wakeup = wakeup
        self._shared = shared
        self._shortest, self._longest = BACKOFF_SHARED if shared else BACKOFF
        self._pause = self._shortest
        self.failure: StorageError | None = None
        """Why deliveries are refused; ``None`` while the storage works."""

    def fail(self, what: str, error: StorageError) -> None:
        """Log a failure. Deliveries are refused until :meth:`retry` succeeds."""
        self.failure = error
        log.error(what, extra=fields(error=error))

    async def load_at_start(self) -> bool:
        """Load the state for the first time; return ``False`` if the stop came first.

        Waits for a shared database that does not answer. Raises ``StorageError`` for every other
        failure, because a person must then act.
        """
        while not self._wakeup.stopping:
            try:
                await self._holder.load()
            except StorageUnavailable as error:
                if not self._shared:
                    raise
                self.fail("storage does not work yet", error)
            else:
                self.failure = None
                self._pause = self._shortest
                return True
            await self._wait_for_an_answer()
        return False

    async def retry(self) -> bool:
        """Pause, probe the storage, and load the state if it is outdated; return success."""
        await self._sleep()
        if self._wakeup.stopping:
            return False
        try:
            # The probe reports only once that the state is outdated, so remember it until a
            # load succeeds.
            self._holder.outdated = await self._storage.probe() or self._holder.outdated
            if self._holder.outdated:
                await self._holder.load()
        except StorageError as error:
            log.warning("storage does not work yet", extra=fields(error=error))
            return False
        self.failure = None
        self._pause = self._shortest
        log.info("storage works again")
        return True

    async def _wait_for_an_answer(self) -> None:
        """Probe until the storage answers or the stop comes."""
        while not self._wakeup.stopping:
            await self._sleep()
            with suppress(StorageUnavailable):
                await self._storage.probe()
                return

    async def _sleep(self) -> None:
        await self._wakeup.sleep(self._pause)
        self._pause = min(2 * self._pause, self._longest)
