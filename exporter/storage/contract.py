"""What durable storage promises, whatever the database behind it.

The storage keeps opaque, versioned rows under a table and a key, and signed
integer *bases* that travel as deltas. It knows nothing of eSIMs. One commit is
one transaction: when :meth:`Storage.commit` returns, all of it is on disk and a
power cut cannot take it back; when it raises, the caller must assume nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from pathlib import Path

Key = tuple[str, ...]


class Table(StrEnum):
    """The kinds of rows. A key has a fixed number of parts in each but ``PARTNER``.

    A part is any text that is valid Unicode.
    """

    ESIM = "esim"
    """(vendor, esim_id): an eSIM with all its allowances."""
    TOMBSTONE = "tombstone"
    """(vendor, esim_id, package_id): what is left of an expired allowance; an empty
    package_id stands for the eSIM itself."""
    PACKAGE = "package"
    """(vendor, package_id): the package's name."""
    PARTNER = "partner"
    """(vendor, currency) and (vendor, "event", event_type): account balance registers."""
    FEED = "feed"
    """(vendor,): when a verified event last arrived."""
    REJECTED = "rejected"
    """(digest of the body,): a signed delivery that could not be taken."""


class Row(NamedTuple):
    """One stored row. ``version`` starts at 1 and rises by one with each commit to the key."""

    table: Table
    key: Key
    version: int
    data: bytes


class Change(NamedTuple):
    """Write ``data`` under ``key``, or delete the row where ``data`` is ``None``.

    ``expected`` is the version the change was made from, 0 for a row that is not there
    (which cannot be deleted). The row's new version is ``expected + 1``; a row that is
    written again after it was deleted starts at 1.
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
    """Signed integers of any size, added to what is stored (absent counts as 0)."""

    def __bool__(self) -> bool:
        return bool(self.rows or self.bases)


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of what :meth:`Storage.load` reads. A key occurs in one chunk only."""

    rows: tuple[Row, ...] = ()
    bases: Mapping[Key, int] = field(default_factory=dict)
    damaged: tuple[str, ...] = ()
    """One line per row that was found damaged and left out, or table that does not hold what
    was committed, without content. Each is reported by one load only."""
    notes: tuple[str, ...] = ()
    """What a person should know that is no damage, say a write that a crash interrupted."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes on disk."""

    storage: int
    wal: int


class Storage(Protocol):
    """Durable rows. All methods but :meth:`sizes` are called by one task at a time."""

    def load(self) -> AsyncIterator[Chunk]:
        """Read everything, in chunks, in the order of :class:`Table` and key, the bases last.

        Raises ``StorageUnavailable`` when the storage cannot be read now and
        ``StorageDamaged`` when nothing can be trusted.
        """
        ...

    async def commit(self, changes: Changes) -> tuple[Row, ...]:
        """Write all changes and return after they are synced to disk.

        When a row's version is not the expected one nothing is written and the stored
        rows that differ are returned (a deleted one as version 0 with empty data).
        Otherwise returns ``()``. Raises ``StorageUnavailable``; the outcome is then unknown,
        no further commit is tried before :meth:`probe` has succeeded. Raises ``ValueError``,
        before anything is written, when a key is changed twice or cannot be one of its table.
        """
        ...

    async def probe(self) -> bool:
        """Try to make a failed storage usable again, durably writing something.

        Returns whether the rows must be loaded afresh (the outcome of the failed commit
        was unknown). Raises ``StorageUnavailable`` when it still does not work.
        """
        ...

    async def backup(self, path: Path) -> None:
        """Write a consistent copy to ``path``, which must not exist."""
        ...

    def sizes(self) -> Sizes:
        """Return bytes on disk now; zeros where they cannot be read."""
        ...

    async def close(self) -> None:
        """Finish what is under way, write the log back, and let go of the storage."""
        ...


class SharedStorage(Storage, Protocol):
    """Durable rows that other processes change too.

    A load, and a commit of which it cannot be known whether it was made, are followed up like
    what others commit. A conflict is no failure here: what the others did is to be followed,
    and the change to be made again.
    """

    on_change: Callable[[], None]
    """Called, in the event loop, when others seem to have committed something."""

    async def follow(self) -> Chunk | None:
        """Return what was committed since the load or the last call, as of one moment.

        Rows that were deleted have version 0 and no data; some rows may be known already.
        Bases are what has to be added. ``None`` where too much has changed, or what is in
        memory was lost: all must be loaded afresh. Raises ``StorageUnavailable``, with the same
        consequence as for a commit.
        """
        ...

    async def fetch(self, wanted: Sequence[tuple[Table, Key]]) -> tuple[Row, ...]:
        """Return those of the rows that there are, of all shards, for the next commit to change.

        Raises ``StorageUnavailable``, as :meth:`follow` does.
        """
        ...
