"""Memory that is free, but that the C library has not given back.

What is rendered leaves holes behind: a third of the process, after a while. Those that
cover whole pages can be given back to the system.
"""

from __future__ import annotations

import ctypes
import platform


def give_back() -> None:
    """Give free pages back to the system, where glibc is the C library.

    Takes a few milliseconds with a hundred thousand eSIMs; who needs memory waits meanwhile.
    """
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
