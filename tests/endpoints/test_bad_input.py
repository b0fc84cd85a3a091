"""Wrong input of all kinds, on raw sockets: no 500, no change of the state, no crash."""

from __future__ import annotations

import copy
import http.client
import json
import select
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from running import (
    SECRET,
    SUCCESS,
    USAGE,
    WAIT,
    WEBHOOK,
    Answer,
    Serving,
    connect,
    encoded,
    event,
    read_answer,
    request_head,
    serving,
    until,
)

from exporter.vendors import roamify

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Serve

Path = tuple[str | int, ...]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    flag = "--webhook.read-timeout=1s"
    with serving(tmp_path_factory.mktemp("wicked"), flag) as process:
        assert process.post(USAGE).status_code == 200
        yield process


@pytest.fixture
def server(running: Serving) -> Iterator[Serving]:
    """The server. After each test its metrics are as before, and it accepts a valid event."""
    before = running.state()
    yield running
    assert running.state() == before
    assert running.post(USAGE).status_code == 200
    assert running.complaints() == []


def ask(server: Serving, *parts: bytes, method: str = "POST") -> Answer:
    with connect(server.public) as connection:
        for part in parts:
            connection.sendall(part)
        return read_answer(connection, method)


def code_of(server: Serving, sent: bytes, method: str = "POST") -> int:
    """Send any bytes and return the status of the answer, 0 if there is no valid answer."""
    with connect(server.public) as connection, suppress(ConnectionError, http.client.HTTPException):
        with suppress(ConnectionError):  # the server may close early
            connection.sendall(sent)
        return read_answer(connection, method).code
    return 0


def paths(node: Any, path: Path = ()) -> Iterator[Path]:
    """Yield the path of every node of a document, including its root."""
    yield path
    if isinstance(node, dict | list):
        for key in node if isinstance(node, dict) else range(len(node)):
            yield from paths(node[key], (*path, key))


def replaced(path: Path, value: object) -> Any:
    if not path:
        return value
    document = copy.deepcopy(json.loads(USAGE))
    node = document
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return document


def removed(path: Path) -> Any:
    document = copy.deepcopy(json.loads(USAGE))
    node = document
    for key in path[:-1]:
        node = node[key]
    del node[path[-1]]
    return document


def refused_without_a_trace(server: Serving, documents: dict[Path, Any]) -> int:
    """Post all documents; return how many were refused. Those must not change the metrics."""
    refused = 0
    before = server.state()
    for path, document in documents.items():
        response = server.post(encoded(document))
        after = server.state()

        assert response.status_code in {200, 422}, path
        if response.status_code == 422:
            assert after == before, path
            refused += 1
        before = after
    return refused


@pytest.mark.parametrize(
    ("value", "refused"),
    [
        *((None, 11), (True, 30), (1, 19), (-1, 22), (0.5, 21), (1e308, 31)),
        *(("x", 21), ("", 20), ([], 30), ({}, 31), ([[]], 31)),
    ],
    ids=repr,
)
def test_any_value_at_any_place_is_taken_or_refused_without_a_trace(
    value: object, refused: int, running: Serving
) -> None:
    documents = {path: replaced(path, value) for path in paths(json.loads(USAGE))}

    assert len(documents) == 33
    assert refused_without_a_trace(running, documents) == refused
    assert running.post(USAGE).status_code == 200
    assert running.complaints() == []


def test_any_field_may_be_missing(running: Serving) -> None:
    documents = {path: removed(path) for path in paths(json.loads(USAGE)) if path}

    assert len(documents) == 32
    assert refused_without_a_trace(running, documents) == 8


def usage(**fields: object) -> bytes:
    """Return a usage event of the known eSIM that is newer than its known events."""
    document = event(fresh=False, timestamp=1700001000)
    for key, value in fields.items():
        where = document["data"] if key in document["data"] else document["data"]["usage_data"]
        where[key] = value
    return encoded(document)


def with_raw(text: bytes) -> bytes:
    """Return a usage event that has ``text`` in place of an amount."""
    return usage(allowed_data=77777).replace(b"77777", text)


INVALID = {
    "an unknown data unit": usage(data_units="furlongs"),
    "an unknown voice unit": usage(voice_units="moons"),
    "an unknown SMS unit": usage(sms_units="pigeons"),
    "an eSIM id of 257 characters": usage(esim_id="x" * 257),
    "a package id of 257 characters": usage(package_id="x" * 257),
    "a package name of 257 characters": usage(package_name="é" * 257),
    "a reference id of 257 characters": usage(reference_id="x" * 257),
    "a NUL in an identifier": usage(esim_id="a\0b"),  # Prometheus's parser stops at a NUL
    "an amount of 1000 digits": with_raw(b"9" * 1000),
    "an amount of 5000 digits": with_raw(b"9" * 5000),
    "a time of 1000 digits": usage(timestamp=77777).replace(b"77777", b"9" * 1000),
    "an amount of 1000 digits in a string": with_raw(b'"' + b"9" * 1000 + b'"'),
    "an amount just too large": with_raw(str(2**63).encode()),
    "NaN": with_raw(b"NaN"),
    "Infinity": with_raw(b"Infinity"),
    "-Infinity": with_raw(b"-Infinity"),
    "NaN in a string": with_raw(b'"NaN"'),
    "a float beyond all floats": with_raw(b"1e999"),
    "a word for a number": with_raw(b'"many"'),
    "a time in words": usage(timestamp="yesterday"),
    "a time before 1970": usage(timestamp=-1),
    "a time in the year 9999": usage(timestamp=253402300799),
    "a time in milliseconds": usage(timestamp=1700000000000),
}


@pytest.mark.parametrize("case", INVALID)
def test_wrong_values_are_invalid(case: str, server: Serving) -> None:
    response = server.post(INVALID[case])

    assert response.status_code in {400, 422}
    assert response.json()["code"] == response.status_code


MALFORMED = {
    "nothing": b"",
    "white space": b" \n",
    "half a document": USAGE[:-3],
    "two documents": USAGE + USAGE,
    "a form": b"event_type=usage&esim_id=1",
    "XML": b"<event/>",
    "bytes that are not UTF-8": USAGE.replace(b"Afghanistan", b"\xc5land \xff\xfe"),
    "UTF-16": USAGE.decode().encode("utf-16"),
    "NUL bytes": b"\0" * 100,
    "half of a surrogate pair": USAGE.replace(b"ref_1234567890", b"\\ud83d"),
    "nesting": b"[" * 65536,
    "nested objects": b'{"a":' * 13000,
    "nesting that ends": b"[" * 32768 + b"]" * 32768,
}


@pytest.mark.parametrize("case", MALFORMED)
def test_bodies_that_are_not_json_are_malformed(case: str, server: Serving) -> None:
    response = server.post(MALFORMED[case])

    assert response.status_code == 400
    assert response.json()["status"] == "error"


@pytest.mark.parametrize("case", ["[", "[]", '{"a":'])
def test_nesting_of_a_hundred_thousand_is_malformed_however_large_bodies_may_be(
    case: str, serve: Serve
) -> None:
    server = serve("--webhook.max-body-bytes=2000000")
    opening, closing = (case[:1], case[1:]) if case == "[]" else (case, "")
    deep = opening * 100_000 + closing * 100_000
    event_with_it = USAGE.decode().rstrip().removesuffix("}") + f', "extra": {deep}}}'

    assert server.post(deep.encode()).status_code == 400
    assert server.post(event_with_it.encode()).status_code == 400
    assert server.post(USAGE).status_code == 200


def test_numbers_in_strings_are_numbers(running: Serving) -> None:
    data = event()["data"] | {"timestamp": "1700000000"}
    data["usage_data"] |= {"allowed_data": "1024", "remaining_data": "512.0"}
    response = running.post(encoded({"event_type": "usage", "data": data}))

    assert response.status_code == 200
    key = f'vendor="roamify",esim_id="{data["esim_id"]}",package_id="{data["package_id"]}"'
    assert f"esim_data_allowed_bytes{{{key}}} 1073741824" in running.state()
    assert f"esim_data_remaining_bytes{{{key}}} 536870912" in running.state()


def test_integers_of_a_thousand_digits_in_unknown_fields_do_no_harm(running: Serving) -> None:
    body = encoded(event() | {"extra": 77777}).replace(b"77777", b"9" * 1000)

    assert running.post(body).status_code == 200


def test_ten_megabytes_are_refused_and_the_client_can_read_why(server: Serving) -> None:
    body = b" " * 10_000_000
    connection = http.client.HTTPConnection(server.public.removeprefix("http://"), timeout=WAIT)

    connection.request("POST", WEBHOOK, body)
    response = connection.getresponse()

    assert response.status == 413
    assert json.loads(response.read())["code"] == 413
    connection.close()


def test_ten_megabytes_in_chunks_are_refused_and_the_client_can_read_why(server: Serving) -> None:
    chunks = (b" " * 100_000 for _ in range(100))
    connection = http.client.HTTPConnection(server.public.removeprefix("http://"), timeout=WAIT)

    connection.request("POST", WEBHOOK, chunks, encode_chunked=True)
    response = connection.getresponse()

    assert response.status == 413
    assert json.loads(response.read())["code"] == 413
    connection.close()


def test_a_length_too_large_is_refused_before_anything_is_sent(server: Serving) -> None:
    head = f"POST {WEBHOOK} HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000000000\r\n\r\n"

    assert ask(server, head.encode()).code == 413


def test_a_body_that_stops_is_timed_out(server: Serving) -> None:
    answer = ask(server, request_head(USAGE) + USAGE[:10])

    assert answer.code == 408
    assert answer.json()["status"] == "error"


def test_a_body_that_trickles_is_timed_out(server: Serving) -> None:
    with connect(server.public) as connection:
        connection.sendall(request_head(USAGE))

        def answered() -> list[socket.socket]:
            connection.sendall(b" ")
            return select.select([connection], [], [], 0.05)[0]

        until(answered)
        assert read_answer(connection).code == 408


def test_a_body_that_trickles_in_chunks_is_timed_out(server: Serving) -> None:
    with connect(server.public) as connection:
        connection.sendall(request_head(USAGE, "Transfer-Encoding: chunked", length=False))

        def answered() -> list[socket.socket]:
            connection.sendall(b"1\r\n \r\n")
            return select.select([connection], [], [], 0.05)[0]

        until(answered)
        assert read_answer(connection).code == 408


def test_a_delivery_without_a_length_has_no_body(server: Serving) -> None:
    assert ask(server, request_head(USAGE, length=False)).code == 401
    assert ask(server, request_head(b"", length=False)).code == 400


def test_a_client_that_expects_100_continue_gets_it(server: Serving) -> None:
    with connect(server.public) as connection:
        connection.sendall(request_head(USAGE, "Expect: 100-continue"))
        interim = connection.recv(65536)
        assert interim.startswith(b"HTTP/1.1 100 ")
        connection.sendall(USAGE)
        assert read_answer(connection).code == 200


def test_requests_sent_at_once_are_answered_one_after_the_other(server: Serving) -> None:
    good, bad = request_head(USAGE) + USAGE, request_head(USAGE, secret=b"wrong") + USAGE
    with connect(server.public) as connection:
        connection.sendall(good + bad + good)
        # one reader for all answers, because a reader may buffer bytes of the next answer
        received = b""
        while received.count(b"HTTP/1.1 ") < 3 or not received.endswith(b"}\n"):
            received += connection.recv(65536)

    codes = [int(part[:3]) for part in received.split(b"HTTP/1.1 ")[1:]]
    assert codes == [200, 401, 200]


def test_a_body_in_small_chunks_is_taken(server: Serving) -> None:
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in USAGE) + b"0\r\n\r\n"
    head = request_head(USAGE, "Transfer-Encoding: chunked", length=False)

    assert ask(server, head, chunks).code == 200


def test_http_1_0_is_understood(server: Serving) -> None:
    head = request_head(USAGE).replace(b"HTTP/1.1", b"HTTP/1.0").replace(b"Host: exporter\r\n", b"")

    answer = ask(server, head + USAGE)

    assert (answer.code, answer.body.strip()) == (200, SUCCESS)
    assert answer.headers["Connection"] == "close"


@pytest.mark.parametrize("header", [f"X-Padding: {'x' * 70000}", "X: y\r\n" * 12000 + "X: y"])
def test_a_head_far_over_16_kib_is_refused(header: str, server: Serving) -> None:
    assert code_of(server, request_head(USAGE, header) + USAGE) in {0, 431}


def test_a_head_just_over_16_kib_does_no_harm(server: Serving) -> None:
    header = f"X-Padding: {'x' * 17000}"

    assert code_of(server, request_head(USAGE, header) + USAGE) in {200, 431}


def test_a_request_line_far_over_16_kib_is_refused(server: Serving) -> None:
    line = b"GET /" + b"x" * 70000 + b" HTTP/1.1\r\nHost: x\r\n\r\n"

    assert code_of(server, line) in {0, 431}


@pytest.mark.parametrize(
    "chunks",
    [
        b"XYZ\r\nabc\r\n",
        b"-5\r\nabc\r\n",
        b"fffffffffffffffffff\r\nabc",
        b"5\r\nabc",
        b"3\r\nabcdef\r\n",
    ],
)
def test_chunks_of_no_size_are_refused(chunks: bytes, server: Serving) -> None:
    head = request_head(USAGE, "Transfer-Encoding: chunked", length=False)

    assert code_of(server, head + chunks) in {0, 400, 401, 408, 413}


WEBSOCKET = "\r\n".join(
    (
        *("Upgrade: websocket", "Connection: upgrade", "Sec-WebSocket-Version: 13"),
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    )
)

HARMLESS = {0, 101, 200, 400, 401, 404, 405, 408, 413, 415, 505, 501}
"""Acceptable answers to nonsense. 501 is for transfer codings, 0 and 101 are for HTTP/2."""


@pytest.mark.parametrize(
    "headers",
    [
        "Content-Length: abc",
        "Content-Length: -1",
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Content-Encoding: gzip\r\nContent-Length: 5",
        "Bad Header: x",
        ": x",
        "X-\xff: x",
        "X: \0",
        "Host: other",
        WEBSOCKET,
        "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__",
        "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: !",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_headers_that_make_no_sense_do_no_harm(method: str, headers: str, server: Serving) -> None:
    head = f"{method} {WEBHOOK} HTTP/1.1\r\nHost: x\r\n{headers}\r\n\r\n".encode("latin-1")

    assert code_of(server, head + b"0\r\n\r\n", method) in HARMLESS


@pytest.mark.parametrize(
    "line",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # a client that speaks TLS
        b"POST\r\n\r\n",
        b"POST / HTTP/9.9\r\nHost: x\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT example.org:443 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http://example.org/webhooks/roamify HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /webhooks/roamify?%ff=%00&a[]=b HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /%00%ff%c3 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: \xc3\xa9!?\r\n\r\n",
    ],
)
def test_bytes_that_are_no_request_do_no_harm(line: bytes, server: Serving) -> None:
    assert code_of(server, line) in HARMLESS


def test_one_of_several_signatures_decides(server: Serving) -> None:
    wrong = f"{roamify.SIGNATURE_HEADER}: {roamify.sign(USAGE, b'wrong')}"

    answer = ask(server, request_head(USAGE, wrong) + USAGE)
    both_wrong = ask(server, request_head(USAGE, wrong, secret=b"wrong") + USAGE)

    assert answer.code in {200, 401}
    assert both_wrong.code == 401


SIGNATURE = roamify.sign(USAGE, SECRET)


@pytest.mark.parametrize(
    "signature",
    [
        *("", "0", f"sha256={SIGNATURE}", SIGNATURE[:-1], SIGNATURE * 2, f"{SIGNATURE}, x"),
        *("é" * 32, "x" * 64, "0" * 10000, roamify.sign(USAGE, b"")),
    ],
)
def test_a_signature_of_another_form_does_not_fit(signature: str, server: Serving) -> None:
    head = f"POST {WEBHOOK} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(USAGE)}\r\n"
    head += f"{roamify.SIGNATURE_HEADER}: {signature}\r\n\r\n"

    answer = ask(server, head.encode() + USAGE)

    assert answer.code == 401


def test_a_connection_that_drops_leaves_nothing_behind(server: Serving) -> None:
    body = usage(remaining_data=1)
    with connect(server.public) as connection:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        assert connection.recv(1)
    for sent in (b"", request_head(body)[:30], request_head(body), request_head(body) + body[:50]):
        with connect(server.public) as connection:
            connection.sendall(sent)
    with connect(server.public) as connection:
        reset = struct.pack("ii", 1, 0)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        connection.sendall(request_head(body) + body[:50])


def test_connections_that_clients_close_are_closed(server: Serving) -> None:
    files = server.own()["process_open_fds"]
    for _ in range(50):
        assert ask(server, request_head(USAGE) + USAGE).code == 200

    until(lambda: server.own()["process_open_fds"] < files + 5)
