"""The real programs that tests run: found on the machine, or unpacked beside it.

Debian's packages are fetched and unpacked, not installed: that needs no root and starts no
service. Of their packages' dependencies the programs need what every Debian has, and what
:data:`PACKAGES` names; Chromium needs all that the machine lacks. Start them in
:func:`environment`.
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
    from typing import IO, NoReturn

CACHE = Path(__file__).resolve().parents[2] / ".cache" / "programs"

PACKAGES = {
    "prometheus": ("prometheus",),
    "promtool": ("prometheus",),
    "alertmanager": ("prometheus-alertmanager",),
    "amtool": ("prometheus-alertmanager",),
    "strace": ("strace", "libunwind8"),
    "chromium": ("chromium-headless-shell", "chromium-common"),
    "nginx": ("nginx",),
    "postgres": ("postgresql",),
    "prometheus-pushgateway": ("prometheus-pushgateway",),
}
"""The Debian packages that hold each program, and libraries that a machine may lack."""

TESTED = (
    *("prometheus", "promtool", "alertmanager", "amtool", "strace", "chromium", "node", "npm"),
    "postgres",
)
"""The programs that tests run, node only if it is installed; others are peers in benchmarks."""

_INSTALLED_AS = {
    "alertmanager": "prometheus-alertmanager",
    "chromium": "chromium-headless-shell",
}
"""Debian's own names for programs, where they differ."""

USR = Path("/usr")

_POSTGRES = "lib/postgresql"
"""Where Debian has the programs of PostgreSQL, by version, and not in the path."""

_MANY_LIBRARIES = frozenset({"chromium-headless-shell", "postgresql"})
"""Packages of which apt-get is asked what else they need: it differs between releases."""

_TIMEOUT = 240
"""Seconds for one run of apt-get; above what a slow mirror needs, below what CI would bear."""


def find(name: str, *, cache: Path = CACHE) -> Path | None:
    """Return the path of the program ``name``, ``None`` where it cannot be had."""
    names = [name, _INSTALLED_AS.get(name, name)]
    if installed := next(filter(None, map(shutil.which, names)), None):
        return Path(installed)
    if name == "postgres" and (newest := _newest_postgres(USR)):
        return newest
    if name not in PACKAGES:
        return None
    unpacked = _unpacked(PACKAGES[name], cache) / "usr"
    if name == "postgres":
        return _newest_postgres(unpacked)
    # First the program, as Debian's script for it looks where it would be installed.
    folders = ("lib/chromium", "bin", "sbin")
    places = [unpacked / folder / each for folder in folders for each in names]
    return next(filter(Path.exists, places), None)


def require(name: str, *, cache: Path = CACHE) -> Path:
    """Return the path of the program ``name``; without it skip the test, or fail it in CI."""
    path = find(name, cache=cache)
    if path is None:
        lack(f"{name} is neither installed nor could it be fetched")
    return path


def lack(missing: str) -> NoReturn:
    """Skip the test for what is ``missing``, or fail it in CI."""
    if os.environ.get("CI") == "true":
        pytest.fail(missing)
    pytest.skip(missing)


def environment(program: Path) -> dict[str, str]:
    """Return the environment in which ``program`` finds what was unpacked with it."""
    if not program.is_relative_to(CACHE):
        return dict(os.environ)
    unpacked = CACHE / program.relative_to(CACHE).parts[0]
    found = {"LD_LIBRARY_PATH": sorted({str(p.parent) for p in unpacked.rglob("*.so*")})}
    if (unpacked / "etc/fonts").exists():
        found |= {
            "FONTCONFIG_PATH": [str(unpacked / "etc/fonts")],
            "XDG_DATA_HOME": [str(unpacked / "usr/share")],
        }
    return os.environ | {name: ":".join(paths) for name, paths in found.items() if paths}


def _newest_postgres(usr: Path) -> Path | None:
    found = (usr / _POSTGRES).glob("*/bin/postgres")
    return max(found, key=lambda path: int(path.parts[-3]), default=None)


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
        if not (_download(packages, scratch) or _download_afresh(packages, scratch)):
            return
        archives = sorted(scratch.glob("*.deb"))
        if all(_run(["dpkg-deb", "-x", str(a), "unpacked"], scratch) for a in archives):
            (scratch / "unpacked").rename(folder)


def _download(packages: Sequence[str], scratch: Path, options: Sequence[str] = ()) -> bool:
    wanted = [*packages, *_libraries(packages, scratch, options)]
    return _run(["apt-get", *options, "download", *wanted], scratch)


def _libraries(packages: Sequence[str], scratch: Path, options: Sequence[str]) -> list[str]:
    """Return the other packages that would be installed with ``packages``."""
    if not _MANY_LIBRARIES.intersection(packages):
        return []
    simulate = ["apt-get", *options, "--simulate", "--no-install-recommends", "install"]
    plan = scratch / "plan"
    with plan.open("w") as stream:
        _run([*simulate, *packages], scratch, stdout=stream)
    lines = plan.read_text().splitlines()
    named = [line.split()[1] for line in lines if line.startswith("Inst ")]
    return [name for name in named if name not in packages]


def _download_afresh(packages: Sequence[str], scratch: Path) -> bool:
    """Download with package lists of our own; the machine's may be missing or outdated."""
    for folder in ("state/lists/partial", "cache/archives/partial"):
        (scratch / folder).mkdir(parents=True, exist_ok=True)
    options = [
        f"-oDir::State={scratch}/state",
        f"-oDir::Cache={scratch}/cache",
        "-oDir::State::status=/var/lib/dpkg/status",
        "-oAPT::Sandbox::User=",
    ]
    update = ["apt-get", *options, "update"]
    return _run(update, scratch) and _download(packages, scratch, options)


def _run(command: Sequence[str], folder: Path, stdout: IO[str] | int = subprocess.DEVNULL) -> bool:
    """Run ``command`` in ``folder`` and tell whether it worked; say what it said if not."""
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            timeout=_TIMEOUT,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
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
