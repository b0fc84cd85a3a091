"""The eSIMs that need somebody, kept up to date as records change.

They have a cap of their own. It keeps those whose newest reason is youngest, because somebody was
told about the others first. Which ones these are does not depend on the order of events.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from exporter.fleet.blocks import Block, Blocks
from exporter.fleet.compact_store import pack_key
from exporter.fleet.waiting_order import Waiting, WaitingOrder
from exporter.model.attention import (
    DEFAULT_LEAST,
    NEARLY_ALL,
    Attention,
    attention_of,
    attentions,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from fractions import Fraction

    from exporter.model.records import Esim


_FULL = 16
"""eSIMs in a block that was filled in order. These eSIMs change often, so the blocks are small."""


class AttentionRule(NamedTuple):
    """What the operator decides about attention."""

    least: Fraction = DEFAULT_LEAST
    """The least used share of an allowance that needs attention."""
    max_esims: int = 0
    """eSIMs that may have series in the group; 0 for no limit."""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Attention).decode


class EsimsInAttention:
    """Why each of the eSIMs needs somebody, packed as in :mod:`exporter.fleet.compact_store`.

    So the state before an event need not be derived again, and rendering does not need the eSIMs.
    """

    def __init__(self, rule: AttentionRule) -> None:
        self.rule = rule
        self.shown: Blocks[bytes, bytes] = Blocks(most=2 * _FULL, fewest=_FULL // 4)
        """Those under the cap, by the packed keys of the eSIMs."""
        self._all: dict[bytes, bytes] = {}
        """All of them, by the packed keys of the eSIMs."""
        self._most = rule.max_esims or sys.maxsize
        self._order = WaitingOrder()
        """Those that are shown."""
        self._hidden = WaitingOrder()
        """Those that are not, because all that are shown began to wait later."""
        self.out_of_data = WaitingOrder()
        """Those out of data, with the time since when. It has no cap."""
        self.about_to_run_out = WaitingOrder() if rule.least <= NEARLY_ALL else None
        """Those about to run out of data, with the time since when. It has no cap. ``None`` if the
        rule leaves some of them out."""

    @property
    def over_limit(self) -> int:
        """Return how many eSIMs need somebody and are not shown."""
        return len(self._hidden)

    def __len__(self) -> int:
        """Return how many eSIMs need somebody."""
        return len(self._all)

    def replace(self, key: bytes, esim: Esim | None) -> tuple[Attention | None, Attention | None]:
        """Note that the eSIM with this packed key changed, is new, or has left (``None``).

        Return why it needed somebody before, and why it does now.
        """
        after = esim and attention_of(esim, self.rule.least)
        packed = self._all.get(key)
        if packed is None and after is None:
            return None, None
        before = None if packed is None else _decode(packed)
        if before != after:
            self._index(key, before, after)
            self._show(key, before, after)
        return before, after

    def add_all(self, esims: Iterable[Esim]) -> list[Attention]:
        """Note new eSIMs at the start, and return why some of them need somebody.

        Call :meth:`begin` after the last of them.
        """
        found = attentions(esims, self.rule.least)
        for attention in found:
            self._all[pack_key((attention.vendor, attention.esim_id))] = _encode(attention)
        return found

    def begin(self) -> None:
        """Show what :meth:`add_all` noted."""
        waiting: list[Waiting] = []
        out: list[Waiting] = []
        soon: list[Waiting] = []
        for key, packed in self._all.items():
            attention = _decode(packed)
            waiting.append((attention.since, key))
            if attention.out_of_data:
                out.append((attention.out_of_data.since, key))
            elif attention.about_to_run_out is not None:
                soon.append((attention.about_to_run_out, key))
        for each in (waiting, out, soon):
            each.sort()
        self.out_of_data = WaitingOrder(out)
        if self.about_to_run_out is not None:
            self.about_to_run_out = WaitingOrder(soon)
        self._hidden = WaitingOrder(waiting[: -self._most])
        self._order = WaitingOrder(waiting[-self._most :])
        keys = sorted([key for _, key in waiting[-self._most :]])
        parts = [keys[at : at + _FULL] for at in range(0, len(keys), _FULL)]
        self.shown.extend([Block(part, [self._all[key] for key in part], 0.0) for part in parts])

    def _index(self, key: bytes, before: Attention | None, after: Attention | None) -> None:
        """Update the orders of those with little data or none."""
        out, soon = self.out_of_data, self.about_to_run_out
        _move(out, key, _out_since(before), _out_since(after))
        if soon is not None:
            was, now = before and before.about_to_run_out, after and after.about_to_run_out
            _move(soon, key, was, now)

    def _show(self, key: bytes, before: Attention | None, after: Attention | None) -> None:
        """Update why an eSIM needs somebody, and which eSIMs are shown."""
        was, now = before and (before.since, key), after and (after.since, key)
        if after:
            self._all[key] = _encode(after)
        if was and now and self._is_shown(was) == (shown := self._is_shown(now)):
            # The usual case: all others stay where they are.
            if was != now:
                order = self._order if shown else self._hidden
                order.remove(was)
                order.add(now)
            if shown:
                self.shown.put(key, self._all[key])
            return
        if was:
            self._remove(was)
        if now:
            self._add(now)
        else:
            del self._all[key]

    def _is_shown(self, waiting: Waiting) -> bool:
        return not self._hidden or waiting > self._hidden.last

    def _add(self, waiting: Waiting) -> None:
        if len(self._order) == self._most:
            oldest = self._order.first
            if waiting < oldest:
                self._hidden.add(waiting)
                return
            self._order.remove(oldest)
            self._hidden.add(oldest)
            self.shown.remove(oldest[1])
        self._order.add(waiting)
        self.shown.put(waiting[1], self._all[waiting[1]])

    def _remove(self, waiting: Waiting) -> None:
        if not self._is_shown(waiting):
            self._hidden.remove(waiting)
            return
        self._order.remove(waiting)
        self.shown.remove(waiting[1])
        if self._hidden:
            youngest = self._hidden.last
            self._hidden.remove(youngest)
            self._order.add(youngest)
            self.shown.put(youngest[1], self._all[youngest[1]])


def _out_since(attention: Attention | None) -> int | None:
    return attention.out_of_data.since if attention and attention.out_of_data else None


def _move(order: WaitingOrder, key: bytes, was: int | None, now: int | None) -> None:
    """Give an eSIM another time in an order; ``None`` if it is not in the order."""
    if was != now:
        if was is not None:
            order.remove((was, key))
        if now is not None:
            order.add((now, key))


def shown_attentions(records: Iterable[bytes]) -> Iterator[Attention]:
    """Yield what records of :attr:`EsimsInAttention.shown` say, in their order."""
    return map(_decode, records)
