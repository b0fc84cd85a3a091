"""A Prometheus with three simulated days of samples and the results of the shipped rules.

Making its database takes half a minute. The database is kept in ``.cache`` until the exporter,
the rules or the simulation change.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import backfilling
import programs
import simulated_exporter as simulated
from prerequisites import exclusive

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

HERE: Final = Path(__file__).resolve().parent
ROOT: Final = HERE.parents[1]
_CACHE: Final = ROOT / ".cache" / "dashboards"
_MADE_FROM: Final = (
    "exporter/**/*.py",
    "alerts/*.rules.yml",
    "tests/grafana/simulated_exporter.py",
    "tests/grafana/backfilling.py",
    "tests/grafana/remote_write.py",
)
TIMES: Final = backfilling.Times(simulated.START, simulated.END, simulated.STEP)


@contextmanager
def filled_prometheus() -> Iterator[httpx.Client]:
    """Run the Prometheus until the end of the block; yield a client of its API."""
    programs.require("promtool")
    programs.require("prometheus")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # Prometheus locks its database, and several processes run tests.
        shutil.copytree(database(), folder / "database")
        with backfilling.prometheus(folder, folder / "database") as client:
            yield client


def database() -> Path:
    """Return the folder of the kept database; make it if there is none."""
    kept = _CACHE / _digest()
    with exclusive(_CACHE / "lock"):
        if not kept.exists():
            for outdated in _CACHE.glob("*/"):
                shutil.rmtree(outdated)
            with tempfile.TemporaryDirectory(dir=_CACHE) as name:
                _make(Path(name)).rename(kept)
    return kept


def _digest() -> str:
    digest = hashlib.sha256()
    for pattern in _MADE_FROM:
        for path in sorted(ROOT.glob(pattern)):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _make(folder: Path) -> Path:
    files = {job: folder / f"{job}.om" for job in (simulated.JOB, simulated.ESIMS_JOB)}
    streams = {job: file.open("w", encoding="utf-8") for job, file in files.items()}
    for job, lines in simulated.scrapes(folder):
        streams[job].write(lines)
    for stream in streams.values():
        stream.write("# EOF\n")
        stream.close()
    database = folder / "database"
    backfilling.import_samples(files.values(), database)
    backfilling.evaluate_rules(folder, database, TIMES)
    return database


if __name__ == "__main__":
    # Started by hand, it serves a Prometheus to look at.
    with filled_prometheus() as found:
        input(f"{found.base_url} holds samples until {simulated.END}; Enter ends it. ")
