from __future__ import annotations

import asyncio
import io
import itertools
import json
import math
import os
import signal
import socket
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest
from running import WAIT
from simulated_time import PRESENT, Time

from exporter.simulate.command import main, parser
from exporter.simulate.deliveries import NO_FAULTS, Faults, Simulation
from exporter.simulate.fleet import Phase
from exporter.simulate.progress import Latencies, SenderSummary
from exporter.simulate.sender import (
    Credential,
    Sender,
    SenderOptions,
    WebhookClient,
    WebhookUrl,
)
from exporter.vendors import roamify
from exporter.vendors.authentication import PathToken
from exporter.vendors.registry import FIRST

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

SECRET = b"correct horse"
CREDENTIALS = (Credential(FIRST, SECRET),)
SIGNS_NOTHING = replace(FIRST, name="signs-nothing", authentication=PathToken())
TOKEN = b"a-token"
DAY = 86400

HANG_UP = b""
SUCCESS = b'{"code":200,"status":"success"}'


def answer(code: int, *, extra: str = "", body: bytes = SUCCESS) -> bytes:
    head = f"HTTP/1.1 {code} Whatever\r\nContent-Length: {len(body)}\r\n{extra}\r\n"
    return head.encode() + body


@dataclass
class Receiver:
    """A webhook on a real socket. Records deliveries, and sends the given answers."""

    answers: Iterator[bytes] = field(default_factory=lambda: itertools.repeat(answer(200)))
    bodies: list[bytes] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    connections: int = 0
    enough: int | None = None
    """Number of bodies after which ``full`` is set."""
    full: asyncio.Event = field(default_factory=asyncio.Event)
    url: str = ""

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                request, *lines = head.rstrip("\r\n").split("\r\n")
                headers = dict(line.split(": ", 1) for line in lines)
                self.bodies.append(await reader.readexactly(int(headers["Content-Length"])))
                self.heads.append(request)
                self.headers.append(headers)
                reply = next(self.answers)
                writer.write(reply)
                await writer.drain()
                if len(self.bodies) == self.enough:
                    self.full.set()
                if reply == HANG_UP or b"Connection: close" in reply or b"Length" not in reply:
                    return
        except (EOFError, OSError):
            pass  # the client has gone

    def good(self) -> list[bytes]:
        """Return the bodies with a right signature."""
        return [
            body
            for body, headers in zip(self.bodies, self.headers, strict=True)
            if headers["X-Roamify-Signature"] == roamify.sign(body, SECRET)
        ]


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(handle: Handler) -> AsyncIterator[int]:
    """Serve on a loopback port. At the end, close all connections and wait for the handlers."""
    handlers: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        handlers[task] = writer
        try:
            await handle(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in handlers.values():
            writer.close()
        await asyncio.gather(*handlers)
        await server.wait_closed()


@asynccontextmanager
async def receiving(*answers: bytes, enough: int | None = None) -> AsyncIterator[Receiver]:
    receiver = Receiver(itertools.chain(answers, itertools.repeat(answer(200))), enough=enough)
    async with serving(receiver.handle) as port:
        receiver.url = f"http://127.0.0.1:{port}/webhooks/roamify"
        yield receiver


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


async def simulate(
    options: SenderOptions, time: Time | None = None, stream: io.StringIO | None = None
) -> SenderSummary:
    time = time or Time()
    sender = Sender(
        options, now=time.now, clock=time.clock, sleep=time.sleep, stream=stream or io.StringIO()
    )
    return await sender.run()


def options(
    receiver: Receiver,
    *,
    esims: int = 20,
    faults: Faults = NO_FAULTS,
    speed: float | None = 3600,
    rate: float | None = None,
    start: float = DAY,
    duration: float | None = 10,
    connections: int = 1,
) -> SenderOptions:
    return SenderOptions(
        credentials=CREDENTIALS,
        url=receiver.url,
        esims=esims,
        faults=faults,
        speed=speed,
        rate=rate,
        start=start,
        duration=duration,
        connections=connections,
    )


def expected(*, since: float = PRESENT - DAY, until: float, esims: int = 20) -> list[bytes]:
    simulation = Simulation(start=since, esims=esims, faults=NO_FAULTS)
    return [delivery.body for delivery in simulation.advance(until)]


async def test_sends_the_simulation_signed_in_order() -> None:
    async with receiving() as receiver:
        summary = await simulate(options(receiver))
    assert receiver.good() == expected(until=PRESENT - DAY + 10 * 3600)
    assert receiver.heads[0] == "POST /webhooks/roamify HTTP/1.1"
    assert receiver.headers[0]["Content-Type"] == "application/json"
    assert receiver.headers[0]["Host"] in receiver.url
    assert summary.sent == len(receiver.bodies) == summary.answers["200"]
    assert (summary.refused, summary.accepted, summary.resent) == (0, 0, 0)


async def test_several_vendors_share_the_fleet_and_each_posts_to_its_own_path() -> None:
    stream = io.StringIO()
    both = replace(
        options(receiver := Receiver(), faults=Faults(bad_signature=0.5)),
        credentials=(*CREDENTIALS, Credential(SIGNS_NOTHING, TOKEN)),
    )
    async with serving(receiver.handle) as port:
        summary = await simulate(
            replace(both, url=f"http://127.0.0.1:{port}/gateway"), stream=stream
        )
    posted: dict[str, set[bytes]] = defaultdict(set)
    for head, body in zip(receiver.heads, receiver.bodies, strict=True):
        posted[head.split()[1]].add(body)
    signed, proven, forged = sorted(posted)
    assert signed == "/gateway/webhooks/roamify"
    assert proven == "/gateway/webhooks/signs-nothing/a-token"
    assert forged.startswith("/gateway/webhooks/signs-nothing/")
    assert posted[forged] < posted[proven]
    assert not posted[signed] & posted[proven]
    alone = [Simulation(start=PRESENT - DAY, esims=10, faults=NO_FAULTS, vendors=[vendor])
             for vendor in (FIRST, SIGNS_NOTHING)]  # fmt: skip
    until = PRESENT - DAY + 9 * 3600
    assert {d.body for d in alone[0].advance(until)} < posted[signed]
    assert {d.body for d in alone[1].advance(until)} < posted[proven]
    assert "a-token" not in f"{stream.getvalue()}{summary}{both!r}"


def test_fewer_esims_than_vendors_are_no_fleet() -> None:
    with pytest.raises(ValueError, match="at least one eSIM"):
        Simulation(start=PRESENT, esims=1, vendors=[FIRST, SIGNS_NOTHING])


def test_a_vendor_without_habits_cannot_be_simulated() -> None:
    with pytest.raises(ValueError, match="signs-nothing cannot be simulated"):
        Simulation(start=PRESENT, vendors=[replace(SIGNS_NOTHING, habits=None)])


@pytest.mark.parametrize(
    ("url", "alone", "path"),
    [
        ("http://a.example", True, "/webhooks/signs-nothing/a%2Fb"),
        ("http://a.example/", False, "/webhooks/signs-nothing/a%2Fb"),
        ("http://a.example/b/?c", True, "/b/a%2Fb?c"),
        ("http://a.example/b/", False, "/b/webhooks/signs-nothing/a%2Fb"),
    ],
)
def test_a_token_is_the_last_part_of_the_path(url: str, alone: bool, path: str) -> None:
    assert WebhookUrl.parse(url).path_of(SIGNS_NOTHING, "a/b", alone=alone) == path


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("http://a.example", "/webhooks/roamify"),
        ("http://a.example/b/?c", "/b/?c"),
    ],
)
def test_the_one_vendor_that_signs_posts_to_the_path_of_the_url(url: str, path: str) -> None:
    assert WebhookUrl.parse(url).path_of(FIRST, "", alone=True) == path


async def test_keeps_one_connection_alive() -> None:
    async with receiving() as receiver:
        await simulate(options(receiver))
    assert len(receiver.bodies) > 20
    assert receiver.connections == 1


async def test_several_connections_share_the_events() -> None:
    async with receiving() as receiver:
        await simulate(options(receiver, connections=3))
    assert receiver.connections == 3
    assert len(set(receiver.bodies)) == len(receiver.bodies)
    missing = set(expected(until=PRESENT - DAY + 10 * 3600)) ^ set(receiver.bodies)
    assert len(missing) < 3  # the events that other connections had when the first stopped


async def test_sends_a_delivery_again_after_503() -> None:
    async with receiving(answer(200), answer(503), answer(503)) as receiver:
        time = Time()
        summary = await simulate(options(receiver), time)
    first, *again, following = receiver.bodies[:5]
    assert again == [again[0]] * 3
    assert len({first, again[0], following}) == 3
    assert summary.resent == 2
    assert summary.refused == 0
    assert summary.answers["503"] == 2
    assert list(dict.fromkeys(receiver.bodies)) == expected(until=PRESENT - DAY + 10 * 3600)


async def test_waits_twice_as_long_each_time_up_to_a_limit() -> None:
    time = Time()
    requested: list[float] = []

    def refuse() -> Iterator[bytes]:
        for _ in range(9):
            requested.append(time.elapsed)
            yield answer(503)
        yield from itertools.repeat(answer(200))

    async with receiving() as receiver:
        receiver.answers = refuse()
        await simulate(options(receiver, speed=None, rate=1000, duration=60), time, Terminal())
    waited = [later - earlier for earlier, later in itertools.pairwise(requested)]
    assert waited == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5, 5])


async def test_connects_again_after_a_hang_up_and_loses_nothing() -> None:
    async with receiving(answer(200), HANG_UP, answer(200)) as receiver:
        summary = await simulate(options(receiver))
    assert receiver.connections == 2
    assert receiver.bodies[1] == receiver.bodies[2]
    assert summary.answers["IncompleteReadError"] == 1
    assert list(dict.fromkeys(receiver.bodies)) == expected(until=PRESENT - DAY + 10 * 3600)


@pytest.mark.parametrize(
    "last", [answer(200, extra="Connection: close\r\n"), b"HTTP/1.1 200 OK\r\n\r\n"]
)
async def test_connects_again_after_an_answer_that_ends_the_connection(last: bytes) -> None:
    async with receiving(last) as receiver:
        summary = await simulate(options(receiver))
    assert receiver.connections == 2
    assert summary.resent == 0
    assert summary.answers.keys() == {"200"}


async def test_notices_that_an_idle_connection_was_closed() -> None:
    requests = 0

    async def one_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        requests += 1
        await reader.readuntil(b"\r\n\r\nbody")
        writer.write(answer(200))

    async with serving(one_answer) as port:
        connection = WebhookClient(WebhookUrl.parse(f"http://127.0.0.1:{port}"), timeout=5)
        assert await connection.post("/", b"body", {}) == 200
        streams = connection._streams
        assert streams is not None
        await streams[0].read()  # until the other end has closed
        assert await connection.post("/", b"body", {}) == 200
        connection.close()
    assert requests == 2


@pytest.mark.parametrize(
    "nonsense", [b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000]
)
async def test_takes_what_is_not_http_for_no_answer(nonsense: bytes) -> None:
    async with receiving(nonsense) as receiver:
        summary = await simulate(options(receiver))
    assert summary.resent == 1
    assert list(dict.fromkeys(receiver.bodies)) == expected(until=PRESENT - DAY + 10 * 3600)


async def test_takes_too_slow_an_answer_for_none() -> None:
    async def never(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async with serving(never) as port:
        connection = WebhookClient(WebhookUrl.parse(f"http://127.0.0.1:{port}/"), timeout=0.01)
        with pytest.raises(ConnectionError, match="TimeoutError"):
            await connection.post("/", b"body", {})


async def test_waits_for_a_receiver_that_is_not_there() -> None:
    async with receiving() as receiver:
        pass
    summary = await simulate(options(receiver, duration=30))
    assert summary.sent == 0
    assert summary.answers.keys() == {"ConnectionRefusedError"}
    assert summary.resent > 5
    assert "no answer" in str(summary)


async def test_counts_other_answers_and_goes_on() -> None:
    async with receiving(answer(422), answer(401), answer(500)) as receiver:
        summary = await simulate(options(receiver))
    assert receiver.bodies == expected(until=PRESENT - DAY + 10 * 3600)
    assert summary.refused == 3
    assert summary.resent == 0


async def test_a_bad_delivery_is_no_failure_when_refused_but_one_when_accepted() -> None:
    faults = Faults(retry=0, duplicate=0, late=0, bad_signature=1)
    replies = itertools.cycle([answer(200), answer(401)])
    async with receiving(*itertools.islice(replies, 20)) as receiver:
        summary = await simulate(options(receiver, faults=faults))
    assert len(receiver.good()) == len(receiver.bodies) / 2
    assert summary.answers["401"] == 10
    assert summary.refused == 0
    assert summary.accepted == summary.sent / 2 - 10


async def test_sends_no_event_before_its_time_and_slows_down_in_the_present() -> None:
    time = Time()
    seen: list[tuple[float, float]] = []

    def reply() -> Iterator[bytes]:
        while True:
            document = json.loads(receiver.bodies[-1])
            seen.append((document.get("data", document)["timestamp"], time.now()))
            yield answer(200)

    async with receiving() as receiver:
        receiver.answers = reply()
        summary = await simulate(options(receiver, speed=3600, duration=3600), time)
    assert all(event_time <= now for event_time, now in seen)
    in_past = [event_time for event_time, now in seen if now < PRESENT + 24]
    assert max(in_past) > PRESENT - 3600
    # At a speed of 3600 an hour of real time would be 150 days.
    assert PRESENT < summary.simulated <= PRESENT + 3600
    assert receiver.bodies == expected(until=PRESENT + 3600)


async def test_keeps_to_the_rate() -> None:
    time = Time()
    async with receiving() as receiver:
        summary = await simulate(options(receiver, speed=None, rate=5, duration=4), time)
    assert summary.sent == 20
    assert receiver.bodies == expected(until=PRESENT)[:20]


async def test_a_rate_applies_to_all_connections_together() -> None:
    async with receiving() as receiver:
        summary = await simulate(
            options(receiver, speed=None, rate=5, duration=4, connections=4), Time()
        )
    assert summary.sent == pytest.approx(20, abs=4)


async def test_runs_at_the_speed_of_time_by_default() -> None:
    async with receiving() as receiver:
        await simulate(options(receiver, speed=None, duration=3600))
    assert receiver.bodies == expected(until=PRESENT - DAY + 3600)


async def test_stops_in_the_middle_of_backing_off() -> None:
    async with receiving(*[answer(503)] * 100) as receiver:
        time = Time()
        summary = await simulate(options(receiver, duration=20), time)
    assert summary.sent == 0
    assert summary.seconds == pytest.approx(20)


async def test_a_cancelled_run_says_what_it_has_done() -> None:
    async with receiving(enough=5) as receiver:
        task = asyncio.ensure_future(simulate(options(receiver, duration=None)))
        await receiver.full.wait()
        task.cancel()
        summary = await task
    assert summary.sent >= 4
    assert f"{summary.sent} events" in str(summary)


async def test_cancelling_while_an_answer_is_awaited_closes_the_connection() -> None:
    got = asyncio.Event()
    left = asyncio.Event()

    async def never(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):  # a connection that was cancelled in time
            await reader.readuntil(b"\r\n\r\n")
            got.set()
            await reader.read()
            left.set()

    async with serving(never) as port:
        url = f"http://127.0.0.1:{port}/"
        chosen = SenderOptions(credentials=CREDENTIALS, url=url, rate=100)
        task = asyncio.ensure_future(Sender(chosen).run())
        await got.wait()
        task.cancel()
        assert (await task).sent == 0
        await left.wait()


async def test_writes_a_line_every_ten_seconds_to_a_log() -> None:
    stream = io.StringIO()
    async with receiving(answer(422)) as receiver:
        await simulate(options(receiver, speed=None, rate=2, duration=35), stream=stream)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 3
    assert "\r" not in stream.getvalue()
    assert stream.getvalue().endswith("\n")
    assert lines[0].startswith("2023-11-14T00:")  # the simulated time
    assert "200: 19  422: 1  p50 " in lines[0]
    assert lines[0].endswith(" ms")


async def test_replaces_its_line_every_second_on_a_terminal() -> None:
    stream = Terminal()
    async with receiving() as receiver:
        await simulate(options(receiver, duration=5.5), stream=stream)
    text = stream.getvalue()
    assert text.count("\r") == 5
    assert text.count("\n") == 1
    assert text.endswith("\n")
    assert "events" in text.split("\r")[1]


async def test_the_line_tells_the_rate_since_the_last_one() -> None:
    stream = io.StringIO()
    async with receiving() as receiver:
        await simulate(options(receiver, speed=None, rate=2, duration=31), stream=stream)
    assert [line.split()[3] for line in stream.getvalue().splitlines()] == ["2/s", "2/s", "2/s"]


async def test_the_line_says_why_there_is_no_answer() -> None:
    stream = io.StringIO()
    async with receiving() as receiver:
        pass
    await simulate(options(receiver, duration=11), stream=stream)
    assert "ConnectionRefusedError: " in stream.getvalue()
    assert stream.getvalue().endswith("no answer\n")


def test_quantiles_are_right_to_a_few_per_cent() -> None:
    latencies = Latencies()
    for milliseconds in range(1, 1001):
        latencies.add(milliseconds / 1000)
    assert latencies.quantile(0.5) == pytest.approx(0.5, rel=0.03)
    assert latencies.quantile(0.99) == pytest.approx(0.99, rel=0.03)


def test_there_is_no_quantile_of_nothing() -> None:
    assert math.isnan(Latencies().quantile(0.5))


def test_a_time_of_nothing_counts_as_a_microsecond() -> None:
    latencies = Latencies()
    latencies.add(0)
    assert latencies.quantile(1) == pytest.approx(1e-6, rel=0.03)


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://a.example", WebhookUrl("a.example", 80, False, "a.example", "/")),
        ("https://a.example/b?c", WebhookUrl("a.example", 443, True, "a.example", "/b?c")),
        ("http://me:pw@[::1]:8080/b", WebhookUrl("::1", 8080, False, "[::1]:8080", "/b")),
    ],
)
def test_takes_a_url_apart(url: str, target: WebhookUrl) -> None:
    assert WebhookUrl.parse(url) == target


@pytest.mark.parametrize("url", ["ftp://a.example/", "a.example", "http:///b", "http://a:x/"])
def test_rejects_an_unusable_url(url: str) -> None:
    with pytest.raises(ValueError, match=r"URL|[Pp]ort"):
        WebhookUrl.parse(url)


async def test_https_speaks_tls() -> None:
    first_byte = b""

    async def no_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal first_byte
        first_byte = await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with serving(no_tls) as port:
        connection = WebhookClient(WebhookUrl.parse(f"https://127.0.0.1:{port}/"), timeout=5)
        with pytest.raises(ConnectionError):
            await connection.post("/", b"body", {})
    assert first_byte == b"\x16"  # a handshake record (RFC 8446, 5.1)


def test_the_secret_is_not_shown() -> None:
    assert "horse" not in repr(SenderOptions(credentials=CREDENTIALS))


def parse(*arguments: str) -> argparse.Namespace:
    return parser().parse_args(arguments)


def receive_in_thread(*answers: bytes, enough: int, ready: threading.Event) -> Receiver:
    """Receive in a thread, because ``main`` blocks; send SIGTERM after ``enough`` bodies."""
    box: list[Receiver] = []

    async def receive() -> None:
        async with receiving(*answers, enough=enough) as receiver:
            box.append(receiver)
            ready.set()
            await receiver.full.wait()
            os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=asyncio.run, args=(receive(),), daemon=True).start()
    assert ready.wait(WAIT)
    return box[0]


def test_main_sends_until_it_is_told_to_stop(capsys: pytest.CaptureFixture[str]) -> None:
    receiver = receive_in_thread(enough=10, ready=threading.Event())
    args = ["--url", receiver.url, "--rate", "1000", "--connections", "1"]
    environ = {"ESIM_EXPORTER_WEBHOOK_SECRET": f"\n {SECRET.decode()} \nsecond"}
    assert main(args, environ) == 0
    assert len(receiver.good()) == len(receiver.bodies) >= 10
    assert " refused, " in capsys.readouterr().err


def test_main_tells_by_its_code_that_an_event_was_refused() -> None:
    receiver = receive_in_thread(answer(401), enough=10, ready=threading.Event())
    args = ["--url", receiver.url, "--rate", "1000", "--connections", "1"]
    assert main(args, {"ESIM_EXPORTER_WEBHOOK_SECRET": "wrong"}) == 1


def test_main_tells_by_its_code_that_nothing_arrived() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    args = ["--url", f"http://127.0.0.1:{port}/webhooks/roamify", "--duration", "1ms"]
    assert main(args, {"ESIM_EXPORTER_WEBHOOK_SECRET": "x"}) == 1


def test_main_signs_with_the_first_secret_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "secrets"
    path.write_bytes(b" # new one first\n\n " + SECRET + b"\nold\n")
    receiver = receive_in_thread(enough=3, ready=threading.Event())
    args = ["--url", receiver.url, "--secret-file", str(path), "--rate", "1000"]
    assert main(args, {}) == 0
    assert len(receiver.good()) == len(receiver.bodies)


def test_main_needs_a_secret(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([], {}) == 2
    assert "ESIM_EXPORTER_WEBHOOK_SECRET" in capsys.readouterr().err


def test_main_says_which_secret_file_cannot_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--secret-file", str(tmp_path / "none")], {}) == 2
    assert "none" in capsys.readouterr().err


def test_main_rejects_an_unusable_url(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--url", "ftp://a.example"], {"ESIM_EXPORTER_WEBHOOK_SECRET": "x"}) == 2
    assert "ftp://a.example" in capsys.readouterr().err


def test_the_command_line_has_the_documented_defaults() -> None:
    args = parse()
    assert args.url == "http://127.0.0.1:10878"
    assert (args.esims, args.seed, args.start, args.connections) == (100, 1, DAY, 4)
    assert args.phase is Phase.SPREAD
    assert args.speed is args.rate is args.duration is args.secret_file is args.vendor is None


def test_the_command_line_takes_durations_as_prometheus_writes_them() -> None:
    args = parse("--start", "2w", "--duration", "1h30m", "--phase", "burst", "--speed", "60")
    assert (args.start, args.duration, args.speed) == (14 * DAY, 5400, 60)
    assert args.phase is Phase.BURST


@pytest.mark.parametrize(
    "arguments",
    [
        ("--esims", "0"),
        ("--connections", "none"),
        ("--rate", "0"),
        ("--speed", "inf"),
        ("--speed", "nan"),
        ("--start", "yesterday"),
        ("--phase", "full"),
    ],
)
def test_the_command_line_rejects_what_makes_no_sense(arguments: tuple[str, str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        parse(*arguments)
