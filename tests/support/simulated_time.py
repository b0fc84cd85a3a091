"""A clock for the sender of a simulated fleet, so that days pass without waiting."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Final

PRESENT: Final = 1_700_000_000


@dataclass
class Time:
    """A clock that advances only during sleeps."""

    elapsed: float = 0
    slept: list[float] = field(default_factory=list)

    def now(self) -> float:
        return PRESENT + self.elapsed

    def clock(self) -> float:
        return 1000 + self.elapsed

    async def sleep(self, seconds: float) -> None:
        assert seconds > 0
        until = self.elapsed + seconds
        self.slept.append(seconds)
        await asyncio.sleep(0)
        self.elapsed = max(self.elapsed, until)
