"""The endpoint that Prometheus scrapes: format, compression, groups and their families."""

from __future__ import annotations

import asyncio
import http.client
import itertools
import json
import socket
import time
import zlib
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as text_format
from running import (
    PAYLOADS,
    SECRET,
    USAGE,
    WAIT,
    WEBHOOK,
    Serving,
    connect,
    event,
    read_answer,
    samples,
    serving,
    until,
)

from exporter.app.build import build
from exporter.app.reload import reload
from exporter.app.run import run
from exporter.fleet.drafts import Draft
from exporter.fleet.fleet import Fleet, Policy
from exporter.model.events import Status, StatusEvent
from exporter.settings import loading
from exporter.storage.sqlite.storage import SqliteStorage
from exporter.vendors import roamify

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from conftest import Serve

    from exporter.storage.contract import Changes, Chunk, Row, Sizes

TEXT = "text/plain; version=0.0.4; charset=utf-8"
STATUS = json.loads((PAYLOADS / "status.json").read_bytes())

OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

PROMETHEUS_2_42 = (
    "application/openmetrics-text;version=1.0.0,"
    "application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
    "application/openmetrics-text;version=0.0.1;q=0.4,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
)
PROMETHEUS_3_NATIVE = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;"
    "q=0.6," + PROMETHEUS_3
)
PROMETHEUS_3_TEXT = "text/plain;version=0.0.4;q=0.6,*/*;q=0.5"
PROMETHEUS_3_TEXT_1 = "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.6,*/*;q=0.5"
OPENMETRICS_TWICE = (
    "application/openmetrics-text;version=1.0.0;q=0.9,text/*;q=0.5,"
    "application/openmetrics-text;q=0.1"
)
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"

FAMILIES = {
    "esim_exporter_build_info": "gauge",
    "esim_exporter_webhook_events": "counter",
    "esim_exporter_webhook_rejected": "counter",
    "esim_exporter_webhook_signatures": "counter",
    "esim_exporter_webhook_unverified_known_esims": "counter",
    "esim_exporter_http_requests": "counter",
    "esim_exporter_expired": "counter",
    "esim_exporter_rejected_dropped": "counter",
    "esim_exporter_storage_commit_errors": "counter",
    "esim_exporter_webhook_duration_seconds": "histogram",
    "esim_exporter_event_delay_seconds": "histogram",
    "esim_exporter_storage_commit_duration_seconds": "histogram",
    "esim_exporter_scrape_duration_seconds": "histogram",
    "esim_exporter_last_received_timestamp_seconds": "gauge",
    "esim_exporter_vendor_report_interval_seconds": "gauge",
    "esim_exporter_esims": "gauge",
    "esim_exporter_esims_limit": "gauge",
    "esim_exporter_esims_over_limit": "gauge",
    "esim_exporter_attention_over_limit": "gauge",
    "esim_exporter_label_values_over_limit": "gauge",
    "esim_exporter_allowances_over_location_limit": "gauge",
    "esim_exporter_tombstones": "gauge",
    "esim_exporter_rejected_events": "gauge",
    "esim_exporter_storage_size_bytes": "gauge",
    "esim_exporter_storage_wal_size_bytes": "gauge",
    "esim_exporter_scrape_size_bytes": "gauge",
    "esim_exporter_exposition_age_seconds": "gauge",
    "esim_exporter_tls_certificate_expiry_timestamp_seconds": "gauge",
    "esim_exporter_config_last_reload_successful": "gauge",
    "esim_exporter_config_last_reload_success_timestamp_seconds": "gauge",
}
"""The families of the group ``exporter`` in the contract, with their OpenMetrics names."""

EVENT_TYPES = (
    *("usage", "status", "low_balance", "insufficient_balance", "top_up"),
    *("order", "refunded", "rejected", "other"),
)
RESULTS = ("accepted", "duplicate", "stale", "late", "ignored")
REASONS = (
    *("signature", "unsigned", "malformed", "encoding", "invalid"),
    *("too_large", "timeout", "storage", "overload"),
)

FLEET_FAMILIES = {
    "esim_package_info": "gauge",
    "esim_fleet_esims": "gauge",
    "esim_fleet_esims_stale": "gauge",
    "esim_fleet_esims_out_of_data": "gauge",
    "esim_fleet_allowances": "gauge",
    "esim_fleet_data_allowed_bytes": "gauge",
    "esim_fleet_data_remaining_bytes": "gauge",
    "esim_fleet_data_consumed_bytes": "counter",
    "esim_fleet_allowances_over_threshold": "gauge",
    "esim_fleet_location_data_consumed_bytes": "counter",
    "esim_partner_balance": "gauge",
    "esim_partner_balance_threshold": "gauge",
    "esim_partner_last_event_timestamp_seconds": "gauge",
}
ATTENTION_FAMILIES = {
    "esim_attention_used_ratio": "gauge",
    "esim_attention_since_timestamp_seconds": "gauge",
    "esim_attention_out_of_data": "gauge",
    "esim_attention_out_of_data_since_timestamp_seconds": "gauge",
    "esim_attention_last_event_timestamp_seconds": "gauge",
    "esim_attention_info": "gauge",
}
ESIM_FAMILIES = {
    "esim_data_allowed_bytes": "gauge",
    "esim_data_remaining_bytes": "gauge",
    "esim_data_consumed_bytes": "counter",
    "esim_data_unlimited": "gauge",
    "esim_sms_allowed": "gauge",
    "esim_sms_remaining": "gauge",
    "esim_sms_consumed": "counter",
    "esim_voice_allowed_seconds": "gauge",
    "esim_voice_remaining_seconds": "gauge",
    "esim_voice_consumed_seconds": "counter",
    "esim_location_data_used_bytes": "gauge",
    "esim_package_start_timestamp_seconds": "gauge",
    "esim_package_end_timestamp_seconds": "gauge",
    "esim_last_event_timestamp_seconds": "gauge",
    "esim_status": "gauge",
    "esim_info": "gauge",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving(tmp_path_factory.mktemp("metrics")) as process:
        for _ in range(20):
            assert process.post(event()).status_code == 200
        yield process


def types(text: str) -> dict[str, str]:
    """Return the types of the families in an OpenMetrics exposition."""
    families = openmetrics(text)  # type: ignore[no-untyped-call]
    return {family.name: family.type for family in families}


def scraped(
    server: Serving, *groups: str, path: str = "/metrics", **headers: str
) -> httpx.Response:
    return server.get(path, params={"collect[]": list(groups)}, headers=headers)


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (PROMETHEUS_2_42, OPENMETRICS),
        (PROMETHEUS_3, OPENMETRICS),
        (PROMETHEUS_3_NATIVE, OPENMETRICS),
        ("application/openmetrics-text", OPENMETRICS),
        (PROMETHEUS_3_TEXT, TEXT),
        (PROMETHEUS_3_TEXT_1, TEXT),
        ("application/openmetrics-text;version=0.0.1", TEXT),
        ("application/openmetrics-text;version=1.0.0;q=0, text/plain", TEXT),
        ("APPLICATION/OpenMetrics-Text;VERSION=1.0.0", OPENMETRICS),
        (BROWSER, TEXT),
        ("*/*", TEXT),
        ("", TEXT),
        ("application/json", TEXT),
        ("gibberish;;q=x,,/", TEXT),
        ("application/openmetrics-text;q=0.5, text/plain;q=0.5", OPENMETRICS),
        ("text/plain;q=0.5, application/openmetrics-text;q=0.5", OPENMETRICS),
        ("application/openmetrics-text;q=0.5, */*;q=0.5", OPENMETRICS),
        ("application/openmetrics-text;q=0.5, text/*;q=0.51", TEXT),
        ("text/plain;q=0.9, application/openmetrics-text;q=0.5, */*;q=0.1", TEXT),
        (OPENMETRICS_TWICE, OPENMETRICS),
        ("application/openmetrics-text;q=0, text/plain;q=0", TEXT),
    ],
)
def test_the_format_is_the_one_asked_for(accept: str, content_type: str, server: Serving) -> None:
    response = server.get("/metrics", headers={"Accept": accept})

    assert response.status_code == 200
    assert response.headers["Content-Type"] == content_type
    assert response.text.endswith("# EOF\n") == (content_type == OPENMETRICS)
    assert "Accept" in response.headers["Vary"]
    parse = openmetrics if content_type == OPENMETRICS else text_format
    assert {family.name for family in parse(response.text)} > {"esim_data_allowed_bytes"}


def test_both_formats_hold_the_same_samples(server: Serving) -> None:
    text = scraped(server, "esims", "fleet", Accept="text/plain").text
    other = scraped(server, "esims", "fleet", Accept=PROMETHEUS_3).text

    assert samples(text) == samples(other)
    assert len(samples(text)) > 300


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        ("gzip", "gzip"),
        ("gzip, deflate, br", "gzip"),
        ("GZIP;q=0.5", "gzip"),
        ("*", "gzip"),
        ("gzip;q=0", None),
        ("gzip;q=0, *", None),
        ("identity", None),
        ("identity, gzip;q=0.5", None),
        ("identity, gzip", "gzip"),
        ("gzip;q=0.5, identity;q=0.5", "gzip"),
        ("identity;q=0.5, *;q=0.5", "gzip"),
        ("gzip;q=0.5, identity;q=0.51", None),
        ("gzip;q=0, identity;q=0", None),
        ("br", None),
        ("", None),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_gzip_is_one_member_and_sent_only_if_accepted(
    method: str, accepted: str, encoding: str | None, server: Serving
) -> None:
    with connect(server.internal) as connection:
        path = "/metrics?collect[]=esims"
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nAccept-Encoding: {accepted}\r\n\r\n"
        connection.sendall(head.encode())
        answer = read_answer(connection, method)

    assert answer.headers["Content-Encoding"] == encoding
    assert "Accept-Encoding" in answer.headers["Vary"]
    if method == "HEAD":
        length = int(answer.headers["Content-Length"])
        assert length > 100
        assert answer.body == b""
        return
    assert int(answer.headers["Content-Length"]) == len(answer.body)
    text = answer.body
    if encoding:
        member = zlib.decompressobj(31)
        text = member.decompress(answer.body)
        assert member.eof
        assert member.unused_data == b""
    assert text.decode() == scraped(server, "esims").text


def test_head_announces_what_get_sends(server: Serving) -> None:
    path = "/metrics?collect[]=esims&collect[]=fleet"
    for encoding in ("gzip", "identity"):
        headers = {"Accept-Encoding": encoding}
        get = server.get(path, headers=headers)
        head = server.client.head(server.internal + path, headers=headers)

        assert head.status_code == 200
        assert head.content == b""
        for name in ("Content-Length", "Content-Type", "Vary"):
            assert head.headers[name] == get.headers[name]


GROUPS: dict[str, set[str]] = {
    "": {"esims", "fleet", "exporter"},
    "collect[]=esims": {"esims"},
    "collect[]=fleet": {"fleet"},
    "collect[]=exporter": {"exporter"},
    "collect[]=exporter&collect[]=fleet": {"fleet", "exporter"},
    "collect[]=esims&collect[]=esims": {"esims"},
    "collect%5B%5D=fleet": {"fleet"},
    "exclude[]=esims": {"fleet", "exporter"},
    "exclude[]=esims&exclude[]=exporter": {"fleet"},
    "exclude[]=esims&exclude[]=exporter&exclude[]=fleet": set(),
    "other=1": {"esims", "fleet", "exporter"},
}


@pytest.mark.parametrize("query", GROUPS)
@pytest.mark.parametrize("accept", ["text/plain", PROMETHEUS_3])
def test_groups_are_chosen(accept: str, query: str, server: Serving) -> None:
    response = server.get(f"/metrics?{query}", headers={"Accept": accept})

    assert response.status_code == 200
    names = set(samples(response.text))
    found = {
        "esims"
        if name.startswith("esim_data_allowed_bytes{")
        else "fleet"
        if name.startswith("esim_fleet_esims{")
        else "exporter"
        if name.startswith("esim_exporter_build_info{")
        else ""
        for name in names
    }
    assert found - {""} == GROUPS[query]


@pytest.mark.parametrize(
    "query",
    [
        "collect[]=esims&exclude[]=fleet",
        "collect[]=esims&exclude[]=esims",
        "collect[]=packages",
        "exclude[]=packages",
        "collect[]=",
        "collect[]=ESIMS",
        "collect[]=esims,fleet",
        "collect[]=%ff",
    ],
)
def test_a_contradictory_or_unknown_choice_is_refused(query: str, server: Serving) -> None:
    response = server.get(f"/metrics?{query}")

    assert response.status_code == 400
    assert response.headers["Content-Type"].startswith("text/plain")
    assert "esim_" not in response.text


def test_all_families_of_the_group_exporter_are_there_from_the_start(serve: Serve) -> None:
    found = types(scraped(serve(), "exporter", Accept=PROMETHEUS_3).text)

    assert {name: found.get(name) for name in FAMILIES} == FAMILIES
    ours = {name for name in found if not name.startswith(("process_", "python_"))}
    assert ours - set(FAMILIES) == {
        "esim_exporter_clock_behind",
        "esim_exporter_expiry_held",
        "esim_exporter_http_connections",
        "esim_exporter_http_connections_displaced",
        "esim_exporter_http_connections_refused",
        "esim_exporter_http_failures",
        "esim_exporter_last_event_delay_seconds",
        "esim_exporter_last_usage_received_timestamp_seconds",
        "esim_exporter_storage_conflicts",
        "esim_exporter_storage_damaged_rows",
        "esim_exporter_storage_up",
        "esim_exporter_webhook_unknown_fields",
    }
    assert {"process_cpu_seconds", "process_open_fds", "python_info"} < set(found)


def test_counters_of_known_labels_start_at_zero_and_have_no_created_series(
    serve: Serve,
) -> None:
    server = serve()
    own = server.own()

    assert {key: value for key, value in own.items() if key.startswith("webhook_events")} == {
        f'webhook_events_total{{event_type="{type_}",result="{result}",vendor="roamify"}}': 0
        for type_, result in itertools.product(EVENT_TYPES, RESULTS)
    }
    assert {key: value for key, value in own.items() if key.startswith("webhook_rejected")} == {
        f'webhook_rejected_total{{reason="{reason}",vendor="roamify"}}': 0 for reason in REASONS
    }
    for name in ("expired_total", "rejected_dropped_total", "storage_commit_errors_total"):
        assert own[name] == 0
    assert own["webhook_duration_seconds_count"] == 0
    for bound in ("0.005", "2.0", "3.0"):
        assert own[f'webhook_duration_seconds_bucket{{le="{bound}"}}'] == 0
    assert own["esims_limit"] == 100000
    assert own["config_last_reload_successful"] == 1
    assert not any(key.startswith("last_received_timestamp_seconds") for key in own)
    for accept in ("text/plain", PROMETHEUS_3):
        server.post(event())
        assert "_created" not in server.get("/metrics", headers={"Accept": accept}).text
    assert server.own()['last_received_timestamp_seconds{vendor="roamify"}'] > 1.7e9


def test_the_newest_event_and_the_newest_usage_event_are_told_apart(serve: Serve) -> None:
    server = serve()
    usage, delay = (
        f'{name}{{vendor="roamify"}}'
        for name in ("last_usage_received_timestamp_seconds", "last_event_delay_seconds")
    )
    assert not {usage, delay} & server.own().keys()

    now = time.time()
    assert server.post(STATUS | {"data": STATUS["data"] | {"timestamp": now + 600}}).is_success
    own = server.own()
    assert -600 <= own[delay] < -500
    assert usage not in own

    assert server.post(event(timestamp=now - 600)).is_success
    own = server.own()
    assert 600 <= own[delay] < 700
    assert now - 1 <= own[usage] <= time.time()
    server.kill()

    restarted = serve().own()
    assert restarted[usage] == own[usage]
    assert delay not in restarted


def test_the_interval_of_a_vendor_s_reports_is_shown(serve: Serve) -> None:
    assert serve().own()['vendor_report_interval_seconds{vendor="roamify"}'] == 4 * 3600


def test_a_secret_that_never_signed_is_counted_as_zero(serve: Serve) -> None:
    own = serve().own()

    assert own['webhook_signatures_total{secret="0",vendor="roamify"}'] == 0


def test_each_group_holds_the_families_of_the_contract(server: Serving) -> None:
    assert types(scraped(server, "attention", Accept=PROMETHEUS_3).text) == ATTENTION_FAMILIES
    assert types(scraped(server, "esims", Accept=PROMETHEUS_3).text) == ESIM_FAMILIES
    assert types(scraped(server, "fleet", Accept=PROMETHEUS_3).text) == FLEET_FAMILIES


def test_requests_are_counted_by_endpoint_and_never_by_what_clients_invent(serve: Serve) -> None:
    server = serve()
    server.post(event())
    server.get("/no/such/path")
    server.client.request("BREW", server.webhook)

    counted = {k: v for k, v in server.own().items() if k.startswith("http_requests_total")}

    assert counted[f'http_requests_total{{code="200",handler="{WEBHOOK}",method="POST"}}'] == 1
    assert counted['http_requests_total{code="404",handler="other",method="GET"}'] == 1
    assert counted['http_requests_total{code="405",handler="other",method="other"}'] == 1
    assert not any("no/such" in key or "BREW" in key for key in counted)


def test_the_size_and_time_of_scrapes_are_measured(server: Serving) -> None:
    size = len(server.get("/metrics", headers={"Accept-Encoding": "identity"}).content)
    before = server.own()["scrape_duration_seconds_count"]

    own = server.own()

    assert own['scrape_size_bytes{encoding="gzip"}'] > 0
    assert size > own['scrape_size_bytes{encoding="gzip"}']
    assert own["scrape_duration_seconds_count"] > before


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A server whose exposition is larger than the buffers between it and a client."""
    flags = ("--web.max-requests=1", "--web.scrape-timeout=1s")
    with serving(tmp_path_factory.mktemp("large"), *flags) as server:
        for number in range(800):
            name = f"{number}-".ljust(256, "\n")  # each newline takes two characters in the text
            assert server.post(event(esim_id=name, package_id=name)).status_code == 200
        yield server


def stalled(server: Serving) -> socket.socket:
    """Start a scrape and do not read it."""
    return until(lambda: begun(server))[0]


def begun(server: Serving) -> list[socket.socket]:
    """Return the connection of an unread scrape; none if the server refused it as one too many."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    host, _, port = server.internal.removeprefix("http://").partition(":")
    connection.connect((host, int(port)))
    connection.sendall(b"GET /metrics?collect[]=esims HTTP/1.1\r\nHost: x\r\n\r\n")
    connection.settimeout(WAIT)
    if b" 200 " in connection.recv(14, socket.MSG_PEEK):
        return [connection]
    connection.close()
    return []


def test_scrapes_at_a_time_are_limited_and_slow_readers_cut_off(large: Serving) -> None:
    with stalled(large) as reader:
        refused = until(lambda: [r for r in [large.get("/metrics")] if r.status_code == 503])[0]
        assert "esim_" not in refused.text
        assert refused.headers["Retry-After"] == "5"
        assert large.get("/-/ready").status_code == 200
        assert large.post(event()).status_code == 200
        until(lambda: large.get("/metrics").status_code == 200)
        reader.settimeout(WAIT)
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            read_answer(reader, "GET")


def test_a_reader_that_goes_away_makes_room(large: Serving) -> None:
    with stalled(large):
        until(lambda: large.get("/metrics").status_code == 503)
    until(lambda: large.get("/metrics").status_code == 200)


def test_path_and_prefix_are_settings(serve: Serve) -> None:
    flags = ("--web.telemetry-path=/numbers", "--web.external-url=https://example.org/esim/")
    server = serve(*flags, ready="/esim/-/ready")

    assert server.get("/esim/numbers").status_code == 200
    assert 'href="/esim/numbers"' in server.get("/esim/").text
    for path in ("/numbers", "/metrics", "/esim/metrics", "/-/ready", "/"):
        assert server.get(path).status_code == 404
    assert server.post(event()).status_code == 200


def test_the_route_prefix_may_differ_from_the_external_url(serve: Serve) -> None:
    flags = ("--web.route-prefix=/", "--web.external-url=https://example.org/esim/")
    server = serve(*flags)

    assert server.get("/metrics").status_code == 200
    assert 'href="/esim/metrics"' in server.get("/").text


def test_the_page_at_the_root_links_the_others(server: Serving) -> None:
    response = server.get("/")

    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    for path in ("metrics", "-/healthy", "-/ready"):
        assert f'href="/{path}"' in response.text
        assert server.get(f"/{path}").status_code == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_metrics_are_only_read(method: str, server: Serving) -> None:
    response = server.client.request(method, f"{server.internal}/metrics")

    assert response.status_code == 405
    assert set(response.headers["Allow"].split(", ")) == {"GET", "HEAD"}
    assert response.headers["Content-Type"].startswith("text/plain")


class Gated:
    """A storage whose load waits for a gate."""

    def __init__(self, storage: SqliteStorage) -> None:
        self.gate = asyncio.Event()
        self._storage = storage

    async def load(self) -> AsyncIterator[Chunk]:
        await self.gate.wait()
        async for chunk in self._storage.load():
            yield chunk

    async def commit(self, changes: Changes) -> tuple[Row, ...]:
        return await self._storage.commit(changes)

    async def probe(self) -> bool:
        return await self._storage.probe()

    async def backup(self, path: Path) -> None:
        await self._storage.backup(path)

    def sizes(self) -> Sizes:
        return self._storage.sizes()

    async def close(self) -> None:
        await self._storage.close()


def listening(caplog: pytest.LogCaptureFixture) -> dict[str, str]:
    extras: list[dict[str, Any]] = [getattr(r, "fields", {}) for r in caplog.records]
    return {e["listener"]: f"http://{e['address']}" for e in extras if "listener" in e}


async def test_until_the_state_is_loaded_nothing_is_shown_that_looks_like_an_empty_fleet(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    argv = ["--web.listen-address=127.0.0.1:0", "--webhook.listen-address=127.0.0.1:0"]
    chosen = loading.load(argv, {"ESIM_EXPORTER_WEBHOOK_SECRET": SECRET.decode()})
    storage = Gated(await SqliteStorage.open(tmp_path / "a.db"))
    exporter = build(chosen, storage, lambda: 1.8e9, lambda: chosen)
    running = asyncio.create_task(run(exporter))
    async with httpx.AsyncClient(trust_env=False) as client:
        await asyncio.to_thread(until, lambda: len(listening(caplog)) == 2)
        urls = listening(caplog)
        metrics = f"{urls['internal']}/metrics"
        signed = {roamify.SIGNATURE_HEADER: roamify.sign(USAGE, SECRET)}

        async def deliver() -> httpx.Response:
            return await client.post(urls["public"] + WEBHOOK, content=USAGE, headers=signed)

        for query in ("", "collect[]=esims", "collect[]=fleet", "exclude[]=exporter"):
            assert (await client.get(f"{metrics}?{query}")).status_code == 503
        own = await client.get(f"{metrics}?collect[]=exporter")
        assert own.status_code == 200
        assert "esim_exporter_build_info" in own.text
        assert "esim_exporter_esims " not in own.text
        assert (await client.get(f"{urls['internal']}/-/healthy")).status_code == 200
        assert (await client.get(f"{urls['internal']}/-/ready")).status_code == 503
        refused = await deliver()
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")

        storage.gate.set()
        ready = f"{urls['internal']}/-/ready"
        await asyncio.to_thread(until, lambda: httpx.get(ready).status_code == 200)
        assert (await deliver()).status_code == 200
        assert "esim_exporter_esims 1.0" in (await client.get(metrics)).text
    exporter.stop()
    await running


async def test_a_reload_during_the_load_applies_to_the_loaded_state(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    storage = await SqliteStorage.open(tmp_path / "a.db")
    draft = Draft(Fleet(Policy(), (roamify.VENDOR,)), 1.8e9)
    draft.merge(StatusEvent(roamify.VENDOR, 1_800_000_000, "e", Status.DELETED))
    await storage.commit(draft.changes())
    argv = ["--web.listen-address=127.0.0.1:0", "--webhook.listen-address=127.0.0.1:0"]
    environ = {"ESIM_EXPORTER_WEBHOOK_SECRET": SECRET.decode()}
    before = loading.load(argv, environ)
    after = loading.load([*argv, "--retention.terminal=1h"], environ)
    gated = Gated(storage)
    exporter = build(before, gated, lambda: 1.8e9 + 7200, lambda: after)
    running = asyncio.create_task(run(exporter))
    await asyncio.to_thread(until, lambda: len(listening(caplog)) == 2)
    metrics = f"{listening(caplog)['internal']}/metrics"

    reload(exporter)
    gated.gate.set()

    def left() -> bool:
        return "esim_exporter_esims 0.0" in httpx.get(metrics, trust_env=False).text

    await asyncio.to_thread(until, left)
    exporter.stop()
    await running


async def test_a_stop_does_not_wait_for_the_state_to_be_loaded(tmp_path: Path) -> None:
    argv = ["--web.listen-address=127.0.0.1:0", "--webhook.listen-address=127.0.0.1:0"]
    chosen = loading.load(argv, {"ESIM_EXPORTER_WEBHOOK_SECRET": SECRET.decode()})
    storage = Gated(await SqliteStorage.open(tmp_path / "a.db"))
    exporter = build(chosen, storage, lambda: 1.8e9, lambda: chosen)
    running = asyncio.create_task(run(exporter))
    await asyncio.sleep(0)

    exporter.stop()

    await asyncio.wait_for(running, WAIT)
