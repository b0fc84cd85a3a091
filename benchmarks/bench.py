"""What all figures share: the amount of work, the exporter under test, and its fleets."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks import load, payloads
from benchmarks.process import (
    ProcessEnvironment,
    Unavailable,
    free_port,
    pinning,
    serving,
    without_settings,
)
from benchmarks.report import Size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.process import Server

ESIMS_PATH: Final = "/metrics?collect[]=esims"

_PAST: Final = 100 * payloads.DAY
"""Seconds from step 0 to now. A step takes one second, so a run has at most that many steps."""

_BULK: Final = 3600.0
"""Seconds that filling a storage may take."""


@dataclass(frozen=True, slots=True)
class Profile:
    """How much is measured."""

    name: str
    esims: int = 100_000
    """The fleet of most figures."""
    history: int = 16
    """Events of each eSIM in the fleet. With 16, its window of samples is full, as in practice."""
    rounds: int = 5
    """How often scrapes are compared with those of a peer."""
    quiet: float = 3.0
    """A server without work for so many seconds counts as quiet."""
    patience: float = 120.0
    """Seconds to wait, at most, until the exporter renders changes in the background."""
    client_scrapes: int = 2
    groups: int = 20_000
    """Groups in the pushgateway, one for each eSIM."""
    push_rounds: int = 3
    """How often events per second are compared."""
    push_seconds: float = 8.0
    """Seconds of each comparison."""
    latency_rounds: int = 3
    latency_seconds: float = 20.0
    event_rate: float = 500.0
    burst: int = 100_000
    memory_esims: int = 100_000
    memory_events: int = 20
    starts: int = 3
    start_sizes: tuple[int, ...] = (100_000, 1_000_000)
    first_scrape_sizes: tuple[int, ...] = (100_000, 500_000)
    change_runs: tuple[tuple[int, float], ...] = ((100_000, 500.0), (500_000, 100.0))
    """Fleets that are scraped while they change, with the events per second."""
    change_seconds: float = 60.0
    growth_sizes: tuple[int, ...] = (10_000, 100_000, 1_000_000)
    growth_events: int = 10_000
    buried_esims: int = 250_000
    """eSIMs that have expired. Each leaves two tombstones."""
    left_out: tuple[str, ...] = ()
    """Figures that are measured only if the command names them."""


FULL: Final = Profile("full")

SHORT: Final = Profile(
    "short",
    esims=10_000,
    rounds=2,
    quiet=1.0,
    patience=15.0,
    client_scrapes=1,
    groups=2_000,
    push_rounds=2,
    push_seconds=1.0,
    latency_rounds=2,
    latency_seconds=2.0,
    burst=5_000,
    memory_esims=1_000,
    starts=2,
    start_sizes=(10_000,),
    first_scrape_sizes=(10_000,),
    change_runs=((10_000, 500.0),),
    change_seconds=10.0,
    growth_sizes=(2_000, 10_000),
    growth_events=2_000,
    buried_esims=10_000,
    left_out=("R1", "R2"),
)
"""Measures all figures of one process in less than two minutes."""

TINY: Final = Profile(
    "tiny",
    esims=200,
    history=2,
    rounds=1,
    quiet=0.1,
    patience=0.1,
    client_scrapes=1,
    groups=50,
    push_rounds=1,
    push_seconds=0.1,
    latency_rounds=1,
    latency_seconds=0.1,
    burst=100,
    memory_esims=100,
    memory_events=2,
    starts=1,
    start_sizes=(200,),
    first_scrape_sizes=(200,),
    change_runs=((200, 100.0),),
    change_seconds=0.5,
    growth_sizes=(100, 200),
    growth_events=50,
    buried_esims=400,
)
"""Shows that everything works. Its figures mean nothing."""


class Bench:
    """One run of the benchmark."""

    def __init__(
        self, profile: Profile, tree: Path, folder: Path, kept: Path | None = None
    ) -> None:
        """Measure the exporter in the checkout ``tree``. Files go to ``folder``, on a real disk.

        ``kept`` is a folder for filled storages. The next run takes them from there.
        """
        self.profile = profile
        self.folder = folder
        self._kept = kept
        self.base = int(time.time()) - _PAST
        """Unix seconds of step 0."""
        self.sizes: dict[int, Size] = {}
        """What fleets take, by their size, for the table of sizes."""
        self.expiry: dict[int, dict[str, float]] = {}
        """What :func:`benchmarks.bulk.expire` measured, by the size of the fleet."""
        self.environment = ProcessEnvironment(folder, _environ(tree, folder))
        self._filled: dict[int, Path] = {}
        self._step = profile.history

    def size(self, esims: int) -> Size:
        """Return what is known about fleets of this size. The caller adds its figures to it."""
        return self.sizes.setdefault(esims, Size(esims))

    def storage(self, esims: int) -> Path:
        """Return a storage with that many eSIMs. All figures of a run share it."""
        if esims not in self._filled:
            path = self.folder / f"{esims}.db"
            self._fill(path, esims)
            if esims in self.profile.growth_sizes:
                # Before other events arrive: expiry depends on when each eSIM last received one.
                self.expiry[esims] = self._bulk("expire", path, esims)
            self._filled[esims] = path
        return self._filled[esims]

    def bury(self, path: Path, esims: int) -> dict[str, float]:
        """Make a storage that holds only tombstones; return what was measured meanwhile."""
        measured: dict[str, float] = self._bulk("bury", path, esims)
        return measured

    def _fill(self, path: Path, esims: int) -> None:
        kept = self._kept and self._kept / f"{esims}-{self.profile.history}.db"
        if kept and kept.is_file() and time.time() - kept.stat().st_mtime < payloads.DAY:
            shutil.copy2(kept, path)
            return
        self._bulk("fill", path, esims)
        if kept:
            shutil.copy2(path, kept)

    def _bulk(self, action: str, path: Path, esims: int) -> Any:
        """Run an action of :mod:`benchmarks.bulk` and return what it measured, if anything."""
        arguments = [action, str(path), str(esims), str(self.profile.history), str(self.base)]
        done = subprocess.run(  # noqa: S603  # our own command
            [*pinning(), sys.executable, "-m", "benchmarks.bulk", *arguments],
            stdout=subprocess.PIPE,
            cwd=self.folder,
            env=self.environment.environ,
            check=False,
            timeout=_BULK,
        )
        if done.returncode:
            raise Unavailable(f"could not {action} a storage of {esims} eSIMs")
        return json.loads(done.stdout) if done.stdout else None

    def send(self, options: load.Load) -> load.Outcome:
        """Send a load. Its events are newer than all events that were sent before."""
        numbered = replace(options, step=self._step, base=self.base)
        if options.kind != "get":
            self._step += numbered.steps
        return load.run(numbered, self.environment)

    @contextmanager
    def exporter(
        self,
        storage: Path | str,
        *,
        stalls: Path | None = None,
        flags: Sequence[str] = (),
    ) -> Iterator[tuple[Server, int]]:
        """Run an exporter; yield its server, which has the internal port, and its public port.

        ``storage`` is a file or a URL. Stalls of the event loop are written to the file
        ``stalls``.
        """
        port, public = free_port(), free_port()
        url = storage if isinstance(storage, str) else f"sqlite:///{storage}"
        module = ["exporter"] if stalls is None else ["benchmarks.stalls", str(stalls)]
        command = [
            *(sys.executable, "-m", *module, "serve", "--log.level=warn", "--limits.max-esims=0"),
            f"--web.listen-address=127.0.0.1:{port}",
            f"--webhook.listen-address=127.0.0.1:{public}",
            f"--storage.url={url}",
            *flags,
        ]
        with serving(
            "exporter",
            command,
            port=port,
            environment=self.environment,
            ready="/-/ready",
            within=600,
        ) as running:
            yield running, public


def _environ(tree: Path, folder: Path) -> dict[str, str]:
    """Return an environment without settings, in which Python imports the exporter of ``tree``.

    The modules of the benchmark come from this checkout, even if ``tree`` has its own.
    """
    modules = folder / "modules"
    modules.mkdir()
    (modules / "benchmarks").symlink_to(Path(__file__).resolve().parent)
    return without_settings() | {
        "PYTHONPATH": os.pathsep.join([str(modules), str(tree)]),
        "ESIM_EXPORTER_WEBHOOK_SECRET": payloads.SECRET.decode(),
    }
