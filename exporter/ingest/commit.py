"""Merges a batch into drafts, commits them, and publishes them after the commit.

Drafts hold copies of the records that a batch touches. The commit writes the copies; only then
do they replace the originals in memory. A failed commit drops them, so memory never runs ahead of
the storage.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from exporter.errors import StorageError, StorageUnavailable
from exporter.fleet.drafts import Draft, NotFetched, expire_due
from exporter.ingest.batch import events_of, merge
from exporter.ingest.replica import catch_up, rows_of_other_shards
from exporter.logs import fields
from exporter.storage.contract import Changes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from exporter.fleet.drafts import Fetched
    from exporter.ingest.batch import BatchItem
    from exporter.ingest.committed_state import CommittedState, StateHolder
    from exporter.ingest.recovery import Recovery
    from exporter.ingest.rejected_deliveries import RejectedDeliveriesDraft
    from exporter.ingest.replica import Replica
    from exporter.model.records import Record
    from exporter.selfmetrics import SelfMetrics
    from exporter.storage.contract import Key, Row, Storage, Table

log = logging.getLogger(__name__)

_MAX_ATTEMPTS = 100
"""Times that a batch is merged again because other replicas changed the same rows first."""

_MAX_UNEXPLAINED_CONFLICTS = 3
"""Times that the same row is in conflict although no other replica reports a change of it."""


class Committer:
    """Commits batches and what expires, one after the other."""

    def __init__(
        self,
        storage: Storage,
        holder: StateHolder,
        recovery: Recovery,
        replica: Replica | None,
        *,
        metrics: SelfMetrics,
        clock: Callable[[], float],
    ) -> None:
        """``clock`` gives unix seconds."""
        self._storage = storage
        self._holder = holder
        self._recovery = recovery
        self._replica = replica
        self._metrics = metrics
        self._clock = clock
        self._conflicts = _Conflicts()
        self.committing = False
        """Whether a commit is under way."""

    async def commit_batch(self, batch: Sequence[BatchItem]) -> list[object]:
        """Merge and commit a batch; return the answer of each item.

        An answer is a result, or the exception to raise. If other replicas changed the same rows
        first, follows them and merges again. Raises ``StorageError``; nothing of the batch is then
        in memory.
        """
        wanted: set[tuple[Table, Key]] = set()
        for _ in range(_MAX_ATTEMPTS):
            state = self._holder.loaded
            draft, rejected, answers = await self._merge(state, batch, wanted)
            changes = draft.changes()
            changes = Changes((*changes.rows, *rejected.changes()), changes.bases)
            if not await self._commit(changes):
                continue
            state.fleet.publish(draft)
            state.rejected.publish(rejected)
            if self._replica and rejected.added:
                state.rejected.sort()
            self._metrics.rejected_dropped.inc(rejected.dropped)
            return answers
        raise StorageUnavailable("others change the same rows all the time")

    async def expire(self) -> bool:
        """Commit some of what is due to expire; return whether more may be due.

        A failure is logged and noted in the recovery, not raised.
        """
        state = self._holder.loaded
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
        state.fleet.publish(draft)
        self._metrics.expired.inc(draft.expired)
        return bool(changes) or state.fleet.any_due(now)

    async def _merge(
        self, state: CommittedState, batch: Sequence[BatchItem], wanted: set[tuple[Table, Key]]
    ) -> tuple[Draft, RejectedDeliveriesDraft, list[object]]:
        """Merge a batch, with the present rows of other shards.

        ``wanted`` collects the rows of other shards that the batch needs. A command may need a
        row for each package of an eSIM, and finds out one by one; the next attempt fetches all of
        them at once.
        """
        wanted.update(rows_of_other_shards(state.fleet, events_of(batch)))
        fetched: dict[tuple[Table, Key], Record | None] = {}
        while True:
            if missing := wanted - fetched.keys():
                fetched |= await self._fetch(missing)
            draft = Draft(state.fleet, self._clock(), fetched)
            rejected = state.rejected.draft()
            try:
                return draft, rejected, [merge(item, draft, rejected) for item in batch]
            except NotFetched as needed:
                wanted.add(needed.wanted)

    async def _fetch(self, wanted: Iterable[tuple[Table, Key]]) -> Fetched:
        assert self._replica, "without other replicas, every row is in memory"
        try:
            return await self._replica.fetch(wanted)
        except StorageError as error:
            self._recovery.fail("cannot read rows of other shards", error)
            raise

    async def _commit(self, changes: Changes) -> bool:
        """Commit; return ``False`` after following other replicas that were first.

        Raises ``StorageError`` after noting the failure in the recovery.
        """
        if not changes:
            return True
        self.committing = True
        try:
            with self._metrics.commit_duration.time():
                conflicts = await self._storage.commit(changes)
            if not conflicts:
                self._conflicts.clear()
                return True
            await self._resolve(changes, conflicts)
        except StorageError as error:
            self._metrics.commit_errors.inc()
            self._recovery.fail("commit failed", error)
            raise
        finally:
            self.committing = False
        return False

    async def _resolve(self, changes: Changes, conflicts: tuple[Row, ...]) -> None:
        """Follow the replicas that were first.

        Raises ``StorageUnavailable`` if rows differ though no replica changed them, as when
        somebody removed rows by hand: the state must then be loaded again.
        """
        if self._replica is None or self._conflicts.unexplained(changes, conflicts):
            self._holder.outdated = True
            raise StorageUnavailable("the stored state is not the one in memory")
        self._metrics.conflicts.inc()
        await catch_up(self._replica, self._holder)


class _Conflicts:
    """Tells rows that another replica changed from rows that differ without any reason."""

    def __init__(self) -> None:
        self._last: set[tuple[Table, Key, int]] = set()
        """The rows of the last conflict, each with the version that was expected."""
        self._repeated = 0

    def clear(self) -> None:
        """Begin again: a commit had no conflict."""
        self._last, self._repeated = set(), 0

    def unexplained(self, changes: Changes, conflicts: tuple[Row, ...]) -> bool:
        """Return whether the same row is in conflict again and again.

        After a conflict the replica follows the others, which explains a row that they changed:
        the next attempt expects its new version.
        """
        expected = {(change.table, change.key): change.expected for change in changes.rows}
        found = {(row.table, row.key, expected[row.table, row.key]) for row in conflicts}
        self._repeated = self._repeated + 1 if found & self._last else 0
        self._last = found
        if self._repeated < _MAX_UNEXPLAINED_CONFLICTS:
            return False
        self._repeated = 0
        return True
