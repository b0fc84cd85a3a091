"""Run the figures and report them."""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks import (
    changing,
    growth,
    lists,
    memory,
    replicas,
    report,
    scrape,
    start,
    turnover,
    webhook,
)
from benchmarks.bench import FULL, SHORT, TINY, Bench
from benchmarks.process import PINNED, Unavailable, busy, pin_load
from benchmarks.report import Comparison, Results

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

ROOT: Final = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Measurement:
    """Figures that are measured together."""

    figures: tuple[str, ...]
    measure: Callable[[Bench], Iterator[Comparison]]


MEASUREMENTS: Final = (
    # Starts come first. The events of other figures use up the data of a fifth of the eSIMs and
    # more. No real fleet has so many that need attention, and a start takes a third longer then.
    Measurement(("S11",), start.measure),
    Measurement(("S14",), start.first_scrape),
    Measurement(("S1", "S2"), scrape.against_nginx),
    Measurement(("S3",), scrape.against_client),
    Measurement(("S4",), scrape.against_pushgateway),
    Measurement(("S5", "S6"), webhook.latency),
    Measurement(("S7",), webhook.against_bare_endpoint),
    Measurement(("S8",), webhook.against_pushgateway),
    Measurement(("S9",), webhook.burst),
    Measurement(("S10",), memory.measure),
    Measurement(("S12",), growth.measure),
    Measurement(("S13", "S15"), changing.measure),
    Measurement(("S16",), lists.measure),
    Measurement(("S17",), turnover.measure),
    Measurement(("R1",), replicas.throughput),
    Measurement(("R2",), replicas.large),
)

FIGURES: Final = tuple(
    sorted(
        (figure for each in MEASUREMENTS for figure in each.figures),
        key=lambda figure: (-ord(figure[0]), int(figure[1:])),  # R after S
    )
)

_PROFILES: Final = {profile.name: profile for profile in (FULL, SHORT, TINY)}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the report and write it. Return the exit status."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    args = _parser().parse_args(arguments)
    profile = _PROFILES[args.profile]
    if args.esims:
        profile = replace(profile, name=f"{profile.name}, --esims", esims=args.esims)
    figures = args.figures or [name for name in FIGURES if name not in profile.left_out]
    signal.signal(signal.SIGTERM, _interrupt)
    others = busy()
    pin_load()
    args.cache.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(dir=args.cache, prefix="bench-") as folder:
        bench = Bench(profile, args.tree.resolve(), Path(folder), args.storages)
        try:
            measured = _measured(bench, figures)
            rows = tuple(sorted(measured, key=lambda row: FIGURES.index(row.figure)))
        except KeyboardInterrupt:
            sys.stderr.write("interrupted: no report was written\n")
            return 130
    results = Results(
        machine=_machine(),
        others=others,
        date=time.strftime("%Y-%m-%d"),
        command=shlex.join(["python", "-m", "benchmarks", *arguments]),
        revision=_revision(args.tree),
        profile=profile.name,
        seconds=time.monotonic() - began,
        rows=rows,
        sizes=tuple(bench.sizes.values()),
    )
    report.write(results, args.results, args.name)
    print(report.markdown(results))  # noqa: T201  # the answer
    return 0


def _measured(bench: Bench, figures: Sequence[str]) -> Iterator[Comparison]:
    """Yield all rows of these figures. A figure that was not measured has a row with the reason."""
    for each in MEASUREMENTS:
        wanted = [figure for figure in each.figures if figure in figures]
        if not wanted:
            continue
        began, why = time.monotonic(), ""
        missing = dict.fromkeys(wanted)
        try:
            for row in each.measure(bench):
                missing.pop(row.figure, None)
                yield row
        except (Unavailable, OSError, subprocess.SubprocessError) as error:
            why = str(error)
        for figure in missing:
            yield Comparison(figure, "", skipped=why or "it has no rows")
        took = time.monotonic() - began
        sys.stderr.write(f"{', '.join(wanted)}: {why or 'done'} ({took:.0f} s)\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m benchmarks", description="Measure the exporter side by side with its peers."
    )
    parser.add_argument("figures", nargs="*", metavar="FIGURE")
    parser.add_argument("--profile", choices=_PROFILES, default=FULL.name)
    parser.add_argument("--esims", type=int, help="eSIMs in the fleet of S1 to S9")
    parser.add_argument(
        "--tree", type=Path, default=ROOT, help="checkout whose exporter is measured"
    )
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    parser.add_argument(
        "--name", default="latest", help="name of the report, without .md and .json"
    )
    parser.add_argument(
        "--storages", type=Path, help="folder that keeps filled storages for the runs of a day"
    )
    parser.add_argument(
        "--cache", type=Path, default=ROOT / ".cache", help="folder on the disk that is measured"
    )
    return parser


def _machine() -> str:
    """Describe this machine. Its name is left out."""
    info = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    models = [line.partition(":")[2].strip() for line in info.splitlines() if "model name" in line]
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return ", ".join(
        [
            f"{os.cpu_count()} x {models[0] if models else platform.machine()}",
            f"{memory_bytes / 2**30:.0f} GiB",
            f"Linux {platform.release()}",
            f"Python {platform.python_version()}",
            "server and load on a core each" if PINNED else "server and load on one core",
        ]
    )


def _revision(tree: Path) -> str:
    """Return the commit of a checkout. A plus follows if files were changed since."""
    git = shutil.which("git")
    if git is None:
        return "of unknown revision"
    command = [git, "-C", str(tree), "describe", "--always", "--dirty=+", "--exclude=*"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # our own command
    return done.stdout.strip() or "of unknown revision"


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
