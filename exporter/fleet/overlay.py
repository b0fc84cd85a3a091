"""The changed copies of records that a draft keeps instead of the committed ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from exporter.model.records import Esim, Record, Tombstone
from exporter.storage.contract import Change, Changes, Key
from exporter.storage.stored_records import encode, table_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


R = TypeVar("R", bound=Record)


class Overlay(Generic[R]):
    """Records that a draft changed, each with the committed record that it replaces."""

    def __init__(self, committed: Callable[[Any], R | None]) -> None:
        self._committed = committed
        self._before: dict[Any, R | None] = {}
        """Committed records that were read, so that each is unpacked only once."""
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
                fields: Any = (*after[:-1], expected + 1)  # the version is last
                sealed = tuple.__new__(type(after), fields)
                self._after[key] = sealed
                yield Change(table_of(sealed), sealed.key, expected, encode(sealed))
            elif before:
                yield Change(table_of(before), before.key, expected, None)


class ChangedRecords:
    """What a batch changes: records, and the sums over expired allowances."""

    def __init__(
        self,
        esim: Callable[[Any], Esim | None],
        tombstone: Callable[[Any], Tombstone | None],
        register: Callable[[Any], Any],
        last_admitted: int,
    ) -> None:
        """Begin without changes. The functions return committed records by their keys."""
        self.esims = Overlay(esim)
        self.tombstones = Overlay(tombstone)
        self.registers: Overlay[Any] = Overlay(register)
        self.bases: dict[Key, int] = {}
        self.new_values: dict[Key, None] = {}
        """Packages and locations that have no series yet, in the order of events. They are keys of
        the bases that would store them."""
        self.expired = 0
        """Allowances that expire."""
        self.last_admitted = last_admitted

    def changes(self) -> Changes:
        """Return what one commit must write before the fleet may show it."""
        rows = [
            *self.esims.seal(),
            *self.tombstones.seal(),
            *self.registers.seal(),
        ]
        # Bases of 0 are stored too: they keep the series of a location.
        return Changes(tuple(rows), dict(self.bases))
