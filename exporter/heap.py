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

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Of glibc's malloc.h."""

_LARGE = 384 * 1024
"""Bytes from which memory is asked of the system by itself, and goes back to it at once: runs of
pieces, which are replaced together, would leave holes of 70 MB at a time for :func:`give_back`."""

_SPARE = 32 * 1024 * 1024
"""Bytes that may be free at the heap's end until :func:`give_back`. By itself glibc would take and
give back what a scrape sends with each part of it."""


def arrange() -> None:
    """Say how memory is taken and given back, where glibc is the C library: once, at first."""
    if libc := _glibc():
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGE)
        libc.mallopt(_M_TRIM_THRESHOLD, _SPARE)


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
