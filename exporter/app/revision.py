"""Find the commit that this program was built from."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import exporter

UNKNOWN: Final = "unknown"
STAMP: Final = "REVISION"
"""File that the build of a container image leaves in the package."""

_HASH_LENGTHS: Final = (40, 64)
"""Hexadecimal digits of SHA-1 and SHA-256."""


def revision(package: Path | None = None) -> str:
    """Return the commit that a package was built from or is checked out at.

    ``package`` is its folder, by default that of the exporter. The commit is read from the stamp,
    or from the files of the git repository around the folder; git itself is not run. Changes
    that are not committed do not show. Return ``UNKNOWN`` where neither is there.
    """
    package = package or Path(exporter.__file__).resolve().parent
    try:
        found = _stamped(package) or _checked_out(package.parent / ".git")
    except (OSError, UnicodeDecodeError):
        return UNKNOWN
    return found if len(found) in _HASH_LENGTHS else UNKNOWN


def _stamped(package: Path) -> str:
    stamp = package / STAMP
    return _line(stamp) if stamp.exists() else ""


def _checked_out(git: Path) -> str:
    """Return the commit that HEAD points at. See gitrepository-layout(5)."""
    common = git
    if git.is_file():  # a linked work tree
        git = git.parent / _line(git).removeprefix("gitdir: ")
        common = git / _line(git / "commondir")
    head = _line(git / "HEAD")
    name = head.removeprefix("ref: ")
    if name == head:
        return head
    loose = common / name
    return _line(loose) if loose.exists() else _packed(common / "packed-refs", name)


def _packed(refs: Path, name: str) -> str:
    lines = refs.read_text("utf-8").splitlines()
    return next((line.split()[0] for line in lines if line.endswith(f" {name}")), "")


def _line(path: Path) -> str:
    return path.read_text("utf-8").strip()
