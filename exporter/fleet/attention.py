"""The eSIMs that need somebody, kept up to date as records change.

They have a cap of their own. It keeps those whose newest reason is youngest, because somebody was
told about the others first. Which ones these are does not depend on the order of events.
"""

from __future__ import annotations

import sys
from bisect import bisect_left, insort
from typing import TYPE_CHECKING, NamedTuple

from exporter.fleet.blocks import Block, Blocks
from exporter.fleet.compact_store import pack_key
from exporter.model.attention import (
    DEFAULT_LEAST,
    NEARLY_ALL,
    about_to_run_out,
    attention_of,
    attentions,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from fractions import Fraction

    from exporter.model.attention import Attention
    from exporter.model.records import Esim

    Waiting = tuple[int, bytes]
    """Since when an eSIM needs somebody (event time of the newest reason), and its packed key."""


_FULL = 16
"""Keys in a block that was filled in order. To render an eSIM here takes longer than in the group
``esims``, because it must be found in the fleet, so the blocks are smaller."""


class AttentionRule(NamedTuple):
    """What the operator decides about attention."""

    least: Fraction = DEFAULT_LEAST
    """The least used share of an allowance that needs attention."""
    max_esims: int = 0
    """eSIMs that may have series in the group; 0 for no limit."""


class EsimsInAttention:
    """The packed keys of the eSIMs that need somebody."""

    def __init__(self, rule: AttentionRule) -> None:
        self.rule = rule
        self.shown: Blocks[bytes, bytes] = Blocks(most=2 * _FULL, fewest=_FULL // 4)
        """The keys of those under the cap, as keys and as records."""
        self._most = rule.max_esims or sys.maxsize
        self._waiting: list[Waiting] = []
        """All of them, the longest waiting first; the last ``_most`` are shown."""
        self.out_of_data: list[Waiting] = []
        """Those out of data, with the time since when, oldest first. It has no cap."""
        self.about_to_run_out: list[Waiting] | None = [] if rule.least <= NEARLY_ALL else None
        """Those about to run out of data, with the time since when, oldest first. It has no cap.
        ``None`` if the rule leaves some of them out."""

    @property
    def over_limit(self) -> int:
        """Return how many eSIMs need somebody and are not shown."""
        return max(0, len(self._waiting) - self._most)

    def __len__(self) -> int:
        """Return how many eSIMs need somebody."""
        return len(self._waiting)

    def of(self, esim: Esim | None) -> Attention | None:
        """Return why an eSIM needs somebody, ``None`` if it does not or is none."""
        return esim and attention_of(esim, self.rule.least)

    def replace(self, before: Attention | None, after: Attention | None) -> None:
        """Note that an eSIM changed, is new, or has left."""
        subject = after or before
        if subject is None:
            return
        key = pack_key(subject.esim.key)
        left, entered = self._indexed(before, key), self._indexed(after, key)
        if left != entered:
            if left:
                index, entry = left
                del index[bisect_left(index, entry)]
            if entered:
                insort(*entered)
        was, now = before and (before.since, key), after and (after.since, key)
        if was == now:
            if now and self._is_shown(bisect_left(self._waiting, now)):
                self.shown.touch(now[1])
            return
        if was:
            self._remove(was)
        if now:
            self._add(now)

    def add_all(self, esims: Iterable[Esim]) -> list[Attention]:
        """Note new eSIMs at the start, and return why some of them need somebody.

        Call :meth:`begin` after the last of them.
        """
        found = attentions(esims, self.rule.least)
        for attention in found:
            key = pack_key(attention.esim.key)
            self._waiting.append((attention.since, key))
            if indexed := self._indexed(attention, key):
                index, entry = indexed
                index.append(entry)
        return found

    def begin(self) -> None:
        """Show what :meth:`add_all` noted."""
        for each in (self._waiting, self.out_of_data, self.about_to_run_out or []):
            each.sort()
        keys = sorted(key for _, key in self._waiting[-self._most :])
        parts = [keys[at : at + _FULL] for at in range(0, len(keys), _FULL)]
        self.shown.extend([Block(part, [*part], 0.0) for part in parts])

    def _indexed(
        self, attention: Attention | None, key: bytes
    ) -> tuple[list[Waiting], Waiting] | None:
        """Return the list about data that has an eSIM, and its entry there; ``None`` for most."""
        if attention and (out := attention.out_of_data):
            return self.out_of_data, (out.since, key)
        if attention and self.about_to_run_out is not None:
            since = about_to_run_out(attention.esim)
            if since is not None:
                return self.about_to_run_out, (since, key)
        return None

    def _is_shown(self, at: int) -> bool:
        return at >= len(self._waiting) - self._most

    def _add(self, waiting: Waiting) -> None:
        insort(self._waiting, waiting)
        if (hidden := self.over_limit) and waiting <= self._waiting[hidden - 1]:
            return
        if hidden:
            self.shown.remove(self._waiting[hidden - 1][1])
        self.shown.put(waiting[1], waiting[1])

    def _remove(self, waiting: Waiting) -> None:
        at = bisect_left(self._waiting, waiting)
        shown = self._is_shown(at)
        if shown:
            self.shown.remove(waiting[1])
            if hidden := self.over_limit:
                _, key = self._waiting[hidden - 1]
                self.shown.put(key, key)
        del self._waiting[at]
