"""What the shipped rules cost a real Prometheus: ``python -m benchmarks.rules``.

A real exporter serves a fleet. A real Prometheus, which may use all cores, scrapes both jobs and
evaluates the rules as shipped. Some rules look back a day, so Prometheus starts with an hour of
samples from a day ago. The figures are the longest evaluation of each group, its share of the
group's interval, and the slowest rules.

One in twenty eSIMs needs attention, unless told otherwise. A fifth of them has no data left, most
of them for longer than a page lasts. The others page one by one, which is dear, because each text
has a query. There are as many of them as may ever be: one fewer an hour than a storm, for as long
as a page lasts. Here they are all seen at once, so the limits of storms are lifted. With
``--storm``, all eSIMs that need attention ran out just now, and the limits are as shipped.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx
import yaml

from benchmarks.process import free_port, without_settings
from exporter.fleet.drafts import Draft
from exporter.fleet.fleet import Fleet, Policy
from exporter.mixin.documents import documents
from exporter.mixin.rules.rule_files import FILES
from exporter.mixin.value_groups import StormValues
from exporter.mixin.values import MixinValues
from exporter.model.events import Snapshot, Status, UsageEvent
from exporter.settings.field_types import parse_duration
from exporter.storage.sqlite.storage import SqliteStorage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# The module programs is there.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

import programs

GIB: Final = 1024**3
DAY: Final = 86_400
PACKAGES: Final = 50
VENDOR: Final = "roamify"
DAILY: Final = GIB // 4
"""Bytes that an eSIM uses in a day."""

_LEAST: Final = 0.75
"""The used share from which on an eSIM needs attention."""
_PAGES: Final = (StormValues().fleet_esims - 1) * 9
"""The most pages about single eSIMs within ``page_for``, which is nine hours."""
_ESIMS_FILE: Final = "esim-forecast.rules.yml"
_ESIMS_GROUPS: Final = {group.name for group in FILES[_ESIMS_FILE]}

_CHUNK: Final = 5000
_READY: Final = 600.0
"""Seconds until a process must be ready."""


@dataclass(frozen=True, slots=True)
class Simulated:
    """A fleet in which, for each alert about eSIMs, some eSIMs make it fire."""

    esims: int
    attention: int
    storm: bool

    def event(self, number: int, now: int) -> UsageEvent:
        """Return the only report about an eSIM."""
        percent = number % 100
        used = self.used(number)
        unlimited = used < _LEAST and percent in {10, 20, 30}
        data = (5 * GIB, int((1 - used) * 5 * GIB)) if not unlimited else (None, None)
        return UsageEvent(
            vendor=VENDOR,
            time=now - self._age(number),
            esim_id=f"{number:08x}-0000-4000-8000-000000000000",
            package_id=f"esim-country-{number % PACKAGES}-30days-5gb-all",
            snapshot=Snapshot(
                data_unlimited=unlimited,
                data_allowed=data[0],
                data_remaining=data[1],
                sms_allowed=100,
                sms_remaining=50,
                voice_allowed=6000,
                voice_remaining=3000,
                start=now - 10 * DAY,
                end=now + 2 * DAY,
                locations=(("Somewhere", int(used * 5 * GIB)),),
            ),
            status=Status.EXPIRED if used < _LEAST and percent in {50, 51} else Status.ACTIVATED,
            reference_id=f"ref-{number}",
        )

    def used(self, number: int) -> float:
        """Return the used share of an eSIM's data."""
        place = self._place(number)
        if place < 0:
            return (number % 100 * 37 % 75) / 100
        return 1.0 if self.storm or place % 5 == 0 else 0.75 + place % 25 / 100

    def _place(self, number: int) -> int:
        """Return the place of an eSIM among those that need attention, -1 if it is none."""
        place = number * self.attention // self.esims
        return -1 if (number - 1) * self.attention // self.esims == place else place

    def _age(self, number: int) -> int:
        """Return the age of the report in seconds."""
        place = self._place(number)
        if place >= 5 * _PAGES and not self.storm and place % 5 == 0:
            return 20 * 3600
        return 10 * 3600 if place < 0 and number % 100 in {40, 41} else number % (4 * 3600)


@dataclass(frozen=True, slots=True)
class Cost:
    """The evaluation of one group."""

    group: str
    rules: int
    seconds: float
    """The longest evaluation."""
    median: float
    """The median evaluation, which tells more where other work shares the processors."""
    interval: float
    """Seconds between two evaluations, as shipped."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print a table. The exit status is 0, whatever the figures are."""
    parser = argparse.ArgumentParser("benchmarks.rules", description=__doc__)
    parser.add_argument("--esims", type=int, default=100_000)
    parser.add_argument("--attention", type=int, help="eSIMs that need attention")
    parser.add_argument("--storm", action="store_true", help="all of them ran out of data now")
    parser.add_argument(
        "--without-esims", action="store_true", help="leave out the job esim-exporter-esims"
    )
    parser.add_argument(
        "--undisturbed",
        action="store_true",
        help="let Prometheus run before all other work of the machine; needs root",
    )
    parser.add_argument("--seconds", type=float, default=330, help="seconds of evaluation")
    parser.add_argument(
        "--every", help="interval of every group, instead of those that are shipped"
    )
    parser.add_argument("--scrape", default="2m", help="how often to scrape single eSIMs")
    args = parser.parse_args(argv)
    fleet = Simulated(args.esims, args.attention or args.esims // 20, storm=args.storm)
    with tempfile.TemporaryDirectory() as name:
        costs, notes = _measure(Path(name), fleet, args)
    out = sys.stdout.write
    out(f"{fleet.esims:,} eSIMs, {fleet.attention:,} of them in attention, ")
    out(f"{os.cpu_count()} cores, {_processor()}\n\n")
    out("| Group | Rules | Interval | Median evaluation | Share | Longest | Share |\n")
    out("|---|---|---|---|---|---|---|\n")
    for cost in costs:
        out(
            f"| {cost.group} | {cost.rules} | {cost.interval:g} s "
            f"| {cost.median:.3f} s | {cost.median / cost.interval:.1%} "
            f"| {cost.seconds:.3f} s | {cost.seconds / cost.interval:.1%} |\n"
        )
    ours = [cost for cost in costs if cost.group not in _ESIMS_GROUPS]
    median = sum(cost.median / cost.interval for cost in ours)
    longest = sum(cost.seconds / cost.interval for cost in ours)
    out(f"\nAll rules of the job esim-exporter together: {median:.1%} of their intervals; ")
    out(f"{longest:.1%} if all are at their longest.\n")
    out("\n" + "".join(f"{note}\n" for note in notes))
    return 0


def _measure(
    folder: Path, fleet: Simulated, args: argparse.Namespace
) -> tuple[list[Cost], tuple[str, ...]]:
    now = int(time.time())
    asyncio.run(_fill(folder / "exporter.db", fleet, now))
    with ExitStack() as running:
        exporter = running.enter_context(_exporter(folder))
        files = [name for name in FILES if not args.without_esims or name != _ESIMS_FILE]
        if not args.without_esims:
            _write_yesterday(folder, fleet, now)
        prometheus = running.enter_context(_prometheus(folder, exporter, files, args))
        costs = _watch(prometheus, files, args.seconds)
        slowest = _slowest(prometheus)
        active = _query(prometheus, "count(ALERTS)")
        pages = _query(prometheus, 'count(ALERTS{severity="critical",scope="esim"})')
        series = _query(prometheus, "prometheus_tsdb_head_series")
        scrapes = f'scrape_duration_seconds{{job="{MixinValues().jobs.exporter}"}}[1d]'
        scrape = _query(prometheus, f"quantile_over_time(0.5, {scrapes})")
        worst = _query(prometheus, f"max_over_time({scrapes})")
        memory = _query(prometheus, 'process_resident_memory_bytes{job="prometheus"}')
    return costs, (
        f"Slowest rules: {slowest}.",
        f"Active alerts: {active:.0f}, {pages:.0f} of them pages about single eSIMs.",
        f"Scrape of job {MixinValues().jobs.exporter}: {scrape:.3f} s, longest {worst:.3f} s.",
        f"Series in Prometheus: {series:.0f}; its resident memory: {memory / GIB:.1f} GiB.",
    )


async def _fill(path: Path, simulated: Simulated, now: int) -> None:
    """Store the fleet."""
    esims = simulated.esims
    storage = await SqliteStorage.open(path)
    fleet = Fleet(Policy(), (VENDOR,))
    for first in range(0, esims, _CHUNK):
        draft = Draft(fleet, now)
        for number in range(first, min(first + _CHUNK, esims)):
            draft.merge(simulated.event(number, now))
        await storage.commit(draft.changes())
        fleet.publish(draft)
    await storage.close()


def _write_yesterday(folder: Path, fleet: Simulated, now: int) -> None:
    """Write the samples from a day ago that rules read: one hour, every two minutes."""
    path = folder / "yesterday.om"
    times = range(now - DAY - 2400, now - DAY + 1800, 120)
    with path.open("w", encoding="utf-8") as file:
        for name, instance in (
            ("esim_data_consumed_bytes_total", ',instance="localhost"'),
            ("esim_package:esim_data_consumed_bytes:delta1d", ""),
        ):
            for number in range(fleet.esims):
                event = fleet.event(number, now)
                value = max(0, fleet.used(number) * 5 * GIB - DAILY) if instance else DAILY
                labels = (
                    f'job="{MixinValues().jobs.esims}"{instance},vendor="{VENDOR}",'
                    f'esim_id="{event.esim_id}",package_id="{event.package_id}"'
                )
                file.writelines(f"{name}{{{labels}}} {value} {at}\n" for at in times)
        file.write("# EOF\n")
    _run("promtool", "tsdb", "create-blocks-from", "openmetrics", "-q", path, folder / "tsdb")
    path.unlink()


@contextmanager
def _exporter(folder: Path) -> Iterator[str]:
    address = f"127.0.0.1:{free_port()}"
    command = [
        *(sys.executable, "-m", "exporter", "serve", "--webhook.allow-unsigned"),
        *(f"--web.listen-address={address}", f"--webhook.listen-address={address}"),
        *("--limits.max-esims=0", f"--storage.url=sqlite:///{folder / 'exporter.db'}"),
    ]
    with _process(folder, command, f"http://{address}"):
        yield address


@contextmanager
def _prometheus(
    folder: Path, exporter: str, files: Sequence[str], args: argparse.Namespace
) -> Iterator[str]:
    address = f"127.0.0.1:{free_port()}"
    unlimited = StormValues(package_esims=10**6, fleet_esims=10**6)
    values = MixinValues(storm=StormValues() if args.storm else unlimited)
    for name, text in documents(values).items():
        if name in files:
            rules = yaml.safe_load(text)
            for group in rules["groups"]:
                group["interval"] = args.every or group["interval"]
            (folder / name).write_text(yaml.safe_dump(rules), encoding="utf-8")
    relabel = [{"target_label": "instance", "replacement": "localhost"}]
    jobs = {
        values.jobs.exporter: (args.every or "30s", ["exporter", "fleet", "attention"], exporter),
        values.jobs.esims: (args.scrape, ["esims"], exporter),
        "prometheus": ("5s", [], address),
    }
    scrapes = [
        {
            "job_name": job,
            "scrape_interval": interval,
            "scrape_timeout": interval,
            "params": {"collect[]": groups},
            "relabel_configs": relabel,
            "static_configs": [{"targets": [target]}],
        }
        for job, (interval, groups, target) in jobs.items()
        if job != values.jobs.esims or not args.without_esims
    ]
    document = {"rule_files": sorted(files), "scrape_configs": scrapes}
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    command = [
        *(("chrt", "--fifo", "10") if args.undisturbed else ()),
        *(_program("prometheus"), f"--config.file={path}", "--log.level=warn"),
        *(f"--storage.tsdb.path={folder / 'tsdb'}", f"--web.listen-address={address}"),
    ]
    with _process(folder, command, f"http://{address}"):
        yield address


@contextmanager
def _process(folder: Path, command: Sequence[str], url: str) -> Iterator[None]:
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(  # noqa: S603  # our own commands
            command, cwd=folder, env=without_settings(), stdout=log, stderr=log
        )
    try:
        deadline = time.monotonic() + _READY
        while not _ready(url):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit((folder / "log").read_text(encoding="utf-8")[-2000:])
            time.sleep(0.1)
        yield
    finally:
        process.kill()
        process.wait()


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/-/ready").status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def _watch(address: str, files: Sequence[str], seconds: float) -> list[Cost]:
    """Return the longest evaluation of each group once there is something to evaluate."""
    shipped = {group.name: group for name in files for group in FILES[name]}
    scraped = "esim_status" if _ESIMS_FILE in files else "esim_attention_info"
    while not _query(address, f"count({scraped})"):
        time.sleep(0.2)
    last = {group["name"]: group["lastEvaluation"] for group in _groups(address)}
    times: dict[str, list[float]] = {name: [] for name in shipped}
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline or not all(times.values()):
        time.sleep(0.5)
        for group in _groups(address):
            name = group["name"]
            if group["lastEvaluation"] != last[name]:
                last[name] = group["lastEvaluation"]
                times[name].append(group["evaluationTime"])
    return [
        Cost(
            name,
            len(group.rules),
            max(times[name]),
            statistics.median(times[name]),
            parse_duration(group.interval),
        )
        for name, group in shipped.items()
    ]


def _groups(address: str) -> list[dict[str, Any]]:
    # Recording rules only: the answer for alerting rules contains every alert.
    groups: list[dict[str, Any]] = _api(address, "rules", type="record")["groups"]
    return groups


def _slowest(address: str) -> str:
    rules = [rule for group in _api(address, "rules")["groups"] for rule in group["rules"]]
    rules.sort(key=lambda rule: -rule["evaluationTime"])
    return ", ".join(f"{rule['name']} {rule['evaluationTime']:.2f} s" for rule in rules[:12])


def _query(address: str, query: str) -> float:
    result = _api(address, "query", query=query)["result"]
    return float(result[0]["value"][1]) if result else 0.0


def _api(address: str, path: str, **parameters: str) -> dict[str, Any]:
    answer = httpx.get(f"http://{address}/api/v1/{path}", params=parameters, timeout=120)
    data: dict[str, Any] = answer.json()["data"]
    return data


def _program(name: str) -> str:
    path = programs.find(name)
    if path is None:
        raise SystemExit(f"{name} is not installed and could not be downloaded")
    return str(path)


def _run(name: str, *arguments: str | Path) -> None:
    command = [_program(name), *arguments]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603  # our own command


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


if __name__ == "__main__":
    sys.exit(main())
