"""Shards: which replica keeps and shows which eSIMs.

An eSIM has one of :data:`SLOTS` slots for ever, by a hash of its key; a shard owns slots. From
one number of shards to the next only slots that the new shard takes over change their owner,
and all shards own as many, or one less.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cache
from zlib import crc32

SLOTS = 256
"""How many slots there are, and shards at most. It is stored: it cannot change."""


def slot_of(vendor: str, esim_id: str) -> int:
    """Return the slot of an eSIM."""
    return crc32(f"{vendor}\0{esim_id}".encode()) % SLOTS


@cache
def owners(total: int) -> tuple[int, ...]:
    """Return which of ``total`` shards owns each slot."""
    owner = [0] * SLOTS
    for new in range(1, total):
        owned = Counter(owner)
        for _ in range(SLOTS // (new + 1)):
            fullest = max(range(new), key=lambda shard: owned[shard])
            owner[SLOTS - 1 - owner[::-1].index(fullest)] = new  # the last of its slots
            owned[fullest] -= 1
    return tuple(owner)


@dataclass(frozen=True, slots=True)
class Shard:
    """One of some shards, counted from 0."""

    number: int = 0
    total: int = 1

    @property
    def whole(self) -> bool:
        """Return whether it is the only one."""
        return self.total == 1

    @property
    def slots(self) -> tuple[int, ...]:
        """Return the slots it owns."""
        return tuple(at for at, owner in enumerate(owners(self.total)) if owner == self.number)

    def __str__(self) -> str:
        """Return it in words."""
        return f"shard {self.number} of {self.total}, counted from 0"

    def owner_of(self, vendor: str, esim_id: str) -> int:
        """Return the number of the shard that an eSIM is one of."""
        return owners(self.total)[slot_of(vendor, esim_id)]

    def keeps(self, vendor: str, esim_id: str) -> bool:
        """Return whether an eSIM is one of its own."""
        return self.whole or self.owner_of(vendor, esim_id) == self.number

    def owns(self, slot: int) -> bool:
        """Return whether a slot is one of its own."""
        return owners(self.total)[slot] == self.number
