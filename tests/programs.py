"""The real Prometheus programs that tests run: found on the machine, or unpacked beside it.

Debian's packages are fetched and unpacked, not installed: that needs no root and starts no
service. Of their packages' dependencies the programs need what every Debian has, and what
:data:`PACKAGES` names; start them in :func:`environment`.
``python tests/programs.py`` fetches them ahead of the tests.
"""

from __future__ import annotations

import fcntl
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CACHE = Path(__file__).resolve().parent.parent / ".cache" / "programs"

PACKAGES = {
    "prometheus": ("prometheus",),
    "promtool": ("prometheus",),
    "alertmanager": ("prometheus-alertmanager",),
    "amtool": ("prometheus-alertmanager",),
    "strace": ("strace", "libunwind8"),
    "nginx": ("nginx",),
    "prometheus-pushgateway": ("prometheus-pushgateway",),
}
"""The Debian packages that hold each program, and libraries that a machine may lack."""

TESTED = ("prometheus", "promtool", "alertmanager", "amtool", "strace")
"""The programs that tests run; the others are peers in benchmarks."""

_INSTALLED_AS = {"alertmanager": "prometheus-alertmanager"}
"""Debian's own names for programs, where they differ."""

_TIMEOUT = 240
"""Seconds for one run of apt-get; above what a slow mirror needs, below what CI would bear."""


def find(name: str, *, cache: Path = CACHE) -> Path | None:
    """Return the path of the program ``name``, ``None`` where it cannot be had."""
    names = [name, _INSTALLED_AS.get(name, name)]
    if installed := next(filter(None, map(shutil.which, names)), None):
        return Path(installed)
    unpacked = _unpacked(PACKAGES[name], cache) / "usr"
    places = [unpacked / folder / each for folder in ("bin", "sbin") for each in names]
    return next(filter(Path.exists, places), None)


def require(name: str, *, cache: Path = CACHE) -> Path:
    """Return the path of the program ``name``; without it skip the test, or fail it in CI."""
    path = find(name, cache=cache)
    if path is not None:
        return path
    missing = f"{name} is neither installed nor could it be fetched"
    if os.environ.get("CI") == "true":
        pytest.fail(missing)
    pytest.skip(missing)


def environment(program: Path) -> dict[str, str]:
    """Return the environment in which ``program`` finds the libraries unpacked with it."""
    folders = sorted(program.parent.parent.glob("lib/*-linux-gnu*"))
    if CACHE not in program.parents or not folders:
        return dict(os.environ)
    return os.environ | {"LD_LIBRARY_PATH": ":".join(map(str, folders))}


@functools.cache  # What could not be fetched is not tried again for every test.
def _unpacked(packages: tuple[str, ...], cache: Path) -> Path:
    """Return the folder where ``packages`` are unpacked, if they could be."""
    folder = cache / packages[0]
    with _alone(cache):
        if not folder.exists():
            _unpack(packages, folder)
    return folder


@contextmanager
def _alone(cache: Path) -> Iterator[None]:
    """Let one process at a time look and fetch: pytest-xdist runs several."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _unpack(packages: tuple[str, ...], folder: Path) -> None:
    """Unpack ``packages`` to ``folder``, which is there only if all of it worked."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as name:
        scratch = Path(name)
        for package in packages:
            if not (_download(package, scratch) or _download_afresh(package, scratch)):
                return
        archives = sorted(scratch.glob("*.deb"))
        if all(_run(["dpkg-deb", "-x", str(a), "unpacked"], scratch) for a in archives):
            (scratch / "unpacked").rename(folder)


def _download(package: str, scratch: Path, options: Sequence[str] = ()) -> bool:
    return _run(["apt-get", *options, "download", package], scratch)


def _download_afresh(package: str, scratch: Path) -> bool:
    """Download with package lists of our own; the machine's may be missing or outdated."""
    for folder in ("state/lists/partial", "cache/archives/partial"):
        (scratch / folder).mkdir(parents=True, exist_ok=True)
    options = [
        f"-oDir::State={scratch}/state",
        f"-oDir::Cache={scratch}/cache",
        "-oDir::State::status=/var/lib/dpkg/status",
        "-oAPT::Sandbox::User=",
    ]
    return _run(["apt-get", *options, "update"], scratch) and _download(package, scratch, options)


def _run(command: Sequence[str], folder: Path) -> bool:
    """Run ``command`` in ``folder`` and tell whether it worked; say what it said if not."""
    try:
        done = subprocess.run(
            command, cwd=folder, timeout=_TIMEOUT, capture_output=True, text=True, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        sys.stderr.write(f"{command[0]}: {error}\n")
        return False
    if done.returncode:
        sys.stderr.write(done.stderr)
    return done.returncode == 0


def main(names: Sequence[str], *, cache: Path = CACHE) -> int:
    """Fetch programs, by default those that tests run; 1 if one is missing."""
    found = {name: find(name, cache=cache) for name in names or TESTED}
    for name, path in found.items():
        sys.stdout.write(f"{name}: {path or 'missing'}\n")
    return 0 if all(found.values()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
