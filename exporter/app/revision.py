"""Which revision of the source this is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

UNKNOWN: Final = "unknown"
STAMP: Final = "REVISION"
"""File in the package that a build of an image leaves."""

_HASH_LENGTHS: Final = (40, 64)
"""Of SHA-1 and SHA-256, hexadecimal."""


def revision(package: Path) -> str:
    """Return the commit that ``package``, a folder, was built from or is checked out at.

    Read from the stamp, or from the files of the git repository around it: no program is run,
    and changes that are not committed do not show. ``UNKNOWN`` where neither tells.
    """
    try:
        found = _stamped(package) or _checked_out(package.parent / ".git")
    except (OSError, UnicodeDecodeError):
        return UNKNOWN
    return found if len(found) in _HASH_LENGTHS else UNKNOWN


def _stamped(package: Path) -> str:
    stamp = package / STAMP
    return _line(stamp) if stamp.exists() else ""


def _checked_out(git: Path) -> str:
    """Return what HEAD points at, as gitrepository-layout(5) has it."""
    common = git
    if git.is_file():  # of a further work tree
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
