"""Takes deliveries, commands and backups, and answers each when it is on disk.

One batch at a time: what arrives while a commit runs forms the next batch. Nothing is shown and
nothing is answered before the commit. If the commit fails, its whole batch is refused. A commit
goes on even if the client that waits for it goes away.

:mod:`~exporter.ingest.commit` merges, commits, and recovers after a failure of the storage.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar, overload

from exporter.errors import Overloaded, StorageError, StorageUnavailable
from exporter.ingest.batch import MAX_BATCH, VerifiedDelivery
from exporter.ingest.clock_check import ClockCheck
from exporter.ingest.commit import Committer
from exporter.ingest.replica import Replica

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from exporter.ingest.batch import BatchItem, Command
    from exporter.ingest.commit import CommittedState
    from exporter.model.merge import Result
    from exporter.selfmetrics import SelfMetrics
    from exporter.storage.contract import SharedStorage, Storage

MAX_WAIT = 1.5
"""Seconds that a delivery waits for its commit. The vendor gives up after 2 s at the earliest."""

_LARGE_BATCH = 16
"""Deliveries. After a smaller batch, the next one does not wait: few senders are busy."""

_TURNS = 2
"""Turns of the event loop in which a delivery that has arrived comes to wait for its commit."""

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
        self._storage = storage
        self._max_pending = max_pending
        self._expiry_interval = expiry_interval
        self._stopping = False
        self._woken = asyncio.Event()
        self.replica = Replica(shared, self._woken.set) if shared else None
        """Follows the other processes; ``None`` if there can be none."""
        self.clock_check = ClockCheck(clock)
        self._committer = Committer(
            *(storage, load, metrics, clock, self.replica),
            clock_is_behind=lambda: self.clock_check.behind,
        )
        self._pending: list[tuple[BatchItem, asyncio.Future[Any]]] = []
        self._deadlines: deque[tuple[float, asyncio.Future[Any]]] = deque()
        """When those that wait are given up, in seconds of the event loop, in the order of their
        arrival."""
        self._next_deadline: asyncio.TimerHandle | None = None
        """Gives up those that have waited for too long. One timer for all takes less time than a
        timer for each."""
        self._backups: list[tuple[Path, asyncio.Future[None]]] = []
        self._last_batch = 0
        """How many deliveries and commands the last batch had."""

    @property
    def state(self) -> CommittedState | None:
        """Return what is committed; ``None`` until it is loaded."""
        return self._committer.state

    @property
    def failed(self) -> bool:
        """Return whether the storage has failed and no probe has succeeded since."""
        return self._committer.failure is not None

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
        if self._committer.failure:
            raise StorageUnavailable(str(self._committer.failure))
        self._refuse_unless_running()
        if len(self._pending) >= self._max_pending:
            raise Overloaded(f"{self._max_pending} deliveries wait for a commit already")
        if isinstance(item, VerifiedDelivery):
            self.clock_check.note(item.content)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._pending.append((item, future))
        self._woken.set()
        self._deadlines.append((loop.time() + MAX_WAIT, future))
        if self._next_deadline is None:
            self._give_up_late(loop)
        answer: Result | T = await future
        return answer

    async def backup(self, path: Path) -> None:
        """Write a copy of the storage to ``path``, which must not exist. Commits wait for it.

        Raises ``StorageUnavailable``.
        """
        self._refuse_unless_running()
        made: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._backups.append((path, made))
        self._woken.set()
        await made

    async def yield_to_deliveries(self) -> None:
        """Let deliveries that wait, and a commit under way, run before the caller goes on.

        A commit runs in a thread of its own, which gets the interpreter lock at once only while
        the event loop sleeps. A pause of 0 would not let it sleep.
        """
        await asyncio.sleep(0.001 if self._committer.committing else 0)

    def stop(self) -> None:
        """Accept nothing more, and let :meth:`run` return after it has committed what waits."""
        self._stopping = True
        self._woken.set()

    async def run(self) -> None:
        """Load the state, then commit batches and what expires until :meth:`stop`.

        Waits for a shared database that does not answer. Raises ``StorageError`` if the state
        cannot be loaded for another reason.
        """
        try:
            if not self._stopping:
                await self._committer.load_at_start()
            await self._work()
        finally:
            # Only a run that was cancelled leaves something waiting.
            self._refuse("the exporter stops")
            for _, made in self._backups:
                _answer(made, StorageUnavailable("the exporter stops"))

    async def _work(self) -> None:
        next_expiry = 0.0
        loop = asyncio.get_running_loop()
        while self._pending or self._backups or not self._stopping:
            if self._backups:
                await self._make_backup()
            if failure := self._committer.failure:
                self._refuse(str(failure))
                await self._sleep(self._committer.pause)
                if not self._stopping:
                    await self._committer.recover()
                continue
            await self._committer.follow()
            if not self.failed and loop.time() >= next_expiry and not self._stopping:
                more = await self._committer.expire()
                next_expiry = loop.time() + (0 if more else self._expiry_interval)
            if self.failed:
                continue
            if not self._pending and not self._backups:
                due = next_expiry - loop.time()
                if self.replica:
                    due = min(due, self.replica.next_poll - monotonic())
                await self._sleep(due)
            batch = await self._next_batch()
            if batch:
                await self._commit_and_answer(batch)

    async def _next_batch(self) -> list[tuple[BatchItem, asyncio.Future[Any]]]:
        """Take what waits; after a large batch, first wait for those who send again at once.

        Otherwise half of the senders send while the other half waits for its commit, for as long
        as all are busy. There are twice as many commits then, and with 64 senders a delivery takes
        up to an eighth more processor time. A shared database works elsewhere, so there it pays to
        send meanwhile.
        """
        if self._last_batch >= _LARGE_BATCH and not self.replica:
            waiting = -1
            while waiting < len(self._pending) < MAX_BATCH:
                waiting = len(self._pending)
                for _ in range(_TURNS):
                    await asyncio.sleep(0)
        batch, self._pending = self._pending[:MAX_BATCH], self._pending[MAX_BATCH:]
        self._last_batch = len(batch)
        return batch

    async def _sleep(self, seconds: float) -> None:
        """Sleep until there is something to do, but ``seconds`` at most, and not after the stop."""
        if not self._stopping:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), max(0, seconds))
        self._woken.clear()

    async def _make_backup(self) -> None:
        """Make the backup that waits longest, even if nobody waits for its end any more."""
        path, made = self._backups[0]
        failure = None
        try:
            await self._storage.backup(path)
        except StorageError as error:
            failure = error
        _answer(made, failure)
        del self._backups[0]

    async def _commit_and_answer(self, batch: list[tuple[BatchItem, asyncio.Future[Any]]]) -> None:
        try:
            answers = await self._committer.commit_batch([item for item, _ in batch])
        except StorageError as error:
            self._pending = batch + self._pending
            self._refuse(str(error))
            return
        for (_, future), answer in zip(batch, answers, strict=True):
            _answer(future, answer)
        self._forget_answered()

    def _give_up_late(self, loop: asyncio.AbstractEventLoop) -> None:
        """Give up what has waited for too long, and look again when the next one has."""
        self._forget_answered()
        waiting = self._deadlines
        while waiting and waiting[0][0] <= loop.time():
            _answer(waiting.popleft()[1], Overloaded(f"no commit within {MAX_WAIT} seconds"))
        self._next_deadline = (
            loop.call_at(waiting[0][0], self._give_up_late, loop) if waiting else None
        )

    def _forget_answered(self) -> None:
        while self._deadlines and self._deadlines[0][1].done():
            self._deadlines.popleft()

    def _refuse(self, reason: str) -> None:
        """Answer every delivery and command that waits with ``StorageUnavailable``."""
        for _, future in self._pending:
            _answer(future, StorageUnavailable(reason))
        self._pending = []

    def _refuse_unless_running(self) -> None:
        if self.state is None or self._stopping:
            raise StorageUnavailable("the state is not loaded")


def _answer(future: asyncio.Future[Any], answer: object) -> None:
    """Give the answer, unless the client has gone away or has waited too long."""
    if future.done():
        return
    if isinstance(answer, Exception):
        future.set_exception(answer)
    else:
        future.set_result(answer)
