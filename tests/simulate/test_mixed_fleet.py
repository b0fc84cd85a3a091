"""A fleet of all vendors, sent to a real exporter."""

from __future__ import annotations

import io
import os
import signal
import threading
from collections import defaultdict
from typing import TYPE_CHECKING

from mixed_fleet import CREDENTIALS, SECRETS, environ, flags
from running import SECRET, Serving, samples, serving, until
from simulated_time import PRESENT, Time

from exporter.simulate.command import main
from exporter.simulate.deliveries import NO_FAULTS, Faults, Simulation
from exporter.simulate.sender import Sender, SenderOptions
from exporter.vendors.registry import SIMULATED

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

DAY = 86400


def bodies(simulation: Simulation) -> dict[str, list[bytes]]:
    sent = defaultdict(list)
    for delivery in simulation.advance(PRESENT + DAY):
        sent[delivery.vendor.name].append(delivery.body)
    return sent


def test_the_esims_are_divided_and_each_vendor_plays_as_it_does_alone() -> None:
    esims = {vendor.name: 7 for vendor in SIMULATED} | {SIMULATED[0].name: 8}
    mixed = Simulation(
        start=PRESENT, esims=sum(esims.values()), faults=NO_FAULTS, vendors=SIMULATED
    )
    alone = {
        vendor.name: bodies(
            Simulation(start=PRESENT, esims=esims[vendor.name], faults=NO_FAULTS, vendors=[vendor])
        )[vendor.name]
        for vendor in SIMULATED
    }
    assert bodies(mixed) == alone


async def test_a_mixed_fleet_is_accepted_for_days(tmp_path: Path) -> None:
    time, days = Time(), 3
    faults = Faults(retry=0.05, duplicate=0.05, late=0.05, bad_signature=0.02, malformed=0.02)
    with serving(tmp_path, "--log.level=debug", *flags(), environ=environ()) as server:
        options = SenderOptions(
            credentials=CREDENTIALS,
            url=server.public,
            esims=240,
            faults=faults,
            speed=DAY,
            start=days * DAY,
            duration=days,
        )
        summary = await Sender(
            options, now=time.now, clock=time.clock, sleep=time.sleep, stream=io.StringIO()
        ).run()
        own = server.own()
        metrics = server.get("/metrics").text

    shown = samples(metrics)
    assert (summary.refused, summary.accepted) == (0, 0)
    assert summary.simulated > PRESENT - DAY / 12
    for vendor in SIMULATED:
        rejected = {
            reason: own[f'webhook_rejected_total{{reason="{reason}",vendor="{vendor.name}"}}']
            for reason in ("signature", "malformed", "invalid", "unsigned", "too_large")
        }
        assert min(rejected[reason] for reason in ("signature", "malformed", "invalid")) > 0
        assert rejected["unsigned"] == rejected["too_large"] == 0
        esims = [n for name, n in shown.items() if f'_fleet_esims{{vendor="{vendor.name}"' in name]
        assert sum(esims) > 80
    everything = "\n".join([*server.lines, metrics, str(summary)])
    assert not [name for name, secret in SECRETS.items() if secret.decode() in everything]


def secret_files(folder: Path) -> list[str]:
    given = []
    for name, secret in SECRETS.items():
        path = folder / f"{name}-secret"
        path.write_bytes(secret)
        given.append(f"--{name}.secret-file={path}")
    return given


def received(server: Serving) -> set[str]:
    """Return the vendors from which a delivery has arrived."""
    own = server.own()
    arrivals = {v.name: f'last_received_timestamp_seconds{{vendor="{v.name}"}}' for v in SIMULATED}
    return {name for name, series in arrivals.items() if series in own}


def run_until(condition: Callable[[], bool], args: list[str], given: dict[str, str]) -> int:
    """Run the command until a condition holds that needs its deliveries; return its status."""

    ended = threading.Event()

    def watch() -> None:
        try:
            until(lambda: ended.is_set() or condition())
        finally:
            if not ended.is_set():
                os.kill(os.getpid(), signal.SIGTERM)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        return main(args, given)
    finally:
        ended.set()
        watching.join()


def test_the_command_plays_all_vendors_with_the_secrets_of_files(tmp_path: Path) -> None:
    files = secret_files(tmp_path)
    with serving(tmp_path, *flags(), *files, environ={}) as server:
        args = ["--vendor=all", f"--url={server.public}/", *files, "--rate=1000"]
        assert run_until(lambda: received(server) == set(SECRETS), args, {}) == 0


def test_the_command_plays_one_vendor_with_the_secret_of_the_environment(tmp_path: Path) -> None:
    chosen = SIMULATED[-1].name
    with serving(tmp_path, *flags(), environ=environ()) as server:
        args = [f"--vendor={chosen}", f"--url={server.public}", "--rate=1000"]
        assert run_until(lambda: bool(received(server)), args, environ()) == 0
        assert received(server) == {chosen}


def test_one_secret_is_not_taken_for_several_vendors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "secret").write_bytes(SECRET)
    args = ["--vendor=all", f"--secret-file={tmp_path / 'secret'}", "--duration=1ms"]
    assert main(args, environ()) == 2
    assert f"--{SIMULATED[-1].name}.secret-file" in capsys.readouterr().err


def test_a_vendor_without_a_secret_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--vendor=all", "--duration=1ms"], {"ESIM_EXPORTER_WEBHOOK_SECRET": "x"}) == 2
    assert "see --" in capsys.readouterr().err
