"""Start, health endpoints, and a stop that loses nothing."""

from __future__ import annotations

import http.client
import re
import signal
import socket
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING

import httpx
import pytest
from running import (
    LOOPBACK,
    SIGNED,
    SUCCESS,
    USAGE,
    WAIT,
    Serving,
    connect,
    encoded,
    event,
    read_answer,
    request_head,
    serving,
    until,
)

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Serve


def refused(folder: Path, *flags: str) -> Serving:
    """Start a process that must not start, and return it after its end."""
    with serving(folder, *flags, ready="") as process:
        process.ended()
        return process


def test_health_and_readiness_are_answered_in_words(serve: Serve) -> None:
    server = serve()
    for path, word in (("/-/healthy", "healthy"), ("/-/ready", "ready")):
        get, head = server.get(path), server.client.head(server.internal + path)
        assert get.status_code == 200
        assert get.headers["Content-Type"].startswith("text/plain")
        assert word in get.text
        assert (head.status_code, head.content) == (200, b"")
        assert server.client.post(server.internal + path).status_code == 405


def test_the_health_listener_serves_health_alone(serve: Serve) -> None:
    server = serve("--web.health-listen-address=127.0.0.1:0", "--web.route-prefix=/esim", ready="")
    until(lambda: len(server.logged("listening")) == 3)
    health = server.url("health")

    until(lambda: server.client.get(f"{health}/-/ready").status_code == 200)
    assert server.client.get(f"{health}/-/healthy").status_code == 200
    for path in ("/", "/metrics", "/esim/metrics", "/webhooks/roamify", "/-/reload"):
        assert server.client.get(health + path).status_code == 404
    assert server.get("/esim/-/healthy").status_code == 200


def test_still_serves_during_the_shutdown_delay(serve: Serve) -> None:
    flags = ("--web.shutdown-delay=3s", "--web.health-listen-address=127.0.0.1:0")
    server = serve(*flags)
    server.send(signal.SIGTERM)

    until(lambda: server.get("/-/ready").status_code == 503)
    assert server.client.get(server.url("health") + "/-/ready").status_code == 503
    assert server.get("/-/healthy").status_code == 200
    assert server.post(USAGE).status_code == 200
    text = server.state()

    assert server.end() == 0
    assert serve().state() == text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_requests_in_flight_at_a_stop_are_answered_and_durable_or_refused(
    number: int, serve: Serve
) -> None:
    server = serve()
    bodies = [encoded(event(esim_id=f"in-flight-{n}")) for n in range(50)]
    with ExitStack() as stack:
        connections = [stack.enter_context(connect(server.public)) for _ in bodies]
        for connection, body in zip(connections, bodies, strict=True):
            connection.sendall(request_head(body, "Expect: 100-continue") + body[:100])
        for connection in connections:
            begun = b""
            while not begun.endswith(b"\r\n\r\n"):
                begun += connection.recv(1)
            assert begun.startswith(b"HTTP/1.1 100 ")
        server.client.close()
        server.send(number)
        until(lambda: server.logged("stopping"))
        for connection, body in zip(connections, bodies, strict=True):
            connection.sendall(body[100:])
        answers = [read_answer(connection) for connection in connections]
    assert server.ended() == 0

    assert [(answer.code, answer.body.strip()) for answer in answers] == [(200, SUCCESS)] * 50
    text = serve().state()
    assert all(f'esim_id="in-flight-{n}"' in text for n in range(50))


def test_a_delivery_during_a_stop_is_answered_and_durable_or_refused(serve: Serve) -> None:
    server = serve()
    url = server.public
    with ThreadPoolExecutor(8) as pool:
        deliveries = [pool.submit(deliver, url, f"late-{number}") for number in range(400)]
        until(lambda: any(delivery.done() for delivery in deliveries))
        assert server.end() == 0
        taken = [each for each in (delivery.result() for delivery in deliveries) if each]

    assert taken
    text = serve().state()
    assert all(f'esim_id="{name}"' in text for name in taken)


def deliver(url: str, name: str) -> str:
    """Deliver an event of an eSIM; return the eSIM if it was acknowledged."""
    body = encoded(event(esim_id=name))
    try:
        with connect(url) as connection:
            connection.sendall(request_head(body) + body)
            answer = read_answer(connection)
    except (OSError, http.client.HTTPException):
        return ""
    assert answer.code in {200, 503}
    return name if answer.code == 200 else ""


def test_idle_clients_do_not_delay_a_stop(serve: Serve) -> None:
    server = serve()
    with (
        connect(server.public) as idle,
        connect(server.public) as half,
        connect(server.internal) as reader,
    ):
        idle.sendall(request_head(USAGE) + USAGE)
        assert read_answer(idle).code == 200
        half.sendall(request_head(USAGE)[:20])
        reader.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_answer(reader, "GET").code == 200

        assert server.end() == 0


def test_a_client_that_never_ends_its_body_does_not_delay_a_stop(serve: Serve) -> None:
    server = serve("--webhook.read-timeout=1h")
    with connect(server.public) as connection:
        connection.sendall(request_head(USAGE) + USAGE[:10])
        until(lambda: server.own()["process_open_fds"])

        assert server.end() == 0


def test_a_stop_accepts_no_connection_and_writes_the_log_back(serve: Serve, tmp_path: Path) -> None:
    server = serve()
    server.post(USAGE)
    url = server.public

    assert server.end() == 0

    assert [r["msg"] for r in server.records][-2:] == ["stopping", "stopped"]
    with pytest.raises(ConnectionRefusedError):
        connect(url)
    assert not (tmp_path / "esim-exporter.db-wal").exists()
    database = sqlite3.connect(tmp_path / "esim-exporter.db")
    assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()


def test_quits_on_request_where_that_is_enabled(serve: Serve) -> None:
    server = serve("--web.enable-lifecycle")

    assert server.get("/-/quit").status_code == 405
    assert server.client.put(f"{server.internal}/-/quit").status_code == 200
    server.client.close()
    assert server.ended() == 0


def test_does_not_quit_on_request_by_default(serve: Serve) -> None:
    server = serve()

    response = server.client.post(f"{server.internal}/-/quit")

    assert response.status_code == 403
    assert "--web.enable-lifecycle" in response.text
    assert server.get("/-/ready").status_code == 200


def test_a_second_process_on_the_same_file_refuses_to_start(serve: Serve, tmp_path: Path) -> None:
    first = serve()
    first.post(USAGE)
    text = first.state()

    second = refused(tmp_path)

    assert second.process.returncode == 1
    (record,) = second.records
    assert record["level"] == "error"
    assert "esim-exporter.db" in record["error"]
    assert first.post(USAGE).status_code == 200
    assert first.state() == text


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "esim-exporter.db"
    path.write_bytes(b"holiday photographs" * 1000)

    process = refused(tmp_path)

    assert process.process.returncode == 1
    assert "esim-exporter.db" in process.records[-1]["error"]
    assert path.read_bytes() == b"holiday photographs" * 1000


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    process = refused(tmp_path, "--storage.url=sqlite:///no/such/folder/a.db")

    assert process.process.returncode in {1, 2}
    assert "no/such/folder" in process.records[-1]["error"]


@pytest.mark.parametrize("listener", ["web", "webhook"])
def test_a_port_that_is_taken_is_named(listener: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        process = refused(tmp_path, f"--{listener}.listen-address={address}")

    assert process.process.returncode == 2
    assert f"cannot listen on {address}" in process.records[-1]["error"]


def test_a_host_that_does_not_exist_is_named(tmp_path: Path) -> None:
    process = refused(tmp_path, "--web.listen-address=no-such-host.invalid:0")

    assert process.process.returncode == 2
    assert "no-such-host.invalid" in process.records[-1]["error"]


@pytest.mark.parametrize("host", ["", "[::]", "[0::0]", "[::1]", "[::ffff:127.0.0.1]", "localhost"])
def test_listens_on_the_given_host(host: str, serve: Serve) -> None:
    server = serve(f"--web.listen-address={host}:0", ready="")
    until(lambda: len(server.logged("listening")) == 2)
    address = server.logged("listening")[0]["address"]
    port = re.sub(r".*:", "", address)

    reached = [f"http://{name}:{port}/-/healthy" for name in REACHED_BY[host]]
    assert [httpx.get(url, trust_env=False, timeout=WAIT).status_code for url in reached] == [
        200
    ] * len(reached)


BOTH = ["127.0.0.1", "[::1]"]
REACHED_BY = {
    **dict.fromkeys(("", "[::]", "[0::0]"), BOTH),
    "[::1]": ["[::1]"],
    "[::ffff:127.0.0.1]": ["127.0.0.1"],
    "localhost": ["localhost"],
}


def test_settings_that_cannot_be_used_are_reported_before_anything_starts(tmp_path: Path) -> None:
    flags = ("--limits.max-esims=many", "--web.listen-adress=:1", "--retention.silent=1 year")
    process = Serving(tmp_path, (*LOOPBACK, *flags), SIGNED)

    assert process.ended() == 2
    process.client.close()
    assert [line.partition(": ")[0] for line in process.lines] == ["esim-exporter serve"] * 3
    printed = "\n".join(process.lines)
    for part in ("--limits.max-esims", "did you mean --web.listen-address?", "--retention.silent"):
        assert part in printed
    assert list(tmp_path.iterdir()) == []


def test_refuses_to_start_without_a_secret(tmp_path: Path) -> None:
    process = Serving(tmp_path, LOOPBACK, {})

    assert process.ended() == 2
    process.client.close()
    assert "--webhook.secret-file" in process.lines[0]
    assert "--webhook.allow-unsigned" in process.lines[0]
