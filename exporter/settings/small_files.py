"""Reading the files that settings name, at the start and while the exporter serves."""

from __future__ import annotations

import errno
import os
import select
from io import FileIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

MOST = 4 << 20
"""Bytes that such a file may have. Bundles of certificates are the largest ones."""

PATIENCE = 5.0
"""Seconds to wait for the next bytes of a pipe, the writer of which may still have to begin."""

_PIECE = 1 << 16


def read_small_file(path: Path) -> bytes:
    """Return the content of a file. A pipe can be read too, as the shell makes it for ``<(...)``.

    Nothing else happens meanwhile, so a path that gives no end must not hold up the exporter.
    Raises ``OSError``, also for a file above ``MOST`` and for a pipe that stays open, and
    ``ValueError`` for a path that holds a zero byte.
    """
    content = bytearray()
    with FileIO(os.fspath(path), opener=_open_without_waiting) as file:
        ready = select.poll()
        ready.register(file, select.POLLIN)
        while ready.poll(PATIENCE * 1000):
            piece = file.read(_PIECE)
            if piece == b"":
                return bytes(content)
            content += piece or b""
            if len(content) > MOST:
                raise OSError(errno.EFBIG, f"is larger than {MOST >> 20} MiB", str(path))
        raise OSError(errno.ETIMEDOUT, "is a pipe that gives no end of a file", str(path))


def _open_without_waiting(path: str, flags: int) -> int:
    """Open a file, or a pipe even if nobody writes to it."""
    return os.open(path, flags | os.O_NONBLOCK)
