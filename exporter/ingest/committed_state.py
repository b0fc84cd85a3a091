"""All that is committed, as it is shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from exporter.exposition.exposition import Exposition
    from exporter.fleet.fleet import Fleet
    from exporter.ingest.rejected_deliveries import RejectedDeliveries


@dataclass(frozen=True, slots=True, weakref_slot=True)
class CommittedState:
    """All that is committed, in memory; replaced as a whole when it is loaded afresh."""

    fleet: Fleet
    exposition: Exposition
    rejected: RejectedDeliveries
    damage: int = 0
    """How much of the stored state was found damaged and left out."""
