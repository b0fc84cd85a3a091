"""A 200 means durable, whenever the process dies."""

from __future__ import annotations

import http.client
import random
import re
import threading
from typing import TYPE_CHECKING

from running import SECRET, USAGE, WEBHOOK, Serving, encoded, event, serving, until

from exporter.vendors import roamify

if TYPE_CHECKING:
    from pathlib import Path

ROUNDS = 10
CLIENTS = 4


def send_until_it_dies(address: str, prefix: str, acknowledged: list[str]) -> None:
    """Deliver events of new eSIMs over one connection, and note those that were acknowledged."""
    connection = http.client.HTTPConnection(address, timeout=30)
    try:
        for number in range(100_000):
            name = f"{prefix}-{number}"
            body = encoded(event(esim_id=name))
            headers = {roamify.SIGNATURE_HEADER: roamify.sign(body, SECRET)}
            connection.request("POST", WEBHOOK, body, headers)
            response = connection.getresponse()
            response.read()
            assert response.status == 200
            acknowledged.append(name)
    except (OSError, http.client.HTTPException):
        return
    finally:
        connection.close()


def killed_under_load(server: Serving, name: str, after: int) -> list[str]:
    """Kill it once some deliveries were acknowledged, others under way; return the former."""
    acknowledged: list[str] = []
    address = server.public.removeprefix("http://")
    clients = [
        threading.Thread(target=send_until_it_dies, args=(address, f"{name}-{n}", acknowledged))
        for n in range(CLIENTS)
    ]
    for client in clients:
        client.start()
    until(lambda: len(acknowledged) >= after)
    server.kill()
    for client in clients:
        client.join()
    return acknowledged


def assert_not_damaged(server: Serving) -> None:
    """Check that nothing was found at the start but a write that the kill interrupted."""
    assert server.logged("storage damaged") == []
    for record in server.logged("storage noted"):
        assert record["note"].endswith("the last transaction is torn and was left out")


def test_no_acknowledged_event_is_lost_when_the_process_is_killed(tmp_path: Path) -> None:
    moments = random.Random(4711)
    acknowledged: set[str] = set()
    for number in range(ROUNDS):
        with serving(tmp_path) as server:
            shown = set(
                re.findall(r'esim_status\{vendor="roamify",esim_id="([^"]*)"', server.state())
            )
            assert acknowledged <= shown
            assert_not_damaged(server)
            acknowledged |= shown  # what was committed, though nobody was told, stays as well
            new = killed_under_load(server, f"round{number}", moments.randint(1, 60))
            assert new
            acknowledged |= set(new)
    with serving(tmp_path) as server:
        shown = set(re.findall(r'esim_status\{vendor="roamify",esim_id="([^"]*)"', server.state()))
        assert acknowledged <= shown
        assert server.own()["esims"] == len(shown)
        assert_not_damaged(server)


def test_every_family_is_the_same_after_a_kill_and_after_a_stop(tmp_path: Path) -> None:
    deliveries = [
        event(),
        event(esim_id="topped-up"),
        event(
            esim_id="topped-up",
            timestamp=1700000900,
            usage_data={"allowed_data": 2048, "remaining_data": 900},
        ),
        event(esim_id="unlimited", usage_data={"isUnlimited": True}),
        event(esim_id="gone", status="DELETED"),
        event(esim_id="two", package_id="another", package_name='"quoted\\ \n'),
        event(esim_id="two", reference_id="ref\u00e9rence"),
        {
            "event_type": "low_balance",
            "data": {"timestamp": 1700000000, "balance": 12.5, "currency": "EUR", "threshold": 20},
        },
    ]
    with serving(tmp_path) as server:
        for document in deliveries:
            assert server.post(document).status_code == 200
        text = server.state()
        for name in (
            "esim_partner_balance{",
            "esim_data_unlimited{",
            'package_name="\\"quoted\\\\ \\n"',
        ):
            assert name in text
        server.kill()
    with serving(tmp_path) as server:
        assert server.state() == text
        for document in deliveries:
            assert server.post(document).status_code == 200
        assert server.state() == text
        assert server.end() == 0
    with serving(tmp_path) as server:
        assert server.state() == text


def test_counters_and_tombstones_of_what_expired_survive(tmp_path: Path) -> None:
    flags = ("--retention.terminal=100ms",)
    with serving(tmp_path, *flags) as server:
        assert server.post(event(esim_id="gone", status="EXPIRED")).status_code == 200
        until(lambda: server.own()["tombstones"])
        until(lambda: server.own()["esims"] == 0)
        text = server.state()
        assert 'esim_id="gone"' not in text
        package = 'vendor="roamify",package_id="esim-afghanistan-7days-1gb-all"'
        assert f"esim_fleet_data_consumed_bytes_total{{{package}}} 536870912" in text
        server.kill()
    with serving(tmp_path, *flags) as server:
        assert server.state() == text
        assert server.own()["tombstones"] > 0
        assert server.post(event(esim_id="gone", status="EXPIRED")).status_code == 200
        assert server.state() == text


def test_what_is_over_the_limit_is_stored_and_counted_but_has_no_series(tmp_path: Path) -> None:
    with serving(tmp_path, "--limits.max-esims=2") as server:
        for number in range(5):
            assert server.post(event(esim_id=f"{number}")).status_code == 200
        own, text = server.own(), server.state()
        assert (own["esims"], own["esims_over_limit"], own["esims_limit"]) == (2, 3, 2)
        assert 'esim_fleet_esims{vendor="roamify",status="ACTIVATED"} 5' in text
        assert text.count("esim_status{") == 2
        server.kill()
    with serving(tmp_path, "--limits.max-esims=2") as server:
        assert server.state() == text
    with serving(tmp_path, "--limits.max-esims=0") as server:
        until(lambda: server.state().count("esim_status{") == 5)


def test_the_time_of_the_last_delivery_survives(tmp_path: Path) -> None:
    series = 'last_received_timestamp_seconds{vendor="roamify"}'
    with serving(tmp_path) as server:
        assert server.post(USAGE).status_code == 200
        received = server.own()[series]
        server.kill()
    with serving(tmp_path) as server:
        assert server.own()[series] == received
