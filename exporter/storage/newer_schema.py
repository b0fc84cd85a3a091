"""What a person is told of a storage that a newer version of this program has changed."""

from __future__ import annotations

import re

from exporter import __version__

FIND_NEEDED = "SELECT version FROM esim_exporter_needed"
"""Finds the oldest version of this program that can use the storage.

No storage has this table so far. The first migration to a newer schema makes it, so that this
version can already name the version that is needed.
"""

_VERSION = re.compile(r"[0-9][0-9A-Za-z.+-]{0,30}")


def describe_newer(name: str, *, found: int, known: int, needed: object) -> str:
    """Say that the storage ``name`` has schema ``found``, but this version knows only ``known``.

    ``needed`` is what :data:`FIND_NEEDED` found. What is no version is not shown.
    """
    if isinstance(needed, str) and _VERSION.fullmatch(needed):
        wanted = f"needs esim-exporter {needed} or later"
    else:
        wanted = "was changed by a newer version of esim-exporter"
    return (
        f"{name} {wanted}: it has schema {found}, and this version, {__version__}, knows the "
        f"schemas up to {known}; install that version"
    )
