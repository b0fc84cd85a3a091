"""A stop that a hanging disk cannot hold up: close the storage in time, then leave its thread."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from exporter.storage.contract import Storage

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


_LAST = 1.0
"""Seconds for threads that are about to end: the storage's does so after it was closed."""


def leave(status: int) -> int:
    """Return the exit status, or end now where a thread hangs on a disk that is gone.

    The status is not 0 then. Where it was not 0 before there is nothing to wait for.
    """
    until = monotonic() + (0.0 if status else _LAST)
    main = threading.main_thread()
    others = [each for each in threading.enumerate() if each is not main and not each.daemon]
    for thread in others:
        thread.join(max(0.0, until - monotonic()))
    if any(thread.is_alive() for thread in others):
        logging.shutdown()
        os._exit(status or 1)
    return status
