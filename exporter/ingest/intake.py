"""The way of verified deliveries into the state: batch, merge, commit, publish, answer.

One batch at a time: what arrives while a commit runs forms the next one. Nothing is shown
and nobody is answered before the commit; when it fails, all of its batch is refused and
memory is as if it had never been. The commit does not depend on who waits for it.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar, overload

from exporter.errors import Overloaded, StorageDamaged, StorageError, StorageUnavailable
from exporter.fleet.drafts import NotFetched
from exporter.ingest.batch import Work, events_of, merge
from exporter.ingest.replica import Replica, needed
from exporter.logs import fields
from exporter.storage.contract import Changes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from pathlib import Path

    from exporter.fleet.drafts import Draft, Fetched
    from exporter.ingest.batch import Command, VerifiedDelivery
    from exporter.ingest.committed_state import CommittedState
    from exporter.ingest.rejected_deliveries import RejectedDeliveriesDraft
    from exporter.model.merge import Result
    from exporter.model.records import Record
    from exporter.selfmetrics import SelfMetrics
    from exporter.storage.contract import Key, Row, SharedStorage, Storage, Table

log = logging.getLogger(__name__)

MAX_BATCH = 256
"""Deliveries merged at once: more would keep the event loop from other work for too long."""

_TURNS = 4
"""Turns of the event loop in which what has arrived at the sockets is read, verified, parsed and
submitted."""

PATIENCE = 1.5
"""Seconds a delivery waits for its commit; the vendor gives up after 2 at the earliest."""

_FOR_COMMIT = 0.001
"""Seconds that others leave to a commit at a time."""

_MOST_TRIES = 100
"""Times a batch is merged again because others changed the same rows meanwhile."""

_MOST_STUCK = 3
"""Times one row is in the way of commits, though others have said nothing of it."""

_BACKOFF = (0.1, 5.0)
"""Seconds between probes of a failed storage, at first and at most."""

_BACKOFF_SHARED = (0.1, 1.0)
"""The same of one that is shared: there is no disk to spare, and another host may take over."""


T = TypeVar("T")

_Waiting = tuple[Work, "asyncio.Future[Any]"]


class Intake:
    """Takes deliveries while it runs: see :meth:`run`."""

    def __init__(
        self,
        storage: Storage,
        load: Callable[[], Awaitable[CommittedState]],
        metrics: SelfMetrics,
        clock: Callable[[], float],
        *,
        max_pending: int,
        tick: float,
        shared: SharedStorage | None = None,
    ) -> None:
        """``load`` reads the state from storage; ``tick`` is how often expiry is looked at.

        ``shared`` is the storage where other processes use it too.
        """
        self.state: CommittedState | None = None
        """``None`` until loaded."""
        self._storage = storage
        self._load = load
        self._metrics = metrics
        self._clock = clock
        self._max_pending = max_pending
        self._tick = tick
        self._pending: list[_Waiting] = []
        self._backups: list[tuple[Path, asyncio.Future[None]]] = []
        self._wake = asyncio.Event()
        self.replica = Replica(shared, self._wake.set) if shared else None
        """What follows the others, where there may be some."""
        self._failure: StorageError | None = None
        self._outdated = False
        self._in_the_way: set[tuple[Table, Key, int]] = set()
        """Rows that were not as expected in the last commit, with what was expected."""
        self._stuck = 0
        self._stopping = False
        self._committing = False

    @property
    def failed(self) -> bool:
        """Return whether the storage has failed and no probe has succeeded since."""
        return self._failure is not None

    @property
    def busy(self) -> bool:
        """Return whether deliveries wait, for a batch or for a commit."""
        return self._committing or bool(self._pending)

    @overload
    async def submit(self, work: VerifiedDelivery) -> Result: ...

    @overload
    async def submit(self, work: Command[T]) -> T: ...

    async def submit(self, work: VerifiedDelivery | Command[T]) -> Result | T:
        """Return what became of a delivery or a command once that is on disk.

        Raises ``InvalidEvent`` or ``MalformedEvent``, after a delivery was kept among the
        rejections; what a command raises; ``StorageUnavailable`` when it cannot be committed;
        ``Overloaded`` when too many wait, or this one waited too long (it may still become
        durable).
        """
        if self._failure:
            raise StorageUnavailable(str(self._failure))
        if self.state is None or self._stopping:
            raise StorageUnavailable("the state is not loaded")
        if len(self._pending) >= self._max_pending:
            raise Overloaded(f"{self._max_pending} deliveries wait for a commit already")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._pending.append((work, future))
        self._wake.set()
        impatience = loop.call_later(PATIENCE, _give_up, future)
        try:
            answer: Result | T = await future
        finally:
            impatience.cancel()
        return answer

    async def backup(self, path: Path) -> None:
        """Write a copy of the storage to ``path``, which must not exist; commits wait meanwhile.

        Raises ``StorageUnavailable``.
        """
        if self.state is None or self._stopping:
            raise StorageUnavailable("the state is not loaded")
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._backups.append((path, future))
        self._wake.set()
        await future

    async def yield_to_deliveries(self) -> None:
        """Let deliveries go first, for those who work long; and a commit that is under way.

        It is in a thread of its own, which is given the interpreter when nobody here wants it.
        """
        await asyncio.sleep(_FOR_COMMIT if self._committing else 0)

    async def run(self) -> None:
        """Load the state, then commit batches and expiry until :meth:`stop`.

        Raises ``StorageError`` where the state cannot be loaded at the start; a database that
        is away is waited for.
        """
        if not await self._begin():
            return
        next_tick = 0.0
        loop = asyncio.get_running_loop()
        shortest, longest = _BACKOFF_SHARED if self.replica else _BACKOFF
        backoff = shortest
        while self._pending or self._backups or not self._stopping:
            if self._backups:
                await self._back_up(*self._backups.pop(0))
            if self._failure:
                self._refuse(self._failure)
                await self._sleep(backoff)
                backoff = shortest if await self._recover() else min(2 * backoff, longest)
                continue
            if self.replica and monotonic() >= self.replica.next_look and not await self._follow():
                continue
            if loop.time() >= next_tick and not self._stopping:
                next_tick = loop.time() + (0 if await self._expire() else self._tick)
                if self.failed:
                    continue
            if not self._pending and not self._backups:
                await self._sleep(self._until_next(next_tick - loop.time()))
            batch, self._pending = self._pending[:MAX_BATCH], self._pending[MAX_BATCH:]
            if batch:
                await self._take(batch)

    async def _begin(self) -> bool:
        """Load the state; return ``False`` where the stop came first."""
        shortest, longest = _BACKOFF_SHARED if self.replica else _BACKOFF
        backoff = shortest
        while not self._stopping:
            try:
                self.state = await self._load()
            except StorageUnavailable as error:
                if not self.replica:
                    raise
                self._failed("storage does not work yet", error)
            else:
                self._failure = None
                return True
            while not self._stopping:
                await self._sleep(backoff)
                backoff = min(2 * backoff, longest)
                with suppress(StorageUnavailable):
                    await self._storage.probe()
                    break
        return False

    def stop(self) -> None:
        """Let :meth:`run` return after the deliveries it has."""
        self._stopping = True
        self._wake.set()

    def _until_next(self, tick: float) -> float:
        """Return the seconds until there is something to do that nobody asks for."""
        return min(tick, self.replica.next_look - monotonic()) if self.replica else tick

    async def _sleep(self, seconds: float) -> None:
        """Wait for a delivery or the stop, ``seconds`` at most."""
        if not self._stopping:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), max(0, seconds))
        self._wake.clear()

    async def _back_up(self, path: Path, future: asyncio.Future[None]) -> None:
        try:
            await self._storage.backup(path)
        except StorageError as error:
            if not future.done():
                future.set_exception(error)
            return
        if not future.done():
            future.set_result(None)

    async def _take(self, batch: list[_Waiting]) -> None:
        try:
            answers = await self._settle([work for work, _ in batch])
        except StorageError as error:
            self._pending = batch + self._pending
            self._refuse(error)
            return
        for (_, future), answer in zip(batch, answers, strict=True):
            if future.done():
                continue  # nobody waits any more
            if isinstance(answer, Exception):
                future.set_exception(answer)
            else:
                future.set_result(answer)

    async def _settle(self, batch: list[Work]) -> list[object]:
        """Merge and commit a batch, again where others were first; return what became of each."""
        wanted: set[tuple[Table, Key]] = set()
        for _ in range(_MOST_TRIES):
            state = self.state
            assert state, "nothing is taken before there is a state"
            draft, rejections, answers = await self._merged(state, batch, wanted)
            changes = draft.changes()
            changes = Changes((*changes.rows, *rejections.changes()), changes.bases)
            if not await self._commit(changes):
                continue
            state.fleet.publish(draft)
            state.rejected.publish(rejections)
            if self.replica and rejections.added:
                state.rejected.sort()
            self._metrics.rejected_dropped.inc(rejections.dropped)
            return answers
        raise StorageUnavailable("others change the same rows all the time")

    async def _merged(
        self, state: CommittedState, batch: list[Work], wanted: set[tuple[Table, Key]]
    ) -> tuple[Draft, RejectedDeliveriesDraft, list[object]]:
        """Merge a batch, with rows of other shards as they are now.

        What a command turns out to need is added to ``wanted``, to be fetched at once the next
        time: a row for each package of an eSIM that is deleted.
        """
        wanted.update(needed(state.fleet, events_of(batch)))
        fetched: dict[tuple[Table, Key], Record | None] = {}
        while True:
            if more := wanted - fetched.keys():
                fetched |= await self._fetch(more)
            draft = state.fleet.draft(self._clock(), fetched)
            rejections = state.rejected.draft()
            try:
                return draft, rejections, [merge(work, draft, rejections) for work in batch]
            except NotFetched as missing:
                wanted.add(missing.wanted)

    async def _fetch(self, wanted: Iterable[tuple[Table, Key]]) -> Fetched:
        assert self.replica, "all is in memory where the storage is not shared"
        try:
            return await self.replica.fetch(wanted)
        except StorageError as error:
            self._failed("cannot read what is stored", error)
            raise

    async def _expire(self) -> bool:
        """Commit some of what is due; return whether there may be more."""
        state = self.state
        assert state, "nothing expires before there is a state"
        now = self._clock()
        if unseen := state.fleet.note_time(now):
            held = state.fleet.policy.grace
            log.warning("time passed unseen", extra=fields(seconds=unseen, expiry_held_for=held))
        draft = state.fleet.expire(now)
        changes = draft.changes()
        try:
            if not await self._commit(changes):
                return True  # another replica was first
        except StorageError:
            return False
        state.fleet.publish(draft)
        self._metrics.expired.inc(draft.expired)
        return bool(changes) or state.fleet.any_due(now)

    async def _commit(self, changes: Changes) -> bool:
        """Commit; return ``False`` where other replicas were first, having followed them."""
        if not changes:
            return True
        self._committing = True
        try:
            with self._metrics.commit_duration.time():
                conflicts = await self._storage.commit(changes)
            if not self._differ(changes, conflicts):
                return True
            await self._follow_others()
        except StorageError as error:
            self._metrics.commit_errors.inc()
            self._failed("commit failed", error)
            raise
        finally:
            self._committing = False
        return False

    def _differ(self, changes: Changes, conflicts: tuple[Row, ...]) -> bool:
        """Return whether others were first.

        Raises ``StorageUnavailable`` where what is stored is not what is in memory though nobody
        has changed it, as after rows were removed by hand: all has to be loaded afresh.
        """
        if not conflicts:
            self._stuck, self._in_the_way = 0, set()
            return False
        expected = {(change.table, change.key): change.expected for change in changes.rows}
        found = {(row.table, row.key, expected[row.table, row.key]) for row in conflicts}
        self._stuck = self._stuck + 1 if found & self._in_the_way else 0
        self._in_the_way = found
        if self._stuck >= _MOST_STUCK or not self.replica:
            self._stuck, self._outdated = 0, True
            raise StorageUnavailable("the stored state is not the one in memory")
        self._metrics.conflicts.inc()
        return True

    async def _follow(self) -> bool:
        """Take over what other replicas committed; return success."""
        try:
            await self._follow_others()
        except StorageError as error:
            self._failed("cannot follow other replicas", error)
            return False
        return True

    async def _follow_others(self) -> None:
        state = self.state
        assert self.replica
        assert state, "nothing is followed before there is a state"
        try:
            followed = await self.replica.follow(state.fleet, state.rejected)
        except StorageDamaged:
            self._outdated = True  # what could not be read is not told again
            raise
        if not followed:
            log.warning("too much to follow, the state is loaded afresh")
            self.state = await self._load()

    def _failed(self, what: str, error: StorageError) -> None:
        """Refuse deliveries from now on, until :meth:`_recover` succeeds."""
        self._failure = error
        log.error(what, extra=fields(error=error))

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
        if self.replica:
            self.replica.hint()  # first of all
        self._failure = None
        log.info("storage works again")
        return True

    def _refuse(self, error: StorageError) -> None:
        """Answer everything that waits with the storage's failure."""
        for _, future in self._pending:
            if not future.done():
                future.set_exception(StorageUnavailable(str(error)))
        self._pending = []


def _give_up(future: asyncio.Future[Any]) -> None:
    if not future.done():
        future.set_exception(Overloaded(f"no commit within {PATIENCE} seconds"))
