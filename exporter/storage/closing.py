"""Closing a storage whose disk may be gone."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from exporter.storage import Storage

LONGEST_CLOSE = 3.0
"""Seconds for the last commit and for closing; with what requests in flight get before, a stop
takes less than ten."""


async def close_in_time(storage: Storage) -> None:
    """Close a storage, or leave it as it is where that takes long: nothing is lost by that.

    It is for where something else went wrong, which is what is to be told.
    """
    closing = asyncio.ensure_future(storage.close())
    await asyncio.wait([closing], timeout=LONGEST_CLOSE)
    if closing.done() and not closing.cancelled():
        closing.exception()  # it was looked at
