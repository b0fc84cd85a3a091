"""What a draft reads: the committed fleet, and fetched records of other shards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from exporter.model.records import Esim, Record, Tombstone
from exporter.storage.contract import Key, Table

if TYPE_CHECKING:
    from collections.abc import Sized

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
