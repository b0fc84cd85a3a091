"""Loads the committed state, merges and commits batches, and recovers after a failure.

Drafts hold copies of the records that a batch touches. The commit writes the copies; only then
do they replace the originals in memory. A failed commit drops them, so memory never runs ahead of
the storage.

After a failure nothing is merged or committed until a probe of the storage succeeds. If the
outcome of the failed commit is unknown, the state is then loaded from the storage again.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING

from exporter.errors import StorageDamaged, StorageError, StorageUnavailable
from exporter.fleet.drafts import Draft, NotFetched, expire_due
from exporter.ingest.batch import VerifiedDelivery, merge
from exporter.ingest.replica import rows_of_other_shards
from exporter.logs import fields
from exporter.storage.contract import Changes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from exporter.exposition.exposition import Exposition
    from exporter.fleet.drafts import Fetched
    from exporter.fleet.fleet import Fleet
    from exporter.ingest.batch import BatchItem
    from exporter.ingest.rejected_deliveries import RejectedDeliveries, RejectedDeliveriesDraft
    from exporter.ingest.replica import Replica
    from exporter.model.records import Record
    from exporter.selfmetrics import SelfMetrics
    from exporter.storage.contract import Key, Row, Storage, Table

log = logging.getLogger(__name__)

BACKOFF = (0.1, 5.0)
"""First and longest pause between two probes, in seconds. Each failed probe doubles the pause."""

BACKOFF_SHARED = (0.1, 1.0)
"""Pauses for a shared database. Probes do not disturb it, and its standby may take over soon."""

_MAX_ATTEMPTS = 100
"""Times that a batch is merged again because other replicas changed the same rows first."""

_MAX_UNEXPLAINED_CONFLICTS = 3
"""Times that the same row is in conflict although no other replica reports a change of it."""


@dataclass(frozen=True, slots=True, weakref_slot=True)
class CommittedState:
    """The committed fleet, its text, and the rejected deliveries: what people and scrapes see.

    Commits change it in place. A new load from the storage replaces it as a whole.
    """

    fleet: Fleet
    exposition: Exposition
    rejected: RejectedDeliveries
    damage: int = 0
    """Rows that were found damaged and left out by the load."""


class Committer:
    """Holds the committed state, and commits batches and what expires, one after the other."""

    def __init__(
        self,
        storage: Storage,
        load: Callable[[], Awaitable[CommittedState]],
        metrics: SelfMetrics,
        clock: Callable[[], float],
        replica: Replica | None,
        *,
        clock_is_behind: Callable[[], bool],
    ) -> None:
        """``load`` reads the state from the storage. ``clock`` gives unix seconds.

        While ``clock_is_behind``, no rejected delivery is dropped for a newer one.
        """
        self._storage = storage
        self._load = load
        self._metrics = metrics
        self._clock = clock
        self._replica = replica
        self._clock_is_behind = clock_is_behind
        self._conflicts = _Conflicts()
        self._outdated = True
        """Whether memory may differ from the storage. The next recovery then loads the state."""
        self._shortest, self._longest = BACKOFF_SHARED if replica else BACKOFF
        self.pause = self._shortest
        """Seconds to wait before the next recovery."""
        self.state: CommittedState | None = None
        """``None`` until the first load."""
        self.failure: StorageError | None = None
        """Why deliveries are refused; ``None`` while the storage works."""
        self.committing = False
        """Whether a commit is under way."""

    async def load_at_start(self) -> None:
        """Load the state for the first time. A shared database may not answer yet.

        Raises ``StorageError`` for every other failure, because a person must then act.
        """
        try:
            await self._load_state()
        except StorageUnavailable as error:
            if self._replica is None:
                raise
            self._fail("storage does not work yet", error)

    async def commit_batch(self, batch: Sequence[BatchItem]) -> list[object]:
        """Merge and commit a batch; return the answer of each item.

        An answer is a result, or the exception to raise. If other replicas changed the same rows
        first, their changes are taken over and the batch is merged again. Raises ``StorageError``;
        nothing of the batch is then in memory.
        """
        wanted: set[tuple[Table, Key]] = set()
        for _ in range(_MAX_ATTEMPTS):
            state = self._loaded
            draft, rejected, answers = await self._merge(state, batch, wanted)
            changes = draft.changes()
            changes = Changes((*changes.rows, *rejected.changes()), changes.bases)
            if not await self._commit(changes):
                continue
            self._publish(state, draft)
            state.rejected.publish(rejected)
            if self._replica and rejected.added:
                state.rejected.sort()
            self._metrics.rejected_dropped.inc(rejected.dropped)
            return answers
        raise StorageUnavailable("others change the same rows all the time")

    async def expire(self) -> bool:
        """Commit some of what is due to expire; return whether more may be due.

        A failure is logged and kept in ``failure``, not raised.
        """
        state = self._loaded
        now = self._clock()
        if interruption := state.fleet.note_time(now):
            seconds = fields(seconds=interruption, expiry_held_for=state.fleet.policy.grace)
            log.warning("deliveries were interrupted, expiry waits", extra=seconds)
        draft = expire_due(state.fleet, now)
        changes = draft.changes()
        try:
            if not await self._commit(changes):
                return True  # another replica was first
        except StorageError:
            return False
        self._publish(state, draft)
        self._metrics.expired.inc(draft.expired)
        return bool(changes) or state.fleet.any_due(now)

    async def follow(self) -> None:
        """Take over what other replicas committed, if a poll is due.

        A failure is logged and kept in ``failure``, not raised.
        """
        if self._replica and monotonic() >= self._replica.next_poll:
            try:
                await self._catch_up(self._replica)
            except StorageError as error:
                self._fail("cannot follow other replicas", error)

    async def recover(self) -> None:
        """Probe the storage, and load the state if it is outdated. On success ``failure`` is gone.

        Before the first load, raises ``StorageError`` for a failure that only a person can mend.
        """
        self.pause = min(2 * self.pause, self._longest)
        try:
            # The probe reports only once that the state is outdated, so remember it until a
            # load succeeds.
            self._outdated = await self._storage.probe() or self._outdated
            if self._outdated:
                await self._load_state()
        except StorageError as error:
            if self.state is None and not isinstance(error, StorageUnavailable):
                raise
            log.warning("storage does not work yet", extra=fields(error=error))
            return
        self.failure = None
        self.pause = self._shortest
        log.info("storage works again")
        if self._replica:
            self._replica.poll_soon()

    @property
    def _loaded(self) -> CommittedState:
        assert self.state, "the state is not loaded"
        return self.state

    def _publish(self, state: CommittedState, draft: Draft) -> None:
        state.fleet.publish(draft)
        state.exposition.note_changes(monotonic())

    async def _load_state(self) -> None:
        self.state = await self._load()
        self.state.exposition.note_changes(monotonic())
        self._outdated = False

    def _fail(self, what: str, error: StorageError) -> None:
        """Log a failure. Deliveries are refused until :meth:`recover` succeeds."""
        self.failure = error
        log.error(what, extra=fields(error=error))

    async def _merge(
        self, state: CommittedState, batch: Sequence[BatchItem], wanted: set[tuple[Table, Key]]
    ) -> tuple[Draft, RejectedDeliveriesDraft, list[object]]:
        """Merge a batch, with the present rows of other shards.

        ``wanted`` collects the rows of other shards that the batch needs. A command may need a
        row for each package of an eSIM, and finds out one by one. If the batch is merged again,
        all of them are fetched at once.
        """
        contents = (item.content for item in batch if isinstance(item, VerifiedDelivery))
        wanted.update(rows_of_other_shards(state.fleet, contents))
        fetched: dict[tuple[Table, Key], Record | None] = {}
        while True:
            if missing := wanted - fetched.keys():
                fetched |= await self._fetch(missing)
            draft = Draft(state.fleet, self._clock(), fetched)
            rejected = state.rejected.draft(drops_none=self._clock_is_behind())
            try:
                return draft, rejected, [merge(item, draft, rejected) for item in batch]
            except NotFetched as needed:
                wanted.add(needed.wanted)

    async def _fetch(self, wanted: Iterable[tuple[Table, Key]]) -> Fetched:
        assert self._replica, "without other replicas, every row is in memory"
        try:
            return await self._replica.fetch(wanted)
        except StorageError as error:
            self._fail("cannot read rows of other shards", error)
            raise

    async def _commit(self, changes: Changes) -> bool:
        """Commit. If other replicas changed the rows first, follow them and return ``False``.

        Raises ``StorageError`` after keeping it in ``failure``.
        """
        if not changes:
            return True
        self.committing = True
        try:
            with self._metrics.commit_duration.time():
                conflicts = await self._storage.commit(changes)
            if not conflicts:
                self._conflicts = _Conflicts()
                return True
            await self._resolve(changes, conflicts)
        except StorageError as error:
            self._metrics.commit_errors.inc()
            self._fail("commit failed", error)
            raise
        finally:
            self.committing = False
        return False

    async def _resolve(self, changes: Changes, conflicts: tuple[Row, ...]) -> None:
        """Follow the replicas that changed the rows first.

        Raises ``StorageUnavailable`` if rows differ though no replica changed them, as when
        somebody removed rows by hand: the state must then be loaded again.
        """
        if self._replica is None or self._conflicts.unexplained(changes, conflicts):
            self._conflicts = _Conflicts()
            self._outdated = True
            raise StorageUnavailable("the stored state is not the one in memory")
        self._metrics.conflicts.inc()
        await self._catch_up(self._replica)

    async def _catch_up(self, replica: Replica) -> None:
        """Take over what others committed, or load the whole state if they changed too much."""
        state = self._loaded
        try:
            followed = await replica.follow(state.fleet, state.rejected)
            state.exposition.note_changes(monotonic())
        except StorageDamaged:
            self._outdated = True  # the storage does not return the unreadable row a second time
            raise
        if not followed:
            log.warning("other replicas changed too much to follow, loading the whole state")
            await self._load_state()


class _Conflicts:
    """Tells rows that another replica changed from rows that differ without any reason.

    Counting begins again after a commit that succeeds, and after an unexplained conflict.
    """

    def __init__(self) -> None:
        self._last: set[tuple[Table, Key, int]] = set()
        """The rows of the last conflict, each with the version that was expected."""
        self._repeated = 0

    def unexplained(self, changes: Changes, conflicts: tuple[Row, ...]) -> bool:
        """Return whether the same row is in conflict again and again.

        After a conflict the replica follows the others. If they changed the row, the next attempt
        expects its new version, and the conflict is gone.
        """
        expected = {(change.table, change.key): change.expected for change in changes.rows}
        found = {(row.table, row.key, expected[row.table, row.key]) for row in conflicts}
        self._repeated = self._repeated + 1 if found & self._last else 0
        self._last = found
        return self._repeated >= _MAX_UNEXPLAINED_CONFLICTS
