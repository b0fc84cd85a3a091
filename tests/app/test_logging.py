"""Log of a running exporter: one line for each fact, and nothing secret."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from running import SECRET, USAGE, Serving, event, serving, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import httpx
    from conftest import Serve

ICCID = "8991234567890123456"

REJECTED: dict[str, tuple[int, Callable[[Serving], httpx.Response]]] = {
    "signature": (401, lambda s: s.post(USAGE, b"another secret")),
    "malformed": (400, lambda s: s.post(USAGE[:-3])),
    "invalid": (422, lambda s: s.post(event(esim_id="unit-test", data_units=f"u\n{ICCID}"))),
    "too_large": (413, lambda s: s.post(USAGE * 100)),
}


@pytest.fixture(scope="module", params=["logfmt", "json"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Serving]:
    folder = tmp_path_factory.mktemp("log")
    with serving(folder, f"--log.format={request.param}") as process:
        yield process


@pytest.mark.parametrize("reason", REJECTED)
def test_a_rejected_delivery_is_one_line_with_its_reason_and_nothing_of_its_body(
    reason: str, server: Serving
) -> None:
    before = len(server.lines)
    code, deliver = REJECTED[reason]

    assert deliver(server).status_code == code

    until(lambda: len(server.lines) > before)
    (record,) = server.records[before:]
    assert record["level"] == "warn"
    assert (record["reason"], str(record["code"])) == (reason, str(code))
    assert record["vendor"] == "roamify"
    assert record["error"]
    logged = "\n".join(server.lines)
    for secret in (ICCID, SECRET.decode(), "another secret", "unit-test", "ref_1234567890"):
        assert secret not in logged


def test_good_deliveries_and_scrapes_are_not_logged(server: Serving) -> None:
    before = len(server.lines)
    for _ in range(3):
        assert server.post(event()).status_code == 200
        server.state()

    assert server.lines[before:] == []


def test_the_level_is_a_setting(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "esim-exporter.db"
    quiet = serve("--log.level=warn", ready="")
    until(path.exists)
    until(lambda: path.with_name("esim-exporter.db-wal").exists())

    quiet.process.terminate()
    quiet.ended()

    assert quiet.lines == []


def test_start_and_stop_are_logged_in_order(serve: Serve) -> None:
    server = serve()
    assert server.end() == 0

    logged = [record["msg"] for record in server.records]
    assert logged == ["listening", "listening", "state loaded", "stopping", "stopped"]
    assert all(record["ts"].endswith("Z") and record["component"] for record in server.records)
