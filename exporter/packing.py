"""Stored eSIMs into packed ones, many at a time: most of what a start takes."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, NamedTuple

from exporter.blocks import FULL, Block
from exporter.packed import key_of, record_of
from exporter.rows import esims_of
from exporter.shelf import Shelf

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from exporter.aggregates import Aggregates
    from exporter.records import Esim
    from exporter.storage import Row


class Packed(NamedTuple):
    """eSIMs whose keys follow one another."""

    blocks: list[Block[bytes, bytes]]
    admitted: array[int]
    """Their places in the order of admission, in the order of their keys."""
    tracked: bool
    """Whether all of them are stored as eSIMs with series."""


class Packer:
    """Packs stored eSIMs, and adds them up."""

    def __init__(self, deadline: Callable[[Esim], float], totals: Aggregates) -> None:
        """``deadline`` says when something of an eSIM is next due (unix seconds)."""
        self._deadline = deadline
        self.totals = totals

    def pack(self, rows: Sequence[Row]) -> Packed:
        """Pack the eSIMs of rows that come in the order of their keys.

        Raises ``StorageDamaged`` when a row is of a layout this version does not know.
        """
        esims = esims_of(rows)
        self.totals.add_many(esims)
        return packed(esims, self._deadline)


def packed(esims: Sequence[Esim], deadline: Callable[[Esim], float]) -> Packed:
    """Pack eSIMs that come in the order of their keys."""
    keys = [key_of(esim.key) for esim in esims]
    records = [record_of(esim) for esim in esims]
    dues = [deadline(esim) for esim in esims]
    return Packed(
        [
            Block(keys[at : at + FULL], Shelf(records[at : at + FULL]), min(dues[at : at + FULL]))
            for at in range(0, len(keys), FULL)
        ],
        array("Q", [esim.admitted for esim in esims]),
        all([esim.tracked for esim in esims]),  # noqa: C419  # a list takes half the time
    )
