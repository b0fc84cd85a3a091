"""The order of waiting eSIMs is that of a sorted list, however long it is."""

from __future__ import annotations

import random

from exporter.fleet.waiting_order import Waiting, WaitingOrder


def entry(number: int) -> Waiting:
    return number // 7, b"%d" % number


def test_entries_are_in_order_after_any_changes() -> None:
    chosen = random.Random(21)
    present = sorted(map(entry, range(0, 6000, 3)))
    order = WaitingOrder(present)
    absent = [entry(number) for number in range(6000) if number % 3]
    # It grows, is emptied, and grows again, so that lists are split and removed.
    for share, turns in ((0.7, 5000), (0.02, 6000), (0.9, 3000)):
        for _ in range(turns):
            if absent and (not present or chosen.random() < share):
                added = absent.pop(chosen.randrange(len(absent)))
                present.append(added)
                order.add(added)
            elif present:
                removed = present.pop(chosen.randrange(len(present)))
                absent.append(removed)
                order.remove(removed)
        assert len(order) == len(present)
        assert [*order] == sorted(present)
        assert [*reversed(order)] == sorted(present, reverse=True)
    drained: list[Waiting] = []
    while order:
        drained.append(order.first if len(drained) % 2 else order.last)
        order.remove(drained[-1])
    expected = sorted(present)
    assert drained == [expected.pop(0 if at % 2 else -1) for at in range(len(drained))]
    assert not expected
