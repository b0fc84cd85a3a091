"""Memory of the process: what is free, and what need not be looked at for garbage."""

from __future__ import annotations

import ctypes
import gc
import platform
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


_OBJECTS = 4000
"""More objects than before, before garbage is looked for among the new ones: more than a batch
of events has at a time, and no more than are looked through in a millisecond or two."""


@contextmanager
def filling() -> Iterator[None]:
    """Look for no garbage while much is made that stays; it would take a fifth of the time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def settle() -> None:
    """Take all there is for what stays: to look through it for garbage stops everything else.

    And look more seldom: nearly all that an event leaves is freed without being looked for.
    """
    gc.freeze()
    gc.set_threshold(_OBJECTS)


def give_back() -> None:
    """Give free pages back to the system, where glibc is the C library.

    What is rendered leaves holes behind that make up a third of the process after a while.
    Takes a few milliseconds after a scrape of a hundred thousand eSIMs, and at first; who needs
    memory waits meanwhile.
    """
    if libc := _glibc():
        libc.malloc_trim(0)


@cache
def _glibc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None
