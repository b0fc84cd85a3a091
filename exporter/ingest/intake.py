"""Takes deliveries and commands, and answers each after its batch is committed.

One batch at a time: what arrives while a commit runs forms the next batch. Nothing is shown and
nothing is answered before the commit. If the commit fails, its whole batch is refused. A commit
goes on even if the client that waits for it goes away.

The parts: :mod:`~exporter.ingest.commit` merges and commits, :mod:`~exporter.ingest.recovery`
acts after a failure, :mod:`~exporter.ingest.replica` follows other processes,
:mod:`~exporter.ingest.backups` makes backups.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar, overload

from exporter.errors import Overloaded, StorageError, StorageUnavailable
from exporter.ingest.backups import Backups
from exporter.ingest.batch import MAX_BATCH, BatchItem
from exporter.ingest.commit import Committer
from exporter.ingest.committed_state import StateHolder
from exporter.ingest.recovery import Recovery
from exporter.ingest.replica import Replica, catch_up
from exporter.ingest.wakeup import Wakeup

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from exporter.ingest.batch import Command, VerifiedDelivery
    from exporter.ingest.committed_state import CommittedState
    from exporter.model.merge import Result
    from exporter.selfmetrics import SelfMetrics
    from exporter.storage.contract import SharedStorage, Storage

MAX_WAIT = 1.5
"""Seconds that a delivery waits for its commit. The vendor gives up after 2 s at the earliest."""

_PAUSE_FOR_COMMIT = 0.001
"""Seconds of sleep in which the thread that commits gets the interpreter lock."""

T = TypeVar("T")


class Intake:
    """Takes deliveries and commands while :meth:`run` runs."""

    def __init__(
        self,
        storage: Storage,
        load: Callable[[], Awaitable[CommittedState]],
        metrics: SelfMetrics,
        clock: Callable[[], float],
        *,
        max_pending: int,
        expiry_interval: float,
        shared: SharedStorage | None = None,
    ) -> None:
        """``load`` reads the state from the storage. It raises ``StorageError``.

        ``clock`` gives unix seconds. At most ``max_pending`` deliveries wait for a commit.
        Expiry is checked every ``expiry_interval`` seconds. ``shared`` is the same storage if
        other processes use it too.
        """
        self._max_pending = max_pending
        self._expiry_interval = expiry_interval
        self._wakeup = Wakeup()
        self._holder = StateHolder(load)
        self._recovery = Recovery(storage, self._holder, self._wakeup, shared=shared is not None)
        self.replica = Replica(shared, self._wakeup.wake) if shared else None
        """Follows the other processes; ``None`` if there can be none."""
        self._committer = Committer(
            storage, self._holder, self._recovery, self.replica, metrics=metrics, clock=clock
        )
        self._backups = Backups(storage)
        self._pending: list[tuple[BatchItem, asyncio.Future[Any]]] = []

    @property
    def state(self) -> CommittedState | None:
        """Return what is committed; ``None`` until it is loaded."""
        return self._holder.state

    @property
    def failed(self) -> bool:
        """Return whether the storage has failed and no probe has succeeded since."""
        return self._recovery.failure is not None

    @property
    def busy(self) -> bool:
        """Return whether a commit is under way or deliveries wait for one."""
        return self._committer.committing or bool(self._pending)

    @overload
    async def submit(self, item: VerifiedDelivery) -> Result: ...

    @overload
    async def submit(self, item: Command[T]) -> T: ...

    async def submit(self, item: VerifiedDelivery | Command[T]) -> Result | T:
        """Return the answer to a delivery or command after it is on disk.

        Raises:
        - ``InvalidEvent`` or ``MalformedEvent``, after the delivery was kept as a rejected one;
        - what the command raises;
        - ``StorageUnavailable`` if it cannot be committed;
        - ``Overloaded`` if too many wait, or this one waited for ``MAX_WAIT``. In the second case
          it may still become durable.
        """
        if self._recovery.failure:
            raise StorageUnavailable(str(self._recovery.failure))
        self._refuse_unless_running()
        if len(self._pending) >= self._max_pending:
            raise Overloaded(f"{self._max_pending} deliveries wait for a commit already")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._pending.append((item, future))
        self._wakeup.wake()
        deadline = loop.call_later(MAX_WAIT, _give_up, future)
        try:
            answer: Result | T = await future
        finally:
            deadline.cancel()
        return answer

    async def backup(self, path: Path) -> None:
        """Write a copy of the storage to ``path``, which must not exist. Commits wait for it.

        Raises ``StorageUnavailable``.
        """
        self._refuse_unless_running()
        made = self._backups.ask_for(path)
        self._wakeup.wake()
        await made

    async def yield_to_deliveries(self) -> None:
        """Let deliveries that wait, and a commit under way, run before the caller goes on.

        A commit runs in a thread of its own, which gets the interpreter lock at once only while
        the event loop sleeps.
        """
        await asyncio.sleep(_PAUSE_FOR_COMMIT if self._committer.committing else 0)

    def stop(self) -> None:
        """Take nothing more, and let :meth:`run` return after what waits is committed."""
        self._wakeup.stop()

    async def run(self) -> None:
        """Load the state, then commit batches and what expires until :meth:`stop`.

        Waits for a shared database that is away. Raises ``StorageError`` if the state cannot be
        loaded for another reason.
        """
        if not await self._recovery.load_at_start():
            return
        try:
            await self._work()
        finally:
            self._refuse("the exporter stops")  # only a cancelled run leaves something waiting
            self._backups.refuse_all("the exporter stops")

    async def _work(self) -> None:
        next_expiry = 0.0
        loop = asyncio.get_running_loop()
        while self._pending or self._backups or not self._wakeup.stopping:
            if self._backups:
                await self._backups.make_next()
            if failure := self._recovery.failure:
                self._refuse(str(failure))
                if await self._recovery.retry() and self.replica:
                    self.replica.poll_soon()
                continue
            if self.replica and not await self._follow(self.replica):
                continue
            if loop.time() >= next_expiry and not self._wakeup.stopping:
                more = await self._committer.expire()
                next_expiry = loop.time() + (0 if more else self._expiry_interval)
                if self.failed:
                    continue
            if not self._pending and not self._backups:
                await self._wakeup.sleep(self._until_due(next_expiry - loop.time()))
            batch, self._pending = self._pending[:MAX_BATCH], self._pending[MAX_BATCH:]
            if batch:
                await self._commit_and_answer(batch)

    async def _follow(self, replica: Replica) -> bool:
        """Take over what other replicas committed, if a poll is due; return success."""
        if monotonic() < replica.next_poll:
            return True
        try:
            await catch_up(replica, self._holder)
        except StorageError as error:
            self._recovery.fail("cannot follow other replicas", error)
            return False
        return True

    def _until_due(self, expiry: float) -> float:
        """Return the seconds until expiry or a poll is due, whichever comes first."""
        return min(expiry, self.replica.next_poll - monotonic()) if self.replica else expiry

    async def _commit_and_answer(self, batch: list[tuple[BatchItem, asyncio.Future[Any]]]) -> None:
        try:
            answers = await self._committer.commit_batch([item for item, _ in batch])
        except StorageError as error:
            self._pending = batch + self._pending
            self._refuse(str(error))
            return
        for (_, future), answer in zip(batch, answers, strict=True):
            if future.done():
                continue  # the client went away or waited too long
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)

    def _refuse(self, reason: str) -> None:
        """Answer everything that waits with ``StorageUnavailable``."""
        for _, future in self._pending:
            if not future.done():
                future.set_exception(StorageUnavailable(reason))
        self._pending = []

    def _refuse_unless_running(self) -> None:
        if self._holder.state is None or self._wakeup.stopping:
            raise StorageUnavailable("the state is not loaded")


def _give_up(future: asyncio.Future[Any]) -> None:
    if not future.done():
        future.set_exception(Overloaded(f"no commit within {MAX_WAIT} seconds"))
