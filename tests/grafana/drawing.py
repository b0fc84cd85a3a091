"""Draws dashboards as Grafana's own components do, in one Chromium: what ``render/`` is run by.

What draws is fetched with ``npm`` and bundled once for every state of ``render/``, and kept in
``.cache``. ``python -m drawing`` does that, and fills the database to draw from, ahead of the
tests.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import filled_prometheus
import programs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SOURCES: Final = Path(__file__).resolve().parent / "render"
_CACHE: Final = Path(__file__).resolve().parents[2] / ".cache" / "drawing"
_WIDTH: Final = 1400
"""Pixels."""
_NPM: Final = ("ci", "--ignore-scripts", "--no-audit", "--no-fund")


@dataclass(frozen=True, slots=True)
class Drawing:
    """A dashboard to draw, and where the picture goes."""

    dashboard: Path
    picture: Path
    query: Mapping[str, str]
    """As ``render/README.md`` has it."""

    @property
    def job(self) -> dict[str, Any]:
        """Return it as ``render/draw.mjs`` reads it."""
        return {
            "dashboard": str(self.dashboard),
            "picture": str(self.picture),
            "width": _WIDTH,
            "query": dict(self.query),
        }


def draw(drawings: Sequence[Drawing]) -> list[dict[str, Any]]:
    """Draw, and return a report for each."""
    chromium, node = programs.require("chromium"), programs.require("node")
    done = subprocess.run(
        [node, SOURCES / "draw.mjs", bundle(), chromium],
        input=json.dumps([each.job for each in drawings]),
        env=programs.environment(chromium),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["missing"] == []
    reports: list[dict[str, Any]] = answer["reports"]
    return reports


def bundle() -> Path:
    """Return the folder of what draws, making it where there is none; one process at a time."""
    npm = programs.require("npm")
    kept = _CACHE / _digest()
    _CACHE.mkdir(parents=True, exist_ok=True)
    with (_CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            for outdated in _CACHE.glob("*/"):
                shutil.rmtree(outdated)
            with tempfile.TemporaryDirectory(dir=_CACHE) as name:
                _build(npm, Path(name) / "render").rename(kept)
    return kept


def _build(npm: Path, folder: Path) -> Path:
    shutil.copytree(SOURCES, folder)
    fetched = subprocess.run([npm, *_NPM], cwd=folder, capture_output=True, text=True, check=False)
    if fetched.returncode:
        programs.lack(f"npm could not fetch what draws dashboards: {fetched.stderr.strip()}")
    subprocess.run([programs.require("node"), "build.mjs"], cwd=folder, check=True)
    return folder / "dist"


@functools.cache
def _digest() -> str:
    digest = hashlib.sha256()
    for path in sorted(SOURCES.rglob("*")):
        if path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def main() -> int:
    """Fetch and make ahead what drawing needs; 1 where a program is missing."""
    if programs.main([]):
        return 1
    bundle()
    filled_prometheus.database()
    return 0


if __name__ == "__main__":
    sys.exit(main())
