"""The command line: subcommands, exit statuses, and what is printed where."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from running import COMMAND, LOOPBACK, SECRET, SIGNED, WAIT, Serving

import exporter
from exporter.cli import main

if TYPE_CHECKING:
    from conftest import Serve

CHECK = ("serve", "--config.check")
SIMULATE = (sys.executable, "-m", "exporter", "simulate")


@pytest.mark.parametrize("argument", ["--version", "version"])
def test_the_version_is_printed(argument: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([argument], {}) == 0
    assert capsys.readouterr().out == f"esim-exporter, version {exporter.__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["help"]])
def test_the_subcommands_are_explained(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments, {}) == 0
    printed = capsys.readouterr().out
    for command in ("serve", "simulate", "demo", "storage", "mixin"):
        assert re.search(rf"^  {command} +[a-z]", printed, re.MULTILINE)


def test_an_unknown_subcommand_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["observe"], {}) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("esim-exporter: no such command: observe\n")


@pytest.mark.parametrize("command", ["serve", "simulate", "demo", "storage", "mixin"])
def test_every_subcommand_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"], {})
    assert ended.value.code == 0
    assert f"usage: esim-exporter {command}" in capsys.readouterr().out


def test_the_installed_command_is_this_one() -> None:
    command = Path(sys.executable).with_name("esim-exporter")

    done = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)

    assert done.stdout == f"esim-exporter, version {exporter.__version__}\n"


def test_good_settings_are_checked_without_serving(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    secrets = tmp_path / "secrets"
    secrets.write_text("one\n")

    assert main([*CHECK, f"--webhook.secret-file={secrets}"], {}) == 0

    assert capsys.readouterr().out == "The settings can be used.\n"
    assert list(tmp_path.iterdir()) == [secrets]


def test_a_database_is_not_connected_to_for_a_check(capsys: pytest.CaptureFixture[str]) -> None:
    url = "--storage.url=postgresql://esim@no-such-host,other:5433/esim"

    assert main([*CHECK, url, "--total-shards=4", "--shard=3"], SIGNED) == 0

    assert capsys.readouterr().out == "The settings can be used.\n"


BAD = {
    "no secret": ([], {}, ["--webhook.secret-file", "ESIM_EXPORTER_WEBHOOK_SECRET"]),
    "no secret, though a web configuration is not all that is checked": (
        [f"--web.config.file={os.devnull}", "--log.level=warn"],
        {},
        ["--webhook.secret-file"],
    ),
    "a secret file that is not there": (["--webhook.secret-file=/no/such"], {}, ["/no/such"]),
    "a hash key file that is not there": (
        ["--metrics.esim-labels=iccid_hash", "--metrics.iccid-hash-key-file=/no/such"],
        SIGNED,
        ["--metrics.iccid-hash-key-file", "/no/such"],
    ),
    "a misspelt flag": (["--web.listen-adress=:1"], SIGNED, ["--web.listen-address"]),
    "a misspelt variable": (
        [],
        SIGNED | {"ESIM_EXPORTER_WEB_LISTEN_ADRESS": ":1"},
        ["ESIM_EXPORTER_WEB_LISTEN_ADDRESS"],
    ),
    "a file that is not there": (["--config.file=/no/such.yml"], SIGNED, ["/no/such.yml"]),
    "a password that ends the name of the host": (
        [f"--storage.url=postgresql://esim:/{SECRET.decode()}@db/esim"],
        SIGNED,
        ["--storage.url: must be postgresql://user:password@host/name", "%2F"],
    ),
    "two problems": (
        ["--log.level=loud", "--retention.silent=long"],
        SIGNED,
        ["--log.level", "--retention.silent"],
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_settings_are_reported_and_the_exit_status_is_2(
    case: str, capsys: pytest.CaptureFixture[str]
) -> None:
    flags, environ, expected = BAD[case]

    assert main([*CHECK, *flags], environ) == 2

    printed = capsys.readouterr()
    assert printed.out == ""
    for part in expected:
        assert part in printed.err
    assert SECRET.decode() not in printed.err


def test_a_start_that_is_interrupted_ends_silently(tmp_path: Path) -> None:
    settings = tmp_path / "settings.yml"
    os.mkfifo(settings)
    with (
        subprocess.Popen([*COMMAND, f"--config.file={settings}"], stderr=subprocess.PIPE) as start,
        settings.open("wb"),  # until the process reads the file
    ):
        start.send_signal(signal.SIGINT)
        _, output = start.communicate(timeout=WAIT)
    assert (start.returncode, output) == (130, b"")


def test_a_start_reports_a_missing_file_as_a_check_does(tmp_path: Path) -> None:
    for case in ("a secret file that is not there", "a hash key file that is not there"):
        flags, environ, expected = BAD[case]
        process = Serving(tmp_path, (*LOOPBACK, *flags), environ)
        status = process.ended()
        process.client.close()

        assert status == 2
        assert all(part in process.lines[-1] for part in expected)
        assert process.complaints() == []


def test_a_real_server_accepts_a_simulated_fleet(serve: Serve) -> None:
    server = serve()
    options = (f"--url={server.webhook}", "--duration=3s", "--speed=7200", "--esims=30")

    done = subprocess.run(
        [*SIMULATE, *options],
        env=SIGNED,
        capture_output=True,
        text=True,
        timeout=WAIT,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    summary = done.stderr.splitlines()[-1]
    sent, resent = (int(re.search(p, summary)[1]) for p in (r"^(\d+) events", r"(\d+) resent"))  # type: ignore[index]
    assert sent > 30
    assert (" 0 refused" in summary, resent) == (True, 0)
    answers = dict(re.findall(r"(\d{3}): (\d+)", summary))
    own = server.own()
    taken = sum(v for k, v in own.items() if k.startswith("webhook_events_total"))
    assert taken == int(answers["200"])
    assert own["esims"] >= 20


def test_a_simulator_without_the_secret_is_refused_and_says_so(serve: Serve) -> None:
    server = serve()
    options = (f"--url={server.webhook}", "--duration=1s", "--speed=7200")

    done = subprocess.run(
        [*SIMULATE, *options],
        env={"ESIM_EXPORTER_WEBHOOK_SECRET": "another"},
        capture_output=True,
        text=True,
        timeout=WAIT,
        check=False,
    )

    assert done.returncode == 1
    assert server.own()["esims"] == 0
