"""A storage in memory that several intakes share. It reports conflicts with their commits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memory_storage import MemoryStorage

from exporter.errors import StorageUnavailable
from exporter.model.shards import Shard
from exporter.storage.contract import Changes, Chunk, Key, Row, Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from exporter.storage.contract import Change

Place = tuple[Table, Key]


class SharedMemory(MemoryStorage):
    """The storage of one replica, on rows that the replicas made by :meth:`beside` change too."""

    def __init__(self, shard: Shard = Shard()) -> None:  # noqa: B008  # a value
        super().__init__()
        self.shard = shard
        self.on_change: Callable[[], None] = lambda: None
        self.too_much = False
        """The next call of :meth:`follow` returns ``None``: everything must be loaded again."""
        self.unreachable = False
        """:meth:`follow` and :meth:`fetch` fail."""
        self.before_commit: Callable[[], None] = lambda: None
        """Called before each commit. A commit of another replica made in it causes a conflict."""
        self.fetched: list[set[Place]] = []
        self._all: list[SharedMemory] = [self]
        self._changed: list[tuple[SharedMemory | None, Changes]] = []
        """All commits with their writers; ``None`` where the outcome of a commit was unknown."""
        self._seen = 0
        """How many of these commits this replica has followed."""
        self._fetched: dict[Place, int] = {}

    def beside(self, shard: Shard | None = None) -> SharedMemory:
        """Return the storage of another replica on the same rows."""
        other = SharedMemory(shard or self.shard)
        other.rows, other.bases = self.rows, self.bases
        other._changed, other._all = self._changed, self._all
        self._all.append(other)
        return other

    def apply(self, changes: Changes) -> tuple[Row, ...]:
        self.before_commit()
        found = tuple(self._stored(change) for change in changes.rows if self._differs(change))
        if found:
            return found
        assert super().apply(changes) == ()
        self._changed.append((self, changes))
        for other in self._all:
            if other is not self:
                other.on_change()
        return ()

    async def commit(self, changes: Changes) -> tuple[Row, ...]:
        try:
            return await super().commit(changes)
        except StorageUnavailable:
            self._changed[:] = [
                (None if c is changes else writer, c) for writer, c in self._changed
            ]
            raise
        finally:
            self._fetched.clear()

    def chunks(self) -> Iterator[Chunk]:
        self._seen = len(self._changed)
        for chunk in super().chunks():
            rows = tuple(row for row in chunk.rows if self._keeps(row.table, row.key))
            bases = {key: n for key, n in chunk.bases.items() if self.shard.owns(int(key[-1]))}
            yield Chunk(rows, bases)

    async def follow(self) -> Chunk | None:
        self.calls.append("follow")
        self._reach()
        if self.too_much:
            self.too_much = False
            return None
        news, self._seen = self._changed[self._seen :], len(self._changed)
        places = {(c.table, c.key): c for _, changes in news for c in changes.rows}
        bases: dict[Key, int] = {}
        for writer, changes in news:
            for key, amount in changes.bases.items():
                if writer is not self and self.shard.owns(int(key[-1])):
                    bases[key] = bases.get(key, 0) + amount
        rows = (self._stored(change) for at, change in places.items() if self._keeps(*at))
        return Chunk(tuple(rows), bases)

    async def fetch(self, wanted: Sequence[Place]) -> tuple[Row, ...]:
        self._reach()
        self.fetched.append(set(wanted))
        self._fetched |= dict.fromkeys(wanted, len(self._changed))
        return tuple(self.rows[place] for place in wanted if place in self.rows)

    def _reach(self) -> None:
        if self.unreachable:
            self._failed = True
            raise StorageUnavailable("there is no answer")

    def _keeps(self, table: Table, key: Key) -> bool:
        return table not in {Table.ESIM, Table.TOMBSTONE} or self.shard.keeps(*key[:2])

    def _stored(self, change: Change) -> Row:
        place = (change.table, change.key)
        return self.rows.get(place) or Row(*place, 0, b"")

    def _differs(self, change: Change) -> bool:
        """Return whether a row is not as expected, or another replica changed it meanwhile."""
        if self._stored(change).version != change.expected:
            return True
        place = (change.table, change.key)
        meanwhile = self._changed[self._fetched.get(place, self._seen) :]
        return any(
            writer is not self and any((c.table, c.key) == place for c in changes.rows)
            for writer, changes in meanwhile
        )
