"""Draws dashboards with Grafana's own components in Chromium.

The components are fetched with ``npm`` and bundled by the scripts in ``render/``. The bundle is
kept in ``.cache`` until something in ``render/`` changes.
"""

from __future__ import annotations

import functools
import hashlib
import json
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import programs
from prerequisites import exclusive, lack

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SOURCES: Final = Path(__file__).resolve().parent / "render"
_CACHE: Final = Path(__file__).resolve().parents[2] / ".cache" / "drawing"
_WIDTH: Final = 1400
"""Pixels."""
_TIMEOUT: Final = 500
"""Seconds for one run of npm or node. It ends before others give up waiting for the bundle."""
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
        timeout=_TIMEOUT,
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
    """Return the folder of the bundle; make it if there is none."""
    npm = programs.require("npm")
    kept = _CACHE / _digest()
    with exclusive(_CACHE / "lock"):
        if not kept.exists():
            for outdated in _CACHE.glob("*/"):
                shutil.rmtree(outdated)
            with tempfile.TemporaryDirectory(dir=_CACHE) as name:
                _build(npm, Path(name) / "render").rename(kept)
    return kept


def _build(npm: Path, folder: Path) -> Path:
    shutil.copytree(SOURCES, folder)
    fetched = programs.run_npm(_NPM, folder, npm=npm, timeout=_TIMEOUT)
    if fetched.returncode:
        lack(f"npm could not fetch Grafana's components: {fetched.stderr.strip()}")
    node = programs.require("node")
    subprocess.run([node, "build.mjs"], cwd=folder, check=True, timeout=_TIMEOUT)
    return folder / "dist"


@functools.cache
def _digest() -> str:
    digest = hashlib.sha256()
    for path in sorted(SOURCES.rglob("*")):
        if path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
