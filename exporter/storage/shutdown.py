"""A stop that a hanging disk cannot hold up.

A thread that waits for a disk cannot be interrupted. So a stop closes the storage only for a
limited time, and then ends the process without the thread. No acknowledged event is lost: each
was synced before it was acknowledged.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from exporter.storage.contract import Storage

CLOSE_TIMEOUT = 3.0
"""Seconds for the last commit and for closing the storage. Together with the time for requests in
flight, a stop takes less than 10 seconds."""

_THREAD_TIMEOUT = 1.0
"""Seconds for threads that are about to end. The storage's thread ends after its storage closed."""


async def close_or_abandon(storage: Storage) -> None:
    """Close a storage, or leave it open when that takes longer than ``CLOSE_TIMEOUT``.

    Raises nothing: the caller has another error to report, which came first.
    """
    closing = asyncio.ensure_future(storage.close())
    await asyncio.wait([closing], timeout=CLOSE_TIMEOUT)
    if closing.done() and not closing.cancelled():
        closing.exception()  # asyncio would log an error that nobody retrieved


def end_process(status: int) -> int:
    """Return the exit status, or end the process now if a thread hangs.

    The process ends with ``status``, or with 1 if ``status`` is 0. A failed process does not
    wait for its threads at all.
    """
    until = monotonic() + (0.0 if status else _THREAD_TIMEOUT)
    main = threading.main_thread()
    others = [each for each in threading.enumerate() if each is not main and not each.daemon]
    for thread in others:
        thread.join(max(0.0, until - monotonic()))
    if any(thread.is_alive() for thread in others):
        logging.shutdown()
        os._exit(status or 1)
    return status
