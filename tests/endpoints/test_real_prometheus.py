"""A real Prometheus scrapes a real exporter and stores the right values."""

from __future__ import annotations

import json
import re
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

import httpx
import mixed_fleet
import programs
import pytest
from free_ports import free_port
from running import USAGE, WAIT, Serving, event, serving, until

from exporter.simulate.deliveries import NO_FAULTS, Simulation
from exporter.vendors.registry import SIMULATED

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Serve

HOUR = 3600

NAMES = {
    "quotes": 'a "quoted" name',
    "backslashes": "C:\\new\\table\\",
    "newlines": "one\ntwo\r\nthree",
    "escapes that are none": '\\n \\" \\\\',
    "accents": "Åland Islands",
    "other scripts": "日本 Việt Nam ישראל",
    "emoji": "🏝️",
    "tabs": "a\tb",
    "control characters": "".join(map(chr, range(1, 32))) + "\x7f\x80\x9f",
    "separators": "a\u2028b\u2029c\u0085d",
    "format characters": "\ufeffa\u200bb\u202ec",
    "no characters": "\ufffe\uffff",
    "braces": '{a="b"} 1 2 # EOF',
    "a hash": "# HELP x",
}


@contextmanager
def only_text(upstream: str) -> Iterator[str]:
    """Run a proxy between Prometheus and the exporter that asks for the text format."""

    class Forward(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = httpx.get(upstream + self.path, headers={"Accept": "text/plain"})
            assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
            self.send_response(answer.status_code)
            self.send_header("Content-Type", answer.headers["Content-Type"])
            self.end_headers()
            self.wfile.write(answer.content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Forward) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class Prometheus:
    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, selector: str) -> list[dict[str, Any]]:
        """Return the newest samples of a selector.

        A scrape that a busy machine misses hides all series until the next scrape, so this also
        looks at earlier scrapes.
        """
        query = {"query": f"last_over_time({selector}[1h])"}
        answer = httpx.get(f"{self.url}/api/v1/query", params=query, timeout=WAIT)
        result: list[dict[str, Any]] = answer.json()["data"]["result"]
        return result

    def value(self, selector: str) -> float | None:
        result = self.ask(selector)
        return float(result[0]["value"][1]) if result else None

    def is_up(self) -> bool:
        try:
            return httpx.get(f"{self.url}/-/ready").is_success
        except httpx.TransportError:
            return False


JOBS = {
    "esim-exporter": ("exporter", "fleet", "attention"),
    "esim-exporter-esims": ("esims",),
}
"""The scrape jobs of the contract, and the groups that they collect."""


def configuration(targets: dict[str, str]) -> str:
    """Return a configuration with all scrape jobs for each target, by the suffix of the job."""
    jobs = [
        {
            "job_name": job + suffix,
            "params": {"collect[]": list(groups)},
            "static_configs": [{"targets": [url.removeprefix("http://")]}],
        }
        for suffix, url in targets.items()
        for job, groups in JOBS.items()
    ]
    timing = {"scrape_interval": "1s", "scrape_timeout": "1s"}
    return json.dumps({"global": timing, "scrape_configs": jobs})


@contextmanager
def prometheus(folder: Path, targets: dict[str, str]) -> Iterator[Prometheus]:
    program = programs.require("prometheus")
    (folder / "prometheus.yml").write_text(configuration(targets))
    port = free_port()
    command = [str(program), "--config.file=prometheus.yml", "--storage.tsdb.path=data"]
    process = subprocess.Popen(
        [*command, f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"],
        cwd=folder,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        running = Prometheus(f"http://127.0.0.1:{port}")
        until(lambda: process.poll() is not None or running.is_up())
        yield running
    finally:
        process.terminate()
        stderr = process.communicate(timeout=WAIT)[1]
    assert "err=" not in stderr


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Serving, Prometheus]]:
    folder = tmp_path_factory.mktemp("prometheus")
    with serving(folder) as server, only_text(server.internal) as text:
        assert server.post(USAGE).status_code == 200
        for key, name in NAMES.items():
            document = event(esim_id=key, reference_id=name, package_name=name, package_id=name)
            document["data"]["usage_list"][0]["location"] = name
            assert server.post(document).status_code == 200
        targets = {"": server.internal, "-text": text}
        with prometheus(folder, targets) as running:
            until(lambda: len(running.ask("up")) == 4)
            yield server, running


@pytest.mark.parametrize("job", [job + suffix for job in JOBS for suffix in ("", "-text")])
def test_every_job_is_up(job: str, scraped: tuple[Serving, Prometheus]) -> None:
    _, running = scraped
    until(lambda: running.value(f'up{{job="{job}"}}') == 1)
    until(lambda: (running.value(f'scrape_samples_scraped{{job="{job}"}}') or 0) > 20)


@pytest.mark.parametrize("suffix", ["", "-text"])
def test_values_arrive_as_they_were_sent(suffix: str, scraped: tuple[Serving, Prometheus]) -> None:
    _, running = scraped
    esim = f'job="esim-exporter-esims{suffix}",esim_id="c2a9cdae-430e-4251-bf65-a84df4562ed9"'

    def value(name: str) -> float | None:
        return until(lambda: running.value(f"{name}{{{esim}}}"))

    assert value("esim_data_allowed_bytes") == 1073741824
    assert value("esim_data_remaining_bytes") == 536870912
    assert value("esim_data_consumed_bytes_total") == 536870912
    assert value("esim_voice_remaining_seconds") == 15000
    assert value("esim_sms_remaining") == 50
    assert value("esim_location_data_used_bytes") == 314572800
    fleet = f'job="esim-exporter{suffix}",status="ACTIVATED"'
    for series in (
        f"esim_fleet_esims{{{fleet}}}",
        f'esim_exporter_esims{{job="esim-exporter{suffix}"}}',
    ):
        assert until(lambda series=series: running.value(series)) == 1 + len(NAMES)  # type: ignore[misc]


@pytest.mark.parametrize("suffix", ["", "-text"])
def test_label_values_arrive_as_they_were_sent(
    suffix: str, scraped: tuple[Serving, Prometheus]
) -> None:
    _, running = scraped
    of_esims, of_fleet = f'job="esim-exporter-esims{suffix}"', f'job="esim-exporter{suffix}"'
    until(lambda: running.ask(f"esim_info{{{of_esims}}}"))
    until(lambda: running.ask(f"esim_package_info{{{of_fleet}}}"))

    references = {
        result["metric"]["esim_id"]: result["metric"]["reference_id"]
        for result in running.ask(f"esim_info{{{of_esims}}}")
    }
    locations = {
        result["metric"]["esim_id"]: result["metric"]["location"]
        for result in running.ask(
            f'esim_location_data_used_bytes{{{of_esims},location!="Afghanistan"}}'
        )
    }
    packages = {
        (result["metric"]["package_id"], result["metric"]["package_name"])
        for result in running.ask(f"esim_package_info{{{of_fleet}}}")
    }
    assert NAMES.items() <= references.items()
    assert locations == NAMES
    assert {(name, name) for name in NAMES.values()} <= packages


def test_changes_arrive_with_the_next_scrape(scraped: tuple[Serving, Prometheus]) -> None:
    server, running = scraped
    query = 'esim_data_remaining_bytes{job="esim-exporter-esims",esim_id="quick"}'
    for remaining in (500, 400):
        document = event(esim_id="quick", timestamp=1700001000 - remaining)
        document["data"]["usage_data"]["remaining_data"] = remaining
        assert server.post(document).status_code == 200
        until(lambda expected=remaining << 20: running.value(query) == expected)  # type: ignore[misc]


@pytest.mark.parametrize("accept", ["text/plain", "application/openmetrics-text"])
def test_promtool_finds_nothing_wrong_after_a_busy_hour(accept: str, serve: Serve) -> None:
    promtool = programs.require("promtool")
    labels = "--metrics.esim-labels=reference_id,iccid"
    server = serve(labels, *mixed_fleet.flags(), environ=mixed_fleet.environ())
    now = time.time()
    simulation = Simulation(
        start=now - HOUR, seed=1, esims=150, faults=NO_FAULTS, vendors=SIMULATED
    )
    with ThreadPoolExecutor(4) as pool:
        answers = pool.map(partial(mixed_fleet.deliver, server), simulation.advance(now))
        assert {answer.status_code for answer in answers} == {200}
    server.post(b"{")
    server.post(USAGE, b"wrong")

    text = server.get("/metrics", headers={"Accept": accept}).text
    text = as_text_format(text) if "openmetrics" in accept else text
    done = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )

    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


def as_text_format(openmetrics: str) -> str:
    """Return OpenMetrics with the metadata of the text format, the only one promtool reads."""
    counters = re.findall(r"^# TYPE (\S+) counter$", openmetrics, re.MULTILINE)
    lines = openmetrics.removesuffix("# EOF\n")
    for name in counters:
        lines = re.sub(rf"^(# \w+ {name}) ", r"\1_total ", lines, flags=re.MULTILINE)
    return lines
