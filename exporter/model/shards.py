"""Shards: which replica keeps and shows which eSIMs.

A hash of its key gives an eSIM one of :data:`SLOTS` slots for ever, and each slot has one shard as
its owner. When a shard is added, only the slots that it takes over change their owner. All shards
own the same number of slots, or one less.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cache
from zlib import crc32

SLOTS = 256
"""Number of slots, and of shards at most. Slots are stored, so this cannot change."""


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
    """One of ``total`` shards, which are numbered from 0."""

    number: int = 0
    total: int = 1

    @property
    def is_only(self) -> bool:
        """Return whether it is the only shard."""
        return self.total == 1

    @property
    def slots(self) -> tuple[int, ...]:
        """Return the slots that this shard owns."""
        return tuple(at for at, owner in enumerate(owners(self.total)) if owner == self.number)

    def __str__(self) -> str:
        """Return the shard in words, for logs and pages."""
        return f"shard {self.number} of {self.total}, counted from 0"

    def owner_of(self, vendor: str, esim_id: str) -> int:
        """Return the number of the shard that keeps an eSIM."""
        return owners(self.total)[slot_of(vendor, esim_id)]

    def keeps(self, vendor: str, esim_id: str) -> bool:
        """Return whether this shard keeps an eSIM."""
        return self.is_only or self.owner_of(vendor, esim_id) == self.number

    def owns(self, slot: int) -> bool:
        """Return whether this shard owns a slot."""
        return owners(self.total)[slot] == self.number
