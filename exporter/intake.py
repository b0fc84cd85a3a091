"""The way of verified deliveries into the state: batch, merge, commit, publish, answer.

One batch at a time: what arrives while a commit runs forms the next one. Nothing is shown
and nobody is answered before the commit; when it fails, all of its batch is refused and
memory is as if it had never been. The commit does not depend on who waits for it.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from exporter.errors import (
    EventError,
    FieldError,
    InvalidEvent,
    MalformedEvent,
    Overloaded,
    StorageError,
    StorageUnavailable,
)
from exporter.logs import fields
from exporter.merge import Result
from exporter.rejections import Rejection
from exporter.storage import Changes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from exporter.drafts import Draft
    from exporter.events import Event
    from exporter.exposition import Exposition
    from exporter.fleet import Fleet
    from exporter.rejections import Rejections
    from exporter.selfmetrics import SelfMetrics
    from exporter.storage import Storage

log = logging.getLogger(__name__)

MAX_BATCH = 256
"""Deliveries merged at once: more would keep the event loop from other work for too long."""

PATIENCE = 1.5
"""Seconds a delivery waits for its commit; the vendor gives up after 2 at the earliest."""

_BACKOFF = (0.1, 5.0)
"""Seconds between probes of a failed storage, at first and at most."""


@dataclass(frozen=True, slots=True)
class State:
    """All that is committed, in memory; replaced as a whole when it is loaded afresh."""

    fleet: Fleet
    exposition: Exposition
    rejections: Rejections
    damage: int = 0
    """How much of the stored state was found damaged and left out."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A verified delivery: the event that was read from it, or why none could be."""

    vendor: str
    body: bytes
    received: float
    """Unix seconds."""
    content: Event | EventError


_Waiting = tuple[Delivery, "asyncio.Future[Result]"]


class Intake:
    """Takes deliveries while it runs: see :meth:`run`."""

    def __init__(
        self,
        storage: Storage,
        load: Callable[[], Awaitable[State]],
        metrics: SelfMetrics,
        clock: Callable[[], float],
        *,
        max_pending: int,
        tick: float,
    ) -> None:
        """``load`` reads the state from storage; ``tick`` is how often expiry is looked at."""
        self.state: State | None = None
        """``None`` until loaded."""
        self._storage = storage
        self._load = load
        self._metrics = metrics
        self._clock = clock
        self._max_pending = max_pending
        self._tick = tick
        self._pending: list[_Waiting] = []
        self._wake = asyncio.Event()
        self._failure: StorageError | None = None
        self._outdated = False
        self._stopping = False

    @property
    def failed(self) -> bool:
        """Return whether the storage has failed and no probe has succeeded since."""
        return self._failure is not None

    async def submit(self, delivery: Delivery) -> Result:
        """Return what became of a delivery once that is on disk.

        Raises ``InvalidEvent`` or ``MalformedEvent``, after the delivery was kept among the
        rejections; ``StorageUnavailable`` when it cannot be committed; ``Overloaded`` when
        too many wait, or this one waited too long (it may still become durable).
        """
        if self._failure:
            raise StorageUnavailable(str(self._failure))
        if self.state is None or self._stopping:
            raise StorageUnavailable("the state is not loaded")
        if len(self._pending) >= self._max_pending:
            raise Overloaded(f"{self._max_pending} deliveries wait for a commit already")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        self._pending.append((delivery, future))
        self._wake.set()
        impatience = loop.call_later(PATIENCE, _give_up, future)
        try:
            return await future
        finally:
            impatience.cancel()

    async def run(self) -> None:
        """Load the state, then commit batches and expiry until :meth:`stop`.

        Raises ``StorageError`` where the state cannot be loaded at the start.
        """
        self.state = await self._load()
        next_tick = 0.0
        loop = asyncio.get_running_loop()
        backoff, longest = _BACKOFF
        while self._pending or not self._stopping:
            if self._failure:
                self._refuse(self._failure)
                await self._sleep(backoff)
                backoff = _BACKOFF[0] if await self._recover() else min(2 * backoff, longest)
                continue
            if loop.time() >= next_tick and not self._stopping:
                next_tick = loop.time() + (0 if await self._expire(self.state) else self._tick)
                if self.failed:
                    continue
            if not self._pending:
                await self._sleep(next_tick - loop.time())
            batch, self._pending = self._pending[:MAX_BATCH], self._pending[MAX_BATCH:]
            if batch:
                await self._take(self.state, batch)

    def stop(self) -> None:
        """Let :meth:`run` return after the deliveries it has."""
        self._stopping = True
        self._wake.set()

    async def _sleep(self, seconds: float) -> None:
        """Wait for a delivery or the stop, ``seconds`` at most."""
        if not self._stopping:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), max(0, seconds))
        self._wake.clear()

    async def _take(self, state: State, batch: list[_Waiting]) -> None:
        now = self._clock()
        draft, rejections = state.fleet.draft(now), state.rejections.draft()
        answers: list[Result | EventError] = []
        for delivery, _ in batch:
            answer = self._merge(draft, delivery)
            if isinstance(answer, EventError):
                rejections.add(_rejection(delivery, answer))
            answers.append(answer)
        changes = draft.changes()
        changes = Changes((*changes.rows, *rejections.changes()), changes.bases)
        try:
            await self._commit(changes)
        except StorageError as error:
            self._pending = batch + self._pending
            self._refuse(error)
            return
        state.fleet.publish(draft)
        state.rejections.publish(rejections)
        self._metrics.rejected_dropped.inc(len(rejections.removed))
        for (_, future), answer in zip(batch, answers, strict=True):
            if future.done():
                continue  # nobody waits any more
            if isinstance(answer, Result):
                future.set_result(answer)
            else:
                future.set_exception(answer)

    def _merge(self, draft: Draft, delivery: Delivery) -> Result | EventError:
        draft.hear(delivery.vendor)
        if isinstance(delivery.content, EventError):
            return delivery.content
        try:
            return draft.merge(delivery.content)
        except InvalidEvent as error:
            return error
        except Exception:  # whatever it is, it must not stop all others
            log.exception("event could not be merged")
            return InvalidEvent((FieldError((), "the exporter cannot process this event"),))

    async def _expire(self, state: State) -> bool:
        """Commit some of what is due; return whether there may be more."""
        now = self._clock()
        draft = state.fleet.expire(now)
        changes = draft.changes()
        try:
            await self._commit(changes)
        except StorageError:
            return False
        state.fleet.publish(draft)
        self._metrics.expired.inc(draft.expired)
        return bool(changes) or state.fleet.any_due(now)

    async def _commit(self, changes: Changes) -> None:
        if not changes:
            return
        try:
            with self._metrics.commit_duration.time():
                conflicts = await self._storage.commit(changes)
            if conflicts:
                self._outdated = True
                raise StorageUnavailable("the stored state is not the one in memory")
        except StorageError as error:
            self._failure = error
            self._metrics.commit_errors.inc()
            log.error("commit failed", extra=fields(error=error))  # noqa: TRY400  # one line says it
            raise

    async def _recover(self) -> bool:
        """Probe the failed storage, load the state afresh where need be; return success."""
        if self._stopping:
            return False
        try:
            # Kept until a load succeeds: the storage says it once only.
            self._outdated = await self._storage.probe() or self._outdated
            if self._outdated:
                self.state = await self._load()
                self._outdated = False
        except StorageError as error:
            log.warning("storage does not work yet", extra=fields(error=error))
            return False
        self._failure = None
        log.info("storage works again")
        return True

    def _refuse(self, error: StorageError) -> None:
        """Answer everything that waits with the storage's failure."""
        for _, future in self._pending:
            if not future.done():
                future.set_exception(StorageUnavailable(str(error)))
        self._pending = []


def _rejection(delivery: Delivery, error: EventError) -> Rejection:
    return Rejection(
        vendor=delivery.vendor,
        reason="malformed" if isinstance(error, MalformedEvent) else "invalid",
        errors=error.errors if isinstance(error, InvalidEvent) else (FieldError((), str(error)),),
        body=delivery.body,
        first_received=int(delivery.received),
        last_received=int(delivery.received),
    )


def _give_up(future: asyncio.Future[Result]) -> None:
    if not future.done():
        future.set_exception(Overloaded(f"no commit within {PATIENCE} seconds"))
