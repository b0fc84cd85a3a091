"""The table of webhook answers, row by row, through a real server."""

from __future__ import annotations

import gzip
import itertools
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from running import (
    LOOPBACK,
    PAYLOADS,
    SECRET,
    SUCCESS,
    USAGE,
    WEBHOOK,
    Serving,
    connect,
    encoded,
    event,
    read_answer,
    request_head,
    samples,
    serving,
    until,
)

from exporter.vendors import roamify

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import httpx
    from conftest import Serve

THE_SAMPLE = 'vendor="roamify",esim_id="c2a9cdae-430e-4251-bf65-a84df4562ed9"'
ITS_ALLOWANCE = f'{THE_SAMPLE},package_id="esim-afghanistan-7days-1gb-all"'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    folder = tmp_path_factory.mktemp("answers")
    with serving(folder, "--webhook.read-timeout=1s") as process:
        yield process


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def test_the_vendor_s_sample_is_taken_shown_and_kept(serve: Serve, tmp_path: Path) -> None:
    server = serve()

    response = server.post(USAGE)
    text = server.state()

    assert response.status_code == 200
    assert response.content.removesuffix(b"\n") == SUCCESS
    assert response.headers["Content-Type"] == "application/json"
    shown = samples(text)
    assert {name: shown[f"{name}{{{ITS_ALLOWANCE}}}"] for name in SAMPLE_VALUES} == SAMPLE_VALUES
    assert shown[f'esim_location_data_used_bytes{{{ITS_ALLOWANCE},location="Afghanistan"}}'] == (
        314572800
    )
    assert shown[f'esim_status{{{THE_SAMPLE},status="ACTIVATED"}}'] == 1
    assert shown[f'esim_info{{{THE_SAMPLE},reference_id="ref_1234567890"}}'] == 1
    assert "8991234567890123456" not in text
    server.kill()
    assert (tmp_path / "esim-exporter.db").exists()
    assert serve().state() == text


SAMPLE_VALUES = {
    "esim_data_allowed_bytes": 1073741824,
    "esim_data_remaining_bytes": 536870912,
    "esim_data_consumed_bytes_total": 536870912,
    "esim_data_unlimited": 0,
    "esim_voice_allowed_seconds": 30000,
    "esim_voice_remaining_seconds": 15000,
    "esim_voice_consumed_seconds_total": 15000,
    "esim_sms_allowed": 100,
    "esim_sms_remaining": 50,
    "esim_sms_consumed_total": 50,
    "esim_last_event_timestamp_seconds": 1700000000,
    "esim_package_start_timestamp_seconds": 1699996800,
    "esim_package_end_timestamp_seconds": 1700000400,
}


def test_every_published_event_is_counted_by_its_type_and_what_became_of_it(serve: Serve) -> None:
    server = serve()
    status = json.loads((PAYLOADS / "status.json").read_bytes())
    earlier = status | {"data": status["data"] | {"timestamp": 1699990000, "status": "NEW"}}
    later = event(fresh=False, timestamp=1700000100)
    posted = [path.read_bytes() for path in sorted(PAYLOADS.glob("*.json"))]
    posted += [encoded(later), encoded(event(fresh=False)), encoded(earlier)]
    posted.append(encoded({"event_category": "esim", "event_type": "announced"}))
    posted.append(encoded({"event_type": "surprise", "data": [1, 2]}))

    answers = [(r.status_code, r.content.strip()) for r in map(server.post, posted)]

    assert answers == [(200, SUCCESS)] * len(posted)
    counted = {k: v for k, v in server.own().items() if k.startswith("webhook_events_total") and v}
    assert counted == {
        f'webhook_events_total{{event_type="{event_type}",result="{result}",vendor="roamify"}}': n
        for event_type, result, n in (
            ("order", "ignored", 1),
            ("low_balance", "accepted", 1),
            ("refunded", "ignored", 1),
            ("other", "ignored", 2),
            ("status", "accepted", 1),
            ("status", "duplicate", 1),
            ("status", "stale", 1),
            ("usage", "accepted", 4),
            ("usage", "duplicate", 1),
        )
    }


def changed_after_signing(server: Serving) -> httpx.Response:
    headers = {roamify.SIGNATURE_HEADER: roamify.sign(USAGE, SECRET)}
    return server.client.post(server.webhook, content=USAGE + b" ", headers=headers)


def signed_with_nothing(server: Serving) -> httpx.Response:
    return server.client.post(server.webhook, content=USAGE, headers={roamify.SIGNATURE_HEADER: ""})


def signed_with_no_signature(server: Serving) -> httpx.Response:
    return server.client.post(
        server.webhook, content=USAGE, headers={roamify.SIGNATURE_HEADER: "?"}
    )


def compressed(server: Serving) -> httpx.Response:
    body = gzip.compress(encoded(event()))
    headers = {roamify.SIGNATURE_HEADER: roamify.sign(body, SECRET), "Content-Encoding": "gzip"}
    return server.client.post(server.webhook, content=body, headers=headers)


def oversized(server: Serving) -> httpx.Response:
    return server.post(b" " * 65537)


def oversized_in_chunks(server: Serving) -> httpx.Response:
    headers = {roamify.SIGNATURE_HEADER: "irrelevant"}
    return server.client.post(server.webhook, content=iter([b" " * 50000] * 2), headers=headers)


def slow(server: Serving) -> httpx.Response:
    def body() -> Iterator[bytes]:
        yield b"{"
        until(lambda: server.logged("delivery rejected")[-1:] and timed_out(server) > before)
        yield b"}"

    before = timed_out(server)
    return server.client.post(server.webhook, content=body())


def timed_out(server: Serving) -> int:
    return sum(record.get("reason") == "timeout" for record in server.records)


REFUSED: dict[str, tuple[int, str, Callable[[Serving], httpx.Response]]] = {
    "unsigned": (401, "unsigned", lambda s: s.client.post(s.webhook, content=USAGE)),
    "signed with nothing": (401, "unsigned", signed_with_nothing),
    "signed with what is no signature": (401, "signature", signed_with_no_signature),
    "signed by another": (401, "signature", lambda s: s.post(USAGE, b"another")),
    "signed, then changed": (401, "signature", changed_after_signing),
    "not JSON": (400, "malformed", lambda s: s.post(b"{")),
    "does not fit": (422, "invalid", lambda s: s.post(event(data_units="furlongs"))),
    "in the future": (422, "invalid", lambda s: s.post(event(timestamp=int(time.time()) + 90000))),
    "without any known amount": (422, "invalid", lambda s: s.post(event(usage_data={}))),
    "before 2015": (422, "invalid", lambda s: s.post(event(timestamp=1420070399))),
    "compressed": (415, "encoding", compressed),
    "too large": (413, "too_large", oversized),
    "too large, in chunks": (413, "too_large", oversized_in_chunks),
    "too slow": (408, "timeout", slow),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_refused_delivery_changes_nothing_and_the_next_one_is_taken(
    case: str, server: Serving
) -> None:
    code, reason, deliver = REFUSED[case]
    before, count = server.state(), server.rejected(reason)

    response = deliver(server)

    assert response.status_code == code
    assert response.headers["Content-Type"] == "application/json"
    answer = response.json()
    assert (answer["code"], answer["status"]) == (code, "error")
    assert isinstance(answer["error"], str)
    assert ("errors" in answer) == (code == 422)
    assert "Retry-After" not in response.headers
    assert server.state() == before
    assert server.rejected(reason) == count + 1
    assert server.post(event()).status_code == 200


KNOWN_ESIM = 'webhook_unverified_known_esims_total{vendor="roamify"}'


def test_a_wrong_signature_of_a_known_esim_tells_a_changed_secret_from_a_scanner(
    serve: Serve,
) -> None:
    server = serve()
    known = event()
    later = known | {"data": known["data"] | {"timestamp": 1700000100}}
    status = json.loads((PAYLOADS / "status.json").read_bytes())
    status["data"] |= {"esim_id": known["data"]["esim_id"], "timestamp": 1700000200}
    assert server.own()[KNOWN_ESIM] == 0
    assert server.post(known).status_code == 200
    before = server.state()

    refused = [server.post(body, secret=b"changed") for body in (later, event(), b"{", {})]
    refused.append(server.client.post(server.webhook, content=encoded(later)))
    refused.append(
        server.client.post(
            server.webhook, content=encoded(later), headers={roamify.SIGNATURE_HEADER: "?"}
        )
    )
    assert server.own()[KNOWN_ESIM] == 1
    refused.append(server.post(status, secret=b"changed"))
    assert server.own()[KNOWN_ESIM] == 2

    assert {(r.status_code, r.content) for r in refused} == {(401, refused[0].content)}
    assert server.state() == before
    own = server.own()
    assert own["rejected_events"] == 0
    assert sum(v for k, v in own.items() if k.startswith("webhook_events_total")) == 1
    listed = server.get("/api/v1/events").json()["data"]["events"]
    assert {e["esim_id"] for e in listed if e["code"] == 401} == {None}


def test_an_invalid_delivery_is_answered_with_the_place_of_each_error(server: Serving) -> None:
    document = event(data_units="furlongs", iccid="8991234567890123456")
    document["data"]["usage_list"][1]["data_used"] = -1

    answer = server.post(document).json()

    assert [set(error) for error in answer["errors"]] == [{"loc", "msg"}] * len(answer["errors"])
    assert ["data", "data_units"] in [error["loc"] for error in answer["errors"]]
    assert "furlongs" not in json.dumps(answer)
    assert "8991234567890123456" not in json.dumps(answer)


def test_equal_rejected_bodies_are_kept_once_and_survive_a_kill(serve: Serve) -> None:
    server = serve()
    invalid = encoded(event(data_units="furlongs"))
    for body, secret in ((b"{", SECRET), (invalid, SECRET), (invalid, SECRET), (b"[", b"wrong")):
        server.post(body, secret)
    assert server.own()["rejected_events"] == 2
    server.kill()

    server = serve()

    assert server.own()["rejected_events"] == 2
    server.post(invalid)
    server.post(b"[")
    assert server.own()["rejected_events"] == 3


def test_the_oldest_rejected_delivery_makes_room_and_is_counted(serve: Serve) -> None:
    server = serve("--limits.max-rejected=2")
    for body in (b"1", b"2", b"3"):
        assert server.post(body).status_code == 422
    own = server.own()
    assert (own["rejected_events"], own["rejected_dropped_total"]) == (2, 1)


def test_an_overloaded_exporter_says_when_to_try_again(serve: Serve) -> None:
    server = serve("--webhook.max-pending=1")
    numbers = itertools.count()

    def refused() -> list[httpx.Response]:
        with ThreadPoolExecutor(16) as pool:
            bodies = (event(esim_id=f"burst-{next(numbers)}") for _ in range(64))
            return [r for r in pool.map(server.post, bodies) if r.status_code != 200]

    response = until(refused)[0]

    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) > 0
    assert (response.json()["code"], response.json()["status"]) == (503, "error")
    assert server.rejected("overload") > 0
    assert server.post(event()).status_code == 200


def test_the_webhook_s_url_can_be_probed(server: Serving) -> None:
    get, head = server.client.get(server.webhook), server.client.head(server.webhook)

    assert (get.status_code, get.content.strip()) == (200, SUCCESS)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["Content-Length"] == get.headers["Content-Length"]


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"])
def test_other_methods_are_answered_405_in_json(method: str, server: Serving) -> None:
    response = server.client.request(method, server.webhook)

    assert response.status_code == 405
    assert response.headers["Content-Type"] == "application/json"
    assert set(response.headers["Allow"].split(", ")) == {"GET", "HEAD", "POST"}
    assert (response.json()["code"], response.json()["status"]) == (405, "error")


ELSEWHERE = (
    *("/", "/metrics", "/-/healthy", "/-/ready", "/-/reload", "/-/quit", "/api/v1/esims"),
    *("/webhooks", "/webhooks/", "/webhooks/other", f"{WEBHOOK}//", "/webhooks//roamify"),
    *("/favicon.ico", "/%ff", "/static/x"),
)


@pytest.mark.parametrize("path", ELSEWHERE)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_public_listener_serves_nothing_else(method: str, path: str, server: Serving) -> None:
    response = server.client.request(method, server.public + path)

    assert response.status_code == 404
    assert response.headers["Content-Type"] == "application/json"
    assert response.json() == {"code": 404, "status": "error", "error": "Not Found"}


def test_a_wrong_path_is_named_as_such_whatever_the_host(server: Serving) -> None:
    """Else a vendor with a wrong URL would be told about the host of the public listener."""
    elsewhere = {"Host": "hooks.example.org"}
    for path, code in (("/webhooks/other", 404), (f"{WEBHOOK}//", 404), ("/", 404)):
        response = server.client.post(server.public + path, headers=elsewhere)
        assert response.status_code == code
    assert server.client.put(server.webhook, headers=elsewhere).status_code == 405


def test_the_internal_listener_takes_no_deliveries(server: Serving) -> None:
    assert server.client.post(server.internal + WEBHOOK, content=USAGE).status_code == 404


def test_one_address_for_both_listeners_merges_them(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    flags = (f"--web.listen-address={address}", f"--webhook.listen-address={address}")
    assert {flag.partition("=")[0] for flag in flags} == {f.partition("=")[0] for f in LOOPBACK}
    with serving(tmp_path, *flags, ready="") as server:
        until(lambda: server.process.poll() is not None or server.logged("listening"))
        assert [r["listener"] for r in server.logged("listening")] == ["merged"]
        url = f"http://{address}"
        until(lambda: server.client.get(f"{url}/-/ready").status_code == 200)
        with connect(url) as connection:
            connection.sendall(request_head(USAGE) + USAGE)
            assert read_answer(connection).code == 200
        assert ITS_ALLOWANCE in server.client.get(f"{url}/metrics").text


def test_unsigned_deliveries_are_taken_only_where_that_is_allowed(serve: Serve) -> None:
    server = serve("--webhook.allow-unsigned", environ={})

    assert server.client.post(server.webhook, content=USAGE).status_code == 200
    assert ITS_ALLOWANCE in server.state()
