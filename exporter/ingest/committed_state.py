"""Everything that is committed, in memory: what scrapes, pages and the API show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from exporter.exposition.exposition import Exposition
    from exporter.fleet.fleet import Fleet
    from exporter.ingest.rejected_deliveries import RejectedDeliveries


@dataclass(frozen=True, slots=True, weakref_slot=True)
class CommittedState:
    """The committed fleet, its text, and the rejected deliveries.

    Commits change it in place. A new load from the storage replaces it as a whole.
    """

    fleet: Fleet
    exposition: Exposition
    rejected: RejectedDeliveries
    damage: int = 0
    """Rows that were found damaged and left out by the load."""


class StateHolder:
    """Holds the committed state, and loads it from the storage."""

    def __init__(self, read: Callable[[], Awaitable[CommittedState]]) -> None:
        """``read`` reads the state from the storage. It raises ``StorageError``."""
        self._read = read
        self.state: CommittedState | None = None
        """``None`` until the first load."""
        self.outdated = False
        """Whether memory may differ from the storage. The next recovery then loads the state."""

    @property
    def loaded(self) -> CommittedState:
        """Return the state. Must not be called before the first load."""
        assert self.state, "the state is not loaded"
        return self.state

    async def load(self) -> None:
        """Replace the state by the stored one. Raises ``StorageError``."""
        self.state = await self._read()
        self.outdated = False
