"""What a draft reads and writes: the committed records, and changed copies over them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from exporter.model.records import Esim, Record, Tombstone
from exporter.storage.contract import Change, Key, Table
from exporter.storage.stored_records import encode, table_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sized

    from exporter.fleet.admission import AdmissionOrder
    from exporter.model.expiry import Retention
    from exporter.model.records import EsimKey
    from exporter.model.shards import Shard


class Committed(Protocol):
    """What a draft reads of the committed fleet; :class:`exporter.fleet.fleet.Fleet` has it."""

    @property
    def shard(self) -> Shard | None:
        """Return the shard that is kept here, ``None`` where the storage is not shared."""

    @property
    def retention(self) -> Retention:
        """Return the retention in force."""

    @property
    def admission(self) -> AdmissionOrder:
        """Return the order in which eSIMs were admitted."""

    @property
    def over_cap(self) -> Sized:
        """Return the eSIMs over the cardinality cap."""

    @property
    def tombstones(self) -> Mapping[Key, Tombstone]:
        """Return the tombstones, oldest first."""

    @property
    def registers(self) -> Mapping[Key, Any]:
        """Return the registers of packages, accounts and vendors, by table and key."""

    def esim(self, key: EsimKey) -> Esim | None:
        """Return an eSIM, or ``None``."""

    def tombstone(self, key: Key) -> Tombstone | None:
        """Return a tombstone, or ``None``."""

    def keeps(self, vendor: str, esim_id: str) -> bool:
        """Return whether an eSIM is kept here, and not by another shard."""

    def room(self) -> int:
        """Return how many more eSIMs may get series of their own."""


class NotFetched(Exception):
    """A draft needs a row of another shard, which is not in memory. ``wanted`` names it."""

    def __init__(self, table: Table, key: Key) -> None:
        super().__init__(table)
        self.wanted = (table, key)


Fetched = Mapping[tuple[Table, Key], Record | None]
"""Records of other shards, ``None`` where the storage has none."""


class AllShards:
    """The records of all shards: those of the own shard from memory, others as fetched."""

    def __init__(self, fleet: Committed, fetched: Fetched) -> None:
        self._fleet = fleet
        self._fetched = fetched

    def esim(self, key: EsimKey) -> Esim | None:
        """Return an eSIM of any shard. Raises ``NotFetched``."""
        return self._fleet.esim(key) if self._fleet.keeps(*key) else self._find(Table.ESIM, key)

    def tombstone(self, key: Key) -> Tombstone | None:
        """Return a tombstone of any shard. Raises ``NotFetched``."""
        if self._fleet.keeps(*key[:2]):
            return self._fleet.tombstone(key)
        tombstone: Tombstone | None = self._find(Table.TOMBSTONE, key)
        return tombstone

    def _find(self, table: Table, key: Key) -> Any:
        try:
            return self._fetched[table, key]
        except KeyError:
            raise NotFetched(table, key) from None


R = TypeVar("R", bound=Record)


class Overlay(Generic[R]):
    """Records that a draft changed, each with the committed record that it replaces."""

    def __init__(self, committed: Callable[[Any], R | None]) -> None:
        self._committed = committed
        self._before: dict[Any, R | None] = {}
        """What was read, so that a committed record is unpacked once only."""
        self._after: dict[Any, R | None] = {}

    def get(self, key: Key) -> R | None:
        """Return the record as the draft has it."""
        if key in self._after:
            return self._after[key]
        if key not in self._before:
            self._before[key] = self._committed(key)
        return self._before[key]

    def put(self, key: Key, record: R | None) -> None:
        """Write a record, or remove it with ``None``."""
        if key not in self._before:
            self._before[key] = self._committed(key)
        self._after[key] = record

    def items(self) -> Iterator[tuple[Key, R | None, R | None]]:
        """Yield what changed: key, record before, record after."""
        for key, after in self._after.items():
            yield key, self._before[key], after

    def seal(self) -> Iterator[Change]:
        """Yield the changes to store, and raise the version of each changed record by one."""
        for key, before, after in list(self.items()):
            expected = before.version if before else 0
            if after:
                make: Any = type(after)._make
                sealed = make((*after[:-1], expected + 1))  # the version is last
                self._after[key] = sealed
                yield Change(table_of(sealed), sealed.key, expected, encode(sealed))
            elif before:
                yield Change(table_of(before), before.key, expected, None)
