"""Find the commit that this program was built from."""

from __future__ import annotations

import json
import shlex
import sys
from importlib.metadata import distributions
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import exporter

UNKNOWN: Final = "unknown"
STAMP: Final = "REVISION"
"""File that the build of a wheel, an sdist or an image writes into the package."""

_HASH_LENGTHS: Final = (40, 64)
"""Hexadecimal digits of SHA-1 and SHA-256."""


def revision(package: Path | None = None) -> str:
    """Return the commit that a package was built from or is checked out at.

    ``package`` is its folder, by default that of the exporter. The commit is read from the stamp,
    or from the files of the git repository around the folder; git itself is not run. Uncommitted
    changes make no difference. Return ``UNKNOWN`` if there is neither a stamp nor a repository.
    """
    package = package or Path(exporter.__file__).resolve().parent
    stamp = package / STAMP
    try:
        found = _text(stamp) if stamp.exists() else _checked_out(package.parent / ".git")
    except (OSError, UnicodeDecodeError):
        return UNKNOWN
    return found if len(found) in _HASH_LENGTHS else UNKNOWN


def outdated_copy(package: Path | None = None) -> str:
    """Return what to do if a package is a copy of a checkout that has another commit now, or "".

    ``pip install .`` makes such a copy, and notes the folder of the checkout in ``direct_url.json``
    (PEP 610). The package is the same as for :func:`revision`.
    """
    package = package or Path(exporter.__file__).resolve().parent
    for installed in distributions(name="esim-exporter", path=[str(package.parent)]):
        url = urlsplit(json.loads(installed.read_text("direct_url.json") or "{}").get("url", ""))
        checkout = Path(unquote(url.path))
        commits = {revision(package), revision(checkout / "exporter")}
        if url.scheme == "file" and len(commits - {UNKNOWN}) > 1:
            return (
                f"this program is a copy of {checkout}, which has another commit now; "
                f"to run that one, install it again: {sys.executable} -m pip install "
                f"{shlex.quote(str(checkout))}"
            )
    return ""


def _checked_out(git: Path) -> str:
    """Return the commit that HEAD points at. See gitrepository-layout(5)."""
    common = git
    if git.is_file():  # a linked work tree
        git = git.parent / _text(git).removeprefix("gitdir: ")
        common = git / _text(git / "commondir")
    head = _text(git / "HEAD")
    name = head.removeprefix("ref: ")
    if name == head:
        return head
    if (common / name).exists():
        return _text(common / name)
    packed = _text(common / "packed-refs").splitlines()
    return next((line.split()[0] for line in packed if line.endswith(f" {name}")), "")


def _text(path: Path) -> str:
    return path.read_text("utf-8").strip()
