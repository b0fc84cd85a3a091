"""Turns of the event loop: busy connections do not hold up new ones."""

from __future__ import annotations

import asyncio
from itertools import pairwise

from exporter.http.turns import Turns


async def begun_after(tasks: list[asyncio.Task[None]], count: int) -> list[int]:
    """Let the event loop turn so often; return how many tasks were done after each turn."""
    done = []
    for _ in range(count):
        await asyncio.sleep(0)
        done.append(sum(task.done() for task in tasks))
    return done


async def test_a_few_begin_in_each_turn_in_their_order() -> None:
    turns, order = Turns(per_turn=3), list[int]()

    async def begin(number: int) -> None:
        await turns.take()
        order.append(number)

    tasks = [asyncio.create_task(begin(number)) for number in range(20)]
    done = await begun_after(tasks, 12)
    assert done[0] == 3
    assert max(later - before for before, later in pairwise(done)) == 3
    assert order == list(range(20))


async def test_one_alone_never_waits() -> None:
    turns = Turns(per_turn=1)
    for _ in range(5):
        task = asyncio.create_task(turns.take())
        await asyncio.sleep(0)
        assert task.done()
        await asyncio.sleep(0)


async def test_one_that_is_gone_takes_no_turn() -> None:
    turns = Turns(per_turn=1)
    tasks = [asyncio.create_task(turns.take()) for _ in range(4)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    tasks[2].cancel()
    await begun_after(tasks, 4)
    assert [task.done() for task in tasks] == [True] * 4
    assert [task.cancelled() for task in tasks] == [False, True, True, False]
