"""Deliveries that arrive in one read get the same answers as others, byte for byte."""

from __future__ import annotations

import re
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from running import SECRET, SUCCESS, USAGE, WAIT, Serving, connect, serving

from exporter.http.whole_request import (
    ConnectionFacts,
    WholeRequest,
    answer_whole_request,
    parse_whole_request,
)
from exporter.vendors import roamify

if TYPE_CHECKING:
    from collections.abc import Iterator

_LENGTH = re.compile(rb"(?is)content-length: (\d+)(?=\r\n.*?\r\n\r\n|\r\n\r\n)")
_DATE = re.compile(rb"(?im)^date: .*\r\n")

PLAIN = (
    b"POST /webhooks/roamify HTTP/1.1\r\nHost: exporter\r\nContent-Length: 2\r\nX-A: b c\r\n\r\n{}"
)


# What is recognised

_parts = st.sampled_from(
    [
        *(
            b"POST ",
            b"GET ",
            b"/webhooks/roamify",
            b"/webhooks/roamify?a",
            b"/x",
            b"/t",
            b" HTTP/1.1",
        ),
        *(
            b" HTTP/1.0",
            b"\r\n",
            b"\r\n\r\n",
            b"\n",
            b"\r",
            b" ",
            b"\t",
            b":",
            b"\0",
            b"\xe9",
            b"a",
        ),
        *(b"Host: e", b"host:", b"Content-Length: 2", b"content-length:2", b"Content-Length: 02"),
        *(b"Content-Length: 2, 2", b"Transfer-Encoding: chunked", b"Connection: close", b"{}"),
        *(b"Expect: 100-continue", b"X-A: b", b"X-A : b", b" folded", b"Content-Length: +2"),
    ]
)


def as_h11_has_it(data: bytes) -> WholeRequest | None:
    """Return what h11 makes of all of ``data``, ``None`` for anything but one whole request."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    try:
        request, body = connection.next_event(), b""
        while isinstance(part := connection.next_event(), h11.Data):
            body += bytes(part.data)
    except h11.RemoteProtocolError:
        return None
    if not isinstance(request, h11.Request) or not isinstance(part, h11.EndOfMessage):
        return None
    if connection.trailing_data[0] or request.method != b"POST":
        return None
    return WholeRequest(request.target, list(request.headers), body)


@given(st.lists(st.tuples(st.integers(0, len(PLAIN)), st.integers(0, 9), _parts), max_size=4))
@example([])
def test_what_is_recognised_is_what_h11_reads(edits: list[tuple[int, int, bytes]]) -> None:
    data = PLAIN
    for at, removed, added in edits:
        data = data[:at] + added + data[at + removed :]
    recognised = parse_whole_request(data)
    assert recognised is None or recognised == as_h11_has_it(data)


@pytest.mark.parametrize("path", [b"/webhooks/roamify", b"/webhooks/esim-access/t.o_k~e-N0"])
def test_a_plain_delivery_is_recognised_with_and_without_a_token(path: bytes) -> None:
    headers = [(b"host", b"exporter"), (b"content-length", b"2"), (b"x-a", b"b c")]
    plain = PLAIN.replace(b"/webhooks/roamify", path)
    assert parse_whole_request(plain) == WholeRequest(path, headers, b"{}") == as_h11_has_it(plain)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"POST", b"GET"),
        (b"1.1", b"1.0"),
        (b"/webhooks/roamify", b"/metrics"),
        (b"/webhooks/roamify", b"/webhooks/roamify?a=b"),
        (b"/webhooks/roamify", b"/webhooks/roamify/a%62"),
        (b"/webhooks/roamify", b"/webhooks/roamify/a/b"),
        (b"{}", b"{"),
        (b"{}", b"{} "),
        (b"Host: exporter\r\n", b""),
        (b"X-A", b"Host"),
        (b"X-A", b"Content-Length"),
        (b"X-A: b c", b"Transfer-Encoding: chunked"),
        (b"X-A: b c", b"Connection: close"),
        (b"X-A: b c", b"Expect: 100-continue"),
        (b"X-A: b c", b"X-A: b\r\n c"),
        (b"b c", b"\xe9"),
        (b"b c", b"a\0"),
        (b"Length: 2", b"Length: +2"),
        (b"POST", b"\r\nPOST"),
    ],
)
def test_a_request_that_is_not_simple_is_not_recognised(old: bytes, new: bytes) -> None:
    assert parse_whole_request(PLAIN.replace(old, new, 1)) is None


# How it is answered


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    flag = "--webhook.max-body-bytes=4096"
    with serving(tmp_path_factory.mktemp("whole"), flag) as process:
        yield process


def delivery(body: bytes, *more: bytes, path: bytes = b"roamify", secret: bytes = SECRET) -> bytes:
    signature = roamify.sign(body, secret).encode()
    lines = [
        b"POST /webhooks/" + path + b" HTTP/1.1",
        b"Host: exporter",
        b"X-Roamify-Signature: " + signature,
        b"Content-Length: " + str(len(body)).encode(),
        *more,
    ]
    return b"\r\n".join([*lines, b"", body])


def exchanged(connection: socket.socket, data: bytes, count: int = 1) -> bytes:
    """Send something and return ``count`` answers without their dates."""
    connection.sendall(data)
    answers = b""
    while complete(answers) < count:
        received = connection.recv(65536)
        answers += received
        if not received:
            break
    return _DATE.sub(b"", answers)


def complete(answers: bytes) -> int:
    """Return how many answers are complete."""
    count = 0
    while found := _LENGTH.search(answers):
        end = answers.index(b"\r\n\r\n", found.start()) + 4 + int(found[1])
        if len(answers) < end:
            break
        answers = answers[end:]
        count += 1
    return count


ANSWERS = {
    "taken": (delivery(USAGE), 200),
    "malformed": (delivery(b"{"), 400),
    "empty": (delivery(b""), 400),
    "invalid": (delivery(b"{}"), 422),
    "forged": (delivery(USAGE, secret=b"wrong"), 401),
    "too large": (delivery(b"[" + b" " * 5000 + b"]"), 413),
    "not here": (delivery(USAGE, path=b"nobody"), 404),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_both_ways_answer_the_same(server: Serving, case: str) -> None:
    data, code = ANSWERS[case]
    other = data.replace(b"Host:", b"TE: trailers\r\nHost:")  # which keeps it off the short way
    assert parse_whole_request(data)
    assert parse_whole_request(other) is None
    with connect(server.public) as short, connect(server.public) as long:
        answers = {exchanged(short, data), exchanged(long, other)}
    assert len(answers) == 1
    assert answers.pop().startswith(b"HTTP/1.1 %d " % code)


def test_both_ways_take_turns_on_one_connection(server: Serving) -> None:
    short, long = delivery(USAGE), delivery(USAGE, b"TE: trailers")
    with connect(server.public) as connection:
        for data in (short, long, short, short, long):
            assert exchanged(connection, data).endswith(SUCCESS + b"\n")
        assert exchanged(connection, short + short + long + short, 4).count(SUCCESS) == 4
        connection.sendall(short[:-10])
        assert exchanged(connection, short[-10:]).endswith(SUCCESS + b"\n")
        assert exchanged(connection, short).endswith(SUCCESS + b"\n")


def test_the_middle_of_a_request_is_never_taken_for_another(server: Serving) -> None:
    short, other = delivery(USAGE), b"GET /nothing HTTP/1.1\r\nHost: exporter\r\nX-A: "
    long = delivery(USAGE, b"TE: trailers")
    for before in (b"", long, short):
        with connect(server.public) as connection:
            connection.sendall(long[:-9])
            connection.sendall(long[-9:] + other)
            assert exchanged(connection, b"").endswith(SUCCESS + b"\n")
            # So far the request was sent up to the middle of a header.
            assert b" 404 " in exchanged(connection, short.partition(b"\r\n")[0] + b"\r\n\r\n")
        with connect(server.public) as connection:
            connection.sendall(before + other)
            if before:
                assert exchanged(connection, b"").endswith(SUCCESS + b"\n")
            assert exchanged(connection, short).startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 404 "))


def test_a_request_before_the_answer_waits_for_it(server: Serving) -> None:
    short, long = delivery(USAGE), delivery(USAGE, b"TE: trailers")
    for second in (short, long, short[:50], short * 200):
        with connect(server.public) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for data in (short, second):  # nearly always as two segments
                connection.sendall(data)
            rest = short[50:] if second == short[:50] else b""
            count = 1 + max(1, second.count(b"POST"))
            assert exchanged(connection, rest, count).count(SUCCESS) == count


def test_a_client_that_ends_its_side_still_gets_the_answer(server: Serving) -> None:
    with connect(server.public) as connection:
        connection.sendall(delivery(USAGE))
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(WAIT)
        answer = b""
        while received := connection.recv(65536):
            answer += received
    assert answer.endswith(SUCCESS + b"\n")


def test_requests_on_the_short_way_are_counted_as_others(server: Serving) -> None:
    counted = 'http_requests_total{code="200",handler="/webhooks/roamify",method="POST"}'
    before = server.own().get(counted, 0)
    with connect(server.public) as connection:
        for _ in range(3):
            exchanged(connection, delivery(USAGE))
    assert server.own()[counted] == before + 3


# Applications that do not answer as they should

START = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]}
FAILED = b"HTTP/1.1 500 \r\ncontent-length: 0\r\nconnection: close\r\nx: y\r\n\r\n"
REQUEST = WholeRequest(b"/webhooks/x", [], b"body")
FACTS = ConnectionFacts(("127.0.0.1", 1), ("127.0.0.1", 2), tls=False)


async def asked(*messages: dict[str, Any], raises: bool = False) -> tuple[bytes, bool | None]:
    """Return what is written when an application sends these messages, and what is returned."""
    written: list[bytes] = []

    async def app(_: object, receive: Any, send: Any) -> None:
        assert (await receive())["body"] == b"body"
        for message in messages:
            await send(message)
        if raises:
            raise RuntimeError

    async def write(data: bytes) -> None:
        written.append(data)

    reusable = None
    with suppress(RuntimeError, ValueError):
        reusable = await answer_whole_request(app, REQUEST, FACTS, lambda: [(b"x", b"y")], write)
    return b"".join(written), reusable


async def test_an_answer_in_parts_is_written_as_it_comes() -> None:
    parts = [
        {"type": "http.response.body", "body": part, "more_body": True} for part in (b"o", b"k")
    ]
    answer = b"HTTP/1.1 200 \r\ncontent-length: 2\r\nx: y\r\n\r\nok"
    assert await asked(START, *parts, {"type": "http.response.body"}) == (answer, True)


async def test_an_application_without_an_answer_is_answered_with_500() -> None:
    assert await asked() == (FAILED, False)
    assert await asked(START) == (FAILED, False)
    assert await asked(raises=True) == (FAILED, None)
    unsized = {**START, "headers": []}
    assert await asked(unsized, {"type": "http.response.body"}) == (FAILED, None)


async def test_after_an_answer_has_begun_no_other_is_written() -> None:
    part = {"type": "http.response.body", "body": b"o", "more_body": True}
    written, reusable = await asked(START, part, raises=True)
    assert written.endswith(b"\r\n\r\no")
    assert reusable is None
