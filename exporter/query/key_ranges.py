"""Ranges of keys in which the eSIMs of a list are, so that a scan can rest between two of them.

The fleet may change while a scan rests: blocks are split and merged, eSIMs come and go. Every key
is in one range at most, and the eSIMs of a range are read at one moment. So an eSIM that stays is
read once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from exporter.fleet.compact_store import pack_key, packed_esims

if TYPE_CHECKING:
    from collections.abc import Iterator

    from exporter.fleet.compact_store import CompactEsims
    from exporter.fleet.fleet import Fleet
    from exporter.fleet.packed_esims import PackedEsims
    from exporter.query.list_options import EsimFilter

_NEXT = b"\0"
"""A key with this appended is the next possible key. No identifier holds a NUL."""

_ABOVE = b"\xff"
"""A prefix with this appended is above all keys with the prefix, as UTF-8 never holds this byte."""


class KeyRange(NamedTuple):
    """The keys from ``start`` to before ``end``."""

    start: bytes
    end: bytes


class Entries(NamedTuple):
    """The eSIMs of a range in one block: keys, packed eSIMs, first place, place after the last."""

    keys: list[bytes]
    esims: PackedEsims
    first: int
    last: int


def stores_of(fleet: Fleet, conditions: EsimFilter) -> list[CompactEsims]:
    """Return the stores whose eSIMs meet the condition about the cap."""
    stores = ((fleet.esims, False), (fleet.over_cap, True))
    return [esims for esims, over in stores if conditions.over_limit in {None, over}]


def key_prefixes(fleet: Fleet, conditions: EsimFilter) -> tuple[bytes, ...]:
    """Return the beginnings of the keys with the wanted vendor and id, sorted."""
    if conditions.vendor is None and not conditions.prefix:
        return (b"",)
    vendors = fleet.totals.vendors if conditions.vendor is None else [conditions.vendor]
    return tuple(pack_key((vendor, conditions.prefix)) for vendor in sorted(vendors))


def entries(stores: list[CompactEsims], keys: KeyRange) -> Iterator[Entries]:
    """Yield what the stores hold of a range. The caller does not rest meanwhile."""
    for esims in stores:
        for block, first, last in esims.blocks.between(keys.start, keys.end):
            yield Entries(block.keys, packed_esims(block), first, last)


def block_ranges(
    stores: list[CompactEsims],
    prefixes: tuple[bytes, ...],
    after: bytes | None = None,
    *,
    descending: bool = False,
) -> Iterator[KeyRange]:
    """Yield ranges of about a block that hold every key with one of the sorted prefixes.

    They are in the order of their keys. With ``after``, they begin behind this key in that order.
    """
    for prefix in reversed(prefixes) if descending else prefixes:
        start, end = prefix, prefix + _ABOVE
        if after is not None and descending:
            end = min(end, after)
        elif after is not None:
            start = max(start, after + _NEXT)
        while start < end:
            if descending:
                firsts = [key for esims in stores if (key := esims.blocks.first_before(end))]
                border = max([start, *firsts])
                yield KeyRange(border, end)
                end = border
            else:
                firsts = [key for esims in stores if (key := esims.blocks.first_after(start))]
                border = min([end, *firsts])
                yield KeyRange(start, border)
                start = border
