"""A 200 means durable, whenever the process dies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from running import USAGE, event, serving, until

if TYPE_CHECKING:
    from pathlib import Path


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


def test_packages_and_locations_over_their_limits_stay_under_one_name(tmp_path: Path) -> None:
    flags = ("--limits.max-packages=2", "--limits.max-locations=3")
    with serving(tmp_path, *flags) as server:
        for number in (4, 3, 2, 1, 0):
            used = [{"location": f"Land {number}", "data_used": 1}]
            assert server.post(event(package_id=f"p{number}", usage_list=used)).status_code == 200
        text, own = server.state(), server.own()
        assert own['label_values_over_limit{label="package_id"}'] == 3
        assert own['label_values_over_limit{label="location"}'] == 2
        assert (
            'esim_fleet_allowances{vendor="roamify",package_id="other",status="ACTIVATED"} 3'
            in text
        )
        family = 'esim_fleet_location_data_consumed_bytes_total{vendor="roamify",location='
        assert [line for line in text.split("\n") if line.startswith(family)] == [
            f'{family}"Land 2"}} 1048576',
            f'{family}"Land 3"}} 1048576',
            f'{family}"Land 4"}} 1048576',
            f'{family}"other"}} 2097152',
        ]
        server.kill()
    with serving(tmp_path, *flags) as server:
        assert server.state() == text
    with serving(tmp_path) as server:
        assert server.state().count("esim_package_info{") == 5


def test_the_time_of_the_last_delivery_survives(tmp_path: Path) -> None:
    series = 'last_received_timestamp_seconds{vendor="roamify"}'
    with serving(tmp_path) as server:
        assert server.post(USAGE).status_code == 200
        received = server.own()[series]
        server.kill()
    with serving(tmp_path) as server:
        assert server.own()[series] == received
