"""Both ways of a delivery to the webhook give the same answers, byte for byte."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING, Any

import pytest
from memory_storage import MemoryStorage
from running import WAIT

from exporter.endpoints import webhook
from exporter.endpoints.direct_deliveries import answer_directly
from exporter.endpoints.webhook import Access, Webhook
from exporter.exposition.exposition import Exposition
from exporter.exposition.families import InfoLabels
from exporter.fleet.fleet import Policy
from exporter.fleet.loading import FleetLoader
from exporter.http.quart_application import application
from exporter.http.whole_request import BODY_EXTENSION
from exporter.ingest.commit import CommittedState
from exporter.ingest.intake import Intake
from exporter.ingest.recent_deliveries import RecentDeliveries
from exporter.ingest.rejected_deliveries import RejectedDeliveries
from exporter.selfmetrics import SelfMetrics
from exporter.vendors import roamify
from exporter.vendors.authentication import PathToken

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from exporter.vendors.vendor import Vendor

NOW = 1_700_000_100.0
UNSIGNED = replace(roamify.ROAMIFY, name="unsigned", authentication=PathToken())
VENDORS = (roamify.ROAMIFY, replace(roamify.ROAMIFY, name="another"), UNSIGNED)
SECRET = b"a secret"
Message = dict[str, Any]
Exchange = tuple[list[Message], dict[str, float]]

USAGE = {
    "event_type": "usage",
    "timestamp": 1_700_000_000,
    "esim_id": "e",
    "package_id": "p",
    "usage_data": {"allowed_data": 10, "remaining_data": 5},
}


class Client:
    """A client that sends one request to an ASGI application as a series of messages."""

    def __init__(
        self, *chunks: bytes, headers: dict[str, str], complete: bool = True, at_once: bool = False
    ) -> None:
        self.sent: list[Message] = []
        self._extensions = {BODY_EXTENSION: {"body": b"".join(chunks)}} if at_once else {}
        self._headers = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        self._inbox: asyncio.Queue[Message] = asyncio.Queue()
        for chunk in chunks:
            self._inbox.put_nowait({"type": "http.request", "body": chunk, "more_body": True})
        if complete:
            self._inbox.put_nowait({"type": "http.request", "body": b"", "more_body": False})

    def hang_up(self) -> None:
        self._inbox.put_nowait({"type": "http.disconnect"})

    async def ask(
        self, app: Any, method: str = "POST", path: str = "/webhooks/roamify"
    ) -> list[Message]:
        scope = {
            "type": "http",
            "http_version": "1.1",
            "asgi": {"spec_version": "2.1", "version": "3.0"},
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": self._headers,
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 2),
            "extensions": self._extensions,
        }
        await app(scope, self._inbox.get, self._send)
        return self.sent

    async def _send(self, message: Message) -> None:
        self.sent.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            self.hang_up()  # servers do the same after an answer


@asynccontextmanager
async def gateway(
    *, direct: bool, read_timeout: float = 60, stopwatch: Callable[[], float] = perf_counter
) -> AsyncIterator[tuple[Any, MemoryStorage, SelfMetrics]]:
    """An application of two vendors over an empty fleet, with or without the direct way."""
    storage = MemoryStorage()
    metrics = SelfMetrics({vendor.name: vendor.event_types for vendor in VENDORS})

    async def load() -> CommittedState:
        fleet = FleetLoader(Policy(), tuple(vendor.name for vendor in VENDORS)).finish()
        return CommittedState(fleet, Exposition(fleet, InfoLabels(), 60), RejectedDeliveries(9))

    intake = Intake(storage, load, metrics, lambda: NOW, max_pending=9, expiry_interval=60)
    endpoints = [
        Webhook(
            vendor,
            Access((SECRET,), 2000, read_timeout),
            intake,
            metrics,
            lambda: NOW,
            deliveries=RecentDeliveries(lambda: NOW),
            stopwatch=stopwatch,
        )
        for vendor in VENDORS
    ]
    blueprints = [endpoint.blueprint() for endpoint in endpoints]
    app = application("test", blueprints, metrics, json_errors=True)
    if direct:
        answer_directly(app, endpoints, metrics)
    run = asyncio.create_task(intake.run())
    while intake.state is None:  # noqa: ASYNC110  # it is loaded in a step or two
        await asyncio.sleep(0)
    yield app, storage, metrics
    intake.stop()
    await run


def signed(body: bytes, **more: str) -> dict[str, str]:
    return {
        "X-Roamify-Signature": roamify.sign(body, SECRET),
        "Content-Length": str(len(body)),
        **more,
    }


def counted(metrics: SelfMetrics) -> dict[str, float]:
    """Return the counters of requests and deliveries that are not 0."""
    names = ("requests_total", "events_total", "rejected_total", "signatures_total", "fields_total")
    return {
        f"{sample.name}{sorted(sample.labels.items())}": sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name.endswith(names) and sample.value
    }


async def exchanged(
    client: Client, *, direct: bool, broken: bool = False, read_timeout: float = 60
) -> Exchange:
    async with gateway(direct=direct, read_timeout=read_timeout) as (app, storage, metrics):
        storage.broken = broken
        sent = await asyncio.wait_for(client.ask(app), WAIT)
        return sent, counted(metrics)


def answer_read(sent: list[Message]) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Return what a client reads: status, headers, body."""
    start, *rest = sent
    assert not rest[-1].get("more_body")
    return start["status"], sorted(start["headers"]), b"".join(m.get("body", b"") for m in rest)


BODY = json.dumps(USAGE).encode()
NEW_FIELD = json.dumps(USAGE | {"roaming": True}).encode()
CASES: dict[str, tuple[tuple[bytes, ...], dict[str, str], int]] = {
    "accepted": ((BODY,), signed(BODY), 200),
    "in pieces": ((BODY[:9], b"", BODY[9:]), signed(BODY), 200),
    "unknown type": ((b'{"event_type":"new"}',), signed(b'{"event_type":"new"}'), 200),
    "compressed": ((BODY,), signed(BODY, **{"Content-Encoding": "gzip"}), 415),
    "not compressed, as it says": ((BODY,), signed(BODY, **{"Content-Encoding": "Identity"}), 200),
    "unknown field": ((NEW_FIELD,), signed(NEW_FIELD), 200),
    "no signature": ((BODY,), {"Content-Length": str(len(BODY))}, 401),
    "forged": ((BODY,), signed(b"another"), 401),
    "no body": ((), signed(b""), 400),
    "not JSON": ((b"{",), signed(b"{"), 400),
    "does not fit": ((b"{}",), signed(b"{}"), 422),
    "too large, as it says": ((b"x" * 2001,), signed(b"x" * 2001), 413),
    "too large, without saying": ((b"x" * 2001,), {}, 413),
    "length that is no number": ((BODY,), signed(BODY, **{"Content-Length": "+7"}), 200),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("at_once", [False, True])
async def test_both_ways_answer_and_count_the_same(case: str, at_once: bool) -> None:
    chunks, headers, code = CASES[case]
    short = await exchanged(Client(*chunks, headers=headers, at_once=at_once), direct=True)
    ordinary = await exchanged(Client(*chunks, headers=headers), direct=False)
    assert answer_read(short[0]) == answer_read(ordinary[0])
    assert answer_read(short[0])[0] == code
    assert short[1] == ordinary[1]


@pytest.mark.parametrize(
    ("rest", "code"),
    [
        *(("", 401), ("/", 401), ("/a secret", 200), ("/a secret/", 200), ("/another", 401)),
        *(("/a secret/more", 404), ("/more/a secret", 404), ("//", 404), ("/a secre\u0301t", 401)),
    ],
)
@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_both_ways_take_the_same_token_from_the_path(
    rest: str, code: int, method: str
) -> None:
    answers = []
    for direct in (True, False):
        async with gateway(direct=direct) as (app, _, metrics):
            client = Client(BODY, headers={"Content-Length": str(len(BODY))})
            path = f"/webhooks/unsigned{rest}"
            sent = await asyncio.wait_for(client.ask(app, method, path), WAIT)
            answers.append((answer_read(sent), counted(metrics)))
    assert answers[0] == answers[1]
    assert answers[0][0][0] == (200 if method == "GET" and code == 401 else code)
    assert not [name for name in answers[0][1] if "a secre" in name]


@pytest.mark.parametrize("direct", [True, False])
async def test_a_slash_at_the_end_of_the_path_changes_nothing(direct: bool) -> None:
    async with gateway(direct=direct) as (app, _, metrics):
        client = Client(BODY, headers=signed(BODY))
        sent = await asyncio.wait_for(client.ask(app, path="/webhooks/roamify/"), WAIT)
        assert answer_read(sent)[0] == 200
        probe = await Client(headers={}).ask(app, "GET", "/webhooks/roamify/")
        assert answer_read(probe)[0] == 200
        handlers = {name for name in counted(metrics) if "handler" in name}
        assert {"('handler', '/webhooks/roamify')" in name for name in handlers} == {True}


async def test_unknown_fields_of_verified_deliveries_are_counted_and_bounded() -> None:
    async with gateway(direct=True) as (app, _, metrics):
        fields = [f"new_{chr(97 + n // 26)}{chr(97 + n % 26)}" for n in range(60)]
        for body in (json.dumps(USAGE | {field: 1}).encode() for field in (*fields, fields[0])):
            await Client(body, headers=signed(body)).ask(app)
        forged = json.dumps(USAGE | {"forged": 1}).encode()
        await Client(forged, headers=signed(b"another")).ask(app)
        prefix = "esim_exporter_webhook_unknown_fields_total"
        found = {name: value for name, value in counted(metrics).items() if prefix in name}
        assert len(found) == 51
        assert sum(found.values()) == 61
        assert found[f"{prefix}[('field', 'other'), ('vendor', 'roamify')]"] == 10
        assert found[f"{prefix}[('field', 'new_aa'), ('vendor', 'roamify')]"] == 2


async def test_both_ways_give_the_same_answer_if_the_event_cannot_be_stored() -> None:
    client, directly = (Client(BODY, headers=signed(BODY)) for _ in range(2))
    answers = [
        answer_read((await exchanged(client, direct=False, broken=True))[0]),
        answer_read((await exchanged(directly, direct=True, broken=True))[0]),
    ]
    assert answers[0] == answers[1]
    assert answers[0][0] == 503
    assert (b"retry-after", b"5") in answers[0][1]


@pytest.mark.parametrize("direct", [True, False])
async def test_a_slow_body_is_answered_and_then_read_on(
    direct: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook, "LINGER", 0.05)
    client = Client(BODY[:9], headers=signed(BODY), complete=False)
    sent, counts = await exchanged(client, direct=direct, read_timeout=0.05)
    assert answer_read(sent)[0] == 408
    assert [value for name, value in counts.items() if "timeout" in name] == [1]


async def test_a_client_that_hangs_up_while_it_sends_is_not_answered() -> None:
    client = Client(BODY[:9], headers=signed(BODY), complete=False)
    client.hang_up()
    sent, counts = await exchanged(client, direct=True)
    assert (sent, counts) == ([], {})


async def test_a_client_that_hangs_up_after_it_was_refused_ends_the_request() -> None:
    client = Client(b"x" * 2001, headers={}, complete=False)
    client.hang_up()
    sent, _ = await exchanged(client, direct=True)
    assert answer_read(sent)[0] == 413


async def test_other_requests_take_quarts_own_way() -> None:
    async with gateway(direct=True) as (app, _, _):
        for method, code in (("GET", 200), ("HEAD", 200), ("PUT", 405)):
            assert answer_read(await Client(headers={}).ask(app, method))[0] == code


@pytest.mark.parametrize("vendor", VENDORS[:2], ids=lambda vendor: vendor.name)
async def test_deliveries_of_every_vendor_take_the_direct_way(
    vendor: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def quarts_own_way(_: object) -> None:
        raise AssertionError("the delivery did not take the direct way")

    async with gateway(direct=True) as (app, _, metrics):
        monkeypatch.setattr(app, "handle_request", quarts_own_way)
        client = Client(BODY, headers=signed(BODY))
        sent = await asyncio.wait_for(client.ask(app, path=f"/webhooks/{vendor.name}"), WAIT)
        assert answer_read(sent)[0] == 200
        assert any(f"'{vendor.name}'" in name for name in counted(metrics))


def measured(metrics: SelfMetrics, name: str) -> tuple[float, float]:
    """Return how many values a histogram has, and their sum."""
    own = metrics.registry.get_sample_value
    count, total = own(f"esim_exporter_{name}_count"), own(f"esim_exporter_{name}_sum")
    assert count is not None
    assert total is not None
    return count, total


FUTURE = json.dumps(USAGE | {"timestamp": NOW + 50}).encode()
DELAYS: dict[str, tuple[bytes, int, tuple[float, float]]] = {
    "event of 100 s ago": (BODY, 200, (1, 100)),
    "event time after the arrival": (FUTURE, 200, (1, 0)),
    "event without a time": (b'{"event_type":"new"}', 200, (0, 0)),
    "event that does not fit": (b"{}", 422, (0, 0)),
}


@pytest.mark.parametrize("case", DELAYS)
@pytest.mark.parametrize("direct", [True, False])
async def test_the_time_to_the_answer_and_the_delay_of_the_event_are_measured(
    case: str, direct: bool
) -> None:
    body, code, delay = DELAYS[case]
    readings = iter((10.0, 10.25))
    async with gateway(direct=direct, stopwatch=lambda: next(readings)) as (app, _, metrics):
        sent = await asyncio.wait_for(Client(body, headers=signed(body)).ask(app), WAIT)
        assert answer_read(sent)[0] == code
        assert measured(metrics, "webhook_duration_seconds") == (1, 0.25)
        assert measured(metrics, "event_delay_seconds") == delay
