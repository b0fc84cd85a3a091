"""How long the fleet dashboard waits for Prometheus: ``python -m benchmarks.dashboards``.

A real Prometheus holds several days of fleet series, as the exporter renders them, and the series
that the rules record for eSIMs. The benchmark sends each panel's queries as Grafana does, one
after the other. A figure is the median of several runs.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx

from benchmarks.process import free_port
from exporter.exposition.exposition import Exposition, Format, Group
from exporter.exposition.families import InfoLabels
from exporter.fleet.drafts import Draft
from exporter.fleet.fleet import Fleet, Policy
from exporter.model.events import PartnerEvent, Snapshot, Status, UsageEvent

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# The module programs is there.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

import programs

DASHBOARD: Final = Path(__file__).resolve().parents[1] / "grafana/dashboards/esim-fleet.json"
VENDOR: Final = "roamify"
AT_THRESHOLDS: Final = "at-thresholds"
PACKAGES: Final = 50
LOCATIONS: Final = 40
GIB: Final = 1024**3
INTERVAL: Final = 120
"""Seconds between two samples."""
STEP: Final = 240
"""Seconds between two points of a graph, for a panel of half a screen that shows two days."""
_BEFORE: Final = 4 * 3600
"""Seconds of samples before the first point, for queries that look back."""
_CHUNK: Final = 5000

_CHOSEN: Final = {
    **dict.fromkeys(("job", "instance", "vendor"), ".+"),
    "__rate_interval": "8m",
    "__range": "2d",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print a table. The exit status is 0, whatever the figures are."""
    parser = argparse.ArgumentParser("benchmarks.dashboards", description=__doc__)
    parser.add_argument("--esims", type=int, default=100_000)
    parser.add_argument("--hours", type=int, default=48, help="time range of the dashboard")
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args(argv)
    now = int(time.time()) // STEP * STEP
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write(folder / "samples.om", args.esims, now, args.hours)
        _run("promtool", folder, "tsdb", "create-blocks-from", "openmetrics", "-q",
             "--max-block-duration=168h", folder / "samples.om", folder / "tsdb")  # fmt: skip
        with _prometheus(folder) as client:
            figures = sorted(
                _figures(client, now, args.hours, args.runs), key=lambda figure: -figure[1]
            )
    out = sys.stdout.write
    out(f"{args.esims:,} eSIMs, {PACKAGES} packages, {os.cpu_count()} cores\n\n")
    out("| Panel | Queries | Median |\n|---|---|---|\n")
    for title, seconds, queries in figures:
        out(f"| {title} | {queries} | {seconds:.2f} s |\n")
    return 0


def _write(path: Path, esims: int, now: int, hours: int) -> None:
    """Write hours of fleet series, and the last minutes of the series of each eSIM."""
    fleet = Fleet(Policy(), (VENDOR,))
    for first in range(0, esims, _CHUNK):
        draft = Draft(fleet, now)
        for number in range(first, min(first + _CHUNK, esims)):
            draft.merge(_event(number, now))
        draft.changes()
        fleet.publish(draft)
    draft = Draft(fleet, now)
    draft.merge(PartnerEvent(VENDOR, "low_balance", now, "USD", 80.0, 100.0))
    draft.changes()
    fleet.publish(draft)
    exposition = Exposition(fleet, InfoLabels(), stale_after=9 * 3600)
    of_fleet = [*_samples(exposition, Group.FLEET, now), *_of_exporter(now), *_of_packages()]
    kept = re.compile(r"esim_(status|last_event_timestamp_seconds)\{")
    of_esims = [each for each in _samples(exposition, Group.ESIMS, now) if kept.match(each[0])]
    of_esims += _samples(exposition, Group.ATTENTION, now)
    of_esims += [each for number in range(esims) for each in _recorded(number)]
    with path.open("w", encoding="utf-8") as file:
        for at in range(now - hours * 3600 - _BEFORE, now + 1, INTERVAL):
            elapsed = (at - now) / 86_400
            file.writelines(
                f"{series} {value * (1 + elapsed / 10) if '_total{' in series else value} {at}\n"
                for series, value in of_fleet
            )
        for at in range(now - 2 * INTERVAL, now + 1, INTERVAL):
            file.writelines(f"{series} {value} {at}\n" for series, value in of_esims)
        file.write("# EOF\n")


def _event(number: int, now: int) -> UsageEvent:
    data = (5 * GIB, int((1 - _used(number)) * 5 * GIB)) if number % 10 else (None, None)
    return UsageEvent(
        vendor=VENDOR,
        time=now - number % (4 * 3600),
        esim_id=_esim_id(number),
        package_id=_package_id(number),
        snapshot=Snapshot(
            data_unlimited=not number % 10,
            data_allowed=data[0],
            data_remaining=data[1],
            locations=((f"Place {number % LOCATIONS}", int(_used(number) * 5 * GIB)),),
        ),
        status=Status.EXPIRED if number % 50 == 1 else Status.ACTIVATED,
    )


def _used(number: int) -> float:
    return (number * 37 % 101) / 100


def _esim_id(number: int) -> str:
    return f"{number:08x}-0000-4000-8000-000000000000"


def _package_id(number: int) -> str:
    return f"esim-country-{number % PACKAGES}-30days-5gb-all"


def _samples(exposition: Exposition, group: Group, now: int) -> list[tuple[str, float]]:
    for _ in exposition.refresh():
        pass
    job = "esim-exporter" + ("-esims" if group is Group.ESIMS else "")
    scrape = exposition.scrape({group}, Format.TEXT, now)
    lines = b"".join(scrape.identity()).decode().splitlines()
    split = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    target = f'{{job="{job}",instance="exporter:10877",'
    return [(series.replace("{", target, 1), float(value)) for series, _, value in split]


def _of_exporter(now: int) -> list[tuple[str, float]]:
    """Return the series of two feeds: of the fleet's vendor, and of one that only alerts."""
    target = '{job="esim-exporter",instance="exporter:10877",vendor='
    return [
        (f'esim_exporter_last_received_timestamp_seconds{target}"{VENDOR}"}}', now),
        (f'esim_exporter_last_received_timestamp_seconds{target}"{AT_THRESHOLDS}"}}', now),
        (f'esim_exporter_vendor_report_interval_seconds{target}"{VENDOR}"}}', 4 * 3600),
    ]


def _of_packages() -> list[tuple[str, float]]:
    """Return the series that the rules record for packages."""
    recorded = [
        f"package:esim_fleet_data_consumed_bytes:{window}" for window in ("delta4h", "delta1d")
    ]
    target = f'job="esim-exporter",vendor="{VENDOR}"'
    return [
        (f'{name}{{{target},package_id="{_package_id(number)}"}}', GIB * (1.0 + number))
        for number in range(PACKAGES)
        for name in recorded
    ]


def _recorded(number: int) -> Iterator[tuple[str, float]]:
    """Yield the series that the rules record for an eSIM, and its alert if it used 75 %."""
    used = _used(number)
    labels = (
        f'job="esim-exporter-esims",vendor="{VENDOR}",'
        f'esim_id="{_esim_id(number)}",package_id="{_package_id(number)}"'
    )
    if number % 10:
        left = (1 - used) * 20 * 86_400
        yield f"esim_package:esim_data_left_seconds:forecast1d{{{labels}}}", left
    if number % 10 and used >= 0.75:  # noqa: PLR2004  # the lowest threshold of the rules
        alert = 'alertname="EsimDataUsageHigh",alertstate="firing",severity="info",scope="esim"'
        yield f"ALERTS{{{labels},{alert}}}", 1


def _figures(
    client: httpx.Client, now: int, hours: int, runs: int
) -> Iterator[tuple[str, float, int]]:
    """Yield the title, the seconds and the number of queries of each panel."""
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    for panel in panels:
        targets = panel.get("targets", ())
        if not targets:
            continue
        seconds = []
        for _ in range(runs):
            began = time.perf_counter()
            for target in targets:
                _ask(client, target, now, hours)
            seconds.append(time.perf_counter() - began)
        yield panel["title"], statistics.median(seconds), len(targets)


def _ask(client: httpx.Client, target: dict[str, Any], now: int, hours: int) -> None:
    query = re.sub(r"\$(\w+)", lambda found: _CHOSEN[found[1]], target["expr"])
    if target["instant"]:
        answer = client.post("/api/v1/query", data={"query": query, "time": str(now)})
    else:
        times = {"start": str(now - hours * 3600), "end": str(now), "step": str(STEP)}
        answer = client.post("/api/v1/query_range", data={"query": query, **times})
    document = answer.json()
    if document["status"] != "success" or not document["data"]["result"]:
        raise SystemExit(f"no answer to {query}: {document}")


@contextmanager
def _prometheus(folder: Path) -> Iterator[httpx.Client]:
    address = f"127.0.0.1:{free_port()}"
    (folder / "prometheus.yml").write_text("scrape_configs: []\n", encoding="utf-8")
    flags = ("--config.file=prometheus.yml", "--storage.tsdb.path=tsdb", "--log.level=warn")
    command = [_program("prometheus"), *flags, f"--web.listen-address={address}"]
    process = subprocess.Popen(command, cwd=folder)  # noqa: S603  # our own command
    try:
        with httpx.Client(base_url=f"http://{address}", timeout=120, trust_env=False) as client:
            while not _ready(client):
                if process.poll() is not None:
                    raise SystemExit("Prometheus did not start")
                time.sleep(0.1)
            yield client
    finally:
        process.kill()
        process.wait()


def _ready(client: httpx.Client) -> bool:
    try:
        return client.get("/-/ready").status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def _program(name: str) -> str:
    path = programs.find(name)
    if path is None:
        raise SystemExit(f"{name} is not installed and could not be downloaded")
    return str(path)


def _run(name: str, folder: Path, *arguments: str | Path) -> None:
    command = [_program(name), *arguments]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)  # noqa: S603  # our own command


if __name__ == "__main__":
    sys.exit(main())
