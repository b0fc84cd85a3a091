"""The contract of durable storage, the same for every database.

A storage keeps opaque, versioned rows. Each row has a table and a key. It also keeps signed
integers, called *bases*; a commit adds to them. A storage knows nothing of eSIMs.

One commit is one transaction. When :meth:`Storage.commit` returns, all of it is on disk and a
power cut cannot undo it. When it raises ``StorageUnavailable``, the outcome is unknown.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from pathlib import Path

Key = tuple[str, ...]
"""The parts of a key. A part is any text that is valid Unicode."""


class Table(StrEnum):
    """The kinds of rows, each with the parts of its keys."""

    ESIM = "esim"
    """(vendor, esim_id): an eSIM with all its allowances."""
    TOMBSTONE = "tombstone"
    """(vendor, esim_id, package_id): what is left of an expired allowance. An empty package_id
    stands for the eSIM itself."""
    PACKAGE = "package"
    """(vendor, package_id): the package's name."""
    PARTNER = "partner"
    """(vendor, currency) and (vendor, "event", event_type): account balance registers."""
    FEED = "feed"
    """(vendor,): when a verified event last arrived."""
    REJECTED = "rejected"
    """(digest of the body,): a signed delivery that could not be processed."""


_KEY_LENGTHS: Final = {
    Table.ESIM: (2,),
    Table.TOMBSTONE: (3,),
    Table.PACKAGE: (2,),
    Table.PARTNER: (2, 3),
    Table.FEED: (1,),
    Table.REJECTED: (1,),
}
"""How many parts a key can have."""


def check_key(table: Table, key: Key) -> None:
    """Raise ``ValueError`` if ``key`` cannot be a key of ``table``.

    An optional last part is left out; it is never an empty text.
    """
    lengths = _KEY_LENGTHS[table]
    if len(key) not in lengths or (len(key) > lengths[0] and not key[-1]):
        raise ValueError(f"a key of table {table} cannot have the {len(key)} parts given")


class Row(NamedTuple):
    """One stored row. ``version`` starts at 1 and rises by one with each commit to the key."""

    table: Table
    key: Key
    version: int
    data: bytes


class Change(NamedTuple):
    """Write ``data`` under ``key``, or delete the row if ``data`` is ``None``.

    ``expected`` is the version that the change was made from. It is 0 if there is no row yet;
    then there is nothing to delete. The new version is ``expected + 1``. A row that is written
    again after a deletion starts at 1.
    """

    table: Table
    key: Key
    expected: int
    data: bytes | None


@dataclass(frozen=True, slots=True)
class Changes:
    """What one transaction writes: all of it or nothing."""

    rows: tuple[Change, ...] = ()
    bases: Mapping[Key, int] = field(default_factory=dict)
    """Signed integers of any size. Each is added to the stored base; a missing base counts as 0."""

    def __bool__(self) -> bool:
        return bool(self.rows or self.bases)


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of what :meth:`Storage.load` reads. A key occurs in one chunk only."""

    rows: tuple[Row, ...] = ()
    bases: Mapping[Key, int] = field(default_factory=dict)
    damaged: tuple[str, ...] = ()
    """One line for each damaged row that was left out, and for each table that does not hold what
    was committed. A line never shows the row's content. Damage is reported by one load only."""
    notes: tuple[str, ...] = ()
    """Facts for a person that are not damage, for example a write that a crash cut off."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes on disk."""

    storage: int
    wal: int


class Storage(Protocol):
    """Durable rows. Except for :meth:`sizes`, only one task at a time may call a method."""

    def load(self) -> AsyncIterator[Chunk]:
        """Read everything in chunks, ordered by :class:`Table` and key. The bases come last.

        Raises ``StorageUnavailable`` when the storage cannot be read now, and ``StorageDamaged``
        when nothing in it can be trusted.
        """
        ...

    async def commit(self, changes: Changes) -> tuple[Row, ...]:
        """Write all changes and return after they are synced to disk.

        Returns ``()`` when they were written. When a stored version is not the expected one,
        nothing is written, and the stored rows that differ are returned. A deleted row is
        returned with version 0 and empty data.

        Raises ``StorageUnavailable``. The outcome is then unknown, and every further commit is
        refused until :meth:`probe` has succeeded. Raises ``ValueError`` before anything is
        written, when a key is changed twice or does not have the parts of its table.
        """
        ...

    async def probe(self) -> bool:
        """Try to make a failed storage usable again, by a durable write.

        Returns whether all rows must be loaded again, because the outcome of the failed commit
        is unknown. Raises ``StorageUnavailable`` when the storage still does not work.
        """
        ...

    async def backup(self, path: Path) -> None:
        """Write a consistent copy to ``path``. Raises ``StorageUnavailable``, also if it exists."""
        ...

    def sizes(self) -> Sizes:
        """Return the bytes on disk now, or zeros if they cannot be read."""
        ...

    async def close(self) -> None:
        """Finish the running commit, write the log back, and release the storage."""
        ...


class SharedStorage(Storage, Protocol):
    """Durable rows that other processes change too.

    A conflict is normal here: call :meth:`follow` to learn what the others committed, then make
    the change again. Call it also after a load, and after a commit with an unknown outcome.
    """

    on_change: Callable[[], None]
    """Called in the event loop when other processes seem to have committed something."""

    async def follow(self) -> Chunk | None:
        """Return what was committed since the load or the last call, as one consistent state.

        A deleted row has version 0 and no data. Some rows may be known to the caller already.
        Bases are amounts to add. Returns ``None`` when everything must be loaded again: too much
        has changed, or the database no longer has a commit that is in memory. Raises
        ``StorageUnavailable`` like :meth:`commit`: commits are refused until a probe succeeds.
        """
        ...

    async def fetch(self, wanted: Sequence[tuple[Table, Key]]) -> tuple[Row, ...]:
        """Return the wanted rows that exist, of any shard, so that the next commit can change them.

        Raises ``StorageUnavailable`` like :meth:`follow`.
        """
        ...
